//! One prompt while a worker runs it: it collects the attempts and makes the record.

use std::borrow::Cow;
use std::iter;
use std::time::{Duration, Instant, SystemTime};

use super::dedupe;
use super::event::Event;
use super::view::View;
use crate::api::{Answer, CallError, Usage};
#[cfg(feature = "cli")]
use crate::api::{Ask, Class};
use crate::journal::{Record, RecordAttempt, RecordError, RecordId, RecordResponse};
use crate::json::Json;
use crate::outcome::CallOutcome;
use crate::pacing::NoKeyPermit;
use crate::prompts::Prompt;
use crate::retry::{Retrying, Verdict};

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
    /// Whether the request is for several prompts.
    pub(super) is_joined: bool,
}

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    /// The error of the call; `None` if the batch was stopped before it was made.
    pub(super) error: Option<Box<CallError>>,
    /// What the retry does next.
    pub(super) verdict: Verdict,
}

impl From<NoKeyPermit> for NoAnswer {
    fn from(_: NoKeyPermit) -> Self {
        NoAnswer {
            error: None,
            verdict: Verdict::Stop,
        }
    }
}

/// What a provider's batch says about a prompt.
#[cfg(feature = "cli")]
pub(crate) struct CollectedRow {
    /// The batch.
    pub(crate) batch: String,
    pub(crate) started_at: SystemTime,
    pub(crate) took: Duration,
    pub(crate) answer: Result<Answer, CallError>,
}

/// A prompt and its attempts so far.
pub(super) struct PromptRun<'a> {
    pub(super) job: &'a Job,
    view: &'a View,
    /// The body of the next call: the job's, until another is better.
    pub(super) request: Cow<'a, [u8]>,
    /// How long it waited for a worker; counted with the first attempt.
    queued: Duration,
    attempts: Vec<RecordAttempt>,
    /// Since when the server has had no capacity for it.
    pub(super) starved_since: Option<Instant>,
}

/// A prompt that a worker is done with.
pub(super) struct Finished {
    pub(super) job: Job,
    /// `None` if the batch was stopped before the prompt was done.
    pub(super) record: Option<Record>,
}

impl Finished {
    /// The prompt with its record, and the prompts with the same request with copies of it.
    pub(super) fn records(&self) -> impl Iterator<Item = (&Prompt, Cow<'_, Record>)> {
        self.record.iter().flat_map(|record| {
            let twins = self.job.twins.iter();
            let copies = twins.map(|twin| (twin, Cow::Owned(dedupe::copy(record, twin))));
            iter::once((&self.job.prompt, Cow::Borrowed(record))).chain(copies)
        })
    }
}

impl<'a> PromptRun<'a> {
    pub(super) fn new(job: &'a Job, view: &'a View, now: Instant) -> Self {
        PromptRun {
            job,
            view,
            request: Cow::Borrowed(&job.request),
            queued: now - job.pulled,
            attempts: Vec::new(),
            starved_since: None,
        }
    }

    /// A call has ended. Its tokens are kept with it: a resume need not look for them in the response.
    pub(super) fn called(&mut self, call: RecordAttempt, answer: &Result<Answer, CallError>) {
        let mut call = RecordAttempt {
            n: self.attempts.len() as u32 + 1,
            queued: std::mem::take(&mut self.queued),
            ..call
        };
        if let Ok(answer) = answer {
            call.status = Some(answer.status);
            call.request_id = answer.request_id.clone();
            call.usage = answer.usage;
        }
        self.attempts.push(call);
    }

    /// The answer that has just come does not fit the schema. The prompt is asked again at once, at most `schema_retries`
    /// times; that spends no other retries.
    pub(super) fn misfit(&mut self, error: &CallError, schema_retries: u32) -> Verdict {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.outcome = error.outcome();
        }
        let is_misfit = |call: &&RecordAttempt| call.outcome == CallOutcome::Misfit;
        let misfits = self.attempts.iter().filter(is_misfit).count();
        match misfits > schema_retries as usize {
            true => Verdict::Stop,
            false => Verdict::RateLimited(Some(Duration::ZERO)),
        }
    }

    /// What the retry does next. A call that may have been billed is repeated at most `timeout_retries` times, after the
    /// usual backoff; it spends none of the other retries.
    pub(super) fn verdict(&self, error: &CallError, timeout_retries: u32) -> Verdict {
        let in_doubt = self.attempts.iter().filter(|call| call.billed.is_some());
        match error.maybe_billed {
            true if in_doubt.count() > timeout_retries as usize => Verdict::Stop,
            true => Verdict::RateLimited(None),
            false => error.verdict_behind_a_limiter(),
        }
    }

    /// The call that has just failed will be followed by another.
    pub(super) fn retrying(&mut self, failed: &Retrying<'_, NoAnswer>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.backoff = Some(failed.wait);
        }
        self.tell(failed.error.error.as_deref());
    }

    fn tell(&self, error: Option<&CallError>) {
        if let Some(attempt) = self.attempts.last() {
            self.view.tell(Event::Attempt {
                prompt: &self.job.prompt,
                attempt,
                error,
            });
        }
    }

    /// Makes the record after the last attempt; `None` if the server accepts no calls: the prompt is still to do.
    pub(super) fn finish(self, ended: Result<Answer, CallError>) -> Option<Record> {
        self.tell(ended.as_ref().err());
        let record = Record {
            attempts: self.attempts,
            ..unanswered(self.job)
        };
        match ended {
            Ok(answer) => Some(Record {
                text: Some(answer.text),
                finish_reason: answer.finish_reason,
                response: Some(RecordResponse {
                    status_code: answer.status,
                    request_id: answer.request_id,
                    body: Some(answer.body),
                }),
                ..record
            }),
            Err(error) if error.is_fatal() => None,
            Err(CallError {
                code,
                message,
                status,
                request_id,
                body,
                ..
            }) => Some(Record {
                response: status.map(|status_code| RecordResponse {
                    status_code,
                    request_id,
                    body: body.map(|body| *body),
                }),
                error: Some(RecordError { code, message }),
                ..record
            }),
        }
    }

    /// Makes the record of a prompt from its rows in a provider's batches, which cost half: a row for each time it was asked.
    #[cfg(feature = "cli")]
    pub(super) fn collected(mut self, ask: &dyn Ask, rows: Vec<CollectedRow>) -> Option<Record> {
        let mut ended = None;
        for row in rows {
            if let Some(Err(before)) = &ended {
                self.tell(Some(before));
            }
            ended = Some(self.collect(ask, row));
        }
        self.finish(ended?)
    }

    #[cfg(feature = "cli")]
    fn collect(&mut self, ask: &dyn Ask, row: CollectedRow) -> Result<Answer, CallError> {
        let mut answer = row.answer.and_then(|answer| match ask.misfit(&answer) {
            Some(misfit) => Err(CallError::misfit(answer, misfit)),
            None => Ok(answer),
        });
        match &mut answer {
            Ok(answer) => answer.usage = answer.usage.map(Usage::at_half),
            // It says nothing about other rows.
            Err(error) if error.is_fatal() => error.class = Class::Rejected,
            Err(_) => {}
        }
        let call = RecordAttempt::of(row.started_at, answer.as_ref().err());
        let call = RecordAttempt {
            took: row.took,
            batch: Some(row.batch),
            usage: call.usage.map(Usage::at_half),
            ..call
        };
        self.called(call, &answer);
        answer
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
        ..Record::default()
    }
}
