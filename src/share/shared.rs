//! A limiter that several processes share. Threads wait in the line of their process; the front of each line takes its
//! permits from a common roster.
//!
//! The [`Roster`](super::Roster) decides which process goes next. It is kept on a [`Board`] that all processes can reach.
//! Tokens are counted per process, and each process probes a server that answers 429 without a time by itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

use super::micros;
use super::roster::{Claim, RosterReply, RosterRequest, Want};
use crate::backoff::{Backoff, Jitter};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::limiter::Rate;
use crate::pacing::{
    CallLimiter, CallReport, KeyLimiter, KeyLimits, KeyPermit, NoKeyPermit, PermitOutcome,
    RateLimit, Reaction,
};
use crate::retry::{GaveUp, Retry, RetryError, Verdict};

/// A place that keeps the [`Roster`](super::Roster) of each key.
pub trait Board: Send + Sync + std::fmt::Debug {
    /// Sends one request to the roster of this key and returns its reply. Takes a few seconds at most.
    ///
    /// # Errors
    /// [`BoardError`] if there is no reply; the request may have arrived.
    fn exchange(&self, key: usize, request: &RosterRequest) -> Result<RosterReply, BoardError>;
}

/// The roster cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardError {
    /// It may be reachable later.
    Away(String),
    /// It will not be reachable until somebody fixes it.
    Useless(String),
}

impl std::fmt::Display for BoardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (BoardError::Away(why) | BoardError::Useless(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for BoardError {}

/// One rate for several processes.
#[derive(Debug)]
pub struct SharedLimiter {
    local: KeyLimiter,
    clock: Arc<dyn Clock>,
    board: Arc<dyn Board>,
    /// Interval between permits, and how late a permit may be, in microseconds.
    step: u64,
    slack: u64,
    /// How long to wait for a board that cannot be reached.
    patience: Duration,
    keys: Vec<Mutex<RemoteKey>>,
}

/// What this process knows about the roster of one key.
#[derive(Debug, Default)]
struct RemoteKey {
    /// The permit that is reserved for the front of the line.
    claim: Option<Claim>,
    /// How many pauses this process has seen.
    pauses: Option<u64>,
    /// The end of a pause that has not been sent to the roster yet.
    unsent: Option<Instant>,
    /// Serial number of the latest permit taken here, and when it was requested.
    passed: Option<(u64, Instant)>,
    /// The shortest time that such an exchange took.
    quickest: Option<Duration>,
    /// Whether it was logged that another process is slower.
    warned: bool,
}

impl SharedLimiter {
    /// A late permit is reported at most this often, because the report itself may be late.
    const LATE_REPORTS: u32 = 2;

    /// A limiter with this many keys, each at this rate, shared through `board`. The rate's burst is ignored.
    ///
    /// `tokens` per minute count for this process alone. While the board cannot be reached, everyone waits; after
    /// `patience` there are no more permits.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        board: Arc<dyn Board>,
        rate: Rate,
        tokens: Option<NonZeroU32>,
        keys: usize,
        patience: Duration,
    ) -> Self {
        let limits = KeyLimits {
            rate: RateLimit::Fixed(Rate::unlimited()),
            tokens,
        };
        // The exchange adds its own delay to that of the timer.
        let slack = rate.slack().max(rate.margin / 4);
        SharedLimiter {
            local: KeyLimiter::new(clock.clone(), vec![limits; keys]),
            clock,
            board,
            step: micros(rate.step()).max(1),
            slack: micros(slack),
            patience,
            keys: (0..keys).map(|_| Mutex::default()).collect(),
        }
    }

    /// Checks that every roster can be reached.
    ///
    /// # Errors
    /// [`BoardError`] of the first one that cannot.
    pub fn check(&self) -> Result<(), BoardError> {
        (0..self.keys.len()).try_for_each(|key| self.exchange(key, Want::Look, None).map(drop))
    }

    /// Asks for the permit of the front of the line, again and again while the board cannot be reached. Returns false if the
    /// permit is not due; the local limiter then knows when it is.
    fn agree(&self, key: usize, cancel: &CancelToken) -> Result<bool, NoKeyPermit> {
        // With jitter, so that a thousand machines do not come back at the same instant.
        let backoff = Backoff::new()
            .base(Duration::from_millis(200))
            .max(Duration::from_secs(5));
        let retry = Retry::new().retries(u32::MAX).within(self.patience);
        let mut lost = None;
        let judge = |error: &BoardError| match error {
            BoardError::Away(_) => Verdict::Retry,
            BoardError::Useless(_) => Verdict::Stop,
        };
        let call = retry
            .backoff(backoff.jitter(Jitter::Equal))
            .call(judge, |_| self.ask(key));
        let passed = call.cancel(cancel).on_retry(|failed| {
            if lost.is_none() {
                warn!("{}: nothing is sent until it is back", failed.error);
            }
            lost.get_or_insert_with(|| self.clock.now());
        });
        let passed = passed.run().map_err(no_permit)?;
        if let Some(since) = lost {
            let away = (self.clock.now() - since).as_secs_f64();
            warn!("the shared rate can be reached again after {away:.1} s: going on");
        }
        Ok(passed)
    }

    /// Makes one request for the permit of the front of the line.
    fn ask(&self, key: usize) -> Result<bool, BoardError> {
        let and_next = self.local.waiting() > 1;
        let asked = self.clock.now();
        let reply = self.exchange(key, Want::Pass { and_next }, None)?;
        let took = self.clock.now() - asked;
        let mut remote = self.keys[key].lock();
        // Subtract the travel time of this reply and of the next request: at least that of the quickest exchange.
        let way = remote.quickest.unwrap_or_default();
        let due_in = Duration::from_micros(reply.due_in).saturating_sub(way);
        let due = reply.claim.map(|_| asked + took + due_in);
        remote.claim = reply.claim;
        if let Some(serial) = reply.passed {
            remote.passed = Some((serial, asked));
            remote.quickest = Some(remote.quickest.map_or(took, |quickest| quickest.min(took)));
        }
        drop(remote);
        self.local.reserve(key, due);
        Ok(reply.passed.is_some())
    }

    /// Makes one request, which also sends a new pause to the roster, and applies the reply.
    fn exchange(
        &self,
        key: usize,
        want: Want,
        late: Option<u64>,
    ) -> Result<RosterReply, BoardError> {
        let mut remote = self.keys[key].lock();
        let claim = remote.claim.filter(|_| want != Want::Look);
        let unsent = remote.unsent.take();
        drop(remote);
        let left = unsent.map(|until| until.saturating_duration_since(self.clock.now()));
        let request = RosterRequest {
            step: self.step,
            slack: self.slack,
            claim,
            want,
            pause: left.map(micros).filter(|left| *left > 0),
            late,
        };
        let reply = self.board.exchange(key, &request);
        match &reply {
            Ok(reply) => self.apply(key, reply),
            Err(_) => {
                let mut remote = self.keys[key].lock();
                remote.unsent = remote.unsent.max(unsent);
            }
        }
        reply
    }

    /// Applies a pause and a longer interval that the reply reports.
    fn apply(&self, key: usize, reply: &RosterReply) {
        let mut remote = self.keys[key].lock();
        let seen = remote.pauses.replace(reply.pauses);
        let known = seen.map_or(0, |known| known + u64::from(reply.began));
        let is_slower = reply.step > self.step;
        let warn = is_slower && !remote.warned;
        remote.warned = is_slower;
        drop(remote);
        // A new pause counts even if it is over already.
        if reply.pauses > known {
            let until = self.clock.now() + Duration::from_micros(reply.paused_for);
            self.local.pause_key(key, until);
        }
        if warn {
            let rpm = 60e6 / reply.step as f64;
            warn!(
                "another process that shares this rate makes {rpm:.1} calls a minute: the lowest rate wins"
            );
        }
    }

    /// Gives back reserved permits that no thread waits for. If the request is lost, one permit goes unused.
    fn give_back(&self) {
        for (key, remote) in self.keys.iter().enumerate() {
            if self.local.waiting() == 0 && remote.lock().claim.is_some() {
                let _ = self.exchange(key, Want::GiveBack, None);
                remote.lock().claim = None;
                self.local.reserve(key, None);
            }
        }
    }

    /// Reports a call that leaves late, so that the next permit keeps its distance. The roster counts the permit as taken
    /// when it was requested; a slow reply or a new connection makes the call late.
    fn report_if_late(&self, key: usize) {
        let remote = self.keys[key].lock();
        let Some((serial, mut asked)) = remote.passed else {
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
            let _ = self.exchange(key, Want::Look, Some(serial));
        }
    }
}

impl CallLimiter for SharedLimiter {
    fn acquire(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let permit = self
            .local
            .acquire_if(tokens, cancel, |key| self.agree(key, cancel));
        self.give_back();
        permit
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
        let _ = self.exchange(key, Want::Look, None);
        let before = self.local.paused_until(key);
        let reaction = self.local.report(permit, &report);
        let after = self.local.paused_until(key);
        if after > before {
            self.keys[key].lock().unsent = Some(after);
            let _ = self.exchange(key, Want::Look, None); // if this fails, the next request sends it
        }
        reaction
    }

    fn waiting(&self) -> usize {
        self.local.waiting()
    }
}

fn no_permit(error: RetryError<BoardError>) -> NoKeyPermit {
    let waited = error.elapsed;
    match (error.why, error.last) {
        (GaveUp::Cancelled, _) | (_, None) => NoKeyPermit::Cancelled,
        (GaveUp::Stopped, Some(error)) => NoKeyPermit::Unreachable(error.to_string()),
        (_, Some(error)) => NoKeyPermit::Unreachable(format!(
            "the shared rate could not be reached for {waited:.0?} ({error})"
        )),
    }
}

#[cfg(test)]
mod tests;
