//! The program as its users run it: the real binary, in a folder of its own, in an environment without surprises.
//!
//! ```ignore
//! let cli = Cli::of("Why is the sky blue?\n").env("OPENAI_API_KEY", "sk-…");
//! let ran = cli.run(&["--base-url", &url]);
//! assert_eq!((ran.exit, ran.records.len()), (0, 1), "{ran}");
//! ```

#![allow(dead_code)] // Each test file is a crate of its own, and none of them uses everything.

#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod started;
pub(crate) mod tcp;

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

/// Variables that would change what the program does.
const SURPRISES: &[&str] = &[
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "PACELINE_REDIS_PASSWORD",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "GEMINI_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "RUST_LOG",
    "RUST_LOG_STYLE",
];

/// A pace that no test has to wait for, and that need not be found.
pub(crate) const BRISK: &[&str] = &["--rpm", "60000"];

/// A folder with a `prompts.txt`, and what to run in it.
pub(crate) struct Cli {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
    stdin: Option<String>,
}

impl Cli {
    /// A fresh folder whose `prompts.txt` reads so.
    pub(crate) fn of(prompts: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("prompts.txt"), prompts).unwrap();
        Cli {
            folder,
            env: Vec::new(),
            stdin: None,
        }
    }

    /// The same with so many prompts: `topic 1`, `topic 2` and so on.
    pub(crate) fn of_topics(count: usize) -> Self {
        Cli::of(
            (1..=count)
                .map(|n| format!("topic {n}\n"))
                .collect::<String>(),
        )
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn stdin(self, text: &str) -> Self {
        Cli {
            stdin: Some(text.to_owned()),
            ..self
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `paceline run prompts.txt -m m` and these arguments.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.paceline(&[&["run", "prompts.txt", "-m", "m"], args].concat())
    }

    /// Runs `paceline` with these arguments to its end.
    pub(crate) fn paceline(&self, args: &[&str]) -> Ran {
        self.to_its_end(self.command(env!("CARGO_BIN_EXE_paceline"), args))
    }

    /// The same from a shell that has been told something before: a limit, for example.
    pub(crate) fn paceline_after(&self, script: &str, args: &[&str]) -> Ran {
        self.to_its_end(self.command_after(script, args))
    }

    /// Starts it from a shell that has done something before. What it says is not read.
    pub(crate) fn start_after(&self, script: &str, args: &[&str]) -> Child {
        self.command_after(script, args).spawn().expect("it starts")
    }

    fn command_after(&self, script: &str, args: &[&str]) -> Command {
        let script = format!("{script}; exec \"$0\" \"$@\"");
        let words = [&["-c", &script, env!("CARGO_BIN_EXE_paceline")], args].concat();
        self.command("sh", &words)
    }

    fn to_its_end(&self, mut command: Command) -> Ran {
        let mut child = command.spawn().expect("it starts");
        if let (Some(text), Some(mut stdin)) = (&self.stdin, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).expect("it reads");
        }
        let output = child.wait_with_output().unwrap();
        self.ran(output.status, output.stdout, output.stderr)
    }

    /// A program in this folder, whose output is ours to read.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        SURPRISES.iter().for_each(|name| {
            command.env_remove(name);
        });
        let stdin = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .args(args)
            .envs(self.env.iter().cloned())
            .current_dir(&self.folder);
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn ran(&self, status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8>) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("what the program says is UTF-8");
        Ran {
            exit: status.code().expect("it ends by itself"),
            stdout: text(stdout),
            stderr: text(stderr),
            records: records(&self.results()),
        }
    }

    /// What is in `prompts.results.jsonl`, or else in `prompts.practice.jsonl`; nothing if neither is there.
    pub(crate) fn results(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name));
        let results = read("prompts.results.jsonl");
        results
            .or_else(|_| read("prompts.practice.jsonl"))
            .unwrap_or_default()
    }
}

/// What came of running the program.
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// What is in `prompts.results.jsonl`, if that is there.
    pub(crate) records: Vec<Value>,
}

/// Everything, for the message of an assertion.
impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ran {
            exit,
            stdout,
            stderr,
            records,
        } = self;
        write!(
            f,
            "exit {exit}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n--- records\n"
        )?;
        records
            .iter()
            .try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl Ran {
    /// The record of this name.
    #[track_caller]
    pub(crate) fn record(&self, custom_id: &str) -> &Value {
        let found = self
            .records
            .iter()
            .find(|record| record["custom_id"] == custom_id);
        found.unwrap_or_else(|| panic!("no record {custom_id}: {self}"))
    }

    /// The names of the records, sorted.
    pub(crate) fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self
            .records
            .iter()
            .map(|record| record["custom_id"].as_str().unwrap())
            .collect();
        ids.sort_unstable();
        ids
    }

    /// One field of all attempts of all records, in order.
    pub(crate) fn attempts(&self, field: &str) -> Vec<Value> {
        let attempts = self
            .records
            .iter()
            .flat_map(|record| record["attempts"].as_array().unwrap());
        attempts.map(|attempt| attempt[field].clone()).collect()
    }

    /// Whether every prompt up to this number has one record, an answer.
    pub(crate) fn is_all_answered(&self, count: usize) -> bool {
        let mut expected: Vec<_> = (1..=count).map(|n| format!("line-{n}")).collect();
        expected.sort_unstable();
        self.exit == 0
            && self.ids() == expected
            && self.records.iter().all(|record| record["text"].is_string())
    }
}

/// The records of a results file.
#[track_caller]
pub(crate) fn records(text: &str) -> Vec<Value> {
    let record =
        |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.split_terminator('\n').map(record).collect()
}
