//! The program itself, in real time.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::memory_of;

/// What a process has: memory in KiB, threads, open files.
#[derive(Clone, Copy, Debug)]
struct Has {
    memory: usize,
    threads: usize,
    files: usize,
}

fn has(process: u32) -> Option<Has> {
    let count = |what: &str| {
        Some(
            std::fs::read_dir(format!("/proc/{process}/{what}"))
                .ok()?
                .count(),
        )
    };
    Some(Has {
        memory: memory_of(&process.to_string())?,
        threads: count("task")?,
        files: count("fd")?,
    })
}

/// Ends a process when the test ends, however it does.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// For ten minutes, or as many seconds as `SOAK_SECONDS` says, with the program that `SOAK_BINARY` names if it is
/// another: `cargo test --release --test soak -- --ignored --nocapture`.
#[test]
#[ignore = "it takes ten minutes of real time"]
fn in_ten_minutes_at_two_thousand_calls_a_second_with_faults_nothing_grows() {
    let told = |name: &str| std::env::var(name).ok();
    let seconds: u64 = told("SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let binary = told("SOAK_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_paceline").to_owned());
    let folder = tempfile::tempdir().unwrap();
    let words = |text: &'static str| text.split(' ');
    let mut server = Command::new(&binary);
    server.args(words(
        "practice --latency 20ms --error-500 0.01 --reset 0.005 --truncated 0.005",
    ));
    let mut server = Ended(server.stderr(Stdio::piped()).spawn().unwrap());
    // Kept to the end: the server has more to say, and ends when nobody listens.
    let mut server_says = BufReader::new(server.0.stderr.take().unwrap());
    let mut said = String::new();
    server_says.read_line(&mut said).unwrap();
    let url = said
        .split_whitespace()
        .find(|word| word.starts_with("http"))
        .unwrap()
        .to_owned();
    let mut run = Command::new(&binary);
    run.args(words(
        "-q run - -o r.jsonl -m m --rpm 120000 --burst 8 -w 64 --base-delay 50ms --timeout-retries 9 --base-url",
    ));
    run.arg(&url)
        .env("OPENAI_API_KEY", "sk-soak")
        .current_dir(&folder);
    let mut run = Ended(run.stdin(Stdio::piped()).spawn().unwrap());
    let mut prompts = run.0.stdin.take().unwrap();
    // Prompts for as long as they are taken; the pipe holds them back.
    let end = Instant::now() + Duration::from_secs(seconds);
    let feeding = thread::spawn(move || {
        let topics = (1u64..).take_while(|_| Instant::now() < end);
        topics
            .map(|n| writeln!(prompts, "topic {n}").unwrap())
            .count()
    });
    let mut seen = Vec::new();
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1));
        seen.extend(has(run.0.id()));
    }
    let fed = feeding.join().unwrap();
    assert_eq!(run.0.wait().unwrap().code(), Some(0), "all are answered");
    let answered = BufReader::new(std::fs::File::open(folder.path().join("r.jsonl")).unwrap())
        .lines()
        .count();
    let (early, late) = (seen[seen.len() / 5], *seen.last().unwrap());
    println!(
        "{answered} answered of {fed} in {seconds} s ({} a second)",
        answered as u64 / seconds
    );
    println!("after a fifth of the time {early:?}, at the end {late:?}");
    assert_eq!(answered, fed);
    assert!(
        late.threads <= early.threads && late.files <= early.files + 64,
        "nothing leaks"
    );
    assert!(late.memory <= early.memory + 8_192, "memory is flat");
}
