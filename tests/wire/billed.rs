//! Calls that may have been billed although they brought no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::common::Cli;
use super::common::tcp::{self, completion, hear, response};
use super::reset;

/// A server that reads each request and then does this with its connection. Returns its address and
/// the number of requests.
pub(super) fn hearing(
    then: impl Fn(std::net::TcpStream) + Clone + Send + 'static,
) -> (String, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let calls = count.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let (then, calls) = (then.clone(), calls.clone());
            thread::spawn(move || {
                if hear(&mut stream).is_some() {
                    calls.fetch_add(1, Ordering::SeqCst);
                    then(stream);
                }
            });
        }
    });
    (url, count)
}

const QUICK: [&str; 8] = [
    "--timeout",
    "200ms",
    "--base-delay",
    "1ms",
    "--max-delay",
    "1ms",
    "--rpm",
    "60000",
];

#[test]
fn a_server_that_hangs_is_asked_twice_for_each_prompt_and_the_record_says_so() {
    let (url, calls) = hearing(|stream| drop(hear(&mut { stream })));
    let ran = Cli::of_topics(3).run(&[&QUICK[..], &["--base-url", &url]].concat());
    assert_eq!((ran.exit, ran.records.len()), (1, 3), "{ran}");
    assert_eq!(calls.load(Ordering::SeqCst), 6, "{ran}");
    for record in &ran.records {
        for attempt in record["attempts"].as_array().unwrap() {
            assert_eq!(attempt["outcome"], "timeout", "{ran}");
            assert_eq!(attempt["billed"], "unknown", "{ran}");
        }
    }
    assert!(ran.stderr.contains("6 may have been billed"), "{ran}");
}

#[test]
fn a_connection_that_breaks_after_the_request_is_tried_again_once() {
    let (url, calls) = hearing(reset);
    let args = ["--base-url", &url, "--max-retries", "0"];
    let ran = Cli::of_topics(1).run(&[&QUICK[..], &args].concat());
    assert_eq!((ran.exit, calls.load(Ordering::SeqCst)), (1, 2), "{ran}");
    assert_eq!(ran.records[0]["attempts"][1]["billed"], "unknown", "{ran}");
    assert_eq!(
        ran.records[0]["attempts"][1]["outcome"], "connection",
        "{ran}"
    );
}

#[test]
fn timeout_retries_say_how_often_and_do_not_spend_the_others() {
    for (retries, expected) in [("0", 1), ("3", 4)] {
        let (url, calls) = hearing(reset);
        let args = ["--base-url", &url, "--timeout-retries", retries];
        let ran = Cli::of_topics(1).run(&[&QUICK[..], &args].concat());
        assert_eq!(
            (ran.exit, calls.load(Ordering::SeqCst)),
            (1, expected),
            "{ran}"
        );
    }
}

#[test]
fn a_call_that_was_not_sent_or_was_answered_is_not_in_doubt() {
    let args = ["--base-url", &tcp::nobody(), "--max-retries", "1"];
    let ran = Cli::of_topics(1).run(&[&QUICK[..], &args].concat());
    assert!(
        ran.records
            .iter()
            .all(|record| record["attempts"][0].get("billed").is_none()),
        "{ran}"
    );
    let url = tcp::answering(|_| response("200 OK", &completion("Because.")));
    let ran = Cli::of_topics(1).run(&[&QUICK[..], &["--base-url", &url]].concat());
    assert!(ran.is_all_answered(1), "{ran}");
    assert!(
        ran.records[0]["attempts"][0].get("billed").is_none(),
        "{ran}"
    );
}

#[test]
fn a_504_of_a_gateway_may_have_been_billed_and_is_retried_as_any_fault() {
    let url = tcp::answering(|_| response("504 Gateway Timeout", "{}"));
    let args = ["--base-url", &url, "--max-retries", "3"];
    let ran = Cli::of_topics(1).run(&[&QUICK[..], &args].concat());
    assert_eq!(ran.attempts("billed"), ["unknown"; 4], "{ran}");
    assert!(ran.stderr.contains("4 may have been billed"), "{ran}");
}
