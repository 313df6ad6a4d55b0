//! What the program says while it works: a line an attempt for `-v`, less for `-q`, and never a key.

use serde_json::{Value, json};

use super::PATH;
use super::common::tcp::{self, completion, response};
use super::common::{Cli, Ran};

const KEY: &str = "sk-never-to-be-seen";

/// A server that refuses the first call with an order to wait, fails the second, and answers the third.
fn moody() -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    let refusal = server
        .mock("POST", PATH)
        .with_status(429)
        .with_header("retry-after-ms", "5");
    refusal.expect(1).create();
    server
        .mock("POST", PATH)
        .with_status(500)
        .with_body("Oh no.")
        .expect(1)
        .create();
    server
        .mock("POST", PATH)
        .with_body(completion("Because."))
        .expect(1)
        .create();
    server
}

fn run(log: &[&str]) -> Ran {
    let server = moody();
    let options = [
        "--base-delay",
        "2ms",
        "--max-delay",
        "9ms",
        "--jitter",
        "none",
        "--base-url",
        &server.url(),
    ];
    let ran = Cli::of_topics(1).run(&[&options[..], log].concat());
    assert!(ran.is_all_answered(1), "{ran}");
    ran
}

#[test]
fn verbose_tells_people_each_attempt_with_its_local_time() {
    let ran = run(&["-v"]);
    let lines = ran
        .stderr
        .lines()
        .filter(|line| line.contains("  line-1  "));
    let lines: Vec<_> = lines.map(|line| line.split_at("10:27:27".len())).collect();
    let expected = [
        ("  line-1  429  0.", "(again in 5 ms)"),
        ("  line-1  500  0.", "Oh no.  (again in 2 ms)"),
        ("  line-1  200  0.", " s"),
    ];
    assert_eq!(lines.len(), 3, "{ran}");
    for ((time, line), (start, end)) in lines.into_iter().zip(expected) {
        assert_eq!(time.matches(':').count(), 2, "{ran}");
        assert!(
            line.starts_with(start) && line.ends_with(end),
            "{line:?}: {ran}"
        );
    }
}

#[test]
fn the_json_log_has_each_attempt_with_its_fields() {
    let ran = run(&["--log-format", "json"]);
    let lines = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let attempts: Vec<Value> = lines
        .filter(|line: &Value| line["event"] == "attempt")
        .collect();
    let field = |name: &str| {
        attempts
            .iter()
            .map(|line| line[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(field("prompt"), ["line-1"; 3], "{ran}");
    assert_eq!(field("attempt"), [1, 2, 3], "{ran}");
    assert_eq!(field("status"), [429, 500, 200], "{ran}");
    assert_eq!(
        field("outcome"),
        ["rate_limited", "server_error", "answered"],
        "{ran}"
    );
    assert_eq!(
        field("backoff_ms"),
        [json!(5), json!(2), Value::Null],
        "{ran}"
    );
    assert_eq!(
        field("retry_after_ms"),
        [json!(5), Value::Null, Value::Null],
        "{ran}"
    );
    let are_timed = |line: &Value| line["paced_ms"].is_u64() && line["took_ms"].is_u64();
    assert!(attempts.iter().all(are_timed), "{ran}");
}

#[test]
fn usually_only_the_beginning_and_the_end_are_told() {
    let ran = run(&[]);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(
        lines[0].starts_with("1 prompt to http://127.0.0.1:"),
        "{ran}"
    );
    assert!(
        lines[1].starts_with("1 prompt in ") && lines[1].ends_with(": 1 answered"),
        "{ran}"
    );
    assert_eq!(
        lines[2], "  calls    3, 2 of them retries: 1 x 429, 1 x 500",
        "{ran}"
    );
    let last = lines.last().unwrap();
    assert!(last.starts_with("  next     paceline export "), "{ran}");
}

#[test]
fn quiet_says_nothing_unless_the_batch_stops() {
    assert_eq!(run(&["-q"]).stderr, "");
    let url = tcp::answering(|_| response("401 Unauthorized", ""));
    let ran = Cli::of_topics(1).run(&["-q", "--base-url", &url]);
    assert!(
        ran.exit == 3 && ran.stderr.contains("error: stopped: status 401"),
        "{ran}"
    );
}

#[test]
fn rust_log_overrides_the_flags() {
    let server = moody();
    let loud = Cli::of_topics(1)
        .env("RUST_LOG", "paceline=info")
        .run(&[super::QUICK, &["--base-url", &server.url()]].concat());
    assert_eq!(loud.stderr.matches("  line-1  ").count(), 3, "{loud}");
    let server = moody();
    let mute = Cli::of_topics(1)
        .env("RUST_LOG", "off")
        .run(&[super::QUICK, &["-v", "--base-url", &server.url()]].concat());
    assert_eq!(mute.stderr.matches("  line-1  ").count(), 0, "{mute}");
}

#[test]
fn a_key_is_in_no_output_whatever_is_logged() {
    let repeats =
        json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}}).to_string();
    let wrong = move |request: &str| {
        assert!(request.contains(KEY), "the key was sent");
        response("401 Unauthorized", &repeats)
    };
    let rejects = |_: &str| response("400 Bad Request", &format!("no: {KEY}"));
    let answers = |_: &str| response("200 OK", &completion("Because."));
    for (exit, url) in [
        (3, tcp::answering(wrong)),
        (1, tcp::answering(rejects)),
        (0, tcp::answering(answers)),
    ] {
        for (log, flag) in [
            ("", "-vv"),
            ("trace", "-v"),
            ("ureq=trace,ureq_proto=trace,rustls=trace", "-v"),
        ] {
            let cli = Cli::of_topics(2).env("OPENAI_API_KEY", KEY);
            let cli = if log.is_empty() {
                cli
            } else {
                cli.env("RUST_LOG", log)
            };
            let ran = cli.run(&[flag, "--base-url", &url]);
            assert_eq!(ran.exit, exit, "{ran}");
            assert!(!ran.to_string().contains(KEY), "{ran}");
        }
    }
}
