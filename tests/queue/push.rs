//! Putting prompts in.

use std::fs;

use super::QueueTest;
use super::common::Cli;

#[test]
fn the_same_file_pushed_twice_adds_nothing_and_a_longer_one_adds_the_rest() {
    let Some(test) = QueueTest::open(700) else {
        return;
    };
    test.push();
    let ran = test.run("push", &["prompts.txt"]);
    assert!(
        ran.exit == 0 && ran.stderr.contains("0 added, 700 were there already"),
        "{ran}"
    );
    assert_eq!((test.status().waiting, test.status().pushed), (700, 700));
    let longer = (1..=705)
        .map(|n| format!("topic {n}\n"))
        .collect::<String>();
    fs::write(test.cli.path("prompts.txt"), longer).unwrap();
    let ran = test.run("push", &["prompts.txt"]);
    assert!(
        ran.stderr.contains("5 added, 700 were there already"),
        "{ran}"
    );
}

#[test]
fn another_file_is_refused_at_the_first_line_that_differs() {
    let Some(test) = QueueTest::open(3) else {
        return;
    };
    test.push();
    fs::write(test.cli.path("prompts.txt"), "topic 1\nbees\n").unwrap();
    let ran = test.run("push", &["prompts.txt"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("error: the queue q at "),
        "{ran}"
    );
    assert!(
        ran.stderr
            .contains("already has another prompt at line 2\n  help: "),
        "{ran}"
    );
    assert!(
        ran.stderr.contains("?name=NAME") && test.status().waiting == 3,
        "{ran}"
    );
}

#[test]
fn a_push_that_was_killed_goes_on_where_it_was_cut_off() {
    let Some(test) = QueueTest::open(0) else {
        return;
    };
    let cli = Cli::of("").stdin("one\ntwo\n");
    let push = cli.start(&["queue", "push", "-", "--queue", &test.url]);
    super::until("two prompts are in", || {
        test.find().filter(|status| status.waiting == 2)
    });
    let status = test.status();
    assert!(status.pushing && !status.complete, "{status:?}");
    push.kill();
    let ran = Cli::of("")
        .stdin("one\ntwo\nthree\n")
        .paceline(&["queue", "push", "-", "--queue", &test.url]);
    assert!(
        ran.exit == 0 && ran.stderr.contains("1 added, 2 were there already"),
        "{ran}"
    );
    assert!(test.status().complete);
}

#[test]
fn bodies_of_a_batch_file_are_sent_as_they_are_and_need_no_model() {
    let Some(test) = QueueTest::open(0) else {
        return;
    };
    let line = r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"x","messages":[{"role":"user","content":"hi"}]}}"#;
    fs::write(test.cli.path("batch.jsonl"), line).unwrap();
    assert_eq!(test.run("push", &["batch.jsonl"]).exit, 0);
    let ran = test.run("work", &["--base-url", &test.server.base_url()]);
    assert_eq!(ran.exit, 0, "{ran}");
    let records = test.pull(0);
    assert_eq!(records[0]["custom_id"], "a");
    assert!(
        records[0]["text"].as_str().unwrap().contains("hi\""),
        "{}",
        records[0]
    );
}
