//! Whole batches on simulated time, against a server that is a closure.

mod watch;

use super::*;
use crate::api::{Answer, CallError, Class};
use crate::clock::SimClock;
use crate::json::Json;
use crate::limiter::Rate;
use std::time::SystemTime;

mod guard;
#[cfg(feature = "cli")]
mod joined;
mod tokens;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How long a prompt waits for capacity of the flex tier.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer to a prompt, by its text and by the number of earlier calls for it.
type Answers = dyn Fn(&str, usize) -> Result<&'static str, CallError> + Send + Sync;

/// A server in simulated time, which answers by the prompt and the number of earlier calls for it.
struct Server {
    clock: SimClock,
    latency: Duration,
    calls: Mutex<Vec<(Duration, String)>>,
    answer: Box<Answers>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Ask for Server {
    fn request(&self, prompt: &str) -> Vec<u8> {
        prompt.as_bytes().to_vec()
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let prompt = String::from_utf8(request.to_vec()).unwrap();
        let before = self
            .calls
            .lock()
            .iter()
            .filter(|(_, asked)| *asked == prompt)
            .count();
        self.calls
            .lock()
            .push((self.clock.elapsed(), prompt.clone()));
        self.clock.sleep_until(self.clock.now() + self.latency);
        (self.answer)(&prompt, before).map(|text| Answer {
            text: text.to_owned(),
            finish_reason: Some("stop".to_owned()),
            status: 200,
            request_id: None,
            usage: None,
            hints: Box::default(),
            body: Json::default(),
        })
    }

    fn misfit(&self, answer: &Answer) -> Option<String> {
        (answer.text == "no JSON").then(|| "it is no JSON".to_owned())
    }

    fn fallback(&self, request: &[u8], waited: Duration) -> Option<Vec<u8>> {
        let full_price = || [request, b" at full price"].concat();
        (waited >= PATIENCE).then(full_price)
    }
}

/// What the flex tier says when it is full.
fn no_capacity() -> CallError {
    CallError {
        code: "no_capacity".to_owned(),
        ..error(Class::RateLimited, 429, None)
    }
}

fn error(class: Class, status: u16, retry_after: Option<Duration>) -> CallError {
    CallError {
        class,
        code: "code".to_owned(),
        message: "message".to_owned(),
        status: Some(status),
        request_id: None,
        retry_after,
        hints: Box::default(),
        maybe_billed: false,
        body: None,
    }
}

struct Ran {
    summary: Summary,
    records: Vec<Record>,
    calls: Vec<(Duration, String)>,
    clock: SimClock,
}

fn prompts(count: u32) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
    (1..=count).map(|n| Ok(Prompt::new(n.into(), n.to_string())))
}

fn run(
    settings: Settings,
    count: u32,
    latency: Duration,
    answer: impl Fn(&str, usize) -> Result<&'static str, CallError> + Send + Sync + 'static,
) -> Ran {
    run_guarded(settings, count, latency, answer, None)
}

fn run_guarded(
    settings: Settings,
    count: u32,
    latency: Duration,
    answer: impl Fn(&str, usize) -> Result<&'static str, CallError> + Send + Sync + 'static,
    guard: Option<&dyn Guard>,
) -> Ran {
    let clock = SimClock::new();
    let server = Server {
        clock: clock.clone(),
        latency,
        calls: Mutex::default(),
        answer: Box::new(answer),
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let batch = Batch::new(
        settings,
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let batch = match guard {
        Some(guard) => batch.guarded(guard),
        None => batch,
    };
    let mut records = Vec::new();
    let batch = batch.expecting(count.into());
    let summary = batch.run(prompts(count), |record| {
        records.push(record.clone());
        Ok(())
    });
    Ran {
        summary,
        records,
        calls: server.calls.into_inner(),
        clock,
    }
}

fn paced(per_minute: u32) -> Settings {
    let rate = Rate::per_minute(per_minute).exact();
    Settings {
        rate: RateLimit::Fixed(rate),
        ..Settings::default()
    }
}

fn with_workers(settings: Settings, workers: usize) -> Settings {
    Settings {
        workers: NonZeroUsize::new(workers),
        ..settings
    }
}

#[test]
fn only_a_very_fast_batch_pulls_prompts_ahead_of_its_workers() {
    let per_minute = |rpm| ahead(&RateLimit::Fixed(Rate::per_minute(rpm)));
    assert_eq!([600, 60_000, 600_000].map(per_minute), [0, 10, 64]);
    assert_eq!(ahead(&RateLimit::default()), 64);
    assert_eq!(ahead(&RateLimit::Adaptive), 0);
}

#[test]
fn a_403_for_one_prompt_fails_it_alone_and_one_for_every_prompt_stops_the_batch() {
    let settings = with_workers(paced(60_000), 1);
    let forbidden = || Err(error(Class::Rejected, 403, None));
    let moderated = move |prompt: &str, _| match prompt.parse::<u32>().unwrap() % 3 {
        0 => forbidden(),
        _ => Ok("text"),
    };
    let ran = run(settings, 30, SECOND, moderated);
    assert_eq!((ran.summary.answered, ran.summary.failed), (20, 10));
    assert!(ran.summary.stop.is_none());
    let ran = run(settings, 30, SECOND, move |_, _| forbidden());
    assert_eq!(ran.calls.len(), 5, "five in a row are no accident");
    assert!(matches!(ran.summary.stop, Some(Stop::Refused(_))));
}

#[test]
fn a_prompt_without_capacity_waits_alone_and_is_asked_at_full_price_when_its_patience_is_over() {
    let settings = with_workers(paced(60), 2);
    let settings = Settings {
        retry: settings.retry.retries(0),
        ..settings
    };
    let first_is_full = |prompt: &str, _| match prompt {
        "1" => Err(no_capacity()),
        _ => Ok("text"),
    };
    let ran = run(settings, 40, MS, first_is_full);
    assert_eq!((ran.summary.answered, ran.summary.failed), (40, 0));
    let busy = ran.calls.iter().take(40);
    let gaps = busy.clone().zip(busy.skip(1));
    assert!(
        gaps.into_iter()
            .all(|(one, next)| next.0 - one.0 <= SECOND + MS * 10)
    );
    let (tries, other): (Vec<_>, Vec<_>) = ran.calls.iter().partition(|(_, asked)| asked == "1");
    assert!((5..=9).contains(&tries.len()), "with backoff: {tries:?}");
    let (at, _) = other
        .iter()
        .find(|(_, asked)| asked == "1 at full price")
        .unwrap();
    assert!(*at >= PATIENCE && *at < PATIENCE * 3, "{at:?}");
    let attempts = &ran.records.last().unwrap().attempts;
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.outcome.name())
        .collect();
    let (last, before) = outcomes.split_last().unwrap();
    assert_eq!(*last, "answered");
    assert!(before.iter().all(|outcome| *outcome == "no_capacity"));
}

/// Makes no request: whoever asks for one reads a prompt's files.
#[derive(Debug)]
struct NoRequests;

impl Ask for NoRequests {
    fn request(&self, _: &str) -> Vec<u8> {
        panic!("this prompt is done")
    }

    fn ask(&self, _: &[u8]) -> Result<Answer, CallError> {
        panic!("this prompt is done")
    }
}

#[test]
fn a_prompt_that_was_compared_and_is_done_is_skipped_without_its_request() {
    let done = (1..=3).map(|line| (RecordId::of(line, b"request"), true));
    let resume = Resume {
        index: done.collect(),
        is_compared: true,
        ..Resume::default()
    };
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new());
    let cancel = CancelToken::on(clock.clone());
    let batch = Batch::new(paced(60), [&NoRequests as &dyn Ask], clock, cancel);
    let summary = batch.resuming(resume).run(prompts(3), |_| Ok(()));
    assert_eq!((summary.before, summary.calls), (3, 0));
}

#[test]
fn the_articles_batch_takes_its_twenty_minutes_and_every_prompt_is_answered() {
    let ran = run(with_workers(paced(10), 4), 200, SECOND * 2, |_, _| {
        Ok("text")
    });
    assert_eq!(
        (
            ran.summary.answered,
            ran.summary.calls,
            ran.summary.rate_limited
        ),
        (200, 200, 0)
    );
    assert_eq!(
        ran.summary.elapsed,
        SECOND * (199 * 6 + 2),
        "19.9 minutes and the last answer"
    );
    assert_eq!(ran.summary.calls_a_minute, Some(10.0));
    assert!(
        ran.records
            .iter()
            .all(|record| record.text.as_deref() == Some("text") && record.attempts.len() == 1)
    );
}

#[test]
fn workers_are_added_until_no_permit_goes_unused() {
    for (latency, prompts) in [
        (SECOND / 10, 1000),
        (SECOND, 1000),
        (SECOND * 7, 1000),
        (SECOND * 30, 4000),
    ] {
        let ran = run(paced(600), prompts, latency, |_, _| Ok("text"));
        let filled = ran.calls[0].0 + latency * 8; // the calls in flight start at 2
        let steady: Vec<_> = ran.calls.iter().filter(|(at, _)| *at >= filled).collect();
        let is_on_time = |pair: &[&(Duration, String)]| pair[1].0 - pair[0].0 == MS * 100;
        assert!(
            steady.len() > prompts as usize / 4 && steady.windows(2).all(is_on_time),
            "{latency:?}"
        );
    }
}

#[test]
fn a_fault_is_retried_and_its_attempts_are_in_the_record() {
    let flaky = |_: &str, before| {
        if before < 2 {
            Err(error(Class::Fault, 500, None))
        } else {
            Ok("text")
        }
    };
    let ran = run(paced(600), 1, SECOND, flaky);
    let attempts = &ran.records[0].attempts;
    let outcomes: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.n, attempt.outcome.name(), attempt.status))
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, "server_error", Some(500)),
            (2, "server_error", Some(500)),
            (3, "answered", Some(200))
        ]
    );
    assert!(attempts[0].backoff.unwrap() >= SECOND && attempts[1].backoff.unwrap() >= SECOND * 2);
    assert_eq!((attempts[2].backoff, attempts[2].took), (None, SECOND));
    assert_eq!(
        (ran.summary.answered, ran.summary.calls, ran.summary.faults),
        (1, 3, 2)
    );
}

#[test]
fn a_prompt_that_fails_has_a_record_that_says_why_and_the_others_go_on() {
    let picky = |prompt: &str, _| {
        if prompt == "3" {
            Err(error(Class::Rejected, 400, None))
        } else {
            Ok("text")
        }
    };
    let ran = run(paced(600), 5, SECOND, picky);
    assert_eq!(
        (ran.summary.answered, ran.summary.failed, ran.summary.calls),
        (4, 1, 5)
    );
    let failed = ran
        .records
        .iter()
        .find(|record| record.text.is_none())
        .unwrap();
    assert_eq!(
        (
            failed.custom_id.as_str(),
            failed.error.as_ref().unwrap().code.as_str()
        ),
        ("line-3", "code")
    );
    assert_eq!(failed.response.as_ref().unwrap().status_code, 400);
}

#[test]
fn one_429_pauses_everyone_and_costs_no_retry() {
    let refusing = |prompt: &str, before| match (prompt, before) {
        ("5", 0..3) => Err(error(Class::RateLimited, 429, Some(SECOND * 30))),
        _ => Ok("text"),
    };
    let settings = Settings {
        retry: Retry::new().retries(0),
        ..paced(60)
    };
    let ran = run(settings, 20, SECOND / 10, refusing);
    assert_eq!((ran.summary.answered, ran.summary.rate_limited), (20, 3));
    for (at, _) in ran.calls.iter().filter(|(_, prompt)| prompt == "5").take(3) {
        let until = *at + SECOND / 10 + SECOND * 30;
        assert!(
            !ran.calls
                .iter()
                .any(|(other, _)| other > at && *other < until),
            "no call leaves before {until:?}"
        );
    }
    assert!(
        ran.calls
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= SECOND),
        "and then no herd"
    );
}

#[test]
fn a_batch_halts_when_enough_prompts_have_failed() {
    let settings = Settings {
        halt: Some("3".parse().unwrap()),
        ..with_workers(paced(60), 1)
    };
    let ran = run(settings, 100, MS, |_, _| {
        Err(error(Class::Rejected, 400, None))
    });
    assert!(matches!(
        ran.summary.stop,
        Some(Stop::Halted {
            failed: 3,
            finished: 3,
            ..
        })
    ));
    assert!((3..=4).contains(&ran.calls.len()), "one may be under way");
    assert_eq!(ran.records.len(), ran.calls.len());
}

#[test]
fn a_rejected_key_stops_the_batch_and_leaves_the_rest_to_another_run() {
    let refusing = |prompt: &str, _| {
        if prompt == "3" {
            Err(error(Class::Fatal, 401, None))
        } else {
            Ok("text")
        }
    };
    let ran = run(with_workers(paced(60), 4), 100, MS * 2500, refusing);
    assert!(matches!(ran.summary.stop, Some(Stop::Refused(_))));
    assert_eq!(
        ran.calls.len(),
        5,
        "the third, at 2 s, gets its 401 at 4.5 s; two more have been sent by then"
    );
    assert_eq!(
        ran.records.len(),
        4,
        "the calls in flight are kept; the prompt with the 401 is not done"
    );
    assert_eq!(ran.clock.elapsed(), MS * 6500);
}

#[test]
fn a_server_that_pauses_too_long_stops_the_batch() {
    let ran = run(paced(60), 100, SECOND, |_, _| {
        Err(error(Class::RateLimited, 429, Some(SECOND * 3600)))
    });
    let Some(Stop::Held { more, .. }) = ran.summary.stop else {
        panic!("{:?}", ran.summary.stop)
    };
    assert_eq!(more, Some(SECOND * 3600));
    assert!(
        ran.clock.elapsed() < SECOND * 10,
        "at once, not after an hour"
    );

    let ran = run(paced(60), 100, SECOND, |_, _| {
        Err(error(Class::RateLimited, 429, None))
    });
    assert!(matches!(
        ran.summary.stop,
        Some(Stop::Held { more: None, .. })
    ));
    assert!(
        ran.clock.elapsed() > SECOND * 60 * 15,
        "patient for a quarter of an hour"
    );
    assert!(ran.clock.elapsed() < SECOND * 60 * 18);
}

#[test]
fn a_wait_that_a_fault_orders_is_bounded_like_that_of_a_429() {
    let week = Some(SECOND * 604_800);
    for status in [200, 408, 500, 503] {
        let ran = run(paced(60), 100, SECOND, move |_, _| {
            Err(error(Class::Fault, status, week))
        });
        let Some(Stop::Held { more, .. }) = ran.summary.stop else {
            panic!("{status}: {:?}", ran.summary.stop)
        };
        assert_eq!(more, week);
        assert!(ran.clock.elapsed() < SECOND * 10 && ran.records.is_empty());
    }
}

#[test]
fn one_prompt_that_is_to_wait_too_long_fails_alone_and_many_stop_the_batch() {
    let week = Some(SECOND * 604_800);
    let one = move |prompt: &str, _| match prompt {
        "7" => Err(error(Class::Fault, 500, week)),
        _ => Ok("text"),
    };
    let ran = run(paced(60), 20, SECOND, one);
    assert!(ran.summary.stop.is_none() && ran.clock.elapsed() < SECOND * 30);
    assert_eq!((ran.summary.answered, ran.summary.failed), (19, 1));
    let all = move |prompt: &str, _| match prompt.len() {
        1 => Ok("text"),
        _ => Err(error(Class::Fault, 500, week)),
    };
    let ran = run(with_workers(paced(60), 1), 40, SECOND, all);
    assert!(matches!(ran.summary.stop, Some(Stop::Held { .. })));
    assert_eq!((ran.summary.answered, ran.calls.len()), (9, 14));
}

#[test]
fn twenty_prompts_that_all_fail_for_one_reason_stop_the_batch() {
    let wrong = |_: &str, _| Err(error(Class::Rejected, 404, None));
    let ran = run(with_workers(paced(60), 2), 300, MS, wrong);
    let Some(Stop::AllAlike { count, cause }) = &ran.summary.stop else {
        panic!("{:?}", ran.summary.stop)
    };
    assert_eq!((*count, cause.as_str()), (20, "404 code: message"));
    assert!((20..=22).contains(&ran.records.len()), "those under way");
    assert_eq!(ran.summary.left, Some(300 - ran.records.len() as u64));
    let going = Settings {
        keep_going: true,
        ..paced(6_000)
    };
    let ran = run(going, 300, MS, wrong);
    assert!(ran.summary.stop.is_none() && ran.records.len() == 300);
}

#[test]
fn prompts_that_fail_for_two_reasons_or_are_few_or_not_the_first_stop_nothing() {
    let rejected = |status| Err(error(Class::Rejected, status, None));
    let two = move |prompt: &str, _| rejected(if prompt == "9" { 400 } else { 404 });
    let ran = run(paced(6_000), 300, MS, two);
    assert!(ran.summary.stop.is_none());
    let ran = run(paced(6_000), 20, MS, move |_, _| rejected(404));
    assert!(ran.summary.stop.is_none(), "nothing was left to stop");
    let first = move |prompt: &str, _| {
        if prompt == "1" {
            Ok("text")
        } else {
            rejected(404)
        }
    };
    assert!(run(paced(6_000), 300, MS, first).summary.stop.is_none());
}

#[test]
fn pages_in_place_of_answers_are_another_server_unless_one_prompt_was_answered() {
    let page = || {
        Err(CallError {
            code: "unreadable_body".to_owned(),
            ..error(Class::Fault, 200, None)
        })
    };
    let ran = run(paced(6_000), 300, MS, move |_, _| page());
    assert!(matches!(ran.summary.stop, Some(Stop::Refused(_))));
    assert!(ran.clock.elapsed() < SECOND * 10);
    let first = move |prompt: &str, _| if prompt == "1" { Ok("text") } else { page() };
    let ran = run(paced(6_000), 300, MS, first);
    assert!(!matches!(ran.summary.stop, Some(Stop::Refused(_))));
}

#[test]
fn an_address_that_cannot_be_reached_is_known_within_ten_seconds() {
    let unreachable = |_: &str, _| {
        Err(CallError {
            status: None,
            code: "no_connection".to_owned(),
            ..error(Class::Fault, 0, None)
        })
    };
    for settings in [
        Settings::default(),
        with_workers(paced(60), 1),
        paced(6_000),
    ] {
        let ran = run(settings, 300, MS, unreachable);
        assert!(matches!(ran.summary.stop, Some(Stop::Unreachable(_))));
        assert!(
            ran.clock.elapsed() < SECOND * 10,
            "{:?}",
            ran.clock.elapsed()
        );
        assert!(ran.records.is_empty(), "all can be resumed");
    }
    let once = move |prompt: &str, before| match prompt {
        "1" => Ok("text"),
        _ if before < 3 => unreachable("", 0),
        _ => Ok("text"),
    };
    let ran = run(with_workers(paced(60), 1), 5, MS, once);
    assert!(ran.summary.stop.is_none(), "an outage is waited for");
}

#[test]
fn prompts_that_end_before_the_number_announced_are_missed() {
    let ran = run_announced(10, 7);
    let Some(Stop::Missing { announced, missing }) = ran.stop else {
        panic!("{:?}", ran.stop)
    };
    assert_eq!((announced, missing, ran.answered), (10, 3, 7));
    assert!(run_announced(7, 7).stop.is_none());
    assert!(run_announced(5, 7).stop.is_none(), "more are no loss");
}

fn run_announced(announced: u64, count: u32) -> Summary {
    let clock = SimClock::new();
    let server = Server {
        clock: clock.clone(),
        latency: MS,
        calls: Mutex::default(),
        answer: Box::new(|_, _| Ok("text")),
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let cancel = CancelToken::on(on.clone());
    let batch = Batch::new(paced(600), [&server as &dyn Ask], on, cancel);
    batch.expecting(announced).run(prompts(count), |_| Ok(()))
}

#[test]
fn results_that_cannot_be_written_stop_the_batch() {
    let clock = SimClock::new();
    let answer = Box::new(|_: &str, _: usize| Ok("text"));
    let server = Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer,
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let batch = Batch::new(
        with_workers(paced(60), 2),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let full = || crate::journal::JournalError::Write {
        to: "disk".into(),
        source: std::io::ErrorKind::StorageFull.into(),
    };
    let summary = batch.run(prompts(100), |_| Err(full().into()));
    assert!(matches!(summary.stop, Some(Stop::Sink(_))));
    assert_eq!(summary.answered, 0);
    assert!(
        server.calls.lock().len() <= 2,
        "no call is sent after the failure"
    );
}

#[test]
fn an_input_that_breaks_off_stops_the_batch_cleanly() {
    let clock = SimClock::new();
    let answer = Box::new(|_: &str, _: usize| Ok("text"));
    let server = Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer,
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let batch = Batch::new(
        paced(600),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let broken = prompts(3)
        .chain([Err(PromptError::at(4, "not UTF-8"))])
        .chain(prompts(9));
    let mut records = 0;
    let summary = batch.run(broken, |_| {
        records += 1;
        Ok(())
    });
    assert!(matches!(
        summary.stop,
        Some(Stop::Input(error)) if error.to_string() == "line 4: not UTF-8"
    ));
    assert_eq!(
        server.calls.lock().len(),
        records,
        "what was sent is written"
    );
}

#[test]
fn cancelling_from_outside_ends_waits_and_keeps_the_calls_in_flight() {
    let clock = SimClock::new();
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let cancel = CancelToken::on(on.clone());
    let switch = cancel.clone();
    let answer = Box::new(move |prompt: &str, _: usize| {
        if prompt == "2" {
            switch.cancel();
        }
        Ok("text")
    });
    let server = Server {
        clock: clock.clone(),
        latency: SECOND * 5,
        calls: Mutex::default(),
        answer,
    };
    let batch = Batch::new(
        with_workers(paced(60), 4),
        [&server as &dyn Ask],
        on,
        cancel,
    );
    let mut records = Vec::new();
    let summary = batch.run(prompts(100), |record| {
        records.push(record.custom_id.clone());
        Ok(())
    });
    assert!(matches!(summary.stop, Some(Stop::Interrupted)));
    assert_eq!(records.len(), server.calls.lock().len());
    assert!(clock.elapsed() <= SECOND * 11);
}

#[test]
fn a_batch_continues_where_an_earlier_run_stopped() {
    let clock = SimClock::new();
    let answer = Box::new(|_: &str, _: usize| Ok("text"));
    let server = Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer,
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let done = (1..=90u64).map(|line| (RecordId::of(line, line.to_string().as_bytes()), line != 7));
    let resume = Resume {
        settings: None,
        is_compared: false,
        index: done.collect(),
        retry_failed: true,
        keep: false,
    };
    let batch = Batch::new(
        paced(60),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    )
    .resuming(resume);
    let mut written = Vec::new();
    let summary = batch.run(prompts(100), |record| {
        written.push(record.custom_id.clone());
        Ok(())
    });
    assert_eq!(
        (summary.before, summary.answered, summary.calls),
        (89, 11, 11)
    );
    assert_eq!(written[..2], ["line-7", "line-91"]);
    assert_eq!(
        summary.elapsed,
        SECOND * 11,
        "finished prompts take no permit"
    );
}

#[test]
fn several_keys_run_at_the_sum_of_their_rates_and_an_exhausted_key_costs_no_prompt() {
    let clock = SimClock::new();
    let server = |answer: Box<Answers>| Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer,
    };
    let spent = server(Box::new(|prompt: &str, _| {
        match prompt.parse::<u32>().unwrap() {
            0..=150 => Ok("text"),
            _ => Err(error(Class::Fatal, 429, None)),
        }
    }));
    let servers = [
        server(Box::new(|_, _| Ok("text"))),
        spent,
        server(Box::new(|_, _| Ok("text"))),
    ];
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let asks = servers.iter().map(|server| server as &dyn Ask);
    let batch = Batch::new(paced(200), asks, on.clone(), CancelToken::on(on));
    let mut records = Vec::new();
    let summary = batch.run(prompts(450), |record| {
        records.push(record.clone());
        Ok(())
    });
    assert!(summary.stop.is_none());
    assert_eq!(
        (summary.answered, records.len()),
        (450, 450),
        "nothing is lost"
    );
    let calls = servers.map(|server| server.calls.into_inner());
    for calls in &calls {
        assert!(
            calls
                .windows(2)
                .all(|pair| pair[1].0 - pair[0].0 >= MS * 300),
            "each key keeps its rate"
        );
    }
    let is_steady = |at: Duration| (SECOND * 3..SECOND * 13).contains(&at);
    let in_ten_seconds: usize = calls
        .iter()
        .map(|calls| calls.iter().filter(|(at, _)| is_steady(*at)).count())
        .sum();
    assert!(
        (99..=102).contains(&in_ten_seconds),
        "600 a minute in all: {in_ten_seconds}"
    );
    assert!(
        calls[1].len() < 60,
        "retired after its first error, except for calls in flight"
    );
    assert!(
        records
            .iter()
            .any(|record| record.attempts[0].key == 1 && record.attempts.len() == 2)
    );
}

#[test]
fn a_broken_server_is_not_hammered_and_then_the_batch_stops() {
    let ran = run(paced(6000), 10_000, MS * 20, |_, _| {
        Err(error(Class::Fault, 500, None))
    });
    assert!(
        matches!(ran.summary.stop, Some(Stop::Broken(_))),
        "{:?}",
        ran.summary.stop
    );
    assert!(
        (SECOND * 60..SECOND * 90).contains(&ran.clock.elapsed()),
        "{:?}",
        ran.clock.elapsed()
    );
    assert!(
        ran.calls.len() < 150,
        "{} calls to a server that answers none",
        ran.calls.len()
    );
}

#[test]
fn a_few_faults_slow_nobody_down() {
    let flaky = |prompt: &str, before: usize| match prompt.parse::<u32>().unwrap() % 12 {
        0 if before == 0 => Err(error(Class::Fault, 500, None)),
        _ => Ok("text"),
    };
    let ran = run(paced(600), 1000, SECOND / 10, flaky);
    assert_eq!((ran.summary.answered, ran.summary.calls), (1000, 1083));
    assert!(
        ran.summary.elapsed <= MS * 100 * 1083 + SECOND * 3,
        "{:?}",
        ran.summary.elapsed
    );
}

#[test]
fn a_call_is_dated_by_its_permit_however_late_its_thread_reads_the_wall_clock() {
    let clock = SimClock::new();
    let answer = Box::new(|_: &str, _: usize| Ok("text"));
    let server = Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer,
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let batch = Batch::new(
        paced(60),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let turn = clock.now() + SECOND;
    clock.sleep_until(turn + MS * 5);
    assert_eq!(batch.wall_at(turn), SystemTime::UNIX_EPOCH + SECOND);
}

#[test]
fn a_batch_that_waited_for_its_next_prompt_has_not_lost_patience_with_the_server() {
    let clock = SimClock::new();
    let answer = |_: &str, before| match before {
        0 => Err(error(Class::RateLimited, 429, Some(SECOND))),
        _ => Ok("text"),
    };
    let server = Server {
        clock: clock.clone(),
        latency: SECOND,
        calls: Mutex::default(),
        answer: Box::new(answer),
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let batch = Batch::new(
        paced(60),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let an_hour_later = prompts(1).inspect(|_| clock.sleep_until(clock.now() + SECOND * 3600));
    let summary = batch.run(an_hour_later, |_| Ok(()));
    assert!(
        summary.stop.is_none() && summary.answered == 1,
        "{:?}",
        summary.stop
    );
}

#[test]
fn an_outage_costs_few_calls_with_any_number_of_workers_and_the_rate_is_soon_back() {
    let ms = Duration::from_millis;
    let silent = (Class::RateLimited, 429, None, ms(100));
    let faults = (Class::Fault, 503, None, ms(100));
    let ordered = (Class::RateLimited, 503, Some(SECOND), ms(400));
    let kinds = [silent, faults, ordered];
    let cases = kinds.map(|kind| [(8, kind), (1000, kind)]);
    for (workers, (class, status, wait, latency)) in cases.into_iter().flatten() {
        let clock = SimClock::new();
        let at = clock.clone();
        let refusing = move |_: &str, _| {
            let arrived = at.elapsed() - latency;
            let is_out = (SECOND * 5..SECOND * 15).contains(&arrived);
            if is_out {
                Err(error(class, status, wait))
            } else {
                Ok("text")
            }
        };
        let server = Server {
            clock: clock.clone(),
            latency,
            calls: Mutex::default(),
            answer: Box::new(refusing),
        };
        let on: Arc<dyn Clock> = Arc::new(clock.clone());
        let settings = with_workers(paced(600), workers);
        let batch = Batch::new(
            settings,
            [&server as &dyn Ask],
            on.clone(),
            CancelToken::on(on),
        );
        let summary = batch.run(prompts(200), |_| Ok(()));
        assert_eq!(summary.answered, 200);
        let calls = server.calls.into_inner();
        let within = |from, to| {
            calls
                .iter()
                .filter(|(at, _)| (from..to).contains(at))
                .count()
        };
        assert!(
            within(SECOND * 5, SECOND * 15) <= 8 + 10,
            "{workers} workers, {status}: {calls:?}"
        );
        let back = SECOND * 16 + wait.map_or(Duration::ZERO, |_| SECOND / 2);
        assert_eq!(
            within(back, back + SECOND),
            10,
            "{workers} workers, {status}: back at the limit"
        );
    }
}
