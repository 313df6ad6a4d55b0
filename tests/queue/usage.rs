//! What can be typed wrong, and what is said to it.

use std::fs;

use super::QueueTest;
use super::common::redis::Redis;
use super::common::tcp;
use super::common::{Cli, records};

const COMMANDS: [&[&str]; 4] = [
    &["queue", "push", "prompts.txt"],
    &["queue", "work", "--practice"],
    &["queue", "pull"],
    &["queue", "status"],
];

#[test]
fn an_address_that_is_none_is_refused() {
    for command in COMMANDS {
        let ran = Cli::of("a\n").paceline(&[command, &["--queue", "localhost:6379"]].concat());
        assert!(
            ran.exit == 2 && ran.stderr.contains("redis://localhost:6379/0?name=NAME"),
            "{ran}"
        );
    }
}

#[test]
fn a_redis_that_does_not_run_is_named_and_nothing_is_sent() {
    let nobody = tcp::nobody().replace("http", "redis");
    for command in COMMANDS {
        let ran = Cli::of("a\n").paceline(&[command, &["--queue", &nobody]].concat());
        assert!(
            ran.exit == 2
                && ran
                    .stderr
                    .contains("no connection to Redis at redis://127.0.0.1:"),
            "{ran}"
        );
    }
}

#[test]
fn a_queue_may_be_behind_tls_and_a_password() {
    let Some((_redis, place, folder)) = Redis::start_with_tls("hunter2") else {
        return;
    };
    let certificate = folder.path().join("certificate.pem");
    let locked = Cli::of("a\nb\n").env("SSL_CERT_FILE", certificate.to_str().unwrap());
    let ran = locked.paceline(&["queue", "push", "prompts.txt", "--queue", &place]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("$PACELINE_REDIS_PASSWORD"),
        "{ran}"
    );
    let cli = locked.env("PACELINE_REDIS_PASSWORD", "hunter2");
    for command in [
        &["queue", "push", "prompts.txt"][..],
        &["queue", "work", "--practice", "--rpm", "60000"],
        &["queue", "status"],
        &["queue", "pull", "-o", "results.jsonl"],
    ] {
        let ran = cli.paceline(&[command, &["--queue", &place]].concat());
        assert!(
            ran.exit == 0 && !format!("{ran}").contains("hunter2"),
            "{ran}"
        );
    }
    assert_eq!(
        records(&fs::read_to_string(cli.path("results.jsonl")).unwrap()).len(),
        2
    );
}

#[test]
fn a_queue_that_is_not_there_is_named() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    for (command, args) in [
        ("work", &["--practice"][..]),
        ("pull", &[]),
        ("status", &[]),
        ("retry", &[]),
        ("remove", &["--yes"]),
    ] {
        let ran = test.run(command, args);
        assert!(
            ran.exit == 2 && ran.stderr.contains("there is no queue q at redis://"),
            "{ran}"
        );
        assert!(
            ran.stderr.contains("paceline queue push creates it"),
            "{ran}"
        );
    }
}

#[test]
fn an_empty_queue_is_done_at_once() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    assert_eq!(test.work(&[]).end().exit, 0);
    let ran = test.work(&[]).end();
    assert!(
        ran.exit == 0 && ran.stderr.contains("there was nothing left to send"),
        "{ran}"
    );
    assert_eq!(test.server.stats().arrivals, 1);
}

#[test]
fn prompts_without_a_body_need_a_model() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let ran = test.run("work", &["--base-url", &test.server.base_url()]);
    assert!(ran.exit == 2 && ran.stderr.contains("-m NAME"), "{ran}");
    assert_eq!(test.server.stats().arrivals, 0);
}

#[test]
fn the_state_of_a_queue_is_told_to_people_and_to_programs() {
    let Some(test) = QueueTest::open(3) else {
        return;
    };
    test.push();
    let ran = test.run("status", &[]);
    assert!(
        ran.stdout
            .contains("3 waiting, 0 in flight, 0 answered, 0 failed"),
        "{ran}"
    );
    let ran = test.run("status", &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (
            &json["waiting"],
            &json["complete"],
            json["oldest_s"].is_number()
        ),
        (&3.into(), &true.into(), true)
    );
    let ran = test.run("remove", &["--yes"]);
    assert!(
        ran.exit == 0 && ran.stderr.contains("0 records and 3 unfinished prompts"),
        "{ran}"
    );
}

#[test]
fn a_queue_is_removed_only_with_yes() {
    let Some(test) = QueueTest::open(2) else {
        return;
    };
    test.push();
    let ran = test.run("remove", &[]);
    let said = "with 0 records and 2 unfinished prompts";
    assert!(ran.exit == 2 && ran.stderr.contains(said), "{ran}");
    assert!(
        ran.stderr.contains("--yes") && test.status().waiting == 2,
        "{ran}"
    );
    assert_eq!(test.run("remove", &["--yes"]).exit, 0);
    assert_eq!(test.run("status", &[]).exit, 2);
}

#[test]
fn commands_of_earlier_versions_are_named_with_their_place() {
    let ran = Cli::of("a\n").paceline(&["push", "prompts.txt"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("tip: paceline queue push"),
        "{ran}"
    );
}

#[test]
fn a_watched_queue_is_one_line_a_change_on_a_pipe_until_it_is_done() {
    let Some(test) = QueueTest::slow(3, 20) else {
        return;
    };
    test.push();
    let args = ["queue", "status", "--queue", &test.url, "--watch"];
    let (text, json) = (
        test.cli.start(&args),
        test.cli.start(&[&args[..], &["--json"]].concat()),
    );
    assert_eq!(test.work(&["-w", "1"]).end().exit, 0);
    let ran = text.end();
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(ran.exit, 0, "{ran}");
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{ran}");
    let done = "done: 0 waiting, 0 in flight, 3 answered, 0 failed";
    assert_eq!(lines.last(), Some(&done), "{ran}");
    let last: serde_json::Value =
        serde_json::from_str(json.end().stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["answered"], &last["complete"]),
        (&3.into(), &true.into())
    );
}

#[test]
fn a_watched_queue_ends_on_ctrl_c_and_with_its_reader() {
    let Some(test) = QueueTest::open(1) else {
        return;
    };
    test.push();
    let args = ["queue", "status", "--queue", &test.url, "--watch"];
    let watch = test.cli.start(&args);
    super::until("it watches", || {
        let mut redis = test.redis.connect();
        let clients: String = ::redis::cmd("CLIENT")
            .arg("LIST")
            .query(&mut redis)
            .unwrap();
        (clients.lines().count() > 1).then_some(()) // beside this one
    });
    watch.signal("INT");
    let ran = watch.end();
    assert!(ran.exit == 130 && ran.stderr.is_empty(), "{ran}");
    let head = format!(
        "{} queue status --queue '{}' --watch | head -1",
        env!("CARGO_BIN_EXE_paceline"),
        test.url
    );
    let mut head = std::process::Command::new("sh")
        .args(["-c", &head])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(test.work(&[]).end().exit, 0);
    assert!(head.wait().unwrap().success());
}
