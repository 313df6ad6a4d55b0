//! What `GET /run` and the page answer.

use super::*;

fn result(query: &str) -> Value {
    run(&LearnQuery(query)).unwrap()
}

#[test]
fn the_story_has_the_figures_that_the_page_tells() {
    // Articles, 429s, largest wave, minutes.
    let figures = |query: &str| {
        let result = result(query);
        let figures = &result["figures"];
        [
            &result["answered"],
            &figures["rate_limited"],
            &figures["largest_wave"],
            &json!(figures["time_ms"].as_u64().unwrap() / 60_000),
        ]
        .map(|number| number.as_u64().unwrap())
    };
    let story = [
        ("strategy=naive", [1, 199, 4, 0]),
        ("strategy=naive&threads=1", [5, 195, 1, 0]),
        ("strategy=sleep-5", [200, 872, 3, 20]),
        ("strategy=sleep-5&threads=10", [200, 2278, 9, 20]),
        ("strategy=sleep-30", [200, 790, 4, 101]),
        ("strategy=sleep-30&threads=1", [200, 199, 1, 106]),
        (
            "strategy=backoff&jitter=none&threads=10",
            [200, 1110, 9, 28],
        ),
        (
            "strategy=backoff&jitter=full&threads=10",
            [200, 1260, 3, 25],
        ),
        ("strategy=pool", [200, 0, 1, 20]),
        ("strategy=pool&threads=1", [200, 0, 1, 20]),
        ("strategy=pool&threads=10", [200, 0, 1, 20]),
        ("strategy=pool&latency=20", [200, 0, 1, 20]),
        ("strategy=pool&latency=20&threads=3", [200, 0, 1, 22]),
        ("strategy=pool&faults=0.15", [200, 0, 1, 22]),
        ("strategy=sleep-5&faults=0.15", [200, 1036, 3, 24]),
        ("strategy=pool&faults=0.5", [194, 0, 1, 38]),
        (
            "strategy=pool&burst=5&latency=20&threads=8",
            [200, 0, 1, 19],
        ),
        (
            "strategy=pool&burst=20&latency=20&threads=8",
            [200, 0, 8, 18],
        ),
    ];
    for (query, expected) in story {
        assert_eq!(figures(query), expected, "{query}");
    }
}

#[test]
fn a_run_is_the_same_each_time_and_another_seed_is_another_run() {
    let of = |seed| {
        result(&format!(
            "strategy=backoff&jitter=full&faults=0.1&topics=40&seed={seed}"
        ))
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn a_fault_is_drawn_and_retried() {
    let result = result("faults=0.3&topics=50");
    let calls = result["calls"].as_array().unwrap();
    let marks = |mark: &str| calls.iter().filter(|call| call[3] == mark).count();
    assert_eq!((marks("."), marks("#")), (50, 0));
    assert_eq!(marks("x"), result["failed"]);
    assert!(marks("x") > 10, "{result}");
}

#[test]
fn each_thread_has_its_row() {
    for strategy in ["naive", "sleep-5", "sleep-30", "backoff", "pool"] {
        let result = result(&format!("strategy={strategy}&threads=7&topics=30"));
        let calls = result["calls"].as_array().unwrap();
        let threads: std::collections::BTreeSet<_> =
            calls.iter().map(|call| call[1].as_u64().unwrap()).collect();
        assert_eq!(threads, (0..7).collect(), "{strategy}");
    }
}

#[test]
fn a_run_without_end_is_cut() {
    let result = result("strategy=sleep-5&threads=64&topics=1000&rpm=1");
    assert_eq!(result["is_cut"], true);
    // Each thread may be in the middle of a call when the batch is cancelled.
    let calls = result["calls"].as_array().unwrap().len();
    assert!((MOST_CALLS..MOST_CALLS + 64).contains(&calls), "{calls}");
}

#[test]
fn numbers_out_of_bounds_are_refused_with_a_word_on_what_is_wanted() {
    let wrong = |query| run(&LearnQuery(query)).unwrap_err();
    for (query, message) in [
        ("threads=0", "threads: give a number from 1 to 64"),
        ("threads=65", "threads: give a number from 1 to 64"),
        ("rpm=many", "rpm: give a number from 1 to 6000"),
        ("latency=NaN", "latency: give a number from 0 to 120"),
        ("latency=-1", "latency: give a number from 0 to 120"),
        ("faults=1", "faults: give a number from 0 to 0.9"),
        ("topics=1e9", "topics: give a number from 1 to 1000"),
        ("burst=", "burst: give a number from 1 to 100"),
        (
            "jitter=some",
            "give none, additive, full, equal or decorrelated",
        ),
        (
            "strategy=luck",
            "strategy: give naive, sleep-5, sleep-30, backoff or pool",
        ),
    ] {
        assert_eq!(wrong(query), message, "{query}");
    }
}

#[test]
fn each_control_of_the_page_is_known_and_has_a_label() {
    let names = PAGE
        .split(" name=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    let mut names: Vec<_> = names.filter(|name| *name != "viewport").collect();
    names.sort_unstable();
    let known = [
        "burst", "faults", "jitter", "latency", "rpm", "seed", "strategy", "threads", "topics",
    ];
    assert_eq!(names, known);
    // An output would take the label from the control that follows it.
    assert!(PAGE.matches("<label>").count() == known.len() + 1 && !PAGE.contains("<output"));
}

#[test]
fn the_page_needs_nothing_else() {
    for outside in ["http:", "https:", " src=", "<link", "@import", "url("] {
        assert!(!PAGE.contains(outside), "{outside}");
    }
}
