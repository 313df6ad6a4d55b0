//! Several prompts in one call, as embeddings take them: one request is made of theirs, and its answer is taken apart.
//!
//! Each prompt keeps the id of its own request, so a batch can be continued with another number of prompts a call.

use std::collections::BTreeMap;
use std::iter;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::prompt_run::{Finished, Job, unanswered};
use crate::journal::{Record, RecordAttempt, RecordResponse};
use crate::json::Json;
use crate::outcome::CallOutcome;

/// The most bytes of one request: OpenAI takes 300,000 tokens, which are as many bytes at least.
pub(crate) const MOST_BYTES: usize = 300_000;

/// Puts jobs that follow one another together, up to a number.
pub(super) fn groups(
    jobs: impl Iterator<Item = Job> + Send,
    most: usize,
) -> impl Iterator<Item = Vec<Job>> + Send {
    let mut jobs = jobs.peekable();
    iter::from_fn(move || {
        let mut group = vec![jobs.next()?];
        let mut bytes = group[0].request.len();
        while group.len() < most {
            let next = jobs.next_if(|next| {
                bytes += next.request.len();
                bytes <= MOST_BYTES && fits(&group[0], next)
            });
            match next {
                Some(next) => group.push(next),
                None => break,
            }
        }
        Some(group)
    })
}

/// Whether two requests differ only in their input, which is one text.
fn fits(one: &Job, other: &Job) -> bool {
    let parts = |job: &Job| {
        let mut body: Value = serde_json::from_slice(&job.request).ok()?;
        body["input"].take().is_string().then_some(body)
    };
    let (one, other) = (parts(one), parts(other));
    one.is_some() && one == other
}

/// One job for a whole group: its request has a list of inputs.
pub(super) fn join(group: &[Job]) -> Job {
    let bodies = group.iter().map(|job| serde_json::from_slice(&job.request));
    let mut bodies: Vec<Value> = bodies.map(Result::unwrap_or_default).collect();
    let inputs: Value = bodies.iter_mut().map(|body| body["input"].take()).collect();
    let mut body = bodies.swap_remove(0);
    body["input"] = inputs;
    let first = &group[0];
    Job {
        prompt: first.prompt.clone(),
        id: first.id,
        settings: first.settings.clone(),
        request: body.to_string().into_bytes(),
        pulled: first.pulled,
        twins: Vec::new(),
    }
}

/// What a record of a whole group means for its prompts.
pub(super) enum Parts {
    /// A record for each, or none at all.
    Records(Vec<Option<Record>>),
    /// One of them may be the cause: they are to be asked in smaller groups.
    Unknown(Box<Record>),
}

/// Takes the record of a group apart.
pub(super) fn take_apart(record: Option<Record>, group: &[Job]) -> Parts {
    let Some(whole) = record else {
        return Parts::Records(group.iter().map(|_| None).collect());
    };
    let is_rejected = |record: &Record| {
        let last = record.attempts.last();
        last.is_some_and(|attempt| attempt.outcome == CallOutcome::Rejected)
    };
    match whole
        .text
        .as_deref()
        .map(serde_json::from_str::<Vec<Box<RawValue>>>)
    {
        Some(Ok(vectors)) if vectors.len() == group.len() => {
            let parts = group.iter().zip(vectors).enumerate();
            let records = parts.map(|(at, (job, vector))| Some(answered(&whole, job, &vector, at)));
            Parts::Records(records.collect())
        }
        Some(_) => Parts::Unknown(Box::new(whole)),
        None if is_rejected(&whole) => Parts::Unknown(Box::new(whole)),
        None => {
            let records = group.iter().enumerate().map(|(at, job)| {
                Some(Record {
                    response: whole.response.clone(),
                    error: whole.error.clone(),
                    attempts: attempts(&whole, at),
                    ..unanswered(job)
                })
            });
            Parts::Records(records.collect())
        }
    }
}

/// The calls of a group are on record with its first prompt.
fn attempts(whole: &Record, at: usize) -> Vec<RecordAttempt> {
    match at {
        0 => whole.attempts.clone(),
        _ => Vec::new(),
    }
}

fn answered(whole: &Record, job: &Job, vector: &RawValue, at: usize) -> Record {
    let text = vector.get();
    let response = whole.response.as_ref().map(|response| RecordResponse {
        body: response.body.as_ref().map(|body| body_of(body, text, at)),
        ..response.clone()
    });
    Record {
        text: Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())),
        finish_reason: whole.finish_reason.clone(),
        response,
        attempts: attempts(whole, at),
        ..unanswered(job)
    }
}

/// The body with one vector, as it was written. The tokens of all are on record with the first.
fn body_of(whole: &Json, vector: &str, at: usize) -> Json {
    let mut fields: BTreeMap<&str, &RawValue> =
        serde_json::from_str(whole.as_str()).unwrap_or_default();
    fields.remove("data");
    if at > 0 {
        fields.remove("usage");
    }
    let mut parts: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}:{}", json!(name), value.get()))
        .collect();
    parts.push(format!(
        r#""data":[{{"object":"embedding","index":0,"embedding":{vector}}}]"#
    ));
    if at > 0 {
        parts.push(r#""usage":{"prompt_tokens":0,"total_tokens":0}"#.to_owned());
    }
    let body = format!("{{{}}}", parts.join(","));
    Json::read(body).unwrap_or_default()
}

/// The prompts of a group with their records.
pub(super) fn finished(group: Vec<Job>, records: Vec<Option<Record>>) -> Vec<Finished> {
    let pairs = group.into_iter().zip(records);
    pairs
        .map(|(job, record)| Finished { job, record })
        .collect()
}

/// Puts the calls of a whole group before those of its first prompt.
pub(super) fn add_calls(first: Option<&mut Finished>, whole: Record) {
    let record = first.and_then(|finished| finished.record.as_mut());
    if let Some(record) = record {
        record.attempts.splice(0..0, whole.attempts);
        for (n, attempt) in record.attempts.iter_mut().enumerate() {
            attempt.n = n as u32 + 1;
        }
    }
}
