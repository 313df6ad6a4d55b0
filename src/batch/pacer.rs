//! The pace of a batch: what each answer, each refusal and each failure means for everyone.
//!
//! It turns what the server says into news for the limiter, and keeps the batch's patience.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::allowance::Allowance;
use super::budget::Budget;
use super::estimate::Estimate;
use super::event::Why;
use super::gauge::Gauge;
use super::view::View;
use super::{Settings, Stop};
use crate::api::{Answer, CallError, Class, Counting, Usage};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::hints::Hints;
use crate::limiter::{Limits, NoTurn, Pace, RateLimiter, Tempo, Turn};

#[derive(Debug)]
pub(super) struct Pacer {
    limiter: Arc<dyn Pace>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    view: Arc<View>,
    /// Since when the server has refused, without one answer: the batch's patience counts from there.
    refused_since: Mutex<Option<Instant>>,
    gauge: Mutex<Gauge>,
    estimate: Mutex<Estimate>,
    /// By key.
    allowances: Mutex<Vec<Allowance>>,
    budget: Mutex<Budget>,
    /// Whether there is a limit in tokens: only then is it worth estimating them.
    counts_tokens: AtomicBool,
    /// Counts the holds, so that each has chance of its own.
    holds: AtomicU64,
}

/// What a failure means beyond its own prompt.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Nothing.
    Nothing,
    /// The key is of no use any more, but there are others: the prompt may try again at once.
    Retired,
    /// No prompt will be answered.
    Stop(Stop),
}

impl Pacer {
    /// A pace for so many keys, to a server that counts tokens so.
    pub(super) fn new(
        settings: Settings,
        keys: usize,
        counting: Counting,
        clock: Arc<dyn Clock>,
        view: Arc<View>,
    ) -> Self {
        let limits = Limits {
            pace: settings.pace,
            tokens: settings.tokens,
        };
        let limiter = Arc::new(RateLimiter::with_lanes(clock.clone(), vec![limits; keys]));
        let counts_tokens = AtomicBool::new(settings.tokens.is_some());
        let estimate = Mutex::new(Estimate::new(counting));
        let allowances = Mutex::new(vec![Allowance::together(settings.tokens); keys]);
        let (refused_since, gauge, budget, holds) = Default::default();
        Pacer {
            limiter,
            clock,
            settings,
            view,
            refused_since,
            gauge,
            estimate,
            allowances,
            budget,
            counts_tokens,
            holds,
        }
    }

    /// The same at a pace that others grant.
    pub(super) fn at(self, pace: Arc<dyn Pace>) -> Self {
        Pacer {
            limiter: pace,
            ..self
        }
    }

    /// Waits for a turn for this request.
    pub(super) fn take(&self, request: &[u8], cancel: &CancelToken) -> Result<Turn, NoTurn> {
        let counts = self.counts_tokens.load(Ordering::Relaxed);
        let tokens = if counts {
            self.weigh(self.estimate.lock().cost(request))
        } else {
            0
        };
        let turn = self.limiter.take(tokens, cancel)?;
        self.view.passed(turn.lane, turn.at);
        self.budget.lock().pay_in();
        Ok(turn)
    }

    /// No call was made at this turn.
    pub(super) fn let_pass(&self, turn: Turn) {
        self.limiter.correct(turn, 0);
        self.limiter.failed(turn);
    }

    /// The request was answered.
    pub(super) fn answered(&self, turn: Turn, request: &[u8], answer: &Answer) {
        let now = self.clock.now();
        *self.refused_since.lock() = None;
        self.gauge.lock().note(now - turn.at);
        self.limiter.answered(turn);
        if let Some(usage) = answer.usage
            && self.counts_tokens.load(Ordering::Relaxed)
        {
            let counted = self.estimate.lock().learn(request, usage);
            self.limiter.correct(turn, self.weigh(counted));
        }
        self.read(turn.lane, &answer.hints);
    }

    /// The call failed.
    pub(super) fn failed(&self, turn: Turn, error: &CallError) -> Meaning {
        self.read(turn.lane, &error.hints);
        if error.class == Class::RateLimited || matches!(error.status, None | Some(413 | 429)) {
            self.limiter.correct(turn, 0); // it was never counted, as far as can be told
        }
        match error.class {
            Class::RateLimited => self.refused(turn, error),
            Class::Fatal => self.retire(turn.lane, error),
            Class::Fault => self.fault(turn, error),
            Class::Rejected => {
                self.limiter.failed(turn);
                Meaning::Nothing
            }
        }
    }

    /// Whether another worker would make turns go faster: nobody is in line for the next one, and the server is not
    /// merely slower for being asked more.
    pub(super) fn wants_workers(&self) -> bool {
        let unpaced = matches!(self.settings.pace, Tempo::Kept(rate) if rate.interval.is_zero());
        !unpaced && self.limiter.waiting() == 0 && (self.is_told() || self.gauge.lock().is_easy())
    }

    /// Calls a minute that the server was found to allow, all keys together.
    pub(super) fn found(&self, keys: usize) -> Option<f64> {
        let found: Vec<_> = (0..keys)
            .filter_map(|lane| self.limiter.found(lane))
            .collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }

    fn is_told(&self) -> bool {
        self.settings.pace != Tempo::Found
    }

    /// The limits that the server states, unless we were told which to keep.
    fn read(&self, lane: usize, hints: &Hints) {
        if !self.is_told()
            && let Some(rate) = hints.requests.rate()
        {
            self.limiter.keep(lane, rate);
            self.view.stated(lane, rate);
        }
        if self.settings.tokens.is_none() {
            let mut allowances = self.allowances.lock();
            allowances[lane].read(hints);
            if let Some(limit) = allowances[lane].tightest() {
                self.counts_tokens.store(true, Ordering::Relaxed);
                self.limiter.keep_tokens(lane, limit);
            }
        }
    }

    /// What a call costs, whichever key it is made with.
    fn weigh(&self, usage: Usage) -> u32 {
        self.allowances
            .lock()
            .iter()
            .map(|allowance| allowance.weigh(usage))
            .max()
            .unwrap_or(0)
    }

    fn refused(&self, turn: Turn, error: &CallError) -> Meaning {
        let now = self.clock.now();
        // Not all at the same instant, when several processes were told the same; and never earlier.
        let chance = self.settings.seed ^ self.holds.fetch_add(1, Ordering::Relaxed);
        let until = error
            .retry_after
            .map(|wait| now + self.settings.retry.backoff.delays(chance).not_before(wait));
        match self.limiter.refused(turn, until) {
            Some(held) => {
                let why = if until.is_some() {
                    Why::Said
                } else {
                    Why::Silent
                };
                self.held(turn.lane, now, held, why);
            }
            None => until
                .into_iter()
                .for_each(|until| self.view.held_longer(turn.lane, now, until)),
        }
        self.patience(now, error)
    }

    /// A fault is a matter of its own prompt, unless there are too many of them.
    fn fault(&self, turn: Turn, error: &CallError) -> Meaning {
        let now = self.clock.now();
        let mut budget = self.budget.lock();
        let (affordable, exhausted) = (budget.draw(now), budget.is_exhausted(now));
        drop(budget);
        if affordable {
            self.limiter.failed(turn);
        } else if let Some(until) = self.limiter.refused(turn, None) {
            self.held(turn.lane, now, until, Why::Faults);
        }
        if exhausted {
            Meaning::Stop(Stop::Broken(Box::new(error.clone())))
        } else {
            Meaning::Nothing
        }
    }

    /// A hold has begun; a pace that is being found out changes with it.
    fn held(&self, lane: usize, now: Instant, until: Instant, why: Why) {
        let wait = until.saturating_duration_since(now);
        self.view.held(lane, (now, self.clock.wall()), wait, why);
        self.limiter
            .found(lane)
            .into_iter()
            .for_each(|found| self.view.found(lane, found));
    }

    /// How much longer the batch lets itself be held.
    fn patience(&self, now: Instant, error: &CallError) -> Meaning {
        let more = error.retry_after.unwrap_or_default();
        let since = *self.refused_since.lock().get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited + more <= self.settings.max_wait {
            return Meaning::Nothing;
        }
        let come_back = self.clock.wall() + more;
        Meaning::Stop(Stop::Held {
            waited,
            more,
            come_back,
            error: Box::new(error.clone()),
        })
    }

    fn retire(&self, lane: usize, error: &CallError) -> Meaning {
        if self.limiter.retire(lane) == 0 {
            return Meaning::Stop(Stop::Refused(Box::new(error.clone())));
        }
        self.view.retired(lane, error);
        Meaning::Retired
    }
}
