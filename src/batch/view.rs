//! The live state of a batch, which the workers keep and any thread may read.
//!
//! One lock guards all of it, and nothing waits while it is held. Events are reported after it is released, so that a
//! watcher may read the view.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::event::{Event, Origin, PauseReason, Watch};
use super::meter::{Latencies, RecentCalls};
use super::prompt_run::Timing;
use super::snapshot::{Allowed, Pause, Snapshot};
use crate::api::{Answer, CallError, Class, Usage};
use crate::limiter::Rate;
use crate::pacing::RateLimit;
use crate::prompts::Prompt;

/// A live view of a batch, from [`Batch::view`](super::Batch::view). It stays valid after the batch has ended.
pub struct View {
    start: Instant,
    watch: OnceLock<Arc<dyn Watch>>,
    state: Mutex<ViewState>,
}

struct ViewState {
    /// The counters, and the latency. The other fields are filled in by [`View::at`].
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
#[derive(Clone, Debug)]
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
pub(super) struct Counted<'a> {
    view: &'a View,
    counter: Counter,
}

impl<'a> Counted<'a> {
    fn new(view: &'a View, counter: Counter) -> Self {
        *counter(&mut view.state.lock().counts) += 1;
        Counted { view, counter }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *(self.counter)(&mut self.view.state.lock().counts) -= 1;
    }
}

impl View {
    /// The view of a batch that is about to start.
    pub(super) fn new(start: Instant, rate: RateLimit, keys: usize) -> Self {
        let per_minute = match rate {
            RateLimit::Fixed(rate) => a_minute(rate),
            RateLimit::Adaptive => 0.0,
        };
        let key = KeyView {
            retired: false,
            per_minute,
            found: false,
            pause: None,
        };
        let state = ViewState {
            counts: Snapshot::new(None),
            recent: RecentCalls::default(),
            latencies: Latencies::default(),
            sent: None,
            last_failure: None,
            all_paused_since: None,
            is_fixed: rate != RateLimit::Adaptive,
            keys: vec![key; keys],
        };
        View {
            start,
            watch: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    /// The state of the batch at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Snapshot {
        let elapsed = now.saturating_duration_since(self.start);
        let state = self.state.lock();
        Snapshot {
            elapsed,
            since_failure: state
                .last_failure
                .map(|at| now.saturating_duration_since(at)),
            latency_p95: state.latencies.quantile(0.95),
            paused: state.paused(now),
            rate: state.recent.a_minute(elapsed),
            allowed: state.allowed(),
            pause: state.pause(now),
            keys: state.open().count(),
            ..state.counts.clone()
        }
    }

    pub(super) fn tokens(&self) -> Usage {
        self.state.lock().counts.tokens
    }

    /// Sets the total number of prompts. Only the first number counts.
    pub(super) fn expect(&self, total: u64) {
        self.state.lock().counts.total.get_or_insert(total);
    }

    /// Sets the tokens that earlier runs have used.
    pub(super) fn earlier(&self, tokens: Usage) {
        self.state.lock().counts.earlier_tokens = tokens;
    }

    /// Sets the watcher. Only the first one counts.
    pub(super) fn show(&self, watch: Arc<dyn Watch>) {
        let _ = self.watch.set(watch);
    }

    /// Logs an event and passes it to the watcher.
    pub(super) fn tell(&self, event: Event<'_>) {
        event.log();
        if let Some(watch) = self.watch.get() {
            watch.see(&event);
        }
    }

    pub(super) fn passed_over(&self) {
        self.state.lock().counts.before += 1;
    }

    /// Sets the number of finished prompts.
    pub(super) fn done(&self, answered: u64, failed: u64) {
        let mut state = self.state.lock();
        state.counts.answered = answered;
        state.counts.failed = failed;
    }

    /// Counts new workers. Returns the number of all workers.
    pub(super) fn workers_added(&self, workers: usize) -> u64 {
        let mut state = self.state.lock();
        state.counts.workers += workers as u64;
        state.counts.workers
    }

    /// A worker waits for a permit, until the value is dropped.
    pub(super) fn waits(&self) -> Counted<'_> {
        Counted::new(self, |counts| &mut counts.waiting)
    }

    /// A call is in flight, until the value is dropped.
    pub(super) fn calls(&self, now: Instant) -> Counted<'_> {
        let elapsed = now.saturating_duration_since(self.start);
        let mut state = self.state.lock();
        state.recent.count(elapsed);
        let first = state.sent.map_or(now, |(first, _)| first.min(now));
        let last = state.sent.map_or(now, |(_, last)| last.max(now));
        state.sent = Some((first, last));
        drop(state);
        Counted::new(self, |counts| &mut counts.in_flight)
    }

    /// A call of this prompt has ended.
    pub(super) fn called(
        &self,
        prompt: &Prompt,
        is_retry: bool,
        answer: &Result<Answer, CallError>,
        timing: &Timing,
    ) {
        let mut state = self.state.lock();
        state.counts.calls += 1;
        state.counts.retried += u64::from(is_retry);
        match answer {
            Ok(answer) => state.answered(answer.usage, timing.took),
            Err(error) => {
                state.last_failure = Some(timing.sent + timing.took);
                state.failed(prompt, error);
            }
        }
    }

    /// An answer of this prompt, which has been counted, does not fit the schema.
    pub(super) fn misfit(&self, prompt: &Prompt, error: &CallError) {
        let counts = &mut self.state.lock().counts;
        counts.failed_calls.count_call(&prompt.custom_id, error);
    }

    /// When the first and the last call left.
    pub(super) fn sent(&self) -> Option<(Instant, Instant)> {
        self.state.lock().sent
    }

    /// The median latency of the answered calls.
    pub(super) fn median_latency(&self) -> Option<Duration> {
        self.state.lock().latencies.quantile(0.5)
    }

    /// This many calls may be in flight.
    pub(super) fn may_be_in_flight(&self, calls: usize) {
        self.state.lock().counts.in_flight_limit = Some(calls as u64);
    }

    /// The server states the rate of a key, as it does with every answer.
    pub(super) fn stated(&self, key: usize, rate: Rate) {
        self.rate_known(key, a_minute(rate), Origin::Stated);
    }

    /// The rate of a key was found, in calls per minute.
    pub(super) fn found(&self, key: usize, per_minute: f64) {
        self.rate_known(key, per_minute, Origin::Found);
    }

    fn rate_known(&self, key: usize, per_minute: f64, origin: Origin) {
        let mut state = self.state.lock();
        state.keys[key].found = origin == Origin::Found;
        let before = std::mem::replace(&mut state.keys[key].per_minute, per_minute);
        drop(state);
        if before != per_minute {
            self.tell(Event::RateKnown {
                key,
                per_minute,
                origin,
            });
        }
    }

    /// A pause of a key begins; `now` is the instant and the wall time.
    pub(super) fn held(
        &self,
        key: usize,
        now: (Instant, SystemTime),
        wait: Duration,
        why: PauseReason,
    ) {
        let (instant, wall) = now;
        let mut state = self.state.lock();
        state.keys[key].pause = Some((instant + wait, why));
        if state.pause(instant).is_some() {
            state.all_paused_since.get_or_insert(instant);
        }
        drop(state);
        self.tell(Event::Paused {
            key,
            wait,
            until: wall + wait,
            why,
        });
    }

    /// Extends a pause that is in force, if `until` is later than its end.
    pub(super) fn held_longer(&self, key: usize, now: Instant, until: Instant) {
        if let Some((end, _)) = &mut self.state.lock().keys[key].pause
            && *end > now
        {
            *end = until.max(*end);
        }
    }

    /// A permit was granted with this key, so its pause is over.
    pub(super) fn passed(&self, key: usize, at: Instant) {
        let mut state = self.state.lock();
        let ended = state.keys[key].pause.take_if(|(until, _)| *until <= at);
        if let Some((until, _)) = ended {
            state.counts.paused = state.paused(until);
            state.all_paused_since = None;
        }
        drop(state);
        if ended.is_some() {
            self.tell(Event::Resumed { key });
        }
    }

    /// A key is retired. Each call in flight with it may report that; only the first report is an event.
    pub(super) fn retired(&self, key: usize, error: &CallError) {
        let was_retired = std::mem::replace(&mut self.state.lock().keys[key].retired, true);
        if !was_retired {
            self.tell(Event::Retired { key, error });
        }
    }
}

impl ViewState {
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
        let current = self
            .all_paused_since
            .map(|since| now.saturating_duration_since(since));
        self.counts.paused + current.unwrap_or_default()
    }

    fn failed(&mut self, prompt: &Prompt, error: &CallError) {
        match error.class {
            Class::RateLimited => self.counts.rate_limited += 1,
            _ => self.counts.faults += 1,
        }
        self.counts.maybe_billed += u64::from(error.maybe_billed);
        if let Some(usage) = error.usage() {
            self.counts.tokens += usage;
        }
        self.counts
            .failed_calls
            .count_call(&prompt.custom_id, error);
    }

    fn answered(&mut self, usage: Option<Usage>, took: Duration) {
        self.smooth_latency(took);
        self.latencies.count(took);
        match usage {
            Some(usage) => self.counts.tokens += usage,
            None => self.counts.unmetered += 1,
        }
    }

    /// The average latency, in which the latest answer has a weight of 1/8, as in TCP's round-trip time.
    fn smooth_latency(&mut self, took: Duration) {
        let average = match self.counts.latency {
            None => took,
            Some(before) => (before * 7 + took) / 8,
        };
        self.counts.latency = Some(average);
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("View")
    }
}

/// Calls per minute; 0 is no limit.
fn a_minute(rate: Rate) -> f64 {
    if rate.interval.is_zero() {
        0.0
    } else {
        60.0 / rate.interval.as_secs_f64()
    }
}
