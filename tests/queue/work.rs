//! Working on a queue.

use super::common::Cli;
use super::common::tcp::{self, completion, response};
use super::{QueueTest, assert_each_once};
use crossbeam_channel::unbounded;

#[test]
fn two_workers_share_a_queue_and_each_prompt_is_asked_once() {
    let Some(test) = QueueTest::slow(60, 20) else {
        return;
    };
    test.push();
    let args = ["-w", "2"];
    let ran = [test.work(&args), test.work(&args)].map(super::Started::end);
    assert!(ran.iter().all(|ran| ran.exit == 0), "{}{}", ran[0], ran[1]);
    assert_each_once(&test.pull(0), 60);
    assert_eq!(test.server.stats().arrivals, 60);
    let status = test.status();
    assert_eq!(
        (
            status.left(),
            status.answered,
            status.dropped,
            status.workers
        ),
        (0, 60, 0, vec![])
    );
}

#[test]
fn the_records_are_those_that_a_run_writes() {
    let Some(test) = QueueTest::open(5) else {
        return;
    };
    test.push();
    assert_eq!(test.work(&["--temperature", "0.5"]).end().exit, 0);
    assert_eq!(test.run("pull", &["-o", "prompts.results.jsonl"]).exit, 0);
    let ran = test.cli.run(&[
        "--base-url",
        &test.server.base_url(),
        "--temperature",
        "0.5",
    ]);
    assert!(
        ran.exit == 0 && ran.stderr.contains("there was nothing left to send"),
        "{ran}"
    );
}

#[test]
fn a_worker_that_would_ask_something_else_is_refused_unless_it_insists() {
    let Some(test) = QueueTest::open(2) else {
        return;
    };
    test.push();
    assert_eq!(test.work(&[]).end().exit, 0);
    let ran = test.work(&["--system", "Be brief."]).end();
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(
        ran.stderr.contains("Be brief.") && ran.stderr.contains("--keep"),
        "{ran}"
    );
    assert_eq!(
        test.work(&["--system", "Be brief.", "--keep"]).end().exit,
        0
    );
}

#[test]
fn a_prompt_that_failed_has_a_record_that_says_why_and_can_be_tried_once_more() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let (tell, asked) = unbounded();
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        response(
            "400 Bad Request",
            r#"{"error":{"message":"no","code":"odd"}}"#,
        )
    });
    let ran = test.run("work", &["-m", "m", "--base-url", &url]);
    assert_eq!((ran.exit, asked.len()), (1, 1), "{ran}");
    assert_eq!(test.pull(1)[0]["error"]["code"], "odd");
    assert_eq!(test.run("retry", &[]).exit, 0);
    assert_eq!((test.status().waiting, test.status().failed), (1, 0));
    assert_eq!(test.work(&[]).end().exit, 0);
    let records = test.pull(0);
    assert!(
        records.len() == 2 && records[1]["text"].is_string(),
        "the last record of a prompt counts"
    );
}

#[test]
fn an_interrupted_worker_finishes_its_calls_and_hands_back_the_rest_at_once() {
    let Some(test) = QueueTest::open(9) else {
        return;
    };
    test.push();
    let ((tell, called), (go, gone)) = (unbounded(), unbounded());
    let url = tcp::answering(move |_| {
        tell.send(()).unwrap();
        gone.recv().unwrap();
        response("200 OK", &completion("topic 1\""))
    });
    let mut worker = test.cli.start(&[
        "queue",
        "work",
        "--queue",
        &test.url,
        "-m",
        "m",
        "--base-url",
        &url,
        "-w",
        "1",
        "--claim-after",
        "1h",
    ]);
    called.recv().unwrap();
    test.until("more than one is taken", |status| status.in_flight > 1);
    worker.signal("INT");
    worker.until("stopping: ");
    let status = test.until("all but one are handed back", |status| {
        status.in_flight == 1
    });
    assert_eq!((status.waiting, status.answered), (8, 0));
    go.send(()).unwrap();
    let ran = worker.end();
    assert_eq!(ran.exit, 130, "{ran}");
    let status = test.status();
    assert_eq!(
        (
            status.waiting,
            status.in_flight,
            status.answered,
            status.workers
        ),
        (8, 0, 1, vec![])
    );
}

#[test]
fn a_worker_may_wait_for_a_queue_that_is_not_there_yet_and_stay_when_it_is_empty() {
    let Some(test) = QueueTest::open(3) else {
        return;
    };
    let worker = test.work(&["--wait"]);
    test.push();
    test.until("all are answered", |status| status.answered == 3);
    let ran = Cli::of("topic 1\ntopic 2\ntopic 3\ntopic 4\n").paceline(&[
        "queue",
        "push",
        "prompts.txt",
        "--queue",
        &test.url,
    ]);
    assert_eq!(ran.exit, 0, "{ran}");
    test.until("the new one, too", |status| status.answered == 4);
    worker.signal("TERM");
    assert_eq!(worker.end().exit, 130);
}

#[test]
fn a_worker_that_is_interrupted_while_it_waits_for_a_queue_says_how_to_go_on() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    let mut worker = test.work(&["--wait"]);
    worker.until("waiting for it");
    worker.signal("INT");
    let ran = worker.end();
    assert_eq!(ran.exit, 130, "{ran}");
    assert!(
        ran.stderr.contains("then: run the same command again"),
        "{ran}"
    );
}

#[test]
fn a_worker_takes_no_more_than_it_has_hands_for() {
    let Some(test) = QueueTest::slow(500, 3_600_000) else {
        return;
    };
    test.push();
    let worker = test.work(&["-w", "4"]);
    test.until("four are asked", |status| {
        status.in_flight >= 4 && test.server.stats().most_in_flight == 4
    });
    let taken = test.status().in_flight;
    assert!(taken <= 9, "{taken} taken by four workers");
    worker.kill();
}
