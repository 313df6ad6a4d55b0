//! A limiter that several processes share. Threads wait in the line of their process; the front of each line takes its
//! permits from a common rate.
//!
//! [`SharedRate`](super::rate::SharedRate) decides which process goes next, and a [`RateStore`] keeps it. Tokens are
//! counted per process, and each process probes a server that answers 429 without a time by itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use super::rate::{Purpose, RateReply, RateRequest, Reservation};
use super::{AwayError, PlaceHealth, RateStore, ShareError, micros, store};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::limiter::Rate;
use crate::pacing::{
    CallLimiter, CallReport, KeyLimiter, KeyLimits, KeyPermit, KeyWant, NoKeyPermit, PermitOutcome,
    RateLimit, Reaction,
};

/// How a rate is shared: plain data.
#[derive(Clone)]
pub struct ShareOptions {
    /// A file, for the processes of one machine, or `redis://[user@]host[:port][/db][?name=NAME]` for many machines
    /// (`rediss` with TLS; feature `redis`).
    pub place: String,
    /// The password of Redis. It must not be part of the URL.
    pub password: Option<String>,
    /// The name of each key's rate: processes that give the same name share a rate. The names can be read at the place;
    /// so a name that is made of a key must be a hash.
    pub names: Vec<String>,
    /// The rate of each key. Its burst is ignored. If processes give different rates, the lowest counts.
    pub rate: Rate,
    /// Tokens per minute with each key, for this process alone; `None` is no limit.
    pub tokens: Option<NonZeroU32>,
    /// How long everyone waits while the place cannot be reached; afterwards there are no more permits.
    pub patience: Duration,
}

/// The limiter of one process.
#[derive(Debug)]
pub(super) struct SharedLimiter {
    local: KeyLimiter,
    clock: Arc<dyn Clock>,
    store: Arc<dyn RateStore>,
    /// Interval between permits, and how late a permit may be, in microseconds.
    interval: u64,
    slack: u64,
    outage: PlaceHealth,
    keys: Vec<Mutex<RemoteKey>>,
}

impl ShareOptions {
    /// A limiter with one key for each name, which shares its rate with other processes. A process that dies costs the
    /// others at most one permit. A pause that one process reports binds all of them.
    ///
    /// Checks that every rate can be reached; waits while another program has locked the file.
    ///
    /// # Errors
    /// [`NoKeyPermit::Unreachable`], with what to do about it.
    ///
    /// ```
    /// use paceline::clock::SystemClock;
    /// use paceline::pacing::CallLimiter;
    /// use paceline::share::ShareOptions;
    /// use paceline::{CancelToken, Rate};
    /// use std::time::Duration;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let place = folder.path().join("rate").display().to_string();
    /// let options = ShareOptions {
    ///     place, // such as "/run/lock/rate", or "redis://localhost"
    ///     password: None,
    ///     names: vec!["my key".to_owned()],
    ///     rate: Rate::per_minute(600),
    ///     tokens: None,
    ///     patience: Duration::from_secs(60),
    /// };
    /// let limiter = options.connect(SystemClock)?; // for Batch::limited_by, or by itself:
    /// let permit = limiter.acquire(0, &CancelToken::new())?;
    /// assert_eq!(permit.key(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn connect(
        self,
        clock: impl Into<Arc<dyn Clock>>,
    ) -> Result<Arc<dyn CallLimiter>, NoKeyPermit> {
        let store = store(&self).map_err(AwayError::Final)?;
        let limiter = SharedLimiter::with(store, self, clock);
        let cancel = CancelToken::on(limiter.clock.clone());
        let is_locked = |error: &ShareError| matches!(error, ShareError::Locked(_));
        for key in 0..limiter.keys.len() {
            let look = || limiter.exchange(key, Purpose::Look, None);
            limiter.outage.call(&cancel, is_locked, look)?;
        }
        Ok(Arc::new(limiter))
    }
}

/// What this process knows about the rate of one key.
#[derive(Debug, Default)]
struct RemoteKey {
    /// The permit that is reserved for the front of the line.
    reserved: Option<Reservation>,
    /// How many pauses this process has seen.
    pauses: Option<u64>,
    /// The end of a pause that has not been sent to the others yet.
    unsent: Option<Instant>,
    /// Serial number of the latest permit taken here, and when it was requested.
    taken: Option<(u64, Instant)>,
    /// The shortest time that such an exchange took.
    quickest: Option<Duration>,
    /// Whether it was logged that another process is slower.
    warned: bool,
}

impl SharedLimiter {
    /// A late permit is reported at most this often, because the report itself may be late.
    const LATE_REPORTS: u32 = 2;

    fn with(
        store: Arc<dyn RateStore>,
        options: ShareOptions,
        clock: impl Into<Arc<dyn Clock>>,
    ) -> Self {
        let (clock, rate) = (clock.into(), options.rate);
        let keys = options.names.len();
        let limits = KeyLimits {
            rate: RateLimit::Fixed(Rate::unlimited()),
            tokens: options.tokens,
        };
        // The exchange adds its own delay to that of the timer.
        let slack = rate.slack().max(rate.margin / 4);
        SharedLimiter {
            local: KeyLimiter::new(clock.clone(), vec![limits; keys]),
            clock,
            store,
            interval: micros(rate.step()).max(1),
            slack: micros(slack),
            outage: PlaceHealth::new("the shared rate".to_owned(), options.patience),
            keys: (0..keys).map(|_| Mutex::default()).collect(),
        }
    }

    /// Makes one request for the permit of the front of the line. Returns false if it is not due; the local limiter then
    /// knows when it is.
    fn ask(&self, key: usize) -> Result<bool, ShareError> {
        let and_next = self.local.waiting() > 1;
        let asked = self.clock.now();
        let reply = self.exchange(key, Purpose::Permit { and_next }, None)?;
        let took = self.clock.now() - asked;
        let mut remote = self.keys[key].lock();
        // Subtract the travel time of this reply and of the next request: that of the quickest exchange, or of this one,
        // which is quicker still if it has changed nothing.
        let way = remote.quickest.unwrap_or_default().min(took);
        let due_in = Duration::from_micros(reply.due_in).saturating_sub(way);
        let due = reply.reserved.map(|_| asked + took + due_in);
        remote.reserved = reply.reserved;
        if let Some(serial) = reply.taken {
            remote.taken = Some((serial, asked));
            remote.quickest = Some(remote.quickest.map_or(took, |quickest| quickest.min(took)));
        }
        drop(remote);
        self.local.update_key(key, |local| local.reserved = due);
        Ok(reply.taken.is_some())
    }

    /// Makes one request, which also sends a new pause to the others, and applies the reply.
    fn exchange(
        &self,
        key: usize,
        ask: Purpose,
        late: Option<u64>,
    ) -> Result<RateReply, ShareError> {
        let mut remote = self.keys[key].lock();
        let reserved = remote.reserved.filter(|_| ask != Purpose::Look);
        let unsent = remote.unsent.take();
        drop(remote);
        let left = unsent.map(|until| until.saturating_duration_since(self.clock.now()));
        let request = RateRequest {
            interval: self.interval,
            slack: self.slack,
            reserved,
            ask,
            pause: left.map(micros).filter(|left| *left > 0),
            late,
        };
        let reply = self.store.exchange(key, &request).inspect_err(|_| {
            let mut remote = self.keys[key].lock();
            remote.unsent = remote.unsent.max(unsent);
        })?;
        self.apply(key, &reply);
        Ok(reply)
    }

    /// Applies a pause and a longer interval that the reply reports.
    fn apply(&self, key: usize, reply: &RateReply) {
        let mut remote = self.keys[key].lock();
        let seen = remote.pauses.replace(reply.pauses);
        let known = seen.map_or(0, |known| known + u64::from(reply.began));
        let is_slower = reply.interval > self.interval;
        let warn = is_slower && !remote.warned;
        remote.warned = is_slower;
        drop(remote);
        // A new pause counts even if it is over already.
        if reply.pauses > known {
            let until = self.clock.now() + Duration::from_micros(reply.paused_for);
            self.local.update_key(key, |local| local.pause_until(until));
        }
        if warn {
            let rpm = 60e6 / reply.interval as f64;
            warn!(
                "another process that shares this rate makes {rpm:.1} calls a minute: the lowest rate wins"
            );
        }
    }

    /// Gives back reserved permits that no thread waits for. If the request is lost, one permit goes unused.
    fn give_back(&self) {
        for (key, remote) in self.keys.iter().enumerate() {
            if self.local.waiting() == 0 && remote.lock().reserved.is_some() {
                let _ = self.exchange(key, Purpose::GiveBack, None);
                remote.lock().reserved = None;
                self.local.update_key(key, |local| local.reserved = None);
            }
        }
    }

    /// Reports a call that leaves late, so that the next permit keeps its distance. The rate counts the permit as taken
    /// when it was requested; a slow reply or a new connection makes the call late.
    fn report_if_late(&self, key: usize) {
        let remote = self.keys[key].lock();
        let Some((serial, mut asked)) = remote.taken else {
            return;
        };
        let usual =
            remote.quickest.unwrap_or_default() + Duration::from_micros(self.slack.max(200));
        drop(remote);
        for _ in 0..Self::LATE_REPORTS {
            let now = self.clock.now();
            if now - asked <= usual {
                break;
            }
            asked = now;
            let _ = self.exchange(key, Purpose::Look, Some(serial));
        }
    }

    /// Takes a permit. The front of the line asks for it, again and again while the place cannot be reached.
    fn take(&self, want: KeyWant, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let is_passing = |error: &ShareError| !matches!(error, ShareError::Unusable(_));
        let agree = |key| Ok(self.outage.call(cancel, is_passing, || self.ask(key))?);
        let permit = self.local.acquire_if(want, cancel, agree);
        self.give_back();
        permit
    }
}

impl CallLimiter for SharedLimiter {
    fn acquire(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let goes_last = false;
        self.take(KeyWant { tokens, goes_last }, cancel)
    }

    fn acquire_behind(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let goes_last = true;
        self.take(KeyWant { tokens, goes_last }, cancel)
    }

    fn sent(&self, permit: &KeyPermit) {
        self.report_if_late(permit.key());
    }

    fn report(&self, permit: &KeyPermit, report: &CallReport) -> Reaction {
        let key = permit.key();
        // All processes keep the rate of their settings.
        let report = CallReport {
            stated: None,
            ..*report
        };
        if !matches!(report.outcome, PermitOutcome::RateLimited(_)) {
            return self.local.report(permit, &report);
        }
        // Another process may have reported the same pause: then this 429 begins none. Errors do not matter here.
        let _ = self.exchange(key, Purpose::Look, None);
        let paused_until = || self.local.update_key(key, |local| local.paused_until());
        let before = paused_until();
        let reaction = self.local.report(permit, &report);
        let after = paused_until();
        if after > before {
            self.keys[key].lock().unsent = Some(after);
            let _ = self.exchange(key, Purpose::Look, None); // if this fails, the next request sends it
        }
        reaction
    }

    fn waiting(&self) -> usize {
        self.local.waiting()
    }
}

impl From<AwayError<ShareError>> for NoKeyPermit {
    fn from(error: AwayError<ShareError>) -> Self {
        match error {
            AwayError::Cancelled => NoKeyPermit::Cancelled,
            AwayError::Final(error) => NoKeyPermit::Unreachable(error.to_string()),
            AwayError::TooLong(waited, error) => NoKeyPermit::Unreachable(format!(
                "the shared rate could not be reached for {waited:.0?} ({error})"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
