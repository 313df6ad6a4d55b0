//! What can be seen of a run while it goes on, by people and by tools, and what it costs.

use serde_json::{Value, json};

use super::PATH;
use super::common::tcp::{self, response};
use super::common::{BRISK, Cli, Ran};

const KEY: &str = "sk-never-to-be-seen";

/// A server that refuses the first call, and answers the others for 1,000 tokens in and 2,000 out.
fn server(refusals: usize) -> mockito::ServerGuard {
    let mut server = mockito::Server::new();
    let refusal = server
        .mock("POST", PATH)
        .with_status(429)
        .with_header("retry-after-ms", "20");
    refusal.expect(refusals).create();
    let choices = json!([{"message": {"content": "Because."}, "finish_reason": "stop"}]);
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 2000});
    let body = json!({"choices": choices, "usage": usage}).to_string();
    server
        .mock("POST", PATH)
        .with_body(body)
        .expect_at_least(0)
        .create();
    server
}

/// Each line of the log, which must all be objects.
fn lines(ran: &Ran) -> Vec<Value> {
    let parse =
        |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{ran}"));
    ran.stderr.lines().map(parse).collect()
}

#[test]
fn in_json_every_line_is_an_object_and_a_prompts_history_can_be_followed() {
    let server = server(1);
    let ran = Cli::of_topics(2).env("OPENAI_API_KEY", KEY).run(
        &[
            BRISK,
            &[
                "-w",
                "1",
                "--log-format",
                "json",
                "--base-url",
                &server.url(),
            ],
        ]
        .concat(),
    );
    assert!(ran.is_all_answered(2), "{ran}");
    assert!(!ran.stderr.contains(KEY), "{ran}");
    let lines = lines(&ran);
    let history: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "attempt" && line["prompt"] == "line-1")
        .collect();
    assert_eq!(history.len(), 2, "{ran}");
    assert_eq!(
        (&history[0]["status"], &history[0]["retry_after_ms"]),
        (&json!(429), &json!(20))
    );
    assert_eq!(
        (
            &history[1]["status"],
            &history[1]["attempt"],
            &history[1]["line"]
        ),
        (&json!(200), &json!(2), &json!(1))
    );
    let time = history[0]["time"].as_str().unwrap();
    assert!(
        time.len() == "2026-11-24T10:00:00.123Z".len() && time.ends_with('Z'),
        "{time}"
    );
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "said", "paused", "attempt", "resumed", "attempt", "attempt", "ended"
        ],
        "{ran}"
    );
    let ended = lines.last().unwrap();
    assert_eq!(ended["failed_calls"][0]["status"], 429, "{ran}");
    assert_eq!(ended["failed_calls"][0]["count"], 1, "{ran}");
    assert_eq!(
        (&ended["answered"], &ended["rate_limited"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn in_json_what_is_wrong_is_an_object_too() {
    let ran = Cli::of_topics(1).run(&["--log-format", "json", "--base-url", "nowhere"]);
    assert_eq!(
        (ran.exit, &lines(&ran)[0]["event"]),
        (2, &json!("error")),
        "{ran}"
    );
    let url = tcp::answering(|_| response("401 Unauthorized", ""));
    let ran = Cli::of_topics(1).run(&["--log-format", "json", "-q", "--base-url", &url]);
    let lines = lines(&ran);
    assert_eq!(
        (ran.exit, lines.len(), &lines[0]["stopped"]),
        (3, 1, &json!(true)),
        "{ran}"
    );
}

#[test]
fn what_the_answers_cost_is_said_at_the_end() {
    let server = server(0);
    let ran =
        Cli::of_topics(3).run(&[BRISK, &["--price", "2,10", "--base-url", &server.url()]].concat());
    let said = "cost     $0.066: 3,000 tokens in, 6,000 out\n";
    assert!(ran.is_all_answered(3) && ran.stderr.contains(said), "{ran}");
}

#[test]
fn an_answer_that_does_not_say_what_it_cost_is_counted() {
    let url = tcp::answering(|_| response("200 OK", &tcp::completion("Because.")));
    let ran = Cli::of_topics(1).run(&[BRISK, &["--price", "2,10", "--base-url", &url]].concat());
    assert!(
        ran.stderr.contains("cost     $0: 0 tokens in, 0 out"),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains(", without 1 answer that reported no tokens"),
        "{ran}"
    );
}

#[test]
fn a_run_stops_when_it_has_cost_as_much_as_it_may_and_can_be_gone_on_with() {
    let (server, cli) = (server(0), Cli::of_topics(20));
    let url = server.url();
    let options = [
        BRISK,
        &[
            "-w",
            "1",
            "--price",
            "2,10",
            "--max-cost",
            "0.1",
            "--base-url",
            &url,
        ],
    ]
    .concat();
    let ran = cli.run(&options);
    assert_eq!((ran.exit, ran.records.len()), (3, 5), "0.022 each: {ran}");
    assert!(
        ran.stderr
            .contains("stopped: the answers have cost $0.11, and --max-cost is $0.1\n"),
        "{ran}"
    );
    let ran = cli.run(&options);
    assert_eq!(
        (ran.exit, ran.records.len()),
        (3, 10),
        "as much again: {ran}"
    );
}

#[test]
fn a_ceiling_needs_a_price() {
    for wrong in [
        &["--max-cost", "1"][..],
        &["--price", "1,2", "--max-cost", "0"],
        &["--price", "1"],
    ] {
        let ran = Cli::of_topics(1).run(wrong);
        assert_eq!(ran.exit, 2, "{ran}");
    }
}

#[test]
fn a_short_run_shows_nothing_on_the_way_where_there_is_no_terminal() {
    let server = server(0);
    let ran = Cli::of_topics(3).run(
        &[
            BRISK,
            &["--progress", "always", "--base-url", &server.url()],
        ]
        .concat(),
    );
    assert!(
        !ran.stderr.contains('\x1b') && ran.stderr.lines().count() <= 5,
        "{ran}"
    );
}

#[test]
fn a_long_hold_is_said_at_once_where_there_is_no_terminal() {
    let url = tcp::answering(|_| {
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n"
            .to_owned()
    });
    let ran = Cli::of_topics(1).run(&[BRISK, &["--max-wait", "1s", "--base-url", &url]].concat());
    assert!(
        ran.exit == 3 && ran.stderr.contains("paused by the server, continues at "),
        "{ran}"
    );
    let ran =
        Cli::of_topics(1).run(&[BRISK, &["-v", "--max-wait", "1s", "--base-url", &url]].concat());
    assert_eq!(ran.stderr.matches(" continues at ").count(), 1, "{ran}");
}

// ---- The terminal, and readers that leave -----------------------------------------------------------------------------

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_has_its_cursor_back_after_a_good_run_and_after_a_bad_one() {
    let nobody = tcp::nobody();
    for (options, end) in [
        ("--practice --rpm 60000", "3 answered"),
        (&*format!("--base-url {nobody} --max-retries 0"), "help: "),
    ] {
        let script = format!(r#"exec script -qec "$0 run prompts.txt -m m {options}" /dev/null"#);
        let cli = Cli::of_topics(3).env("TERM", "xterm");
        let ran = cli.paceline_after(&script, &[]);
        let place = |words: &str| ran.stdout.rfind(words);
        assert!(place(end).is_some(), "{ran}");
        assert!(place("\x1b[?25l").is_some(), "{ran}");
        assert!(place("\x1b[?25h") > place("\x1b[?25l"), "{ran}");
    }
}

#[test]
fn a_reader_of_the_results_who_leaves_stops_the_run() {
    let args = ["run", "prompts.txt", "--practice", "-o", "-"];
    let cli = Cli::of_topics(300);
    let mut child = cli.start_after(":", &args);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("standard output"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_reader_of_what_is_said_who_leaves_is_no_reason_to_stop() {
    let cli = Cli::of_topics(3);
    let args = ["run", "prompts.txt", "--practice", "--rpm", "60000", "-v"];
    let mut child = cli.start_after(":", &args);
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(cli.results().lines().count(), 3);
}
