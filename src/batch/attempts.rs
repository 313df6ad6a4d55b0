//! The course of one prompt: its attempts as they are made, and the record that they come to.

use std::time::{Duration, Instant, SystemTime};

use super::event::Event;
use super::view::View;
use crate::api::{Answer, CallError, Class};
use crate::cancel::Cancelled;
use crate::journal::{Attempt, Fault, Record, RecordId, Reply};
use crate::limiter::Turn;
use crate::outcome::CallOutcome;
use crate::pool::Panicked;
use crate::prompts::Prompt;
use crate::retry::{Failure, GaveUp, Outcome, Verdict};

/// An attempt that brought no answer: the call failed, or the batch was stopped before it was made.
#[derive(Debug)]
pub(super) enum Miss {
    Call(CallError),
    /// The key that it was made with is of no use any more; there are others.
    Retired(CallError),
    Cancelled,
}

impl From<Cancelled> for Miss {
    fn from(_: Cancelled) -> Self {
        Miss::Cancelled
    }
}

pub(super) fn judge(miss: &Miss) -> Verdict {
    const AT_ONCE: Verdict = Verdict::Throttled(Some(Duration::ZERO));
    match miss {
        // The limiter holds everyone: nobody need wait twice.
        Miss::Call(CallError {
            class: Class::RateLimited,
            retry_after: None,
            ..
        })
        | Miss::Retired(_) => AT_ONCE,
        Miss::Call(error) => error.verdict(),
        Miss::Cancelled => Verdict::Stop,
    }
}

/// One call, before it is known what came of it.
pub(super) struct Call {
    pub(super) n: u32,
    pub(super) turn: Turn,
    pub(super) paced: Duration,
    pub(super) started_at: SystemTime,
    pub(super) took: Duration,
}

/// What has become of one prompt so far.
#[derive(Debug)]
pub(super) struct Course {
    id: RecordId,
    pub(super) attempts: Vec<Attempt>,
    /// When each call was sent.
    pub(super) turns: Vec<Instant>,
    queued: Duration,
    end: End,
}

/// The calls made for a prompt, for the summary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) calls: u64,
    /// Those that were refused for coming too fast,
    pub(super) throttled: u64,
    /// and those that failed otherwise.
    pub(super) faults: u64,
    /// When the first was sent, and the last.
    pub(super) first: Option<Instant>,
    pub(super) last: Option<Instant>,
}

#[derive(Debug)]
enum End {
    /// The batch was stopped before this prompt was done.
    Unfinished,
    Answered(Answer),
    Failed(CallError),
    Panicked(String),
}

impl Course {
    pub(super) fn new(id: RecordId, queued: Duration) -> Self {
        Course {
            id,
            attempts: Vec::new(),
            turns: Vec::new(),
            queued,
            end: End::Unfinished,
        }
    }

    /// The prompt's task broke; what it had come to is lost.
    pub(super) fn panicked(panic: &Panicked, id: RecordId) -> Self {
        Course {
            end: End::Panicked(panic.to_string()),
            ..Course::new(id, Duration::ZERO)
        }
    }

    /// A call has ended.
    pub(super) fn called(
        &mut self,
        call: Call,
        answer: &Result<Answer, CallError>,
        prompt: &Prompt,
        view: &View,
    ) {
        let (status, request_id, outcome, retry_after) = match answer {
            Ok(answer) => (
                Some(answer.status),
                answer.request_id.clone(),
                CallOutcome::Answered,
                None,
            ),
            Err(error) => (
                error.status,
                error.request_id.clone(),
                error.outcome(),
                error.retry_after,
            ),
        };
        let queued = std::mem::take(&mut self.queued);
        let Call {
            n,
            turn,
            paced,
            started_at,
            took,
        } = call;
        self.turns.push(turn.at);
        let (key, backoff) = (turn.lane, None);
        let attempt = Attempt {
            n,
            key,
            started_at,
            queued,
            paced,
            took,
            status,
            outcome,
            retry_after,
            backoff,
            request_id,
        };
        if answer.is_ok() {
            view.tell(Event::Attempt {
                prompt,
                attempt: &attempt,
                error: None,
            });
        }
        self.attempts.push(attempt);
    }

    /// The call that has just failed is followed by another after this backoff, or by none.
    pub(super) fn put_off(&mut self, failure: &Failure<Miss>, prompt: &Prompt, view: &View) {
        if let (Miss::Call(error) | Miss::Retired(error), Some(attempt)) =
            (&failure.error, self.attempts.last_mut())
        {
            attempt.backoff = failure.backoff;
            view.tell(Event::Attempt {
                prompt,
                attempt,
                error: Some(error),
            });
        }
    }

    /// No further attempt will be made.
    pub(super) fn ended(mut self, mut outcome: Outcome<Answer, Miss>) -> Self {
        self.end = match (outcome.result, outcome.failures.pop()) {
            (Ok(answer), _) => End::Answered(answer),
            (Err(GaveUp::Cancelled), _) => End::Unfinished,
            (
                Err(_),
                Some(Failure {
                    error: Miss::Call(error),
                    ..
                }),
            ) if !error.is_fatal() => End::Failed(error),
            (Err(_), _) => End::Unfinished,
        };
        self
    }

    /// What was done for it, all in all.
    pub(super) fn account(&self) -> Account {
        let ended = |outcome| {
            self.attempts
                .iter()
                .filter(|attempt| attempt.outcome == outcome)
                .count() as u64
        };
        let calls = self.attempts.len() as u64;
        let (answered, throttled) = (
            ended(CallOutcome::Answered),
            ended(CallOutcome::RateLimited),
        );
        let (first, last) = (self.turns.first().copied(), self.turns.last().copied());
        Account {
            calls,
            throttled,
            faults: calls - answered - throttled,
            first,
            last,
        }
    }

    /// The record; none if the prompt is not done.
    pub(super) fn into_record(self, prompt: &Prompt) -> Option<Record> {
        let (text, finish_reason, response, error) = match self.end {
            End::Unfinished => return None,
            End::Answered(Answer {
                text,
                finish_reason,
                status,
                request_id,
                body,
                ..
            }) => (
                Some(text),
                finish_reason,
                Some(Reply {
                    status_code: status,
                    request_id,
                    body: Some(body),
                }),
                None,
            ),
            End::Failed(error) => {
                let reply = |status_code| Reply {
                    status_code,
                    request_id: error.request_id,
                    body: error.body.map(|body| *body),
                };
                let response = error.status.map(reply);
                (
                    None,
                    None,
                    response,
                    Some(Fault {
                        code: error.code,
                        message: error.message,
                    }),
                )
            }
            End::Panicked(message) => (
                None,
                None,
                None,
                Some(Fault {
                    code: "panic".to_owned(),
                    message,
                }),
            ),
        };
        let (id, custom_id, prompt, attempts) = (
            self.id.to_string(),
            prompt.custom_id.clone(),
            prompt.text.clone(),
            self.attempts,
        );
        Some(Record {
            id,
            custom_id,
            prompt,
            text,
            finish_reason,
            response,
            error,
            attempts,
        })
    }
}
