//! The calls of a batch: each takes a permit, is made, and is reported to the limiter and to the view.
//!
//! It translates the server's answers for the limiter. `failures` and `tokens` decide.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

use super::event::{Event, PauseReason};
use super::prompt_run::{Job, NoAnswer, PromptRun, attempt};
use super::view::a_minute;
use super::{Batch, Stop};
use crate::api::{Answer, CallError, Class};
use crate::hints::Hints;
use crate::journal::RecordAttempt;
use crate::pacing::{
    CallReport, InFlightPlace, KeyPermit, NoKeyPermit, PermitOutcome, RateLimit, Reaction,
};
use crate::retry::Verdict;

/// The right to make one call now.
#[derive(Debug)]
pub(super) struct Granted<'a> {
    permit: KeyPermit,
    /// How long the prompt waited for it.
    paced: Duration,
    /// Its place among the calls in flight, if they are limited.
    place: Option<InFlightPlace<'a>>,
}

impl Batch<'_> {
    /// Takes a permit that the guard agrees to.
    pub(super) fn acquire(&self, job: &Job, request: &[u8]) -> Result<Granted<'_>, NoAnswer> {
        loop {
            if let Some(guard) = self.guard {
                guard.ready(&self.cancel).map_err(NoKeyPermit::from)?;
            }
            let granted = self.permit(request).inspect_err(|none| {
                if let NoKeyPermit::Unreachable(why) = none {
                    self.stop_for(Stop::Lost(why.clone()));
                }
            })?;
            if self.guard.is_none_or(|guard| guard.begin(&job.prompt)) {
                return Ok(granted);
            }
            let report = CallReport {
                tokens: Some(0),
                ..CallReport::from(PermitOutcome::Failed)
            };
            let _ = self.limiter.report(&granted.permit, &report);
        }
    }

    /// Waits for a permit for this request.
    fn permit(&self, request: &[u8]) -> Result<Granted<'_>, NoKeyPermit> {
        let asked = self.clock.now();
        let _waiting = self.view.counted(|counts| &mut counts.waiting);
        let in_flight = self.in_flight.as_ref();
        let place = in_flight.map(|calls| calls.enter(&self.cancel));
        let mut place = place.transpose()?;
        let tokens = self.tokens.lock().cost(request);
        let permit = self.limiter.acquire(tokens, &self.cancel)?;
        self.view.tell(Event::Resumed { key: permit.key() });
        self.failures.lock().leaves();
        if let Some(place) = &mut place {
            place.sent();
        }
        Ok(Granted {
            paced: permit.granted_at() - asked,
            permit,
            place,
        })
    }

    /// Makes one call, and returns what it means for the prompt.
    pub(super) fn call(
        &self,
        request: &[u8],
        granted: Granted<'_>,
        run: &RefCell<PromptRun<'_>>,
    ) -> Result<Answer, NoAnswer> {
        let permit = &granted.permit;
        let left = permit.granted_at();
        let started_at = self.wall_at(left);
        let in_flight = self.view.calls(left);
        let ask = self.asks[permit.key()];
        let sent = Cell::new(left);
        let answer = ask.ask_reporting(request, &|| {
            sent.set(self.clock.now());
            self.limiter.sent(permit);
        });
        drop(in_flight);
        let took = self.clock.now() - left;
        let call = RecordAttempt {
            key: permit.key(),
            paced: granted.paced,
            late: sent.get().saturating_duration_since(permit.due()),
            took,
            ..attempt(started_at, &answer)
        };
        if let Some(place) = granted.place {
            let limit = place.ended(call.outcome, took) as u64;
            self.view
                .count(|counts| counts.in_flight_limit = Some(limit));
        }
        let mut run = run.borrow_mut();
        run.called(call);
        if answer.as_ref().is_err_and(CallError::is_without_capacity) {
            run.starved_since.get_or_insert(left + took);
        }
        match answer {
            Ok(answer) => {
                self.answered(permit, request, &answer);
                Ok(answer)
            }
            Err(error) => Err(self.failed(permit, &run, error)),
        }
    }

    /// Wall time at `instant`. It is not read when the call starts: a thread that is slow to read it would make two calls
    /// look closer than they were.
    pub(super) fn wall_at(&self, instant: Instant) -> SystemTime {
        self.clock.wall() - (self.clock.now() - instant)
    }

    fn answered(&self, permit: &KeyPermit, request: &[u8], answer: &Answer) {
        self.failures.lock().answered(permit.key());
        let tokens = self.tokens.lock().learn(request, answer.usage);
        self.report(permit, PermitOutcome::Answered, tokens, &answer.hints);
    }

    fn failed(&self, permit: &KeyPermit, run: &PromptRun<'_>, error: CallError) -> NoAnswer {
        if let Some(guard) = self.guard {
            guard.failed(&run.job.prompt);
        }
        let own = run.verdict(&error, self.settings.timeout_retries);
        let verdict = self.judge(permit, &error, run.job, own);
        NoAnswer {
            verdict: verdict.unwrap_or_else(|reason| {
                self.stop_for(reason);
                own
            }),
            error: Some(Box::new(error)),
        }
    }

    /// What a failed call means for all. Returns what its prompt does; `own` is what it would do by itself.
    fn judge(
        &self,
        permit: &KeyPermit,
        error: &CallError,
        job: &Job,
        own: Verdict,
    ) -> Result<Verdict, Stop> {
        let (key, now) = (permit.key(), self.clock.now());
        let is_to_be_split = job.is_joined && error.may_be_about_an_input();
        let outcome = self
            .failures
            .lock()
            .outcome(key, error, is_to_be_split, now);
        let is_limited = error.class == Class::RateLimited;
        let was_counted = !is_limited && !matches!(error.status, None | Some(413 | 429));
        let tokens = (!was_counted).then_some(0);
        let reaction = self.report(permit, outcome, tokens, &error.hints);
        match outcome {
            PermitOutcome::Fatal if reaction.keys_left == 0 => {
                return Err(Stop::Refused(Box::new(error.clone())));
            }
            PermitOutcome::Fatal => {
                self.view.tell(Event::Retired { key, error });
                return Ok(Verdict::RateLimited(Some(Duration::ZERO)));
            }
            PermitOutcome::RateLimited(ordered) => {
                self.tell_of_pause(key, is_limited, ordered, reaction.paused_until);
            }
            _ => {}
        }
        let (sent, now) = (permit.granted_at(), self.clock.now());
        self.failures.lock().verdict(error, own, sent, now)
    }

    /// Reports a call to the limiter with the limits that the server states; those in the settings take precedence.
    /// Shows a stated limit, unless 429s contradict it.
    fn report(
        &self,
        permit: &KeyPermit,
        outcome: PermitOutcome,
        tokens: Option<u32>,
        hints: &Hints,
    ) -> Reaction {
        let key = permit.key();
        let is_adaptive = self.settings.rate == RateLimit::Adaptive;
        let report = CallReport {
            outcome,
            tokens,
            stated: hints.requests.rate().filter(|_| is_adaptive),
            stated_tokens: self.tokens.lock().read(key, hints),
        };
        let reaction = self.limiter.report(permit, &report);
        if let Some(rate) = report.stated
            && self.limiter.found(key).is_none()
        {
            self.tell_of_rate(key, a_minute(rate), false);
        }
        reaction
    }

    fn tell_of_rate(&self, key: usize, per_minute: f64, found: bool) {
        self.view.tell(Event::RateKnown {
            key,
            per_minute,
            found,
        });
    }

    fn tell_of_pause(
        &self,
        key: usize,
        is_limited: bool,
        ordered: Option<Instant>,
        began: Option<Instant>,
    ) {
        let now = self.clock.now();
        let Some(until) = began else {
            return ordered.map_or((), |until| self.view.held_longer(key, now, until));
        };
        let wait = until.saturating_duration_since(now);
        self.view.tell(Event::Paused {
            key,
            wait,
            until: self.clock.wall() + wait,
            why: match ordered {
                _ if !is_limited => PauseReason::Faults,
                Some(_) => PauseReason::Ordered,
                None => PauseReason::RateLimited,
            },
        });
        if let Some(found) = self.limiter.found(key) {
            self.tell_of_rate(key, found, true);
        }
    }

    /// An answer that does not fit the schema is as good as none, but it is paid for.
    pub(super) fn misfit(
        &self,
        answer: Answer,
        misfit: String,
        run: &mut PromptRun<'_>,
    ) -> NoAnswer {
        let error = Box::new(CallError::misfit(answer, misfit));
        if let Some(guard) = self.guard {
            guard.failed(&run.job.prompt);
        }
        NoAnswer {
            verdict: run.misfit(&error, self.settings.schema_retries),
            error: Some(error),
        }
    }
}
