//! README.md and the pages in `docs/` are true: their commands run and print what stands below them, their links lead
//! somewhere, and their options, files and words exist. Their Rust blocks are doc tests, through `paceline::guide`.

#![cfg(feature = "cli")]

mod commands;
mod pages;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use pages::{Page, pages, root};

#[test]
fn each_command_runs_and_prints_what_stands_below_it() {
    let pages = pages();
    let complaints = std::thread::scope(|scope| {
        let runs: Vec<_> = pages
            .iter()
            .map(|page| scope.spawn(|| commands::complaints(page)))
            .collect();
        let complaints = runs.into_iter().flat_map(|run| run.join().unwrap());
        complaints.collect::<Vec<_>>()
    });
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn each_relative_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut wrong = Vec::new();
    for page in pages() {
        for link in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().unwrap().join(path),
            };
            let text = fs::read_to_string(&target);
            let is_there = target.is_dir()
                || text.is_ok_and(|text| {
                    anchor.is_empty() || Page::new(&target, text).anchors().contains(anchor)
                });
            if !is_there {
                wrong.push(format!("{}: {link}", page.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_page_that_the_program_names_exists_with_its_heading() {
    let named = source_texts().join("\n");
    let targets = named.split("docs/").skip(1);
    let targets =
        targets.filter_map(|rest| rest.split([' ', '"', '`', ';', '\n', ')', '\\']).next());
    let targets: BTreeSet<_> = targets.filter(|target| target.contains(".md")).collect();
    assert!(targets.iter().any(|target| target.contains('#')));
    for target in targets {
        let (page, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = root().join("docs").join(page.trim_end_matches('.'));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{target}: {error}"));
        let is_there = heading.is_empty() || Page::new(&path, text).anchors().contains(heading);
        assert!(is_there, "{target}");
    }
}

/// What the program may say: its code, and the texts beside it.
fn source_texts() -> Vec<String> {
    let mut folders = vec![root().join("src/cli")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|kind| kind == "rs" || kind == "txt")
            {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

#[test]
fn each_link_between_pages_works_in_the_guide_too() {
    // The guide defines each page's label anew: see src/guide.rs. An inline link would not be found there.
    for page in pages().iter().filter(|page| page.name() != "README.md") {
        let inline = page.text.lines().find(|line| {
            let links = line.split("](").skip(1);
            let targets = links.filter_map(|link| link.split(')').next());
            let mut pages = targets.filter(|link| {
                !link.starts_with("..") && !link.contains("://") && link.contains(".md")
            });
            pages.next().is_some()
        });
        assert_eq!(inline, None, "{}: write [text][page.md]", page.name());
    }
}

#[test]
fn each_page_is_in_the_index_and_in_the_guide() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let guide = fs::read_to_string(root().join("src/guide.rs")).unwrap();
    for page in pages() {
        let name = page.name();
        let Some(name) = name.strip_prefix("docs/") else {
            continue;
        };
        assert!(name == "README.md" || index.contains(name), "{name}: index");
        assert!(guide.contains(&format!("\"{name}\"")), "{name}: guide");
    }
}

#[test]
fn each_file_that_is_named_is_in_the_repository() {
    let folders = ["src/", "docs/", "examples/", "tests/", "benches/", "fuzz/"];
    for page in pages() {
        let named = page.quoted().filter(|word| {
            !word.contains(['*', ' ', '<']) && folders.iter().any(|folder| word.starts_with(folder))
        });
        for word in named {
            assert!(root().join(&word).exists(), "{}: {word}", page.name());
        }
    }
}

#[test]
fn each_option_that_is_named_exists() {
    let known = options();
    for page in pages() {
        for option in options_in(&page.text) {
            assert!(known.contains(&option), "{}: {option}", page.name());
        }
    }
}

#[test]
fn the_reference_has_every_outcome_event_and_exit_status() {
    let reference = fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let source = |path: &str| fs::read_to_string(root().join("src").join(path)).unwrap();
    let quoted = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let outcome = source("outcome.rs");
    let (_, list) = outcome.split_once("named! {").unwrap();
    let lines = list.lines().take_while(|line| *line != "}");
    let outcomes = lines.filter(|line| line.ends_with("\",") && !line.contains('#'));
    let event = source("batch/event.rs");
    let events = event.split("event = ").skip(1).map(quoted);
    let words: Vec<_> = outcomes.map(quoted).chain(events).collect();
    assert!(words.len() > 14, "{words:?}");
    for word in words {
        assert!(reference.contains(&format!("`{word}`")), "{word}");
    }
    for line in source("cli/exit.rs").lines() {
        if let Some((_, status)) = line.trim_end_matches(',').split_once(" = ") {
            assert!(reference.contains(&format!("| {status} |")), "{status}");
        }
    }
}

#[test]
fn the_readme_has_at_most_200_lines() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 200);
}

#[test]
fn the_picture_is_what_compare_draws() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("compare.svg");
    let args = ["compare", "--svg", drawn.to_str().unwrap()];
    assert!(paceline(&args).1, "it draws");
    let picture = fs::read_to_string(root().join("docs/compare.svg")).unwrap();
    let same = fs::read_to_string(drawn).unwrap() == picture;
    assert!(same, "cargo run -- compare --svg docs/compare.svg");
}

// ---- The options ----------------------------------------------------------------------------------------------------

/// Options of other programs, which the pages may name.
const FOREIGN: [&str; 12] = [
    "--all-targets",
    "--bench",
    "--doc",
    "--example",
    "--features",
    "--ignored",
    "--lib",
    "--no-default-features",
    "--open",
    "--path",
    "--release",
    "--test",
];

/// All options of all commands, from their help.
fn options() -> BTreeSet<String> {
    let mut options: BTreeSet<String> = FOREIGN.iter().map(|&name| name.to_owned()).collect();
    let mut waiting = vec![Vec::new()];
    while let Some(command) = waiting.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = paceline(&[&words[..], &["--help"]].concat()).0;
        options.extend(options_in(&help));
        let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let names = list.map_while(|line| line.split_whitespace().next());
        for name in names.filter(|name| *name != "help") {
            waiting.push([&command[..], &[name.to_owned()]].concat());
        }
    }
    options
}

/// The words that begin with two hyphens and a letter.
fn options_in(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !(c == '-' || c.is_ascii_alphanumeric()));
    words
        .filter(|word| {
            let name = word.strip_prefix("--").unwrap_or_default();
            name.starts_with(|c: char| c.is_ascii_lowercase())
        })
        .map(str::to_owned)
}

/// What it prints, and whether it succeeds.
fn paceline(args: &[&str]) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    let output = command.args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.success())
}

#[test]
fn an_option_is_told_from_other_hyphens() {
    let found: Vec<_> = options_in("`--rpm`, --key-env KEY, a -- b, ---, |---|, -o, --5").collect();
    assert_eq!(found, ["--rpm", "--key-env"]);
    let known = options();
    assert!(known.contains("--retry-failed") && !known.contains("--concurrency"));
    assert!(known.contains("--watch"), "of a command's command");
}
