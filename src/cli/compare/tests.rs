use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroUsize};

use super::result::ServedCall;
use super::*;
use crate::practice::Latency;

/// The article's: 200 topics, 10 calls a minute.
fn story() -> Scenario {
    Scenario {
        prompts: NonZeroU32::new(200).unwrap(),
        rpm: NonZeroU32::new(10).unwrap(),
        burst: NonZeroU32::MIN,
        latency: Latency::Constant(Duration::from_secs(2)),
        workers: NonZeroUsize::new(10).unwrap(),
        seed: 0,
        refusal: Duration::ZERO,
        faults: 0.0,
        most_calls: usize::MAX,
    }
}

fn text(comparison: &StrategyComparison) -> String {
    comparison.to_text(TextLook::PLAIN).unwrap()
}

fn pool(comparison: &StrategyComparison) -> &StrategyResult {
    comparison.results.last().unwrap()
}

fn comparison(change: impl FnOnce(&mut Scenario)) -> StrategyComparison {
    let mut scenario = Scenario {
        prompts: NonZeroU32::new(40).unwrap(),
        ..story()
    };
    change(&mut scenario);
    StrategyComparison::run(scenario)
}

#[test]
fn the_same_options_give_the_same_table() {
    let lognormal = Latency::LogNormal(Duration::from_secs(2), 0.5);
    let with = |seed| {
        comparison(|scenario| {
            scenario.latency = lognormal;
            scenario.seed = seed;
        })
    };
    assert_eq!(with(7).results, with(7).results);
    assert_ne!(with(7).results, with(8).results);
}

#[test]
fn every_strategy_answers_every_prompt_once() {
    for result in comparison(|_| {}).results {
        let accepted = result.calls.iter().filter(|call| call.is_accepted());
        let prompts: Vec<_> = accepted.map(|call| call.prompt).collect();
        assert_eq!(prompts.len(), 40, "{}", result.name);
        assert_eq!(
            prompts.into_iter().collect::<HashSet<_>>().len(),
            40,
            "{}",
            result.name
        );
    }
}

#[test]
fn the_server_accepts_no_call_faster_than_its_limit() {
    for result in comparison(|_| {}).results {
        let times: Vec<_> = result
            .calls
            .iter()
            .filter(|call| call.is_accepted())
            .map(|call| call.at)
            .collect();
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= Duration::from_secs(6)),
            "{}",
            result.name
        );
    }
}

#[test]
fn the_pool_gets_no_429_and_keeps_within_a_percent_of_the_limit() {
    for burst in [1, 2, 5] {
        let comparison = comparison(|scenario| scenario.burst = NonZeroU32::new(burst).unwrap());
        let (pool, best) = (pool(&comparison), comparison.scenario.last_call_at_best());
        assert_eq!(
            (pool.figures().rate_limited, pool.calls.len()),
            (0, 40),
            "burst {burst}"
        );
        let last = pool.calls.last().unwrap().at;
        // One call of the burst is kept in reserve.
        assert!(
            last >= best && last <= best.mul_f64(1.01) + Duration::from_secs(6),
            "{burst}: {last:?}"
        );
    }
}

/// The story at full length.
#[test]
fn two_hundred_topics_take_about_twenty_minutes_and_the_long_sleep_five_times_as_long() {
    let comparison = StrategyComparison::run(story());
    let minutes = pool(&comparison).time.as_secs_f64() / 60.0;
    assert!((19.9..20.2).contains(&minutes), "{minutes}");
    let sleepers = &comparison.results[2];
    assert!(sleepers.name.ends_with("30 s sleep"), "{}", sleepers.name);
    let times = sleepers.time.as_secs_f64() / pool(&comparison).time.as_secs_f64();
    assert!((4.9..5.1).contains(&times), "{times}");
    let text = text(&comparison);
    assert!(
        text.contains("The article behind this story says 6 times"),
        "{text}"
    );
}

#[test]
fn the_text_says_when_there_are_too_few_workers() {
    let slow =
        comparison(|scenario| scenario.latency = Latency::Constant(Duration::from_secs(120)));
    assert!(
        text(&slow)
            .replace('\n', " ")
            .contains("10 workers cannot use the whole limit"),
        "{}",
        text(&slow)
    );
    assert!(!text(&comparison(|_| {})).contains("cannot use"));
}

#[test]
fn without_a_429_the_text_mentions_none() {
    let lone = comparison(|scenario| {
        scenario.workers = NonZeroUsize::MIN;
        scenario.latency = Latency::Constant(Duration::from_secs(10));
    });
    assert!(
        lone.results
            .iter()
            .all(|result| result.figures().rate_limited == 0),
        "{lone:?}"
    );
    let text = text(&lone);
    assert!(
        !text.contains("Jitter") && !text.contains("most 429s"),
        "{text}"
    );
}

#[test]
fn no_line_is_wider_than_a_terminal_and_a_wide_one_is_used() {
    let many = comparison(|scenario| scenario.workers = NonZeroUsize::new(256).unwrap());
    let widest = |width| {
        let look = TextLook {
            width,
            ..TextLook::PLAIN
        };
        let text = many.to_text(look).unwrap();
        text.lines().map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(50) <= 50 && widest(80) <= 80);
    assert!((100..=200).contains(&widest(200)), "{}", widest(200));
}

#[test]
fn a_wave_is_the_calls_within_a_tenth_of_a_second_without_the_start() {
    let at = |ms| ServedCall {
        at: Duration::from_millis(ms),
        thread: 0,
        prompt: 0,
        status: 429,
        took: Duration::ZERO,
    };
    let result = |times: &[u64]| StrategyResult {
        name: String::new(),
        threads: NonZeroUsize::new(2).unwrap(),
        time: Duration::ZERO,
        calls: times.iter().copied().map(at).collect(),
    };
    assert_eq!(
        result(&[0, 0, 1000, 1050, 1099, 1100, 1199])
            .figures()
            .largest_wave,
        3
    );
    assert_eq!(result(&[0, 0]).figures().largest_wave, 0);
    assert_eq!(result(&[0]).figures().largest_wave, 0);
}

#[test]
fn the_calls_that_the_limit_allows_in_a_wave_are_counted() {
    let together = |rpm, burst| {
        let (rpm, burst) = (
            NonZeroU32::new(rpm).unwrap(),
            NonZeroU32::new(burst).unwrap(),
        );
        Scenario {
            rpm,
            burst,
            ..story()
        }
        .allowed_in_a_wave()
    };
    assert_eq!(
        [
            together(10, 1),
            together(10, 3),
            together(600, 1),
            together(6000, 1)
        ],
        [1, 3, 1, 10]
    );
}

#[test]
fn the_page_has_one_chart_of_all_and_a_small_one_of_each_with_one_legend() {
    let page = comparison(|_| {}).to_html().unwrap();
    assert_eq!(page.matches("role=\"img\"").count(), 1 + 6);
    assert_eq!(page.matches("</i>accepted</li>").count(), 1);
    let first = page.split("</svg>").nth(1).unwrap();
    let bars = |class: &str| first.matches(&format!("<path class=\"{class}\"")).count();
    assert_eq!(
        (bars("answered"), bars("waiting")),
        (1, 5),
        "the pool stands out"
    );
    assert!(page.contains("class=\"within best\"") && page.contains(">paced pool: "));
    assert!(page.contains("class=\"limited\"") && page.contains("class=\"limit\""));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
}
