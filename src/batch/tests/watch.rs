//! The events and the view of a running batch.

use super::*;
use crate::api::Usage;

/// A cause with its count and its first prompts.
fn said(cause: &FailureCause) -> String {
    let ids: Vec<_> = cause
        .first
        .iter()
        .map(|id| id.trim_start_matches("line-"))
        .collect();
    format!("{} x {}: {}", cause.count, cause.label(), ids.join(","))
}

/// Runs prompts. Returns the events as text, the summary and the last snapshot.
fn watched(
    settings: Settings,
    count: u32,
    answer: impl Fn(&str, usize) -> Result<&'static str, CallError> + Send + Sync + 'static,
) -> (Vec<String>, Summary, Snapshot) {
    let clock = SimClock::new();
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let server = Server {
        clock,
        latency: SECOND,
        calls: Mutex::default(),
        answer: Box::new(answer),
    };
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = told.clone();
    let watch = move |event: &Event<'_>| {
        let said = match event {
            Event::Attempt {
                prompt, attempt, ..
            } => format!("{} {}", prompt.custom_id, attempt.outcome),
            Event::Paused { key, wait, why, .. } => format!("key {key} {why} {}", wait.as_secs()),
            Event::Resumed { key } => format!("key {key} released"),
            Event::Done { prompt, answered } => format!("{} done: {answered}", prompt.custom_id),
            Event::WorkerAdded { workers } => format!("{workers} workers"),
            other => format!("{other:?}"),
        };
        notes.lock().push(said);
    };
    let batch = Batch::new(
        settings,
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on.clone()),
    );
    let batch = batch.expecting(count.into()).watched_by(watch);
    let view = batch.view();
    let summary = batch.run(prompts(count), |_| Ok(()));
    let told = std::mem::take(&mut *told.lock());
    (told, summary, view.at(on.now()))
}

#[test]
fn a_pause_is_an_event_with_its_reason_and_its_end_and_an_attempt_when_it_has_ended() {
    let refused_once = |prompt: &str, before| match (prompt, before) {
        ("1", 0) => Err(error(Class::RateLimited, 429, Some(SECOND * 30))),
        ("2", _) => Err(error(Class::Rejected, 400, None)),
        _ => Ok("text"),
    };
    let (told, ..) = watched(with_workers(paced(600), 1), 2, refused_once);
    let expected = [
        "key 0 paused by the server 30",
        "line-1 rate_limited",
        "key 0 released",
        "line-1 answered",
        "line-1 done: true",
        "line-2 rejected",
        "line-2 done: false",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_view_ends_with_what_the_summary_says() {
    let sometimes = |prompt: &str, before| match (prompt, before) {
        ("3", 0) => Err(error(Class::RateLimited, 429, Some(SECOND))),
        ("4", 0) => Err(error(Class::Fault, 500, None)),
        ("5", _) => Err(error(Class::Rejected, 400, None)),
        _ => Ok("text"),
    };
    let (told, summary, last) = watched(paced(600), 40, sometimes);
    let Snapshot {
        answered,
        failed,
        calls,
        rate_limited,
        faults,
        unmetered,
        ..
    } = last;
    assert_eq!((answered, failed), (summary.answered, summary.failed));
    assert_eq!(
        (calls, rate_limited, faults),
        (summary.calls, summary.rate_limited, summary.faults)
    );
    assert_eq!((calls, rate_limited, faults, unmetered), (42, 1, 2, 39));
    assert_eq!(
        (last.left(), last.in_flight, last.waiting, last.pause),
        (Some(0), 0, 0, None)
    );
    assert_eq!(last.allowed, Allowed::Fixed(600.0));
    let causes: Vec<_> = last.failed_calls.list.iter().map(said).collect();
    assert_eq!(causes, ["1 x 429: 3", "1 x 500: 4", "1 x 400: 5"]);
    assert_eq!(last.failed_calls, summary.failed_calls);
    let failed: Vec<_> = summary.failed_prompts.list.iter().map(said).collect();
    assert_eq!(failed, ["1 x 400: 5"]);
    assert_eq!((last.retried, summary.retried), (2, 2));
    assert!(last.since_failure.is_some_and(|ago| ago > SECOND));
    let near =
        |latency: Option<Duration>| latency.is_some_and(|at| at.abs_diff(SECOND) < SECOND / 30);
    assert!(near(last.latency_p95) && near(last.latency));
    assert_eq!(last.latency, summary.latency);
    assert_eq!((last.paused, summary.paused.as_secs()), (summary.paused, 1));
    assert_eq!(
        told.iter().filter(|said| said.starts_with("line-")).count(),
        42 + 40
    );
}

#[test]
fn an_added_worker_is_an_event_and_is_counted() {
    let (told, _, last) = watched(paced(60), 30, |_, _| Ok("text"));
    let added = told
        .iter()
        .filter(|said| said.ends_with(" workers"))
        .count() as u64;
    assert_eq!(last.workers, added + 2, "{told:?}");
}

#[test]
fn the_view_of_a_paused_batch_says_why_and_for_how_long() {
    let clock = SimClock::new();
    let start = clock.now();
    let view = View::new(Arc::new(clock.clone()), RateLimit::Adaptive, 2);
    let paused = |key, wait, why| {
        let until = clock.wall() + wait;
        view.tell(Event::Paused {
            key,
            wait,
            until,
            why,
        });
    };
    assert_eq!(
        (view.at(start).allowed, view.at(start).pause),
        (Allowed::Unknown, None)
    );
    paused(0, SECOND * 9, PauseReason::Ordered);
    assert_eq!(view.at(start).pause, None, "the other key is free");
    paused(1, SECOND * 5, PauseReason::RateLimited);
    assert_eq!(
        view.at(start + SECOND).pause,
        Some(Pause {
            left: SECOND * 4,
            length: SECOND * 5,
            why: PauseReason::RateLimited
        })
    );
    view.held_longer(1, start, start + SECOND * 20);
    assert_eq!(
        view.at(start).pause,
        Some(Pause {
            left: SECOND * 9,
            length: SECOND * 9,
            why: PauseReason::Ordered
        })
    );
    let error = &error(Class::Fatal, 401, None);
    view.tell(Event::Retired { key: 0, error });
    assert_eq!(
        (view.at(start).pause.unwrap().left, view.at(start).keys),
        (SECOND * 20, 1)
    );
    clock.sleep_until(start + SECOND * 21);
    view.tell(Event::Resumed { key: 1 });
    assert_eq!(view.at(start).pause, None);
}

#[test]
fn a_rate_is_an_event_only_when_it_changes() {
    let clock = SimClock::new();
    let start = clock.now();
    let view = View::new(Arc::new(clock), RateLimit::Adaptive, 1);
    let rate_known = |per_minute, found| {
        view.tell(Event::RateKnown {
            key: 0,
            per_minute,
            found,
        });
    };
    let paces = Arc::new(Mutex::new(Vec::new()));
    let notes = paces.clone();
    view.watch(move |event: &Event<'_>| {
        if let Event::RateKnown {
            per_minute, found, ..
        } = event
        {
            notes.lock().push((*per_minute, *found));
        }
    });
    rate_known(590.0, true);
    assert_eq!(view.at(start).allowed, Allowed::Found(590.0));
    (0..3).for_each(|_| rate_known(600.0, false));
    rate_known(300.0, false);
    assert_eq!(view.at(start).allowed, Allowed::Stated(300.0));
    let expected = [(590.0, true), (600.0, false), (300.0, false)];
    assert_eq!(*paces.lock(), expected);
}

/// Answers at once, with 1,000 tokens of input and of output.
#[derive(Debug)]
struct Metered;

impl Ask for Metered {
    fn request(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }

    fn ask(&self, _: &[u8]) -> Result<Answer, CallError> {
        let usage = Usage {
            input: 1000,
            output: 1000,
            ..Usage::default()
        };
        Ok(Answer {
            text: String::new(),
            finish_reason: None,
            status: 200,
            request_id: None,
            usage: Some(usage),
            hints: Box::default(),
            body: Json::default(),
        })
    }
}

#[test]
fn a_batch_stops_at_its_cost_limit() {
    let on: Arc<dyn Clock> = Arc::new(SimClock::new());
    let price = Price::new(2.0, 3.0);
    let max_cost = Some(MaxCost { price, most: 0.05 });
    let settings = Settings {
        max_cost,
        ..with_workers(paced(600), 3)
    };
    let batch = Batch::new(
        settings,
        [&Metered as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let summary = batch.run(prompts(100), |_| Ok(()));
    assert!(matches!(summary.stop, Some(Stop::Spent { spent, most: 0.05 }) if spent >= 0.05));
    assert!(
        (10..=12).contains(&summary.answered),
        "ten, and what was in flight: {}",
        summary.answered
    );
    assert_eq!(summary.tokens.input, summary.answered * 1000);
}

#[test]
fn a_batch_that_is_done_has_not_stopped_at_its_cost_limit() {
    let on: Arc<dyn Clock> = Arc::new(SimClock::new());
    let max_cost = Some(MaxCost {
        price: Price::new(2.0, 3.0),
        most: 0.05,
    });
    let settings = Settings {
        max_cost,
        ..with_workers(paced(600), 1)
    };
    let batch = Batch::new(
        settings,
        [&Metered as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let summary = batch.expecting(10).run(prompts(10), |_| Ok(()));
    assert!(
        summary.stop.is_none() && summary.answered == 10,
        "{summary:?}"
    );
}
