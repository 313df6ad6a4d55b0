//! The commands of a page, in one shell in a fresh folder, against a practice server in place of every API.
//!
//! A block of `console` has commands, `$ …`, each with the output below it. A block with a file's name behind its language
//! becomes that file. Numbers, durations and sizes may differ from those on the page; a line with `…` stands for any.
//! A command that is followed by `$ echo $?` may fail; any other succeeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use paceline::practice::{Latency, Limits, Server, ServerOptions};

use crate::pages::{Page, root};

/// What is not run here at all, and why.
const NOT_RUN: [(&str, &str); 11] = [
    ("cargo ", "it builds, under a lock that the tests hold"),
    ("curl ", "it asks a server that runs until Ctrl-C"),
    ("duckdb ", "it need not be there"),
    ("sqlite3 ", "it need not be there"),
    ("jq ", "it need not be there"),
    ("pip ", "it needs a network"),
    ("pipx ", "it needs a network"),
    ("uvx ", "it needs a network"),
    ("docker ", "it need not be there"),
    ("python ", "it stands for the reader's own program"),
    ("OPENAI_BASE_URL=", "it stands for the reader's own program"),
];

/// Of these only the arguments are checked, and why.
const ARGUMENTS_ONLY: [(&str, &str); 5] = [
    ("paceline practice", "it serves until Ctrl-C"),
    ("paceline gate", "it serves until Ctrl-C"),
    ("paceline learn", "it serves until Ctrl-C"),
    ("paceline queue", "it needs Redis: tests/queue runs it"),
    ("redis://", "it needs Redis: tests/share.rs runs it"),
];

/// The server that the pages give to a model of one's own.
const LOCAL: &str = "http://localhost:8080";

struct Step<'a> {
    command: &'a str,
    expected: Vec<&'a str>,
    may_fail: bool,
}

impl<'a> Step<'a> {
    /// Whether the command itself is run here.
    fn is_run(&self) -> bool {
        runnable(self.command) == self.command
    }

    /// The first expected line that was not printed.
    fn missing(&self, output: &str) -> Option<&'a str> {
        missing(&self.expected, output).filter(|_| self.is_run())
    }
}

/// What is wrong with the commands of this page.
pub(crate) fn complaints(page: &Page) -> Vec<String> {
    let steps = steps(page);
    if steps.is_empty() {
        return Vec::new();
    }
    let results = run(page, &steps);
    let mut complaints = Vec::new();
    for (step, result) in steps.iter().zip(results) {
        let complain = |what: &str| format!("{}: $ {}: {what}", page.name(), step.command);
        match result {
            None => complaints.push(complain("was not reached")),
            Some(result) => {
                if result.status != "0" && !step.may_fail {
                    let what = format!("status {}\n{}", result.status, result.output);
                    complaints.push(complain(&what));
                } else if let Some(line) = step.missing(&result.output) {
                    let what = format!("prints no\n{line}\nbut\n{}", result.output);
                    complaints.push(complain(&what));
                }
            }
        }
    }
    complaints
}

/// The steps that can be run here, as they are run here.
fn steps(page: &Page) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let blocks = page.blocks();
    for block in blocks.iter().filter(|block| block.info == "console") {
        for line in &block.lines {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), last) => {
                    if let Some(last) = last {
                        last.may_fail |= command == "echo $?";
                    }
                    let (expected, may_fail) = (Vec::new(), false);
                    steps.push(Step {
                        command,
                        expected,
                        may_fail,
                    });
                }
                (None, Some(step)) => step.expected.push(line),
                (None, None) => panic!("{}: a block begins with no command: {line}", page.name()),
            }
        }
    }
    steps
}

struct StepResult {
    status: String,
    output: String,
}

/// Runs all steps in one shell; `None` for those that it did not come to.
fn run(page: &Page, steps: &[Step<'_>]) -> Vec<Option<StepResult>> {
    const MARK: &str = "\u{1}";
    let server = practice();
    let folder = tempfile::tempdir().unwrap();
    prepare(page, folder.path());
    let mut script = String::from("s=0\n");
    for step in steps {
        let mut command = runnable(step.command).replace(LOCAL, &server.url());
        if command.contains("paceline run ") {
            // The practice server has no limit, so nobody need wait for one.
            command = command.replace("--rpm 50", "--rpm 60000");
        }
        script +=
            &format!("printf '\\n{MARK}'; (exit $s)\n{command}\ns=$?; printf '\\n{MARK}%d' $s\n");
    }
    script += "kill $(jobs -p) 2>/dev/null; exit 0";
    let output = shell(&server, folder.path(), &script).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = text.split(MARK).skip(1);
    let mut result = || {
        let output = parts.next()?.to_owned();
        let status = parts.next()?.trim().to_owned();
        Some(StepResult { status, output })
    };
    steps.iter().map(|_| result()).collect()
}

fn practice() -> Server {
    let limits = Limits::default();
    let latency = Latency::Constant(std::time::Duration::from_millis(20));
    Server::start_with(ServerOptions {
        limits,
        latency,
        ..ServerOptions::default()
    })
    .unwrap()
}

/// The files that the page shows, and those of the repository that it may use.
fn prepare(page: &Page, folder: &Path) {
    let prompts = root().join("prompts.txt");
    fs::copy(prompts, folder.join("prompts.txt")).unwrap();
    for block in page.blocks() {
        if let Some((_, name)) = block.info.split_once(' ') {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, block.lines.join("\n") + "\n").unwrap();
        }
    }
    for (name, text) in [
        ("rows.csv", "topic,audience\nbees,children\nbread,bakers\n"),
        ("ask.txt", "Explain {{topic}} to {{audience}}.\n"),
    ] {
        let path = folder.join(name);
        if !path.exists() {
            fs::write(path, text).unwrap();
        }
    }
}

fn shell(server: &Server, folder: &Path, script: &str) -> Command {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_paceline"));
    let system = std::env::var("PATH").unwrap();
    let path = format!("{}:{system}", program.parent().unwrap().display());
    let mut command = Command::new("sh");
    let script = format!("exec 2>&1\n{script}");
    command
        .args(["-c", &script])
        .current_dir(folder)
        .env_clear();
    command
        .env("PATH", path)
        .env("HOME", folder)
        .env("LANG", "C.UTF-8");
    for provider in [
        "OPENAI",
        "ANTHROPIC",
        "GOOGLE_GEMINI",
        "OPENROUTER",
        "AZURE",
    ] {
        command.env(format!("{provider}_BASE_URL"), server.url());
    }
    for name in [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "OPENROUTER_API_KEY",
        "AZURE_API_KEY",
        "KEY_A",
        "KEY_B",
    ] {
        command.env(name, format!("sk-of-{name}"));
    }
    command.stdin(Stdio::null());
    command
}

/// The command as it is run: itself, a check of its arguments, or nothing.
fn runnable(command: &str) -> String {
    let is_in = |(words, _): &(&str, &str)| command.starts_with(words);
    if NOT_RUN.iter().any(is_in) {
        return ":".to_owned();
    }
    let is_about = |(words, _): &(&str, &str)| command.contains(words);
    if !ARGUMENTS_ONLY.iter().any(is_about) {
        return command.to_owned();
    }
    let ends = [" #", " |", " &", " >", " 2>"];
    let end = ends.iter().filter_map(|end| command.find(end)).min();
    let command = &command[..end.unwrap_or(command.len())];
    format!("{command} --help > /dev/null")
}

/// The first expected line that was not printed.
fn missing<'a>(expected: &[&'a str], output: &str) -> Option<&'a str> {
    let printed: Vec<_> = output.lines().map(normal).collect();
    let mut lines = expected.iter().filter(|line| !line.contains('…'));
    lines.find(|line| !printed.contains(&normal(line))).copied()
}

/// A line without what differs from run to run: each number, duration and size becomes a sign, each space one space.
fn normal(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let word = without_numbers(word);
        let unit = word.trim_end_matches([',', ';', ')', ':', '.']);
        match words.last_mut() {
            Some(last) if last.ends_with('#') && ["ms", "s", "min", "h"].contains(&unit) => {
                last.push_str(&word[unit.len()..]);
            }
            Some(last) if last.ends_with('#') && word.starts_with('#') => {}
            Some(last) if last.ends_with('#') && ["B", "kB", "MB"].contains(&unit) => {}
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn without_numbers(word: &str) -> String {
    let mut text = String::new();
    let mut letters = word.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_digit() {
            text.push(letter);
            continue;
        }
        let is_part = |c: &char| c.is_ascii_digit() || [',', '.'].contains(c);
        let mut number = String::new();
        while let Some(more) = letters.next_if(is_part) {
            number.push(more);
        }
        let after = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        text.push('#');
        text.push_str(&number[after.len()..]);
    }
    text
}

#[test]
fn lines_are_compared_but_for_figures() {
    let same = |a, b| normal(a) == normal(b);
    assert!(same(
        "20 prompts in 2.87 s: 20 answered",
        "20 prompts in 1 min 3 s: 9 answered"
    ));
    assert!(same("a  31.6 kB, 5", "a 900 B, 5"));
    assert!(same("http://127.0.0.1:46805/v1", "http://127.0.0.1:1/v1"));
    assert!(!same("20 answered, 1 failed", "20 answered"));
    assert_eq!(missing(&["a 1", "…", "b"], "a 2\nc\n"), Some("b"));
}
