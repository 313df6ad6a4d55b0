//! One prompt while a worker runs it: it collects the attempts and makes the record.

use std::time::{Duration, Instant, SystemTime};

use super::Settings;
use super::event::Event;
use super::view::View;
use crate::api::{Answer, CallError};
use crate::journal::{Record, RecordAttempt, RecordError, RecordId, RecordResponse};
use crate::json::Json;
use crate::outcome::CallOutcome;
use crate::pacing::{KeyPermit, NoKeyPermit};
use crate::prompts::Prompt;
use crate::retry::{GaveUp, RetryError, Retrying, Verdict};

/// A prompt that waits for a worker, with its request.
pub(super) struct Job {
    pub(super) prompt: Prompt,
    pub(super) id: RecordId,
    /// The body to send, the same for each attempt.
    pub(super) request: Vec<u8>,
    pub(super) settings: Option<Json>,
    pub(super) pulled: Instant,
    /// Prompts with the same request, which is not sent again.
    pub(super) twins: Vec<Prompt>,
}

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    Call(CallError),
    /// The call failed and its key is retired; other keys are left.
    KeyRetired(CallError),
    /// The call failed, and the server orders a longer wait than anybody waits.
    WaitTooLong(CallError),
    /// The answer does not fit the schema.
    Misfit(CallError),
    /// The batch was stopped before the call was made.
    NotSent,
}

impl NoAnswer {
    /// What the retry does next.
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            NoAnswer::Call(error) => error.verdict_behind_a_limiter(),
            NoAnswer::KeyRetired(_) => Verdict::RateLimited(Some(Duration::ZERO)),
            NoAnswer::WaitTooLong(_) | NoAnswer::Misfit(_) | NoAnswer::NotSent => Verdict::Stop,
        }
    }
}

impl NoAnswer {
    /// The error of the call, if one was made.
    fn error(self) -> Option<CallError> {
        match self {
            NoAnswer::Call(error)
            | NoAnswer::KeyRetired(error)
            | NoAnswer::WaitTooLong(error)
            | NoAnswer::Misfit(error) => Some(error),
            NoAnswer::NotSent => None,
        }
    }
}

impl From<NoKeyPermit> for NoAnswer {
    fn from(_: NoKeyPermit) -> Self {
        NoAnswer::NotSent
    }
}

/// When a call was made, and how long it waited and took.
pub(super) struct Timing {
    pub(super) sent: Instant,
    pub(super) started_at: SystemTime,
    pub(super) paced: Duration,
    pub(super) took: Duration,
}

/// A prompt and its attempts so far.
pub(super) struct PromptRun<'a> {
    job: &'a Job,
    view: &'a View,
    /// How long it waited for a worker; counted with the first attempt.
    queued: Duration,
    attempts: Vec<RecordAttempt>,
}

/// A prompt that a worker is done with.
pub(super) struct Finished {
    pub(super) prompt: Prompt,
    /// `None` if the batch was stopped before the prompt was done.
    pub(super) record: Option<Record>,
    /// Prompts that get a copy of the record.
    pub(super) twins: Vec<Prompt>,
}

impl<'a> PromptRun<'a> {
    pub(super) fn new(job: &'a Job, view: &'a View, now: Instant) -> Self {
        PromptRun {
            job,
            view,
            queued: now - job.pulled,
            attempts: Vec::new(),
        }
    }

    /// A call has ended.
    pub(super) fn called(
        &mut self,
        permit: &KeyPermit,
        timing: Timing,
        answer: &Result<Answer, CallError>,
    ) {
        let is_retry = !self.attempts.is_empty();
        self.view
            .called(&self.job.prompt, is_retry, answer, &timing);
        let ended = answer
            .as_ref()
            .map(|answer| (answer.status, answer.request_id.clone()));
        self.attempts.push(RecordAttempt {
            n: self.attempts.len() as u32 + 1,
            key: permit.key(),
            queued: std::mem::take(&mut self.queued),
            paced: timing.paced,
            took: timing.took,
            ..RecordAttempt::of(timing.started_at, ended)
        });
    }

    /// The answer that has just come does not fit the schema.
    pub(super) fn misfit(&mut self, error: &CallError) {
        self.view.misfit(&self.job.prompt, error);
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.outcome = error.outcome();
            attempt.usage = error.usage();
        }
    }

    /// How many calls may have been billed although they brought no answer.
    fn in_doubt(&self) -> usize {
        let attempts = self.attempts.iter();
        attempts.filter(|attempt| attempt.billed.is_some()).count()
    }

    fn misfits(&self) -> usize {
        let attempts = self.attempts.iter();
        attempts
            .filter(|attempt| attempt.outcome == CallOutcome::Misfit)
            .count()
    }

    /// What the retry does next. A call that may have been billed is repeated at most
    /// `timeout_retries` times, after the usual backoff; it spends none of the other retries. Nor does an answer that
    /// does not fit, after which the prompt is asked again at once, at most `schema_retries` times.
    pub(super) fn verdict(&self, failed: &NoAnswer, settings: &Settings) -> Verdict {
        let timeout_retries = settings.timeout_retries;
        match failed {
            NoAnswer::Misfit(_) if self.misfits() <= settings.schema_retries as usize => {
                Verdict::RateLimited(Some(Duration::ZERO))
            }
            NoAnswer::Call(error) if error.maybe_billed => {
                match self.in_doubt() > timeout_retries as usize {
                    true => Verdict::Stop,
                    false => Verdict::RateLimited(None),
                }
            }
            failed => failed.verdict(),
        }
    }

    /// The call that has just failed will be followed by another.
    pub(super) fn retrying(&mut self, failed: &Retrying<'_, NoAnswer>) {
        if let NoAnswer::Call(error) | NoAnswer::KeyRetired(error) | NoAnswer::Misfit(error) =
            failed.error
        {
            if let Some(attempt) = self.attempts.last_mut() {
                attempt.backoff = Some(failed.wait);
            }
            self.tell(Some(error));
        }
    }

    fn tell(&self, error: Option<&CallError>) {
        if let Some(attempt) = self.attempts.last() {
            let prompt = &self.job.prompt;
            self.view.tell(Event::Attempt {
                prompt,
                attempt,
                error,
            });
        }
    }

    /// Makes the record after the last attempt; `None` if the batch was stopped before the prompt was done.
    pub(super) fn finish(self, ended: Result<Answer, RetryError<NoAnswer>>) -> Option<Record> {
        match ended {
            Ok(answer) => Some(self.answered(answer)),
            Err(error) => self.failed(error),
        }
    }

    fn answered(self, answer: Answer) -> Record {
        self.tell(None);
        let response = RecordResponse {
            status_code: answer.status,
            request_id: answer.request_id,
            body: Some(answer.body),
        };
        Record {
            text: Some(answer.text),
            finish_reason: answer.finish_reason,
            response: Some(response),
            attempts: self.attempts,
            ..unanswered(self.job)
        }
    }

    fn failed(self, ended: RetryError<NoAnswer>) -> Option<Record> {
        let error = ended.last.and_then(NoAnswer::error)?;
        if ended.why == GaveUp::Cancelled {
            return None; // the failure was reported when its backoff began
        }
        self.tell(Some(&error));
        if error.is_fatal() {
            return None;
        }
        let response = error.status.map(|status_code| RecordResponse {
            status_code,
            request_id: error.request_id,
            body: error.body.map(|body| *body),
        });
        let fault = RecordError {
            code: error.code,
            message: error.message,
        };
        Some(Record {
            response,
            error: Some(fault),
            attempts: self.attempts,
            ..unanswered(self.job)
        })
    }
}

impl Finished {
    /// A prompt whose task panicked. Its attempts are lost.
    pub(super) fn panicked(job: Job, message: String) -> Self {
        let fault = RecordError {
            code: "panic".to_owned(),
            message,
        };
        let record = Record {
            error: Some(fault),
            ..unanswered(&job)
        };
        Finished {
            prompt: job.prompt,
            record: Some(record),
            twins: job.twins,
        }
    }
}

/// A record of this prompt without an answer.
pub(super) fn unanswered(job: &Job) -> Record {
    Record {
        id: job.id.to_string(),
        custom_id: job.prompt.custom_id.clone(),
        prompt: job.prompt.text.clone(),
        settings: job.settings.clone(),
        columns: job.prompt.columns.clone(),
        same_as: None,
        text: None,
        finish_reason: None,
        response: None,
        error: None,
        attempts: Vec::new(),
    }
}
