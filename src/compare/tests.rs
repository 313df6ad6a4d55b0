use std::collections::HashSet;

use super::*;

fn comparison(change: impl FnOnce(&mut Options)) -> Comparison {
    let mut options = Options {
        prompts: NonZeroU32::new(40).unwrap(),
        ..Options::default()
    };
    change(&mut options);
    Comparison::of(options)
}

#[test]
fn the_same_options_give_the_same_table() {
    let lognormal = Latency::LogNormal(Duration::from_secs(2), 0.5);
    let with = |seed| comparison(|options| (options.latency, options.seed) = (lognormal, seed));
    assert_eq!(with(7).courses, with(7).courses);
    assert_ne!(with(7).courses, with(8).courses);
}

#[test]
fn every_strategy_answers_every_prompt_once() {
    for course in comparison(|_| {}).courses {
        let accepted = course.arrivals.iter().filter(|arrival| arrival.accepted);
        let prompts: Vec<_> = accepted.map(|arrival| arrival.prompt).collect();
        assert_eq!(prompts.len(), 40, "{}", course.name);
        assert_eq!(
            prompts.into_iter().collect::<HashSet<_>>().len(),
            40,
            "{}",
            course.name
        );
    }
}

#[test]
fn the_server_lets_nobody_in_faster_than_its_limit() {
    for course in comparison(|_| {}).courses {
        let times: Vec<_> = course
            .arrivals
            .iter()
            .filter(|arrival| arrival.accepted)
            .map(|arrival| arrival.at)
            .collect();
        assert!(
            times
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= Duration::from_secs(6)),
            "{}",
            course.name
        );
    }
}

#[test]
fn the_pool_is_never_refused_and_keeps_within_a_percent_of_the_limit() {
    for burst in [1, 2, 5] {
        let comparison = comparison(|options| options.burst = NonZeroU32::new(burst).unwrap());
        let (pool, best) = (comparison.pool(), comparison.options.last_call_at_best());
        assert_eq!((pool.refusals(), pool.calls()), (0, 40), "burst {burst}");
        let last = pool.arrivals.last().unwrap().at;
        // One turn of the burst is held in reserve.
        assert!(
            last >= best && last <= best.mul_f64(1.01) + Duration::from_secs(6),
            "{burst}: {last:?}"
        );
    }
}

/// The story at full length: 200 topics, 10 calls a minute.
#[test]
fn two_hundred_topics_take_about_twenty_minutes_and_the_long_sleep_five_times_as_long() {
    let comparison = Comparison::of(Options::default());
    let minutes = comparison.pool().time.as_secs_f64() / 60.0;
    assert!((19.9..20.2).contains(&minutes), "{minutes}");
    let sleepers = &comparison.courses[2];
    assert!(sleepers.name.ends_with("30 s sleep"), "{}", sleepers.name);
    let times = comparison.times_the_pool(sleepers);
    assert!((4.9..5.1).contains(&times), "{times}");
    let text = comparison.to_string();
    assert!(
        text.contains("The article behind this story says 6 times"),
        "{text}"
    );
}

#[test]
fn the_text_says_when_there_are_too_few_workers() {
    let slow = comparison(|options| options.latency = Latency::Constant(Duration::from_secs(120)));
    assert!(
        slow.to_string()
            .contains("10 workers cannot use the whole limit"),
        "{slow}"
    );
    assert!(!comparison(|_| {}).to_string().contains("cannot use"));
}

#[test]
fn without_a_refusal_the_text_speaks_of_none() {
    let lone = comparison(|options| {
        options.workers = NonZeroUsize::MIN;
        options.latency = Latency::Constant(Duration::from_secs(10));
    });
    assert!(
        lone.courses.iter().all(|course| course.refusals() == 0),
        "{lone}"
    );
    assert!(
        !lone.to_string().contains("Jitter") && !lone.to_string().contains("refused most"),
        "{lone}"
    );
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    let text = comparison(|options| options.workers = NonZeroUsize::new(256).unwrap()).to_string();
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn a_wave_is_what_comes_within_a_tenth_of_a_second_but_for_the_start() {
    let at = |ms| Arrival {
        at: Duration::from_millis(ms),
        prompt: 0,
        accepted: false,
    };
    let course = |times: &[u64]| Course {
        name: String::new(),
        threads: NonZeroUsize::new(2).unwrap(),
        time: Duration::ZERO,
        arrivals: times.iter().copied().map(at).collect(),
    };
    assert_eq!(
        course(&[0, 0, 1000, 1050, 1099, 1100, 1199]).largest_wave(),
        3
    );
    assert_eq!(course(&[0, 0]).largest_wave(), 0);
    assert_eq!(course(&[0]).largest_wave(), 0);
}

#[test]
fn how_many_come_together_at_the_limit_is_counted() {
    let together = |rpm, burst| {
        let (rpm, burst) = (
            NonZeroU32::new(rpm).unwrap(),
            NonZeroU32::new(burst).unwrap(),
        );
        Options {
            rpm,
            burst,
            ..Options::default()
        }
        .allowed_together()
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
fn durations_are_said_as_people_say_them() {
    let said = |ms| table::duration(Duration::from_millis(ms));
    assert_eq!(
        [said(1500), said(59_600), said(3_599_600)],
        ["1.50 s", "1 min 00 s", "1 h 00 min"]
    );
}

#[test]
fn the_page_draws_each_strategy_twice_and_asks_for_nothing() {
    let page = comparison(|_| {}).to_html();
    assert_eq!(page.matches("<svg").count(), 12);
    assert!(page.contains("class=\"refused\"") && page.contains("class=\"limit\""));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
}
