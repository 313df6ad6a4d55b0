//! The live state of a batch, which the workers keep and any thread may read.
//!
//! One lock guards all of it, and nothing waits while it is held. Events are reported after it is released, so that a
//! watcher may read the view.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::event::{Event, PauseReason};
use super::snapshot::{Allowed, Pause, Snapshot};
use super::tally::FailureCause;
use crate::api::CallError;
use crate::clock::Clock;
use crate::journal::RecordAttempt;
use crate::limiter::Rate;
use crate::outcome::CallOutcome;
use crate::pacing::RateLimit;
use crate::prompts::Prompt;

/// A live view of a batch, from [`Batch::view`](super::Batch::view). It stays valid after the batch has ended.
pub struct View {
    clock: Arc<dyn Clock>,
    start: Instant,
    watch: OnceLock<Box<Watch>>,
    state: Mutex<ViewState>,
}

type Watch = dyn Fn(&Event<'_>) + Send + Sync;

#[derive(Default)]
struct ViewState {
    /// The counters. The other fields are filled in by [`View::at`].
    counts: Snapshot,
    recent: RecentCalls,
    latencies: Latencies,
    /// When the first and the last call left.
    sent: Option<(Instant, Instant)>,
    last_failure: Option<Instant>,
    /// Since when every key is paused; until its pause is over.
    all_paused_since: Option<Instant>,
    /// Whether the settings give the rate.
    is_fixed: bool,
    keys: Vec<KeyView>,
}

/// What is known about one key.
#[derive(Clone, Default)]
struct KeyView {
    retired: bool,
    /// Calls per minute; 0 is unknown, or no limit.
    per_minute: f64,
    found: bool,
    /// The end of its pause, and the cause.
    pause: Option<(Instant, PauseReason)>,
}

/// Selects a counter.
type Counter = fn(&mut Snapshot) -> &mut u64;

/// Keeps a counter one higher until it is dropped.
pub(super) struct Counted<'a>(&'a View, Counter);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| *(self.1)(counts) -= 1);
    }
}

impl View {
    /// The view of a batch that is about to start.
    pub(super) fn new(clock: Arc<dyn Clock>, rate: RateLimit, keys: usize) -> Self {
        let per_minute = match rate {
            RateLimit::Fixed(rate) => a_minute(rate),
            RateLimit::Adaptive => 0.0,
        };
        let key = KeyView {
            per_minute,
            ..KeyView::default()
        };
        let state = ViewState {
            is_fixed: rate != RateLimit::Adaptive,
            keys: vec![key; keys],
            ..ViewState::default()
        };
        View {
            start: clock.now(),
            clock,
            watch: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    /// The state of the batch at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Snapshot {
        let elapsed = now.saturating_duration_since(self.start);
        let state = self.state.lock();
        let since = |at| now.saturating_duration_since(at);
        let span = state.sent.map(|(first, last)| last - first);
        let span = span.filter(|span| state.counts.calls > 0 && *span >= Duration::from_secs(1));
        let intervals = state.counts.calls.saturating_sub(1) as f64;
        Snapshot {
            elapsed,
            since_failure: state.last_failure.map(since),
            latency: state.latencies.quantile(0.5),
            latency_p95: state.latencies.quantile(0.95),
            paused: state.paused(now),
            rate: state.recent.a_minute(elapsed),
            calls_a_minute: span.map(|span| intervals * 60.0 / span.as_secs_f64()),
            allowed: state.allowed(),
            pause: state.pause(now),
            keys: state.open().count(),
            ..state.counts.clone()
        }
    }

    /// Reads or changes the counters.
    pub(super) fn count<T>(&self, count: impl FnOnce(&mut Snapshot) -> T) -> T {
        count(&mut self.state.lock().counts)
    }

    /// Sets the watcher. Only the first one counts.
    pub(super) fn watch(&self, watch: impl Fn(&Event<'_>) + Send + Sync + 'static) {
        let _ = self.watch.set(Box::new(watch));
    }

    /// Takes in an event; if it is news, logs it and passes it to the watcher.
    pub(super) fn tell(&self, event: Event<'_>) {
        let is_news = self.state.lock().take_in(&event, self.clock.now());
        if is_news {
            event.log();
            if let Some(watch) = self.watch.get() {
                watch(&event);
            }
        }
    }

    /// Counts one more until the value is dropped.
    pub(super) fn counted(&self, counter: Counter) -> Counted<'_> {
        self.count(|counts| *counter(counts) += 1);
        Counted(self, counter)
    }

    /// A call left at `at`, and is in flight until the value is dropped.
    pub(super) fn calls(&self, at: Instant) -> Counted<'_> {
        let mut state = self.state.lock();
        state.recent.count(at.saturating_duration_since(self.start));
        let (first, last) = state.sent.unwrap_or((at, at));
        state.sent = Some((first.min(at), last.max(at)));
        drop(state);
        self.counted(|counts| &mut counts.in_flight)
    }

    /// Extends a pause that is in force, if `until` is later than its end.
    pub(super) fn held_longer(&self, key: usize, now: Instant, until: Instant) {
        if let Some((end, _)) = &mut self.state.lock().keys[key].pause
            && *end > now
        {
            *end = until.max(*end);
        }
    }
}

impl ViewState {
    /// Takes in an event, and returns whether it is news: many are told again and again.
    fn take_in(&mut self, event: &Event<'_>, now: Instant) -> bool {
        match *event {
            Event::Attempt {
                prompt,
                attempt,
                error,
            } => self.attempt(prompt, attempt, error, now),
            Event::Paused { key, wait, why, .. } => {
                self.keys[key].pause = Some((now + wait, why));
                if self.pause(now).is_some() {
                    self.all_paused_since.get_or_insert(now);
                }
            }
            Event::Resumed { key } => {
                let ended = self.keys[key].pause.take_if(|(until, _)| *until <= now);
                if let Some((until, _)) = ended {
                    self.counts.paused = self.paused(until);
                    self.all_paused_since = None;
                }
                return ended.is_some();
            }
            Event::RateKnown {
                key,
                per_minute,
                found,
            } => {
                let key = &mut self.keys[key];
                key.found = found;
                return mem::replace(&mut key.per_minute, per_minute) != per_minute;
            }
            Event::Retired { key, .. } => {
                return !mem::replace(&mut self.keys[key].retired, true);
            }
            Event::WorkerAdded { .. } | Event::Done { .. } => {}
        }
        true
    }

    fn attempt(
        &mut self,
        prompt: &Prompt,
        attempt: &RecordAttempt,
        error: Option<&CallError>,
        now: Instant,
    ) {
        let counts = &mut self.counts;
        counts.calls += 1;
        counts.retried += u64::from(attempt.n > 1);
        counts.maybe_billed += u64::from(attempt.billed.is_some());
        counts.tokens += attempt.usage.unwrap_or_default();
        match attempt.outcome {
            CallOutcome::Answered => {
                self.latencies.count(attempt.took);
                counts.unmetered += u64::from(attempt.usage.is_none());
            }
            CallOutcome::RateLimited => counts.rate_limited += 1,
            CallOutcome::NoCapacity => {}
            _ => counts.faults += 1,
        }
        if let Some(error) = error {
            let (status, code) = (error.status, &error.code);
            let cause = FailureCause::new(attempt.outcome, status, code, &error.message);
            counts.failed_calls.count(&prompt.custom_id, cause);
            self.last_failure = Some(now);
        }
    }

    fn open(&self) -> impl Iterator<Item = &KeyView> {
        self.keys.iter().filter(|key| !key.retired)
    }

    fn allowed(&self) -> Allowed {
        let all = self.open().map(|key| key.per_minute).sum();
        let found = self.open().any(|key| key.found);
        match self.open().any(|key| key.per_minute == 0.0) {
            true if self.is_fixed => Allowed::Any,
            true => Allowed::Unknown,
            false if found => Allowed::Found(all),
            false if self.is_fixed => Allowed::Fixed(all),
            false => Allowed::Stated(all),
        }
    }

    /// If every key is paused: the pause that ends first.
    fn pause(&self, now: Instant) -> Option<Pause> {
        let pauses: Option<Vec<_>> = self.open().map(|key| key.pause).collect();
        let (until, why) = pauses?.into_iter().min_by_key(|(until, _)| *until)?;
        let since = self.all_paused_since.map_or(now, |since| since.min(now));
        (until > now).then(|| Pause {
            left: until - now,
            length: until - since,
            why,
        })
    }

    /// How long every key was paused, until `now`.
    fn paused(&self, now: Instant) -> Duration {
        let since = self.all_paused_since.unwrap_or(now);
        self.counts.paused + now.saturating_duration_since(since)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

/// Calls per minute; 0 is no limit.
pub(super) fn a_minute(rate: Rate) -> f64 {
    match rate.interval.is_zero() {
        true => 0.0,
        false => 60.0 / rate.interval.as_secs_f64(),
    }
}

/// The calls of each of the last 64 seconds that had some.
#[derive(Debug, Default)]
struct RecentCalls {
    /// By the second, counted from the start of the batch.
    seconds: BTreeMap<u64, u64>,
}

impl RecentCalls {
    const KEPT: usize = 64;
    /// Windows in seconds. The shortest one with enough calls is used, because it is the most recent.
    const WINDOWS: [u64; 4] = [5, 10, 20, 60];
    /// With 30 calls, one call more or less changes the rate by 3 %.
    const ENOUGH: u64 = 30;

    /// Counts a call that is made `elapsed` after the start.
    fn count(&mut self, elapsed: Duration) {
        *self.seconds.entry(elapsed.as_secs()).or_default() += 1;
        if self.seconds.len() > Self::KEPT {
            self.seconds.pop_first();
        }
    }

    /// Calls per minute, over the shortest window with enough calls.
    fn a_minute(&self, elapsed: Duration) -> f64 {
        let second = elapsed.as_secs();
        let counts = Self::WINDOWS.map(|window| {
            let first = (second + 1).saturating_sub(window);
            let calls = self.seconds.range(first..=second).map(|(_, calls)| calls);
            (window, calls.sum::<u64>())
        });
        let has_enough = |(_, calls): &(u64, u64)| *calls >= Self::ENOUGH;
        let (window, calls) = counts.into_iter().find(has_enough).unwrap_or(counts[3]);
        let whole = (window - 1).min(second);
        let span = whole as f64 + f64::from(elapsed.subsec_millis()) / 1000.0;
        // The first call came at the start, so a batch of n calls has n - 1 gaps; half a call is the middle.
        let is_begun = whole < window - 1 && calls > 0;
        let gaps = calls as f64 - if is_begun { 0.5 } else { 0.0 };
        gaps * 60.0 / span.max(1.0)
    }
}

/// The latencies of all calls, in buckets that are 5 % wide: a quantile is right within 3 %.
#[derive(Debug, Default)]
struct Latencies {
    buckets: BTreeMap<u64, u64>,
}

impl Latencies {
    /// From 0.1 ms to more than half an hour.
    const MOST: u64 = 349;
    const LEAST: f64 = 1e-4;
    const WIDTH: f64 = 1.05;

    fn count(&mut self, latency: Duration) {
        let place = (latency.as_secs_f64() / Self::LEAST).ln() / Self::WIDTH.ln();
        let bucket = (place.max(0.0) as u64).min(Self::MOST);
        *self.buckets.entry(bucket).or_default() += 1;
    }

    /// The latency that this share of the calls kept below; `None` without a call.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = self.buckets.values().sum::<u64>() as f64 * share;
        let mut seen = 0;
        let (bucket, _) = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen as f64 >= rank
        })?;
        let middle = Self::WIDTH.powf(*bucket as f64 + 0.5);
        Some(Duration::from_secs_f64(Self::LEAST * middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Counts calls that are `apart` ms apart, between two times.
    fn calls(meter: &mut RecentCalls, from: u32, to: u32, apart: u32) {
        (from..to)
            .step_by(apart as usize)
            .for_each(|at| meter.count(MS * at));
    }

    #[test]
    fn a_steady_rate_is_measured_whether_it_is_fast_or_slow() {
        for (apart, expected) in [(1, 60_000.0), (100, 600.0), (1000, 60.0), (6000, 10.0)] {
            let mut meter = RecentCalls::default();
            calls(&mut meter, 0, 200_000, apart);
            let read = meter.a_minute(MS * 199_990);
            assert!(
                (read / expected - 1.0f64).abs() < 0.05,
                "{read} for {expected}"
            );
        }
    }

    #[test]
    fn calls_of_more_than_a_minute_ago_do_not_count() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 30_000, 100);
        assert_eq!(meter.a_minute(MS * 95_000), 0.0);
    }

    #[test]
    fn a_change_of_the_rate_shows_within_seconds() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 60_000, 100);
        calls(&mut meter, 60_000, 66_000, 10);
        let read = meter.a_minute(MS * 65_999);
        assert!((5_900.0..6_100.0).contains(&read), "{read}");
    }

    #[test]
    fn a_quantile_of_the_latencies_is_right_within_three_percent() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        (1..=1000).for_each(|ms| latencies.count(MS * ms));
        for (share, expected) in [(0.5, 0.5), (0.95, 0.95)] {
            let read = latencies.quantile(share).unwrap().as_secs_f64();
            assert!(
                (read / expected - 1.0f64).abs() < 0.03,
                "{read} for {expected}"
            );
        }
        latencies.count(Duration::ZERO);
        latencies.count(Duration::from_secs(1 << 40));
        assert!(latencies.quantile(1.0).unwrap() > Duration::from_secs(1800));
    }

    #[test]
    fn the_first_second_is_not_overstated() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 200, 100);
        assert_eq!(meter.a_minute(MS * 200), 90.0);
    }
}
