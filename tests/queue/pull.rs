//! Taking records out.

use super::{QueueTest, assert_each_once};

#[test]
fn a_snapshot_takes_what_is_there_and_a_later_pull_appends_the_rest() {
    let Some(test) = QueueTest::slow(40, 10) else {
        return;
    };
    test.push();
    let ran = test.run("pull", &["-o", "pulled.jsonl", "--snapshot"]);
    assert!(
        ran.exit == 3
            && ran
                .stderr
                .contains("not finished yet: 40 waiting, 0 in flight"),
        "{ran}"
    );
    let worker = test.work(&["-w", "1"]);
    test.until("some are answered", |status| status.answered >= 5);
    let ran = test.run("pull", &["-o", "pulled.jsonl", "--snapshot"]);
    let some = test.pulled();
    assert!(ran.exit == 3 && some.len() >= 5, "{ran}");
    assert_eq!(worker.end().exit, 0);
    let all = test.pull(0);
    assert_each_once(&all, 40);
    assert_eq!(
        all[..some.len()],
        some[..],
        "what was written stays as it was"
    );
    let ran = test.run("pull", &["-o", "pulled.jsonl"]);
    assert!(
        ran.stderr
            .contains("0 records written to pulled.jsonl, 40 were there already"),
        "{ran}"
    );
}

#[test]
fn a_pull_follows_until_the_last_prompt_is_answered() {
    let Some(test) = QueueTest::slow(30, 10) else {
        return;
    };
    test.push();
    let pull = test
        .cli
        .start(&["queue", "pull", "--queue", &test.url, "-o", "pulled.jsonl"]);
    assert_eq!(test.work(&["-w", "2"]).end().exit, 0);
    assert_eq!(pull.end().exit, 0);
    assert_each_once(&test.pulled(), 30);
}

#[test]
fn a_pull_that_was_killed_goes_on_in_the_same_file() {
    let Some(test) = QueueTest::slow(60, 5) else {
        return;
    };
    test.push();
    let pull = test
        .cli
        .start(&["queue", "pull", "--queue", &test.url, "-o", "pulled.jsonl"]);
    let worker = test.work(&["-w", "1"]);
    super::until("some are pulled", || {
        (test.cli.path("pulled.jsonl").metadata().ok()?.len() > 3000).then_some(())
    });
    pull.kill();
    assert_eq!(worker.end().exit, 0);
    assert_each_once(&test.pull(0), 60);
}

#[test]
fn an_interrupted_pull_says_how_to_go_on() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let mut pull = test
        .cli
        .start(&["queue", "pull", "--queue", &test.url, "-o", "pulled.jsonl"]);
    pull.until("records of the queue q at ");
    pull.signal("INT");
    let ran = pull.end();
    assert!(
        ran.exit == 130
            && ran
                .stderr
                .ends_with("run the same command again; it continues where it stopped\n"),
        "{ran}"
    );
}

#[test]
fn the_results_of_something_else_are_left_alone() {
    let Some(test) = QueueTest::open(2) else {
        return;
    };
    let ran = test.cli.run(&[
        "--base-url",
        &test.server.base_url(),
        "--rpm",
        "60000",
        "--system",
        "Be brief.",
    ]);
    assert_eq!(ran.exit, 0, "{ran}");
    test.push();
    assert_eq!(test.work(&[]).end().exit, 0);
    let before = test.cli.results();
    let ran = test.run("pull", &["-o", "prompts.results.jsonl"]);
    assert!(
        ran.exit == 2
            && ran
                .stderr
                .contains("is in the file already with another request"),
        "{ran}"
    );
    assert_eq!(test.cli.results(), before);
}
