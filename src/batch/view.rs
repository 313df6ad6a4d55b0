//! The live state of a batch: counters that the workers keep and any thread may read.
//!
//! Counting a call takes a few atomic additions and no lock. A snapshot is nearly, not strictly, of one instant.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::event::{Event, Origin, Watch, Why};
use super::meter::RecentCalls;
use super::price::Tokens;
use super::snapshot::{Allowed, Hold, Snapshot};
use crate::api::{Answer, CallError, Class, Usage};
use crate::limiter::Rate;
use crate::pacing::RateLimit;

/// A live view of a batch, from [`Batch::view`](super::Batch::view). It stays valid after the batch has ended.
pub struct View {
    start: Instant,
    keys: Vec<KeyView>,
    is_fixed: bool,
    watch: OnceLock<Arc<dyn Watch>>,
    meter: RecentCalls,
    total: OnceLock<u64>,
    before: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    calls: AtomicU64,
    refused: AtomicU64,
    faults: AtomicU64,
    workers: AtomicU64,
    in_flight: AtomicU64,
    waiting: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    unmetered: AtomicU64,
    /// Smoothed latency in microseconds; 0 is unknown.
    latency: AtomicU64,
}

/// What is known about one key.
#[derive(Debug, Default)]
struct KeyView {
    retired: AtomicBool,
    /// Calls per minute, as the bits of an `f64`; 0 is unknown, or no limit.
    per_minute: AtomicU64,
    found: AtomicBool,
    /// Whether `hold` may hold a pause: saves its lock.
    held: AtomicBool,
    hold: Mutex<Option<(Instant, Why)>>,
}

/// Keeps a counter one higher until it is dropped.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl View {
    /// The view of a batch that is about to start.
    pub(super) fn new(start: Instant, rate: RateLimit, keys: usize) -> Self {
        let per_minute = match rate {
            RateLimit::Fixed(rate) => a_minute(rate),
            RateLimit::Adaptive => 0.0,
        };
        let key = || KeyView {
            per_minute: per_minute.to_bits().into(),
            ..KeyView::default()
        };
        let none = || AtomicU64::new(0);
        View {
            start,
            keys: (0..keys).map(|_| key()).collect(),
            is_fixed: rate != RateLimit::Adaptive,
            watch: OnceLock::new(),
            meter: RecentCalls::default(),
            total: OnceLock::new(),
            before: none(),
            answered: none(),
            failed: none(),
            calls: none(),
            refused: none(),
            faults: none(),
            workers: none(),
            in_flight: none(),
            waiting: none(),
            tokens_in: none(),
            tokens_out: none(),
            unmetered: none(),
            latency: none(),
        }
    }

    /// The state of the batch at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Snapshot {
        let elapsed = now.saturating_duration_since(self.start);
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        let latency = count(&self.latency);
        Snapshot {
            elapsed,
            total: self.total.get().copied(),
            before: count(&self.before),
            answered: count(&self.answered),
            failed: count(&self.failed),
            calls: count(&self.calls),
            refused: count(&self.refused),
            faults: count(&self.faults),
            rate: self.meter.a_minute(elapsed),
            allowed: self.allowed(),
            workers: count(&self.workers),
            in_flight: count(&self.in_flight),
            waiting: count(&self.waiting),
            latency: (latency > 0).then(|| Duration::from_micros(latency)),
            hold: self.hold(now),
            keys: self.open().count(),
            tokens: self.tokens(),
            unmetered: count(&self.unmetered),
        }
    }

    pub(super) fn tokens(&self) -> Tokens {
        Tokens {
            input: self.tokens_in.load(Relaxed),
            output: self.tokens_out.load(Relaxed),
        }
    }

    pub(super) fn unmetered(&self) -> u64 {
        self.unmetered.load(Relaxed)
    }

    fn open(&self) -> impl Iterator<Item = &KeyView> {
        self.keys.iter().filter(|key| !key.retired.load(Relaxed))
    }

    fn allowed(&self) -> Allowed {
        let each = || {
            self.open()
                .map(|key| f64::from_bits(key.per_minute.load(Relaxed)))
        };
        let all = each().sum();
        let found = self.open().any(|key| key.found.load(Relaxed));
        match each().any(|per_minute| per_minute == 0.0) {
            true if self.is_fixed => Allowed::Any,
            true => Allowed::Unknown,
            false if self.is_fixed => Allowed::Told(all),
            false if found => Allowed::Found(all),
            false => Allowed::Stated(all),
        }
    }

    /// If every key is paused: the pause that ends first.
    fn hold(&self, now: Instant) -> Option<Hold> {
        let holds: Option<Vec<_>> = self.open().map(|key| *key.hold.lock()).collect();
        let (until, why) = holds?.into_iter().min_by_key(|(until, _)| *until)?;
        (until > now).then(|| Hold {
            left: until - now,
            why,
        })
    }

    /// Sets the total number of prompts.
    pub(super) fn expect(&self, total: u64) {
        let _ = self.total.set(total);
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
        self.before.fetch_add(1, Relaxed);
    }

    /// Sets the number of finished prompts.
    pub(super) fn done(&self, answered: u64, failed: u64) {
        self.answered.store(answered, Relaxed);
        self.failed.store(failed, Relaxed);
    }

    /// Counts new workers. Returns the number of all workers.
    pub(super) fn hired(&self, workers: usize) -> u64 {
        self.workers.fetch_add(workers as u64, Relaxed) + workers as u64
    }

    /// A worker waits for a permit, until the value is dropped.
    pub(super) fn waits(&self) -> Counted<'_> {
        Counted::new(&self.waiting)
    }

    /// A call is in flight, until the value is dropped.
    pub(super) fn calls(&self, now: Instant) -> Counted<'_> {
        self.meter.count(now.saturating_duration_since(self.start));
        Counted::new(&self.in_flight)
    }

    /// A call has ended.
    pub(super) fn called(&self, answer: &Result<Answer, CallError>, took: Duration) {
        self.calls.fetch_add(1, Relaxed);
        match answer {
            Ok(answer) => {
                self.smooth(took);
                self.count(answer.usage);
            }
            Err(error) if error.class == Class::RateLimited => {
                self.refused.fetch_add(1, Relaxed);
            }
            Err(_) => _ = self.faults.fetch_add(1, Relaxed),
        }
    }

    /// Updates the average latency. Of two updates at the same instant one may be lost.
    fn smooth(&self, took: Duration) {
        const PART: i64 = 8;
        let before = self.latency.load(Relaxed) as i64;
        let took = took.as_micros().max(1) as i64;
        let now = if before == 0 {
            took
        } else {
            before + (took - before) / PART
        };
        self.latency.store(now as u64, Relaxed);
    }

    fn count(&self, usage: Option<Usage>) {
        let Some(usage) = usage else {
            self.unmetered.fetch_add(1, Relaxed);
            return;
        };
        self.tokens_in.fetch_add(usage.input.into(), Relaxed);
        self.tokens_out.fetch_add(usage.output.into(), Relaxed);
    }

    /// The server states the rate of a key, as it does with every answer.
    pub(super) fn stated(&self, key: usize, rate: Rate) {
        self.keys[key].found.store(false, Relaxed);
        self.pace(key, a_minute(rate), Origin::Stated);
    }

    /// The rate of a key was found, in calls per minute.
    pub(super) fn found(&self, key: usize, per_minute: f64) {
        self.keys[key].found.store(true, Relaxed);
        self.pace(key, per_minute, Origin::Found);
    }

    fn pace(&self, key: usize, per_minute: f64, origin: Origin) {
        let bits = per_minute.to_bits();
        if self.keys[key].per_minute.swap(bits, Relaxed) != bits {
            self.tell(Event::Pace {
                key,
                per_minute,
                origin,
            });
        }
    }

    /// A pause of a key begins; `now` is the instant and the wall time.
    pub(super) fn held(&self, key: usize, now: (Instant, SystemTime), wait: Duration, why: Why) {
        let (instant, wall) = now;
        *self.keys[key].hold.lock() = Some((instant + wait, why));
        self.keys[key].held.store(true, Relaxed);
        self.tell(Event::Held {
            key,
            wait,
            until: wall + wait,
            why,
        });
    }

    /// Extends a pause that is in force, if `until` is later than its end.
    pub(super) fn held_longer(&self, key: usize, now: Instant, until: Instant) {
        if let Some((end, _)) = &mut *self.keys[key].hold.lock()
            && *end > now
        {
            *end = until.max(*end);
        }
    }

    /// A permit was granted with this key, so its pause is over.
    pub(super) fn passed(&self, key: usize, at: Instant) {
        if !self.keys[key].held.load(Relaxed) {
            return;
        }
        let over = self.keys[key]
            .hold
            .lock()
            .take_if(|(until, _)| *until <= at)
            .is_some();
        if over {
            self.keys[key].held.store(false, Relaxed);
            self.tell(Event::Released { key });
        }
    }

    /// A key is retired. Each call in flight with it may report that; only the first report is an event.
    pub(super) fn retired(&self, key: usize, error: &CallError) {
        if !self.keys[key].retired.swap(true, Relaxed) {
            self.tell(Event::Retired { key, error });
        }
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
