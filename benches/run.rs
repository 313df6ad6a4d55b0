//! A whole run against a raw load client: `cargo bench --bench run`.
//!
//! `paceline run` and `wrk` ask the same local nginx for the same answer over as many connections, in turn, and so does
//! the API client of a run alone, in bare threads, which tells what of the cost is that of the calls. What is compared is
//! calls a second, the client's own processor time a call, and its memory. Without nginx or wrk (Debian has both) there
//! is nothing to compare with, and this says so.

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use common::Spread;
use paceline::api::{ApiKind, Ask, Client, Key, Params};

const ROUNDS: usize = 3;
const CALLS: usize = 40_000;
const PORT: u16 = 18_081;
const REQUEST: &str = r#"{"model":"m","messages":[{"role":"user","content":"topic 12345"}]}"#;
const BODY: &str = r#"{"id":"c-1","object":"chat.completion","created":1795687200,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"A steady pace is a kindness to whoever rides behind."},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":11,"total_tokens":23}}"#;

/// What a client's run came to.
struct Ran {
    calls_a_second: f64,
    /// Microseconds of the client's processor time, its own and the system's for it.
    cpu_a_call: f64,
    peak_mib: f64,
}

impl Ran {
    /// So many calls took so many seconds, and so many of processor time.
    fn of(calls: usize, took: f64, cpu: f64, peak_mib: f64) -> Self {
        Ran {
            calls_a_second: calls as f64 / took,
            cpu_a_call: cpu * 1e6 / calls as f64,
            peak_mib,
        }
    }
}

/// A process that is ended when the bench is.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("PATH=$PATH:/usr/sbin command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

fn nginx(folder: &Path) -> Background {
    let conf = format!(
        "worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log stderr crit; events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000; client_body_temp_path b; proxy_temp_path p;
        fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s; server {{ listen 127.0.0.1:{PORT};
        default_type application/json; location / {{ return 200 '{BODY}'; }} }} }}"
    );
    fs::write(folder.join("nginx.conf"), conf).unwrap();
    let script = "PATH=$PATH:/usr/sbin; exec nginx -p \"$0\" -c \"$0/nginx.conf\" -e stderr";
    let server = Command::new("sh")
        .args(["-c", script])
        .arg(folder)
        .spawn()
        .expect("nginx starts");
    wait_for(PORT);
    Background(server)
}

fn wait_for(port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a client to its end under a shell that tells what it used. Returns what it said, the seconds that it took, those
/// of processor time, and its peak memory in MiB.
fn watched(folder: &Path, words: &[&str]) -> (String, f64, f64, f64) {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "\"$@\"; times", "sh"])
        .args(words)
        .current_dir(folder)
        .env("OPENAI_API_KEY", "sk-bench");
    let began = Instant::now();
    let mut shell = shell
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let mut peak: f64 = 0.0;
    while shell.try_wait().unwrap().is_none() {
        peak = peak.max(peak_of_child(shell.id()).unwrap_or_default());
        thread::sleep(Duration::from_millis(10));
    }
    let took = began.elapsed().as_secs_f64();
    let said = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    let times = said
        .lines()
        .last()
        .expect("the shell tells the times of its children");
    let cpu = times.split_whitespace().map(seconds).sum();
    (said, took, cpu, peak)
}

fn peak_of_child(shell: u32) -> Option<f64> {
    let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
    let status = fs::read_to_string(format!("/proc/{}/status", children.trim())).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0)
}

/// `1m2.5s`
fn seconds(text: &str) -> f64 {
    let (minutes, seconds) = text
        .trim_end_matches('s')
        .split_once('m')
        .expect("minutes and seconds");
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}

fn paceline(folder: &Path, workers: usize, calls: usize, port: u16) -> Ran {
    let (url, workers, limit) = (
        format!("http://127.0.0.1:{port}/v1"),
        workers.to_string(),
        calls.to_string(),
    );
    let words = [
        env!("CARGO_BIN_EXE_paceline"),
        "-q",
        "run",
        "prompts.txt",
        "--restart",
        "-m",
        "m",
    ];
    let options = [
        "--base-url",
        &url,
        "--rpm",
        "60000000",
        "--workers",
        &workers,
        "--limit",
        &limit,
    ];
    let (_, took, cpu, peak_mib) = watched(folder, &[&words[..], &options].concat());
    let results = fs::read_to_string(folder.join("prompts.results.jsonl")).unwrap();
    assert_eq!(
        results.lines().count(),
        calls,
        "every call is answered and on record"
    );
    for old in fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if old.to_string_lossy().contains(".results.") {
            fs::remove_file(old).unwrap();
        }
    }
    Ran::of(calls, took, cpu, peak_mib)
}

fn wrk(folder: &Path, connections: usize) -> Ran {
    let (url, connections) = (
        format!("http://127.0.0.1:{PORT}/v1/chat/completions"),
        connections.to_string(),
    );
    let words = [
        "wrk",
        "-t1",
        "-c",
        &connections,
        "-d",
        "3",
        "-s",
        "post.lua",
        &url,
    ];
    let (said, _, cpu, peak_mib) = watched(folder, &words);
    let rate = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .expect("wrk tells its rate");
    let total = said
        .lines()
        .find(|line| line.contains(" requests in "))
        .expect("wrk tells its calls");
    let calls: f64 = total.split_whitespace().next().unwrap().parse().unwrap();
    Ran {
        calls_a_second: rate.trim().parse().unwrap(),
        cpu_a_call: cpu * 1e6 / calls,
        peak_mib,
    }
}

/// The API client alone, in a process of its own.
fn client(folder: &Path, connections: usize) -> Ran {
    let this = env::current_exe().unwrap();
    let (_, took, cpu, peak_mib) = watched(
        folder,
        &[this.to_str().unwrap(), CLIENT, &connections.to_string()],
    );
    Ran::of(CALLS, took, cpu, peak_mib)
}

/// What makes this program that process.
const CLIENT: &str = "client";

/// Bare threads that do nothing but call.
fn call(connections: usize) {
    let url = format!("http://127.0.0.1:{PORT}");
    let key = Key::new("sk-bench");
    let api = ApiKind::Chat.api();
    let client = Client::new(api, Some(&url), key.as_ref(), Params::default());
    let begun = AtomicUsize::new(0);
    let is_one_left = || begun.fetch_add(1, Ordering::Relaxed) < CALLS;
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                while is_one_left() {
                    client.ask(REQUEST.as_bytes()).expect("an answer");
                }
            });
        }
    });
}

fn row(name: &str, connections: usize, ran: &[Ran]) -> f64 {
    let of = |figure: fn(&Ran) -> f64| -> Spread { ran.iter().map(figure).collect() };
    let (rate, cpu, peak) = (
        of(|ran| ran.calls_a_second),
        of(|ran| ran.cpu_a_call),
        of(|ran| ran.peak_mib),
    );
    println!("{name:<9} {connections:>11} {rate:>28} {cpu:>26} {peak:>24}");
    rate.median()
}

/// A thousand calls at the same time, at a server that takes its time.
fn a_thousand_in_flight(folder: &Path) {
    const SLOW: u16 = PORT + 1;
    let mut server = Command::new(env!("CARGO_BIN_EXE_paceline"));
    server
        .args([
            "practice",
            "--port",
            &SLOW.to_string(),
            "--latency",
            "500ms",
        ])
        .stderr(Stdio::null());
    let _server = Background(server.spawn().expect("the practice server starts"));
    wait_for(SLOW);
    let ran: Vec<_> = (0..ROUNDS)
        .map(|_| paceline(folder, 1000, 5_000, SLOW))
        .collect();
    row("in flight", 1000, &ran);
}

fn main() {
    if let [_, word, connections] = &env::args().collect::<Vec<_>>()[..]
        && word == CLIENT
    {
        return call(connections.parse().unwrap());
    }
    for program in ["nginx", "wrk"] {
        if !is_there(program) {
            return println!("SKIPPED: there is no {program} here (apt-get install {program})");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut prompts = fs::File::create(folder.join("prompts.txt")).unwrap();
    (1..=CALLS).for_each(|n| writeln!(prompts, "topic {n}").unwrap());
    let lua = format!(
        "wrk.method = 'POST' wrk.headers['content-type'] = 'application/json' wrk.body = '{REQUEST}'"
    );
    fs::write(folder.join("post.lua"), lua).unwrap();
    let _nginx = nginx(folder);
    println!(
        "{:<9} {:>11} {:>28} {:>26} {:>24}",
        "", "connections", "calls a second", "CPU a call, µs", "peak, MiB"
    );
    for connections in [16, 256] {
        let (mut theirs, mut ours, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(wrk(folder, connections));
            ours.push(paceline(folder, connections, CALLS, PORT));
            alone.push(client(folder, connections));
        }
        let whole = row("paceline", connections, &ours);
        let (alone, most) = (
            row("its client", connections, &alone),
            row("wrk", connections, &theirs),
        );
        let percent = |part: f64| 100.0 * part / most;
        println!(
            "          {:.0} % of wrk's calls a second; its client alone {:.0} %",
            percent(whole),
            percent(alone)
        );
    }
    a_thousand_in_flight(folder);
}
