//! Several prompts in one call, as embeddings take them: one request is made of theirs, and its answer is taken apart.
//!
//! Each prompt keeps the id of its own request, so a batch can be continued with another number of prompts a call.

use std::collections::BTreeMap;
use std::iter;

use serde_json::Value;
use serde_json::value::RawValue;

use super::prompt_run::{Finished, Job, unanswered};
use crate::journal::Record;
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

/// Takes the record of a whole group apart: a record for each prompt, or none at all. `None` if one of the prompts may be
/// the cause of a failure: they are to be asked in smaller groups.
pub(super) fn take_apart(whole: Option<&Record>, group: &[Job]) -> Option<Vec<Option<Record>>> {
    let Some(whole) = whole else {
        return Some(vec![None; group.len()]);
    };
    let vectors = match &whole.text {
        Some(text) => {
            let vectors: Vec<Box<RawValue>> = serde_json::from_str(text).ok()?;
            Some(vectors).filter(|vectors| vectors.len() == group.len())?
        }
        None if whole.attempts.last()?.outcome == CallOutcome::Rejected => return None,
        None => Vec::new(),
    };
    let jobs = group.iter().enumerate();
    let vector = |at: usize| Some(vectors.get(at)?.get());
    let records = jobs.map(|(at, job)| Some(part(whole, job, at, vector(at))));
    Some(records.collect())
}

/// The record of one prompt. The calls of the group are on record with its first.
fn part(whole: &Record, job: &Job, at: usize, vector: Option<&str>) -> Record {
    let mut response = whole.response.clone();
    if let (Some(response), Some(vector)) = (&mut response, vector) {
        let body = response.body.as_ref();
        response.body = body.map(|body| body_of(body, vector, at));
    }
    let text = |vector: &str| serde_json::from_str(vector).unwrap_or_else(|_| vector.to_owned());
    Record {
        text: vector.map(text),
        finish_reason: whole.finish_reason.clone(),
        response,
        error: whole.error.clone(),
        attempts: match at {
            0 => whole.attempts.clone(),
            _ => Vec::new(),
        },
        ..unanswered(job)
    }
}

/// The body with one vector, as it was written. The tokens of all are on record with the first.
fn body_of(whole: &Json, vector: &str, at: usize) -> Json {
    let fields = serde_json::from_str(whole.as_str());
    let mut fields: BTreeMap<String, Box<RawValue>> = fields.unwrap_or_default();
    let mut put = |name: &str, json: &str| {
        let value = RawValue::from_string(json.to_owned());
        fields.extend(value.ok().map(|value| (name.to_owned(), value)));
    };
    let data = format!(r#"[{{"object":"embedding","index":0,"embedding":{vector}}}]"#);
    put("data", &data);
    if at > 0 {
        put("usage", r#"{"prompt_tokens":0,"total_tokens":0}"#);
    }
    let body = serde_json::to_string(&fields).ok();
    body.and_then(|body| Json::read(body).ok())
        .unwrap_or_default()
}

/// Puts the calls of a whole group before those of its first prompt.
pub(super) fn add_calls(first: Option<&mut Finished>, whole: Option<Record>) {
    let record = first.and_then(|finished| finished.record.as_mut());
    if let (Some(record), Some(whole)) = (record, whole) {
        record.attempts.splice(0..0, whole.attempts);
        for (n, attempt) in record.attempts.iter_mut().enumerate() {
            attempt.n = n as u32 + 1;
        }
    }
}
