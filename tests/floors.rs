//! The house stands on its storeys: a file imports only from storeys below its own, or from rooms before its own in the
//! list of its storey. So all rooms are in one order, and every import goes back in it.
//!
//! This file reads the sources as text, without comments, literals and tests, and complains with file and line. It also
//! checks the rules that a search for words can check: the pattern knows nothing of HTTP or JSON, only a clock knows the
//! time, only the pool makes threads there, one room reads the environment, and nobody sleeps but on a clock.

use std::fs;
use std::path::{Path, PathBuf};

/// The storeys, from the ground up, and their rooms in order.
const STOREYS: [(&str, &[&str]); 3] = [
    (
        "pattern",
        &[
            "sync", "clock", "cancel", "backoff", "limiter", "retry", "pool",
        ],
    ),
    (
        "runner",
        &[
            "names", "text", "values", "files", "outcome", "json", "hints", "http", "pacing",
            "store", "share", "api", "prompts", "journal", "batch", "bulk", "queue",
        ],
    ),
    ("face", &["practice", "gate", "cli"]),
];

#[test]
fn every_import_goes_down_or_back_in_order() {
    let complaints: Vec<_> = sources()
        .iter()
        .flat_map(|(path, text)| imports_upward(path, text))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn words_stay_in_the_rooms_where_they_belong() {
    let complaints: Vec<_> = sources()
        .iter()
        .flat_map(|(path, text)| stray_words(path, text))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// ---- The rules ------------------------------------------------------------------------------------------------------

/// A room's storey, and its place there.
fn place(room: &str) -> Option<(usize, usize)> {
    let on = |rooms: &[&str]| rooms.iter().position(|known| *known == room);
    let storeys = STOREYS.iter().enumerate();
    storeys
        .filter_map(|(number, (_, rooms))| Some((number, on(rooms)?)))
        .next()
}

/// The room that a file belongs to: `api` for `api.rs` and for all in `api/`. None for those that tie rooms together,
/// and for tests.
fn room(path: &Path) -> Option<&str> {
    let is_excepted = ["main.rs", "lib.rs", "guide.rs"]
        .iter()
        .any(|name| path == Path::new(name));
    let is_test = path
        .components()
        .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
    let first = path.components().next()?.as_os_str().to_str()?;
    (!is_excepted && !is_test).then(|| first.trim_end_matches(".rs"))
}

fn imports_upward(path: &Path, text: &str) -> Vec<String> {
    let Some(room) = room(path) else {
        return Vec::new();
    };
    let complain = |line, what: &str| format!("src/{}:{line}: {what}", path.display());
    let Some(own) = place(room) else {
        return vec![complain(
            1,
            &format!("no storey has the room {room}: give it one in tests/floors.rs"),
        )];
    };
    let storey = |number: usize| STOREYS[number].0;
    let wrong = |(line, name): (usize, String)| match place(&name) {
        _ if name == room => None,
        None => Some(complain(
            line,
            &format!("{name} is no room: import from one, or give it a storey in tests/floors.rs"),
        )),
        Some(other) if other < own => None,
        Some((other, _)) => {
            let whence = if other == own.0 {
                "later on its storey"
            } else {
                storey(other)
            };
            Some(complain(
                line,
                &format!("{room} ({}) imports {name} ({whence})", storey(own.0)),
            ))
        }
    };
    imports(&code(text)).into_iter().filter_map(wrong).collect()
}

fn stray_words(path: &Path, text: &str) -> Vec<String> {
    let Some(room) = room(path) else {
        return Vec::new();
    };
    let is_pattern = place(room).is_some_and(|(storey, _)| storey == 0);
    let rules: [(&[&str], bool, &str); 6] = [
        (
            &["serde", "ureq", "crate::http", "json"],
            is_pattern,
            "the pattern knows nothing of HTTP or JSON",
        ),
        (
            &[
                "parking_lot",
                "crossbeam",
                "std::thread",
                "std::sync::atomic",
            ],
            is_pattern && room != "sync" && !path.ends_with("sim.rs"),
            "the pattern takes these from sync, where a model checker can swap them",
        ),
        (
            &["Instant::now", "SystemTime::now"],
            is_pattern && room != "clock",
            "only a clock knows what time it is",
        ),
        (
            &["thread::spawn", "spawn_scoped", "scope.spawn"],
            is_pattern && !["pool", "clock", "sync"].contains(&room),
            "only the pool and simulated time make threads",
        ),
        (
            &["env::var", "env::{"],
            room != "cli",
            "only cli reads the environment",
        ),
        (
            &["thread::sleep"],
            true,
            "sleep on a clock, so that a test need not",
        ),
    ];
    let code = code(text);
    let broken = |line: &str| {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        rules
            .iter()
            .find(|(words, applies, _)| *applies && has(words))
            .map(|(_, _, why)| *why)
    };
    let numbered = (1..).zip(code.lines());
    numbered
        .filter_map(|(number, line)| {
            Some(format!(
                "src/{}:{number}: {}",
                path.display(),
                broken(line)?
            ))
        })
        .collect()
}

// ---- Reading the sources --------------------------------------------------------------------------------------------

/// All sources, by their path below `src`.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(
        sources.len() > 10,
        "these are not all the sources: {sources:?}"
    );
    sources
}

/// What is imported from the crate's root, by `use` or by a path in the code, with its line.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut imports = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let start = at + root.len();
        for (offset, name) in names(&code[start..]).into_iter().filter(|_| is_whole_word) {
            let line = 1 + code[..start + offset].matches('\n').count();
            imports.push((line, name.to_owned()));
        }
    }
    imports
}

/// The names that a path begins with: `a` for `a::b`, `a` and `d` for `{a::{b, c}, d}`. With their offsets.
fn names(path: &str) -> Vec<(usize, &str)> {
    let (mut depth, mut names, mut expected) = (0, Vec::new(), true);
    for (at, c) in path.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => (depth, expected) = (depth - 1, false),
            ',' if depth == 1 => expected = true,
            _ if c.is_whitespace() => {}
            _ if expected => {
                let end = path[at..]
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .unwrap_or(path.len() - at);
                names.push((at, &path[at..at + end]));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 && !expected {
            break;
        }
    }
    names
}

/// The source with comments, literals and tests blanked out, line for line.
fn code(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while !rest.is_empty() {
        let (length, is_code) = piece(rest);
        let (piece, after) = rest.split_at(length);
        code.push_str(&if is_code {
            piece.to_owned()
        } else {
            blank(piece)
        });
        rest = after;
    }
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = start + item(&code[start..]);
        code.replace_range(start..end, &blank(&code[start..end]));
    }
    code
}

fn blank(text: &str) -> String {
    text.chars().filter(|c| *c == '\n').collect()
}

/// The length of the next comment, literal, word or sign, and whether it is code.
fn piece(rest: &str) -> (usize, bool) {
    let word = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(rest.len());
    let (prefix, after) = rest.split_at(word);
    let hashes = after.len() - after.trim_start_matches('#').len();
    match after.as_bytes() {
        _ if prefix.ends_with('r') && after[hashes..].starts_with('"') => {
            (word + raw_string(after, hashes), false)
        }
        [b'"', ..] => (word + quoted(after, '"'), false),
        _ if word > 0 => (word, true),
        [b'/', b'/', ..] => (rest.find('\n').unwrap_or(rest.len()), false),
        [b'/', b'*', ..] => (block_comment(rest), false),
        [b'\'', b'\\', ..] => (quoted(rest, '\''), false),
        [b'\'', ..] if rest.chars().nth(2) == Some('\'') => (quoted(rest, '\''), false),
        _ => (rest.chars().next().map_or(0, char::len_utf8), true),
    }
}

/// The length of a literal between two of these quotes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// The length of a raw literal that begins with so many hashes.
fn raw_string(rest: &str, hashes: usize) -> usize {
    let (open, close) = (hashes + 1, format!("\"{}", "#".repeat(hashes)));
    rest[open..]
        .find(&close)
        .map_or(rest.len(), |at| open + at + close.len())
}

/// The length of a comment that may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    for at in 0..rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => depth += 1,
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => depth -= 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of an item with its attributes: to its semicolon, or to the end of its braces.
fn item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

// ---- The rules can be broken ----------------------------------------------------------------------------------------

/// The complaints about a made-up file.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let path = Path::new(path);
    imports_upward(path, text)
        .into_iter()
        .chain(stray_words(path, text))
        .collect()
}

#[test]
fn an_import_from_above_is_found_with_its_line() {
    let text = "//! The pool.\n\nuse crate::clock::Clock;\nuse crate::batch::Batch;\n";
    assert_eq!(
        complaints("pool.rs", text),
        ["src/pool.rs:4: pool (pattern) imports batch (runner)"]
    );
}

#[test]
fn an_import_of_a_later_room_is_found_and_one_of_an_earlier_room_is_none() {
    assert!(complaints("retry.rs", "use crate::backoff::Backoff;").is_empty());
    let found = complaints("backoff.rs", "use crate::retry::Retry;");
    assert_eq!(
        found,
        ["src/backoff.rs:1: backoff (pattern) imports retry (later on its storey)"]
    );
    assert!(complaints("cli/run.rs", "use crate::practice::Server;").is_empty());
    assert_eq!(complaints("progress.rs", "use crate::cli::Exit;").len(), 1);
}

#[test]
fn groups_over_many_lines_are_read_to_their_end() {
    let text =
        "pub(crate) use crate::{\n    clock::{Clock, SimClock},\nbatch::Batch,\n    cli,\n};\n";
    let found = complaints("pool.rs", text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("src/pool.rs:3: ") && found[1].starts_with("src/pool.rs:4: "),
        "{found:?}"
    );
}

#[test]
fn a_path_in_the_code_is_an_import_too() {
    assert_eq!(
        complaints("pool.rs", "fn f() -> crate::http::Response { todo!() }").len(),
        2,
        "and a stray word"
    );
}

#[test]
fn a_room_may_import_itself_and_the_files_of_a_folder_are_one_room() {
    assert!(
        complaints(
            "api/chat.rs",
            "use crate::api::Key;\nuse crate::hints::Hints;"
        )
        .is_empty()
    );
    assert_eq!(
        complaints("api/chat.rs", "use crate::batch::Batch;").len(),
        1
    );
}

#[test]
fn a_room_without_a_storey_is_told_to_get_one() {
    let found = complaints("attic.rs", "");
    assert!(
        found.len() == 1 && found[0].contains("in tests/floors.rs"),
        "{found:?}"
    );
    let found = complaints("pool.rs", "use crate::attic::Box;\nuse crate::RateLimiter;");
    assert!(
        found.len() == 2
            && found
                .iter()
                .all(|complaint| complaint.contains("in tests/floors.rs")),
        "{found:?}"
    );
}

#[test]
fn comments_literals_tests_and_those_who_tie_rooms_together_are_free() {
    let upward = "use crate::batch::Batch;\n";
    for (before, after) in [
        ("// ", ""),
        ("/* /* */ ", "*/"),
        ("const S: &str = \"\\\"", "\";"),
        ("const S: &str = r#\"\"", "\"#;"),
        ("#[cfg(test)]\nmod tests {\n    const C: char = '}';\n", "}"),
        ("#[cfg(test)]\n", ""),
    ] {
        let text = format!("{before}{upward}{after}");
        assert!(complaints("pool.rs", &text).is_empty(), "{text}");
        assert_eq!(
            complaints("pool.rs", &format!("{text}\n{upward}")).len(),
            1,
            "{text}"
        );
    }
    for free in ["pool/tests.rs", "lib.rs", "main.rs"] {
        assert!(complaints(free, upward).is_empty(), "{free}");
    }
}

#[test]
fn lifetimes_and_characters_are_told_apart() {
    let text = "fn f<'a>(c: &'a char) -> bool { *c == '\"' || *c == '\\'' || *c == 'x' }\nuse crate::cli::Exit;";
    let found = complaints("pool.rs", text);
    assert!(
        found.len() == 1 && found[0].starts_with("src/pool.rs:2: "),
        "{found:?}"
    );
}

#[test]
fn words_out_of_their_room_are_found() {
    assert_eq!(complaints("limiter.rs", "use serde::Serialize;").len(), 1);
    assert_eq!(complaints("hints.rs", "use serde::Serialize;").len(), 0);
    assert_eq!(
        complaints(
            "http.rs",
            "fn f() {\n    std::env::var(\"HTTPS_PROXY\");\n}"
        )
        .len(),
        1
    );
    assert_eq!(
        complaints("cli/plan.rs", "fn f() { std::env::var_os(\"KEY\"); }").len(),
        0
    );
    assert_eq!(complaints("pool.rs", "use std::thread;").len(), 1);
    assert_eq!(complaints("batch.rs", "use std::thread;").len(), 0);
    let found = complaints("practice.rs", "fn f() {\n    thread::sleep(SECOND);\n}");
    assert_eq!(
        found,
        ["src/practice.rs:2: sleep on a clock, so that a test need not"]
    );
}
