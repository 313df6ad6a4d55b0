//! The calls of a batch: each takes a permit, is made, and is reported to the limiter and to the view.
//!
//! It translates the server's answers for the limiter. `failures` and `tokens` decide.

use std::borrow::Cow;
use std::cell::{Cell, LazyCell};
use std::time::{Duration, Instant, SystemTime};

use super::event::{Event, PauseReason};
use super::prompt_run::{NoAnswer, PromptRun};
use super::tokens::RequestSize;
use super::view::a_minute;
use super::{Batch, Stop};
use crate::api::{Answer, CallError, Class};
use crate::hints::Hints;
use crate::journal::{RecordAttempt, late_ms};
use crate::outcome::CallOutcome;
use crate::pacing::{
    CallReport, InFlightPlace, KeyPermit, NoKeyPermit, PermitOutcome, RateLimit, Reaction,
};
use crate::pool::AddWorker;
use crate::prompts::Prompt;
use crate::retry::Verdict;

/// The right to make one call now.
#[derive(Debug)]
struct Granted<'a> {
    permit: KeyPermit,
    /// How long the prompt waited for it.
    paced: Duration,
    /// Its place among the calls in flight, if they are limited.
    place: Option<InFlightPlace<'a>>,
}

impl Batch<'_> {
    /// Makes one attempt: takes a permit, makes the call, and reports the outcome.
    pub(super) fn attempt(
        &self,
        run: &mut PromptRun<'_>,
        add: &AddWorker<'_>,
    ) -> Result<Answer, NoAnswer> {
        let (job, ask) = (run.job, self.asks[0]);
        if let Some(since) = run.starved_since
            && let Some(other) = ask.fallback(&run.request, self.clock.now() - since)
        {
            run.request = Cow::Owned(other);
        }
        let request = run.request.clone();
        let size = LazyCell::new(|| RequestSize::of(&request));
        let mut granted = self.acquire(&job.prompt, || *size)?;
        self.add_worker_if_short(add);
        let failed = match self.call(&request, &mut granted, run) {
            Ok(answer) => {
                let permit = &granted.permit;
                self.failures.lock().answered(permit.key());
                let tokens = self.tokens.lock().learn(|| *size, answer.usage);
                self.report(permit, PermitOutcome::Answered, tokens, &answer.hints);
                let Some(misfit) = ask.misfit(&answer) else {
                    return Ok(answer);
                };
                run.request = Cow::Owned(ask.request_again(&job.request, &answer, &misfit));
                let error = CallError::misfit(answer, misfit);
                NoAnswer {
                    verdict: run.misfit(&error, self.settings.schema_retries),
                    error: Some(Box::new(error)),
                }
            }
            Err(error) => self.failed(&granted.permit, run, error),
        };
        if let Some(guard) = self.guard {
            guard.failed(&job.prompt);
        }
        Err(failed)
    }

    /// Takes a permit that the guard agrees to.
    fn acquire(
        &self,
        prompt: &Prompt,
        size: impl Fn() -> RequestSize,
    ) -> Result<Granted<'_>, NoKeyPermit> {
        loop {
            if let Some(guard) = self.guard {
                guard.ready(&self.cancel)?;
            }
            let asked = self.clock.now();
            let _waiting = self.view.counted(|counts| &mut counts.waiting);
            let in_flight = self.in_flight.as_ref();
            let place = in_flight.map(|calls| calls.enter(&self.cancel));
            let mut place = place.transpose()?;
            let tokens = self.tokens.lock().cost(&size);
            let permit = self.limiter.acquire(tokens, &self.cancel);
            let permit = permit.inspect_err(|none| {
                if let NoKeyPermit::Unreachable(why) = none {
                    self.stop_for(Stop::Lost(why.clone()));
                }
            })?;
            self.view.tell(Event::Resumed { key: permit.key() });
            self.failures.lock().budget.pay_in();
            if let Some(place) = &mut place {
                place.sent();
            }
            if self.guard.is_none_or(|guard| guard.begin(prompt)) {
                return Ok(Granted {
                    paced: permit.granted_at() - asked,
                    permit,
                    place,
                });
            }
            let report = CallReport {
                tokens: Some(0),
                ..CallReport::from(PermitOutcome::Failed)
            };
            let _ = self.limiter.report(&permit, &report);
        }
    }

    /// Makes one call, and adds it to the run.
    fn call(
        &self,
        request: &[u8],
        granted: &mut Granted<'_>,
        run: &mut PromptRun<'_>,
    ) -> Result<Answer, CallError> {
        let permit = &granted.permit;
        let left = permit.granted_at();
        let started_at = self.wall_at(left);
        let in_flight = self.view.calls(left);
        let sent = Cell::new(left);
        let answer = self.asks[permit.key()].ask_reporting(request, &|| {
            sent.set(self.clock.now());
            self.limiter.sent(permit);
        });
        drop(in_flight);
        let took = self.clock.now() - left;
        let error = answer.as_ref().err();
        if let Some(place) = granted.place.take() {
            let outcome = error.map_or(CallOutcome::Answered, CallError::outcome);
            let limit = place.ended(outcome, took) as u64;
            self.view
                .count(|counts| counts.in_flight_limit = Some(limit));
        }
        if error.is_some_and(CallError::is_without_capacity) {
            run.starved_since.get_or_insert(left + took);
        }
        let late = sent.get().saturating_duration_since(permit.due());
        let call = RecordAttempt {
            key: permit.key(),
            paced: granted.paced,
            late_ms: late_ms(late),
            took,
            ..RecordAttempt::of(started_at, error)
        };
        run.called(call, &answer);
        answer
    }

    /// Wall time at `instant`. It is not read when the call starts: a thread that is slow to read it would make two calls
    /// look closer than they were.
    pub(super) fn wall_at(&self, instant: Instant) -> SystemTime {
        self.clock.wall() - (self.clock.now() - instant)
    }

    /// What a failed call means for all, and for its prompt.
    fn failed(&self, permit: &KeyPermit, run: &PromptRun<'_>, error: CallError) -> NoAnswer {
        let key = permit.key();
        let own = run.verdict(&error, self.settings.timeout_retries);
        let is_to_be_split = run.job.is_joined && error.may_be_about_an_input();
        let now = self.clock.now();
        let mut failures = self.failures.lock();
        let outcome = failures.outcome(key, &error, is_to_be_split, now);
        drop(failures);
        let is_limited = error.class == Class::RateLimited;
        let was_counted = !is_limited && !matches!(error.status, None | Some(413 | 429));
        let tokens = (!was_counted).then_some(0);
        let reaction = self.report(permit, outcome, tokens, &error.hints);
        if let PermitOutcome::RateLimited(ordered) = outcome {
            self.tell_of_pause(key, is_limited, ordered, reaction.paused_until);
        }
        let verdict = match outcome {
            PermitOutcome::Fatal if reaction.keys_left == 0 => {
                Err(Stop::Refused(Box::new(error.clone())))
            }
            PermitOutcome::Fatal => {
                let error = &error;
                self.view.tell(Event::Retired { key, error });
                Ok(Verdict::RateLimited(Some(Duration::ZERO)))
            }
            _ => {
                let (sent, now) = (permit.granted_at(), self.clock.now());
                self.failures.lock().verdict(&error, own, sent, now)
            }
        };
        let verdict = verdict.unwrap_or_else(|reason| {
            self.stop_for(reason);
            own
        });
        NoAnswer {
            verdict,
            error: Some(Box::new(error)),
        }
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
        if let Some(per_minute) = self.limiter.found(key) {
            self.tell_of_rate(key, per_minute, true);
        }
    }

    fn tell_of_rate(&self, key: usize, per_minute: f64, found: bool) {
        self.view.tell(Event::RateKnown {
            key,
            per_minute,
            found,
        });
    }
}
