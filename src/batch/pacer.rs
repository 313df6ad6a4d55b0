//! Reports each answer and each failure to the limiter, and decides what it means for the batch as a whole.
//!
//! It translates the server's answers for the limiter, counts tokens, and stops the batch when it has waited too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::budget::Budget;
use super::estimate::Estimate;
use super::event::PauseReason;
use super::patience::{Meaning, PatienceRule};
use super::view::{View, a_minute};
use super::{Settings, Stop};
use crate::api::{Answer, Ask, CallError, Class, Usage};
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
    pub(super) limiter: Arc<dyn CallLimiter>,
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
    patience: Mutex<PatienceRule>,
    /// Number of 429s so far, so that each pause has its own jitter.
    rate_limits: AtomicU64,
}

/// The right to make one call now.
#[derive(Debug)]
pub(super) struct Granted<'a> {
    pub(super) permit: KeyPermit,
    /// How long the prompt waited for it.
    pub(super) paced: Duration,
    /// Its place among the calls in flight, if they are limited.
    place: Option<InFlightPlace<'a>>,
}

impl Pacer {
    /// A pacer with one key for each of the `asks`.
    pub(super) fn new(
        settings: Settings,
        asks: &[&dyn Ask],
        clock: Arc<dyn Clock>,
        view: Arc<View>,
    ) -> Self {
        let keys = asks.len();
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
            estimate: Mutex::new(Estimate::new(asks[0].counting())),
            allowances: Mutex::new(vec![Allowance::together(settings.tokens); keys]),
            budget: Mutex::default(),
            patience: Mutex::new(PatienceRule::new(settings.max_wait)),
            rate_limits: AtomicU64::new(0),
        }
    }

    /// Waits for a permit for this request.
    pub(super) fn acquire(
        &self,
        request: &[u8],
        cancel: &CancelToken,
    ) -> Result<Granted<'_>, NoKeyPermit> {
        let asked = self.clock.now();
        let _waiting = self.view.waits();
        let in_flight = self.in_flight.as_ref();
        let mut place = in_flight.map(|calls| calls.enter(cancel)).transpose()?;
        let tokens = match self.counts_tokens() {
            true => self.weigh(self.estimate.lock().cost(request)),
            false => 0,
        };
        let permit = self.limiter.acquire(tokens, cancel)?;
        self.view.passed(permit.key(), permit.granted_at());
        self.budget.lock().pay_in();
        if let Some(place) = &mut place {
            place.sent();
        }
        Ok(Granted {
            paced: permit.granted_at() - asked,
            permit,
            place,
        })
    }

    /// The call has ended now; its outcome is reported next.
    pub(super) fn ended(
        &self,
        granted: &mut Granted<'_>,
        now: Instant,
        answer: &Result<Answer, CallError>,
    ) {
        let end = match answer {
            Ok(_) => CallEnd::Answered,
            Err(error) if error.outcome() == CallOutcome::Timeout => CallEnd::TimedOut,
            Err(_) => CallEnd::Other,
        };
        if let (Some(place), Some(calls)) = (granted.place.take(), &self.in_flight) {
            place.ended(end, now - granted.permit.granted_at());
            let limit = calls.limit() as u64;
            self.view
                .count(|counts| counts.in_flight_limit = Some(limit));
        }
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
        self.patience.lock().answered();
        let usage = answer.usage.filter(|_| self.counts_tokens());
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
            self.view.rate_known(permit.key(), a_minute(rate), false);
        }
        reaction
    }

    /// The call failed.
    pub(super) fn failed(&self, permit: &KeyPermit, error: &CallError) -> Meaning {
        let class = self.class(permit.key(), error);
        let outcome = match class {
            Class::RateLimited if error.is_without_capacity() => PermitOutcome::Failed,
            Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(error)),
            Class::Fatal => PermitOutcome::Fatal,
            // Where the retry budget does not cover a retry, everyone slows down.
            Class::Fault if !self.budget.lock().draw(self.clock.now()) => {
                PermitOutcome::RateLimited(None)
            }
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
        let now = self.clock.now();
        match class {
            Class::Fatal if reaction.keys_left == 0 => {
                Meaning::Stop(Stop::Refused(Box::new(error.clone())))
            }
            Class::Fatal => {
                self.view.retired(permit.key(), error);
                Meaning::Retired
            }
            Class::Fault if self.budget.lock().is_exhausted(now) => {
                Meaning::Stop(Stop::Broken(Box::new(error.clone())))
            }
            _ => (self.patience.lock()).failed(error, permit.granted_at(), now),
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

    /// Whether there is a token limit. Without one, tokens are not estimated.
    fn counts_tokens(&self) -> bool {
        let allowances = self.allowances.lock();
        allowances.iter().any(|key| key.tightest().is_some())
    }

    /// A report with the limits that the server states. Limits in the settings take precedence.
    fn with_limits(&self, key: usize, hints: &Hints, outcome: PermitOutcome) -> CallReport {
        let mut report = CallReport::from(outcome);
        if self.settings.rate == RateLimit::Adaptive {
            report.stated = hints.requests.rate();
        }
        if self.settings.tokens.is_none() {
            let mut allowances = self.allowances.lock();
            allowances[key].read(hints);
            report.stated_tokens = allowances[key].tightest();
        }
        report
    }

    /// The cost of a call, whichever key it gets.
    fn weigh(&self, usage: Usage) -> u32 {
        let allowances = self.allowances.lock();
        let costs = allowances.iter().map(|key| key.weigh(usage));
        costs.max().unwrap_or(0)
    }

    /// When the server asks us to come back, plus jitter: other processes may have been asked the same.
    fn come_back_at(&self, error: &CallError) -> Option<Instant> {
        let wait = error.retry_after?;
        let seed = self.settings.seed ^ self.rate_limits.fetch_add(1, Ordering::Relaxed);
        let wait = self.settings.retry.backoff.delays(seed).wait(Some(wait));
        Some(after(self.clock.now(), wait))
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
            self.view.rate_known(key, found, true);
        }
    }
}
