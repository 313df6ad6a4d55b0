//! The live state of a batch, which the workers keep and any thread may read.
//!
//! One lock guards all of it, and nothing waits while it is held. Events are reported after it is released, so that a
//! watcher may read the view.

use std::mem;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::event::{Event, PauseReason};
use super::meter::{Latencies, RecentCalls};
use super::snapshot::{Allowed, Pause, Snapshot};
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
        Snapshot {
            elapsed,
            since_failure: state.last_failure.map(since),
            latency: state.latencies.quantile(0.5),
            latency_p95: state.latencies.quantile(0.95),
            paused: state.paused(now),
            rate: state.recent.a_minute(elapsed),
            calls_a_minute: state.calls_a_minute(),
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
            counts.failed_calls.count_call(&prompt.custom_id, error);
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

    /// Calls per minute, from the first call to the last.
    fn calls_a_minute(&self) -> Option<f64> {
        let (first, last) = self.sent?;
        let span = (last - first).as_secs_f64();
        let intervals = self.counts.calls.checked_sub(1).filter(|_| span >= 1.0)?;
        Some(intervals as f64 * 60.0 / span)
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
