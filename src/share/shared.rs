//! A limiter that several processes share: threads wait in this process's line, and the front of the line takes its
//! permit together with the fronts of the other lines.
//!
//! A [`Roster`](super::Roster), kept where all of them reach it ([`Board`]), decides who goes next. Tokens, and the
//! probing of a server that answers 429 without a time, stay in the process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;

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

/// Where a [`Roster`](super::Roster) is kept for each key.
pub trait Board: Send + Sync + std::fmt::Debug {
    /// Sends one request to the roster of this key and returns its reply. Takes some seconds at most.
    ///
    /// # Errors
    /// [`BoardError`]: it is not known whether the request arrived.
    fn exchange(&self, key: usize, request: &RosterRequest) -> Result<RosterReply, BoardError>;
}

/// The roster cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardError {
    /// It may come back by itself.
    Away(String),
    /// It will not come back by itself.
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
    /// From one permit to the next, and how late one may be: in microseconds.
    step: u64,
    slack: u64,
    /// How long the board may be away.
    patience: Duration,
    keys: Vec<Mutex<RemoteKey>>,
}

/// What is known here of one key's roster.
#[derive(Debug, Default)]
struct RemoteKey {
    /// The permit that is reserved for the front of the line.
    claim: Option<Claim>,
    /// How many pauses it has seen.
    pauses: Option<u64>,
    /// A pause that the others have not been told of yet.
    unsent: Option<Instant>,
    /// The last permit that was taken here, and when it was asked for.
    passed: Option<(u64, Instant)>,
    /// The shortest time that such a request took.
    quickest: Option<Duration>,
    /// Whether the log says that another process is slower.
    warned: bool,
}

impl SharedLimiter {
    /// How often a late permit is reported, at most: the report itself may be late.
    const LATE_REPORTS: u32 = 2;

    /// A limiter with this many keys, each at this rate, shared through `board`. The rate's burst is ignored.
    ///
    /// `tokens` a minute are this process's own. While the board is away, everyone waits; after `patience` there are no
    /// more permits.
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
        // The request takes its time, on top of the timer's.
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

    /// Whether every roster can be reached.
    ///
    /// # Errors
    /// [`BoardError`]
    pub fn check(&self) -> Result<(), BoardError> {
        (0..self.keys.len()).try_for_each(|key| self.exchange(key, Want::Look, None).map(drop))
    }

    /// The front of the line asks for its permit, and asks again while the board is away. False: it is not due, and the
    /// local limiter knows when it will be.
    fn agree(&self, key: usize, cancel: &CancelToken) -> Result<bool, NoKeyPermit> {
        // With jitter: a thousand machines do not come back together.
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

    /// One request for the permit of the front of the line.
    fn ask(&self, key: usize) -> Result<bool, BoardError> {
        let and_next = self.local.waiting() > 1;
        let asked = self.clock.now();
        let reply = self.exchange(key, Want::Pass { and_next }, None)?;
        let took = self.clock.now() - asked;
        let mut remote = self.keys[key].lock();
        // The reply took its way, and the next request will: no less than the quickest took for both.
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

    /// One request, with what the others should know; the reply is obeyed before it is returned.
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
            Ok(reply) => self.obey(key, reply),
            Err(_) => {
                let mut remote = self.keys[key].lock();
                remote.unsent = remote.unsent.max(unsent);
            }
        }
        reply
    }

    fn obey(&self, key: usize, reply: &RosterReply) {
        let mut remote = self.keys[key].lock();
        let seen = remote.pauses.replace(reply.pauses);
        let known = seen.map_or(0, |known| known + u64::from(reply.began));
        let is_slower = reply.step > self.step;
        let warn = is_slower && !remote.warned;
        remote.warned = is_slower;
        drop(remote);
        // Also a pause that is over: it was news once.
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

    /// Gives back what is reserved and no longer needed. If that does not arrive, one permit goes unused.
    fn give_back(&self) {
        for (key, remote) in self.keys.iter().enumerate() {
            if self.local.waiting() == 0 && remote.lock().claim.is_some() {
                let _ = self.exchange(key, Want::GiveBack, None);
                remote.lock().claim = None;
                self.local.reserve(key, None);
            }
        }
    }

    /// The roster counted the permit as taken when it was asked. If the reply was long on its way, or a connection had to
    /// be made, the call goes late: reports that, so that the next one keeps its distance.
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
        // The rate is what all who share it were given.
        let report = CallReport {
            stated: None,
            ..*report
        };
        if !matches!(report.outcome, PermitOutcome::RateLimited(_)) {
            return self.local.report(permit, &report);
        }
        // Another process may have met the same pause before: then this is no news. Nobody waits for the board here.
        let _ = self.exchange(key, Want::Look, None);
        let before = self.local.paused_until(key);
        let reaction = self.local.report(permit, &report);
        let after = self.local.paused_until(key);
        if after > before {
            self.keys[key].lock().unsent = Some(after);
            let _ = self.exchange(key, Want::Look, None); // or else with the next request
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

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
mod tests;
