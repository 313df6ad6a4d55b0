//! `paceline plan`, `completions` and `manual` over the built binary: what is said, and that nothing is sent or written.

#![cfg(feature = "cli")]

mod common;

use std::fs;

use common::{BRISK, Cli, Ran};

/// Runs `paceline plan prompts.txt -m m` with these arguments.
fn plan(cli: &Cli, args: &[&str]) -> Ran {
    cli.paceline(&[&["plan", "prompts.txt", "-m", "m"], args].concat())
}

/// It says all this, and has written nothing.
#[track_caller]
fn assert_says(ran: &Ran, said: &[&str]) {
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran}");
    for words in said {
        assert!(ran.stdout.contains(words), "{words:?} is not in {ran}");
    }
    assert!(
        ran.stdout.lines().all(|line| line.chars().count() <= 80),
        "{ran}"
    );
}

#[test]
fn the_articles_batch_is_planned_without_a_key_and_nothing_is_written() {
    let cli = Cli::of_topics(200);
    let ran = plan(&cli, &["--rpm", "10", "--latency", "2s", "--price", "1,2"]);
    let said = [
        "  to send           200\n",
        "about 19 min 58 s, at 10 calls a minute",
        "limited by        the rate",
        "  1 is enough",
    ];
    assert_says(
        &ran,
        &[
            &said[..],
            &[
                "  limit             10 calls a minute\n",
                "about $0.16",
                "given with --latency",
            ],
        ]
        .concat(),
    );
    assert!(!cli.path("prompts.results.jsonl").exists());
}

#[test]
fn a_run_is_planned_by_changing_one_word_and_what_is_on_record_is_left_out() {
    let cli = Cli::of_topics(20);
    let run = [
        &["--practice", "--limit", "15", "--max-retries", "2"],
        BRISK,
    ]
    .concat();
    assert!(cli.run(&run).is_all_answered(15));
    let before = cli.results();
    let ran = plan(&cli, &run);
    assert_says(
        &ran,
        &[
            "  to send           0 of 15: 15 answered and 0 failed are on record",
            "there is nothing left to send",
        ],
    );
    let ran = plan(&cli, &[&["--practice"], BRISK].concat());
    assert_says(
        &ran,
        &[
            "  to send           5 of 20: 15 answered",
            "the practice server's",
        ],
    );
    let real = [BRISK, &["-o", "prompts.practice.jsonl"]].concat();
    let ran = plan(&cli, &real);
    assert_says(&ran, &["15 on record would be sent differently now"]);
    assert_says(
        &plan(&cli, &[&real[..], &["--restart"]].concat()),
        &["  to send           20\n"],
    );
    assert_eq!(cli.results(), before, "the results are only read");
}

#[test]
fn an_earlier_run_says_how_long_calls_take_and_how_many_tokens_there_are() {
    let cli = Cli::of_topics(20);
    assert!(
        cli.run(&[&["--practice", "-o", "earlier.jsonl"], BRISK].concat())
            .exit
            == 0
    );
    let ran = plan(&cli, &["--rpm", "60", "--from", "earlier.jsonl"]);
    assert_says(&ran, &["measured in 20 answers\n", "as in the earlier run"]);
    let ran = plan(&cli, &["--from", "none.jsonl"]);
    assert!(
        ran.exit == 2
            && ran
                .stderr
                .contains("cannot read earlier results from none.jsonl"),
        "{ran}"
    );
    fs::write(cli.path("empty.jsonl"), "").unwrap();
    let ran = plan(&cli, &["--from", "empty.jsonl"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("holds no answer to go by"),
        "{ran}"
    );
}

#[test]
fn calls_that_take_longer_than_the_timeout_are_planned_for() {
    let cli = Cli::of_topics(5);
    let ran = plan(&cli, &["--latency", "15m", "--rpm", "60", "-w", "5"]);
    assert_says(
        &ran,
        &[
            "time-outs         100.0 % of the calls take longer than --timeout 10 min",
            "about 20 min",
        ],
    );
    let ran = plan(
        &cli,
        &["--latency", "15m", "--rpm", "60", "--timeout", "20m"],
    );
    assert!(!ran.stdout.contains("time-outs"), "{ran}");
    let help = cli.paceline(&["plan", "--help"]).stdout;
    assert!(
        help.contains("--timeout <") && help.contains("--max-retries"),
        "{help}"
    );
}

#[test]
fn what_is_not_known_is_said() {
    let said = [
        "unknown: a run follows the server's headers",
        "a guess: give --latency",
        "a guess: 4 bytes a token",
    ];
    assert_says(&plan(&Cli::of_topics(5), &[]), &said);
}

#[test]
fn a_prompt_that_can_never_be_let_in_is_said_by_plan_and_by_run() {
    let large = "large ".repeat(2000);
    let said = "1 prompt can never be accepted by a server that keeps to --tpm 2000, being larger than that: line 1 (about ";
    let cli = Cli::of(&large);
    let ran = plan(&cli, &["--rpm", "600", "--tpm", "2000"]);
    let words: Vec<_> = ran.stdout.split_whitespace().collect();
    assert!(ran.exit == 0 && words.join(" ").contains(said), "{ran}");
    let run = ["--practice", "--rpm", "60000", "--tpm", "2000"];
    let ran = cli.run(&run);
    assert!(ran.exit == 0 && ran.stderr.contains(said), "{ran}");
    let ran = cli.run(&[&run[..], &["--restart", "-q"]].concat());
    assert!(!ran.stderr.contains("never be accepted"), "{ran}");
    let ran = Cli::of("")
        .stdin(&large)
        .paceline(&[&["run", "-", "-m", "m"], &run[..]].concat());
    assert!(
        ran.stderr.matches(said).count() == 1,
        "as it comes, once: {ran}"
    );
}

#[test]
fn repeated_alike_and_joined_prompts_are_planned_as_calls() {
    let cli = Cli::of("one\ntwo\none\nthree\n");
    let ran = plan(&cli, &["--rpm", "60", "--repeat", "3"]);
    assert_says(&ran, &["  to send           12\n", "each prompt 3 times\n"]);
    let ran = plan(&cli, &["--rpm", "60", "--dedupe"]);
    let said = [
        "  to send           4\n",
        "1 prompt like an earlier one, which is sent once\n",
        "in 3 calls\n",
    ];
    assert_says(&ran, &said);
    let cli = Cli::of_topics(1000);
    let joined = ["--rpm", "60", "--api", "embeddings", "--per-call", "100"];
    let ran = plan(&cli, &joined);
    let said = [
        "  to send           1,000\n",
        "in 10 calls\n",
        "the rate 9.",
    ];
    assert_says(&ran, &said);
    assert!(ran.stdout.contains(" in, 0 out"), "{ran}");
}

#[test]
fn files_and_a_schema_are_planned_by_estimates() {
    let tokens = |ran: &Ran| {
        let (_, rest) = ran.stdout.split_once("about ").unwrap();
        let number = rest.split(' ').next().unwrap().replace(',', "");
        number.parse::<f64>().unwrap()
    };
    let cli = Cli::of("look\n");
    let plain = plan(&cli, &[]);
    let schema = plan(&cli, &["--schema", "name, age int"]);
    assert_says(
        &schema,
        &["with the schema; an answer that does not fit takes"],
    );
    assert!(
        (30.0..200.0).contains(&(tokens(&schema) - tokens(&plain))),
        "{schema}"
    );
    fs::write(
        cli.path("a.png"),
        [b"\x89PNG\r\n\x1a\n", &[7; 100_000][..]].concat(),
    )
    .unwrap();
    for place in ["a.png", "https://example.org/a.png"] {
        let row = format!("{{\"prompt\":\"look\",\"image\":\"{place}\"}}\n");
        fs::write(cli.path("prompts.jsonl"), row).unwrap();
        let ran = cli.paceline(&["plan", "prompts.jsonl", "-m", "m"]);
        assert_says(
            &ran,
            &["with files in 1 prompt: a file counts as 1,000 tokens"],
        );
        let more = tokens(&ran) - tokens(&plain);
        assert!((990.0..1100.0).contains(&more), "{place}: {more}");
    }
}

#[test]
fn bad_input_and_bad_options_are_status_2() {
    let cli = Cli::of(b"fine\n\xff\n");
    let ran = plan(&cli, &["--rpm", "60"]);
    assert!(
        ran.exit == 2 && ran.stderr.contains("line 2") && ran.stdout.is_empty(),
        "{ran}"
    );
    assert_eq!(plan(&Cli::of("\n"), &[]).exit, 2, "no prompt at all");
    assert_eq!(plan(&Cli::of("a\n"), &["--latency", "fast"]).exit, 2);
    assert_eq!(plan(&Cli::of("a\n"), &["--burst", "3"]).exit, 2);
    assert_eq!(
        Cli::of("a\n").paceline(&["plan", "prompts.txt"]).exit,
        2,
        "no model"
    );
}

#[test]
fn prompts_from_a_pipe_are_planned_too() {
    let ran = Cli::of("")
        .stdin("one\ntwo\n")
        .paceline(&["plan", "-", "-m", "m", "--rpm", "60"]);
    assert_says(&ran, &["  to send           2\n"]);
}

#[test]
fn completions_and_manual_know_every_command() {
    let cli = Cli::of("");
    for shell in ["bash", "zsh", "fish"] {
        let ran = cli.paceline(&["completions", shell]);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""));
        for word in ["practice", "retry-failed", "plan", "manual"] {
            assert!(ran.stdout.contains(word), "{word} in {shell}");
        }
    }
    assert_eq!(cli.paceline(&["completions", "none"]).exit, 2);
    let ran = cli.paceline(&["manual"]);
    assert!(
        ran.exit == 0 && ran.stdout.contains(".TH paceline 1"),
        "{ran}"
    );
    let ran = cli.paceline(&["manual", "--dir", "man"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "{ran}");
    for (page, word) in [
        ("paceline.1", "paceline"),
        ("paceline-run.1", "retry"),
        ("paceline-plan.1", "latency"),
    ] {
        let text = fs::read_to_string(cli.path("man").join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(word), "{page}");
    }
}
