//! Reports each answer and each failure to the limiter, and decides what it means for the batch as a whole.
//!
//! It translates the server's answers for the limiter, counts tokens, and stops the batch when it has waited too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::budget::Budget;
use super::estimate::Estimate;
use super::event::PauseReason;
use super::view::View;
use super::{Settings, Stop};
use crate::api::{Answer, CallError, Class, Counting, Usage};
use crate::cancel::CancelToken;
use crate::clock::{Clock, after};
use crate::hints::Hints;
use crate::outcome::CallOutcome;
use crate::pacing::{
    CallEnd, CallLimiter, CallReport, InFlight, InFlightPlace, KeyLimiter, KeyLimits, KeyPermit,
    NoKeyPermit, PermitOutcome, RateLimit, Reaction,
};

#[derive(Debug)]
pub(super) struct Pacer {
    limiter: Arc<dyn CallLimiter>,
    /// The limit of the calls in flight; `None` if the settings give the number of workers, which is the limit then.
    in_flight: Option<InFlight>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    view: Arc<View>,
    /// By key: refusals in a row that may be meant for the key.
    doubts: Mutex<Vec<u32>>,
    estimate: Mutex<Estimate>,
    /// Token limits, by key.
    allowances: Mutex<Vec<Allowance>>,
    budget: Mutex<Budget>,
    /// Whether there is a token limit. Without one, tokens are not estimated.
    counts_tokens: AtomicBool,
    /// Number of 429s so far, so that each pause has its own jitter.
    rate_limits: AtomicU64,
}

/// The right to make one call now.
#[derive(Debug)]
pub(super) struct Granted<'a> {
    pub(super) permit: KeyPermit,
    /// Its place among the calls in flight, if they are limited.
    place: Option<InFlightPlace<'a>>,
}

/// What a failure means beyond its own prompt.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Nothing.
    Nothing,
    /// The key is retired, but others are left: the prompt may try again at once.
    Retired,
    /// The batch must stop.
    Stop(Stop),
}

impl Pacer {
    /// A pacer with `keys` keys, for a server that counts tokens by `counting`.
    pub(super) fn new(
        settings: Settings,
        keys: usize,
        counting: Counting,
        clock: Arc<dyn Clock>,
        view: Arc<View>,
    ) -> Self {
        let limits = KeyLimits {
            rate: settings.rate,
            tokens: settings.tokens,
        };
        Pacer {
            limiter: Arc::new(KeyLimiter::new(clock.clone(), vec![limits; keys])),
            in_flight: (settings.workers.is_none()).then(|| InFlight::new(clock.clone())),
            clock,
            settings,
            view,
            doubts: Mutex::new(vec![0; keys]),
            estimate: Mutex::new(Estimate::new(counting)),
            allowances: Mutex::new(vec![Allowance::together(settings.tokens); keys]),
            budget: Mutex::default(),
            counts_tokens: AtomicBool::new(settings.tokens.is_some()),
            rate_limits: AtomicU64::new(0),
        }
    }

    /// Takes permits from this limiter instead.
    pub(super) fn with_limiter(self, limiter: Arc<dyn CallLimiter>) -> Self {
        Pacer { limiter, ..self }
    }

    /// Waits for a permit for this request.
    pub(super) fn acquire(
        &self,
        request: &[u8],
        cancel: &CancelToken,
    ) -> Result<Granted<'_>, NoKeyPermit> {
        let in_flight = self.in_flight.as_ref();
        let mut place = in_flight.map(|calls| calls.enter(cancel)).transpose()?;
        let mut tokens = 0;
        if self.counts_tokens.load(Ordering::Relaxed) {
            tokens = self.weigh(self.estimate.lock().cost(request));
        }
        let permit = self.limiter.acquire(tokens, cancel)?;
        self.view.passed(permit.key(), permit.granted_at());
        self.budget.lock().pay_in();
        if let Some(place) = &mut place {
            place.sent();
        }
        Ok(Granted { permit, place })
    }

    /// The call has ended after `took`; its outcome is reported next.
    pub(super) fn ended(
        &self,
        granted: &mut Granted<'_>,
        took: Duration,
        answer: &Result<Answer, CallError>,
    ) {
        let end = match answer {
            Ok(_) => CallEnd::Answered,
            Err(error) if error.outcome() == CallOutcome::Timeout => CallEnd::TimedOut,
            Err(_) => CallEnd::Other,
        };
        if let (Some(place), Some(calls)) = (granted.place.take(), &self.in_flight) {
            place.ended(end, took);
            self.view.may_be_in_flight(calls.limit());
        }
    }

    /// The call leaves only now, after its connection was made.
    pub(super) fn sent(&self, permit: &KeyPermit) {
        self.limiter.sent(permit);
    }

    /// No call was made with this permit.
    pub(super) fn not_sent(&self, permit: &KeyPermit) {
        let report = CallReport {
            tokens: Some(0),
            ..CallReport::from(PermitOutcome::Failed)
        };
        let _ = self.limiter.report(permit, &report);
    }

    /// The request was answered.
    pub(super) fn answered(&self, permit: &KeyPermit, request: &[u8], answer: &Answer) {
        self.doubts.lock()[permit.key()] = 0;
        let usage = answer
            .usage
            .filter(|_| self.counts_tokens.load(Ordering::Relaxed));
        let tokens = usage.map(|usage| {
            let counted = self.estimate.lock().learn(request, usage);
            self.weigh(counted)
        });
        let report = self.with_limits(permit.key(), &answer.hints, PermitOutcome::Answered);
        let _ = self.report(permit, &CallReport { tokens, ..report });
    }

    /// Reports a call, and shows the limit that the server states, unless its 429s contradict it.
    fn report(&self, permit: &KeyPermit, report: &CallReport) -> Reaction {
        let reaction = self.limiter.report(permit, report);
        if let Some(rate) = report.stated
            && self.limiter.found(permit.key()).is_none()
        {
            self.view.stated(permit.key(), rate);
        }
        reaction
    }

    /// The call failed.
    pub(super) fn failed(&self, permit: &KeyPermit, error: &CallError) -> Meaning {
        let class = self.class(permit.key(), error);
        let outcome = match class {
            Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(error)),
            Class::Fatal => PermitOutcome::Fatal,
            Class::Fault if !self.can_afford_a_retry() => PermitOutcome::RateLimited(None),
            Class::Fault | Class::Rejected => PermitOutcome::Failed,
        };
        let is_limited = error.class == Class::RateLimited;
        let was_counted = !is_limited && !matches!(error.status, None | Some(413 | 429));
        let report = CallReport {
            tokens: (!was_counted).then_some(0),
            ..self.with_limits(permit.key(), &error.hints, outcome)
        };
        let reaction = self.report(permit, &report);
        self.tell_of_pause(permit.key(), error, outcome, reaction.paused_until);
        match class {
            Class::Fatal => self.retired(permit.key(), error, reaction.keys_left),
            Class::Fault if self.budget.lock().is_exhausted(self.clock.now()) => {
                Meaning::Stop(Stop::Broken(Box::new(error.clone())))
            }
            Class::RateLimited | Class::Fault | Class::Rejected => Meaning::Nothing,
        }
    }

    /// The class of a failure. A refusal that names neither the prompt nor the key is the prompt's, until it goes on
    /// for several prompts without one answer: then it is the key's.
    fn class(&self, key: usize, error: &CallError) -> Class {
        /// One prompt may be refused by several filters; five in a row are no accident.
        const IN_A_ROW: u32 = 5;
        if !error.may_be_the_key() {
            return error.class;
        }
        let mut doubts = self.doubts.lock();
        doubts[key] += 1;
        if doubts[key] >= IN_A_ROW {
            Class::Fatal
        } else {
            error.class
        }
    }

    /// Whether another worker would help: none waits, neither for a permit nor until another call may be in flight.
    pub(super) fn wants_workers(&self) -> bool {
        let in_flight = self.in_flight.as_ref();
        self.limiter.waiting() == 0 && in_flight.is_some_and(|calls| calls.waiting() == 0)
    }

    /// Calls per minute that the server was found to allow, for all keys together.
    pub(super) fn found(&self, keys: usize) -> Option<f64> {
        let found: Vec<_> = (0..keys)
            .filter_map(|key| self.limiter.found(key))
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    fn is_fixed(&self) -> bool {
        self.settings.rate != RateLimit::Adaptive
    }

    /// A report with the limits that the server states. Limits in the settings take precedence.
    fn with_limits(&self, key: usize, hints: &Hints, outcome: PermitOutcome) -> CallReport {
        let mut report = CallReport::from(outcome);
        if !self.is_fixed() {
            report.stated = hints.requests.rate();
        }
        if self.settings.tokens.is_none() {
            let mut allowances = self.allowances.lock();
            allowances[key].read(hints);
            report.stated_tokens = allowances[key].tightest();
        }
        if report.stated_tokens.is_some() {
            self.counts_tokens.store(true, Ordering::Relaxed);
        }
        report
    }

    /// The cost of a call, whichever key it gets.
    fn weigh(&self, usage: Usage) -> u32 {
        self.allowances
            .lock()
            .iter()
            .map(|allowance| allowance.weigh(usage))
            .max()
            .unwrap_or(0)
    }

    /// When the server asks us to come back, plus jitter: other processes may have been asked the same.
    fn come_back_at(&self, error: &CallError) -> Option<Instant> {
        let wait = error.retry_after?;
        let seed = self.settings.seed ^ self.rate_limits.fetch_add(1, Ordering::Relaxed);
        let wait = self.settings.retry.backoff.delays(seed).wait(Some(wait));
        Some(after(self.clock.now(), wait))
    }

    /// Whether the retry budget covers a retry. If not, everyone slows down.
    fn can_afford_a_retry(&self) -> bool {
        self.budget.lock().draw(self.clock.now())
    }

    fn tell_of_pause(
        &self,
        key: usize,
        error: &CallError,
        outcome: PermitOutcome,
        began: Option<Instant>,
    ) {
        let now = self.clock.now();
        let PermitOutcome::RateLimited(ordered) = outcome else {
            return;
        };
        let Some(until) = began else {
            if let Some(until) = ordered {
                self.view.held_longer(key, now, until);
            }
            return;
        };
        let why = match (error.class, ordered) {
            (Class::RateLimited, Some(_)) => PauseReason::Ordered,
            (Class::RateLimited, None) => PauseReason::RateLimited,
            _ => PauseReason::Faults,
        };
        let wait = until.saturating_duration_since(now);
        self.view.held(key, (now, self.clock.wall()), wait, why);
        if let Some(found) = self.limiter.found(key) {
            self.view.found(key, found);
        }
    }

    fn retired(&self, key: usize, error: &CallError, keys_left: usize) -> Meaning {
        if keys_left == 0 {
            return Meaning::Stop(Stop::Refused(Box::new(error.clone())));
        }
        self.view.retired(key, error);
        Meaning::Retired
    }
}
