//! `paceline compare` over the built binary: what is said, how it ends, and that it is the same each time.

#![cfg(feature = "cli")]

mod common;

use std::fs;

use common::Cli;

/// Small, and all six strategies differ in it.
const SMALL: [&str; 7] = [
    "compare",
    "--prompts",
    "20",
    "--rpm",
    "60",
    "--workers",
    "4",
];

#[test]
fn the_same_options_give_the_same_table_and_the_same_page() {
    let cli = Cli::of_topics(0);
    let runs = ["one.html", "two.html"].map(|page| {
        let ran = cli.paceline(&[&SMALL[..], &["--html", page]].concat());
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran}");
        (ran.stdout, fs::read_to_string(cli.path(page)).unwrap())
    });
    assert!(runs[0] == runs[1], "{} and {}", runs[0].0, runs[1].0);
    let (table, page) = &runs[0];
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    for strategy in [
        "1 thread, 5 s sleep",
        "4 threads, 30 s sleep",
        "4 threads, jitter",
        "paced pool",
    ] {
        assert!(
            table.contains(strategy) && page.contains(strategy),
            "{strategy} is not in {table}"
        );
    }
    let pool = table
        .lines()
        .find(|line| line.starts_with("paced pool"))
        .unwrap();
    assert!(
        pool.split_whitespace()
            .rev()
            .take(4)
            .eq(["0", "1", "0", "20"]),
        "one call a prompt: {pool}"
    );
}

#[test]
fn the_articles_figures_are_named_beside_its_own_options_alone() {
    let cli = Cli::of_topics(0);
    let says = |args: &[&str]| {
        let ran = cli.paceline(&[&["compare"], args].concat());
        assert_eq!(ran.exit, 0, "{ran}");
        ran.stdout.contains("article")
    };
    assert!(says(&[]));
    assert!(!says(&["--burst", "2"]) && !says(&["--prompts", "100"]) && !says(&["--rpm", "20"]));
}

#[test]
fn a_page_that_cannot_be_written_does_not_cost_the_table() {
    let cli = Cli::of_topics(0);
    let ran = cli.paceline(&[&SMALL[..], &["--html", "no/such/folder/page.html"]].concat());
    assert!(ran.exit == 3 && ran.stdout.contains("paced pool"), "{ran}");
    assert!(
        ran.stderr
            .contains("cannot write to no/such/folder/page.html: "),
        "{ran}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_compared() {
    let cli = Cli::of_topics(0);
    for bad in [
        ["--rpm", "0"],
        ["--prompts", "10001"],
        ["--workers", "257"],
        ["--latency", "soon"],
    ] {
        let ran = cli.paceline(&[&["compare"], &bad[..]].concat());
        assert!(
            ran.exit == 2 && ran.stdout.is_empty() && ran.stderr.contains(bad[0]),
            "{ran}"
        );
    }
}
