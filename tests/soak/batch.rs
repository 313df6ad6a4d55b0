//! A batch of thirty days on the simulated clock, against a server that has good days and bad ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paceline::api::{Answer, Ask, CallError, Class};
use paceline::batch::{Batch, Settings, Summary};
use paceline::clock::SimClock;
use paceline::pacing::RateLimit;
use paceline::prompts::Prompt;
use paceline::{CancelToken, Clock, Rate};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{DAYS_30, HOUR, MINUTE, alone, memory};

const DAY: Duration = Duration::from_secs(24 * 3600);
const DAYS: usize = 30;
/// The server's limit: three a minute, and every third day half as many where it changes.
const USUAL: Duration = Duration::from_secs(20);

/// What a day brought.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    answered: u32,
    rate_limited: u32,
    faults: u32,
    rejected: u32,
    memory: usize,
}

/// Keeps to its limit, fails one call in fifty, rejects one in two hundred, and has an outage of ten minutes each day.
#[derive(Debug)]
struct Server {
    clock: SimClock,
    start: Instant,
    /// Whether it says when to come back, and keeps its limit for ever.
    is_kind: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the next call is due: one each `interval`.
    due: Instant,
    interval: Duration,
    chance: StdRng,
    days: [Day; DAYS],
}

impl Server {
    fn new(clock: &SimClock, is_kind: bool) -> Self {
        let start = clock.now();
        let state = State {
            due: start,
            interval: USUAL,
            chance: StdRng::seed_from_u64(7),
            days: Default::default(),
        };
        Server {
            clock: clock.clone(),
            start,
            is_kind,
            state: Mutex::new(state),
        }
    }

    /// One call comes in.
    fn judge(&self) -> Result<(), CallError> {
        let now = self.clock.now();
        let (day, hour) = day_and_hour(now - self.start);
        let day = day.min(DAYS - 1);
        let mut state = self.state.lock();
        let interval = if self.is_kind { USUAL } else { changing(day) };
        if state.interval != interval {
            state.interval = interval;
            state.due = now;
        }
        let outage = (HOUR * 3..HOUR * 3 + MINUTE * 10).contains(&hour);
        if state.days[day].memory == 0 {
            state.days[day].memory = memory().unwrap_or_default();
        }
        let draw: f64 = state.chance.random();
        let early = state.due.saturating_duration_since(now);
        let (class, status, wait) = match draw {
            _ if outage => (Class::RateLimited, 429, Some(HOUR * 3 + MINUTE * 10 - hour)),
            _ if !early.is_zero() => (Class::RateLimited, 429, Some(early)),
            ..0.02 => (Class::Fault, 500, None),
            ..0.025 => (Class::Rejected, 400, None),
            _ => {
                state.due = now + interval;
                state.days[day].answered += 1;
                return Ok(());
            }
        };
        if class != Class::RateLimited {
            state.due = now + interval;
        }
        let today = &mut state.days[day];
        *match class {
            Class::RateLimited => &mut today.rate_limited,
            Class::Fault => &mut today.faults,
            _ => &mut today.rejected,
        } += 1;
        Err(error(class, status, wait.filter(|_| self.is_kind)))
    }
}

/// The interval of this day, where it changes.
fn changing(day: usize) -> Duration {
    if day % 3 == 2 { USUAL * 2 } else { USUAL }
}

fn day_and_hour(since: Duration) -> (usize, Duration) {
    let day = since.as_secs() / DAY.as_secs();
    (day as usize, since - DAY * day as u32)
}

fn error(class: Class, status: u16, retry_after: Option<Duration>) -> CallError {
    let mut error = CallError::new(class, "", "");
    error.status = Some(status);
    error.retry_after = retry_after;
    error
}

impl Ask for Server {
    fn request(&self, prompt: &str) -> Vec<u8> {
        prompt.as_bytes().to_vec()
    }

    fn ask(&self, _: &[u8]) -> Result<Answer, CallError> {
        let judged = self.judge();
        self.clock
            .sleep_until(self.clock.now() + Duration::from_secs(2));
        judged.map(|()| Answer::new("text"))
    }
}

/// Runs for thirty days. Returns the summary, and what each day brought.
fn run(rate: RateLimit, is_kind: bool) -> (Summary, [Day; DAYS]) {
    let clock = SimClock::new();
    let server = Server::new(&clock, is_kind);
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let settings = Settings {
        rate,
        ..Settings::default()
    };
    let batch = Batch::new(
        settings,
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let end = clock.now() + DAYS_30;
    let lines = (1..).take_while(|_| clock.now() < end);
    let summary = batch.run(lines.map(|line| Ok(Prompt::new(line, "topic"))), |_| Ok(()));
    (summary, server.state.into_inner().days)
}

/// Each day at least this part of the possible calls is made, and at most this part is rate limited; memory is flat.
fn assert_steady(
    days: &[Day],
    least_used: f64,
    most_limited: f64,
    possible: impl Fn(usize) -> f64,
) {
    for (day, had) in days.iter().enumerate() {
        let passed = f64::from(had.answered + had.faults + had.rejected);
        let used = passed / possible(day);
        let limited = f64::from(had.rate_limited) / passed;
        assert!(
            used > least_used && limited < most_limited,
            "day {day}: {used:.3} used, {limited:.3}: {had:?}"
        );
    }
    let grown = days[days.len() - 1].memory as i64 - days[1].memory as i64;
    println!("{grown} KiB more on the last day than on the second");
    assert!(grown < 2_048, "{grown} KiB");
}

#[test]
fn a_batch_of_thirty_days_with_faults_and_outages_keeps_its_rate_to_the_last() {
    let _alone = alone();
    let rate = Rate::every(USUAL).exact();
    let (summary, days) = run(RateLimit::Fixed(rate), true);
    println!(
        "{} answered, {} calls, {} rate limited",
        summary.answered, summary.calls, summary.rate_limited
    );
    assert!(summary.stop.is_none(), "{:?}", summary.stop);
    // Only the calls in flight when an outage begins are rate limited.
    assert_steady(&days, 0.99, 0.002, |_| {
        (DAY - MINUTE * 10).div_duration_f64(USUAL)
    });
}

#[test]
fn a_batch_of_thirty_days_finds_its_rate_whenever_it_changes() {
    let _alone = alone();
    let (summary, days) = run(RateLimit::Adaptive, false);
    println!(
        "{} answered, {} calls, {} rate limited",
        summary.answered, summary.calls, summary.rate_limited
    );
    assert!(summary.stop.is_none(), "{:?}", summary.stop);
    let possible = |day| (DAY - MINUTE * 10).div_duration_f64(changing(day));
    // On the first day it is found.
    assert_steady(&days[..2], 0.84, 0.10, possible);
    assert_steady(&days[1..], 0.84, 0.05, |day| possible(day + 1));
}
