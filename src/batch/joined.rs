//! Several prompts in one call, as embeddings take them: one request is made of theirs, and its answer is taken apart.
//!
//! Each prompt keeps the id of its own request, so a batch can be continued with another number of prompts a call.
//!
//! A group that is refused is halved only where one of its prompts, or their number, may be the reason. If its first half is
//! refused as well, single prompts are asked from everywhere in the group: if all of them fail alike, so do the others,
//! without a call. So a call that is wrong for every prompt costs at most 4 + log2(N) calls for each group of N.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{iter, mem};

use serde_json::Value;
use serde_json::value::RawValue;

use super::Batch;
use super::prompt_run::{Finished, Job, unanswered};
use crate::api::{CallError, Class};
use crate::journal::Record;
use crate::json::Json;
use crate::outcome::CallOutcome;
use crate::pool::AddWorker;

/// The most bytes of one request: OpenAI takes 300,000 tokens, which are as many bytes at least.
const MOST_BYTES: usize = 300_000;

/// How long the first prompt of a group waits for others: no person notices a tenth of a second, and a program that
/// writes prompts into a pipe writes many in it.
const LINGER: Duration = Duration::from_millis(100);

/// The most bytes of one request where this many tokens are allowed per minute: those of 6 seconds. Few servers allow a
/// larger burst, and a call that needs more would wait for one.
pub(crate) fn most_bytes(a_minute: Option<NonZeroU32>, tokens_a_byte: f64) -> usize {
    let in_six_seconds =
        |limit: NonZeroU32| f64::from(limit.get()) / 10.0 / tokens_a_byte.max(1e-9);
    a_minute.map_or(MOST_BYTES, |limit| {
        MOST_BYTES.min(in_six_seconds(limit) as usize)
    })
}

impl Batch<'_> {
    fn per_call(&self) -> usize {
        self.per_call.load(Ordering::Relaxed)
    }

    /// Puts jobs that follow one another together. Those that are there do not wait for others for long.
    pub(super) fn groups(
        &self,
        mut jobs: impl Iterator<Item = Option<Job>> + Send,
    ) -> impl Iterator<Item = Vec<Job>> + Send {
        let mut next_first = None;
        iter::from_fn(move || {
            let first = next_first
                .take()
                .or_else(|| jobs.by_ref().flatten().next())?;
            if self.per_call() == 1 {
                return Some(vec![first]);
            }
            let until = self.clock.now() + LINGER;
            let wanted = frame(&first);
            let room = self.tokens.lock().most_bytes();
            let mut bytes = first.request.len();
            let mut group = vec![first];
            while wanted.is_some() && group.len() < self.per_call() && self.is_coming(until) {
                let Some(next) = jobs.next() else {
                    break;
                };
                let Some(next) = next else {
                    continue; // it is done
                };
                bytes += next.request.len();
                if bytes > room || frame(&next) != wanted {
                    next_first = Some(next);
                    break;
                }
                group.push(next);
            }
            Some(group)
        })
    }

    fn is_coming(&self, by: Instant) -> bool {
        self.source.is_none_or(|source| source.is_coming(by))
    }

    /// Asks the prompts of a group in as few calls as it takes.
    pub(super) fn finish_group(&self, group: Vec<Job>, add: &AddWorker<'_>) -> Vec<Finished> {
        let mut run = GroupRun {
            batch: self,
            add,
            finished: Vec::with_capacity(group.len()),
            refused: Vec::new(),
            works: false,
        };
        run.ask(group);
        run.finished()
    }
}

/// What must be the same in the requests of a group: all but the input. `None` if that is no single text.
fn frame(job: &Job) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(&job.request).ok()?;
    body["input"].take().is_string().then_some(body)
}

/// A group while its prompts are asked.
struct GroupRun<'r, 'b> {
    batch: &'r Batch<'b>,
    add: &'r AddWorker<'r>,
    finished: Vec<Finished>,
    /// Calls for several prompts that were refused, each with the line of its first prompt.
    refused: Vec<(u64, Record)>,
    /// Whether a prompt was answered: then what is refused is not the call as such.
    works: bool,
}

impl GroupRun<'_, '_> {
    /// Asks these prompts. Returns whether all were answered.
    fn ask(&mut self, group: Vec<Job>) -> bool {
        let most = self.batch.per_call();
        if group.len() > most {
            return self.ask_in_parts(group, most);
        }
        let mut first = match self.call(group) {
            Ok(is_answered) => return is_answered,
            Err(group) => group,
        };
        let mut rest = first.split_off(first.len() / 2);
        let size = rest.len();
        let is_answered = if self.works || self.refused.len() > 1 {
            self.ask(first) & self.ask(rest)
        } else {
            match self.call(first) {
                Ok(is_answered) => is_answered & self.ask(rest),
                Err(mut all) => {
                    all.append(&mut rest);
                    return self.sample(all);
                }
            }
        };
        self.learn(size, is_answered)
    }

    fn ask_in_parts(&mut self, mut rest: Vec<Job>, size: usize) -> bool {
        let mut is_answered = true;
        while !rest.is_empty() {
            let later = rest.split_off(size.min(rest.len()));
            is_answered &= self.ask(mem::replace(&mut rest, later));
        }
        is_answered
    }

    /// If prompts were answered that were refused together, there were too many of them.
    fn learn(&self, size: usize, is_answered: bool) -> bool {
        if is_answered {
            self.batch.per_call.fetch_min(size, Ordering::Relaxed);
        }
        is_answered
    }

    /// Asks single prompts, to see if any is answered. If all fail alike, the others fail with them.
    fn sample(&mut self, all: Vec<Job>) -> bool {
        /// Multiples of the golden ratio spread over the group without a period, which the prompts may have.
        const GOLDEN: f64 = 0.618_033_988_749_895;
        let (count, first) = (all.len(), self.finished.len());
        let mut left: Vec<_> = all.into_iter().map(Some).collect();
        for n in 0..2 + count.ilog2() {
            let at = ((f64::from(n) * GOLDEN).fract() * count as f64) as usize;
            let mut places = (at..count).chain(0..at);
            if let Some(job) = places.find_map(|at| left[at].take()) {
                self.one(job);
            }
            if failure(&self.finished[first..]).is_none() {
                break;
            }
        }
        let left = left.into_iter().flatten().collect();
        if let Some(failure) = failure(&self.finished[first..]) {
            let mut failure = failure.clone();
            failure.attempts.clear(); // its own call is on record with it
            return self.take(Some(&failure), left);
        }
        let size = count.div_ceil(4);
        self.ask_in_parts(left, size);
        let is_answered = self.finished[first..].iter().all(is_answered);
        self.learn(size, is_answered)
    }

    /// Asks prompts in one call, and returns whether they were answered; the prompts, if they may be answered in smaller groups.
    fn call(&mut self, mut group: Vec<Job>) -> Result<bool, Vec<Job>> {
        if group.len() == 1 {
            return Ok(group.pop().is_none_or(|job| self.one(job)));
        }
        let whole = self.batch.finish(join(&group), self.add).record;
        match whole {
            Some(whole) if is_to_be_split(&whole, group.len()) => {
                self.refused.push((group[0].prompt.line, whole));
                Err(group)
            }
            whole => Ok(self.take(whole.as_ref(), group)),
        }
    }

    fn one(&mut self, job: Job) -> bool {
        let finished = self.batch.finish(job, self.add);
        self.add(finished)
    }

    fn add(&mut self, finished: Finished) -> bool {
        let is_answered = is_answered(&finished);
        self.works |= is_answered;
        self.finished.push(finished);
        is_answered
    }

    /// Takes the record of a whole group apart: a record for each prompt, or none if the batch was stopped.
    fn take(&mut self, whole: Option<&Record>, group: Vec<Job>) -> bool {
        let text = whole.and_then(|whole| whole.text.as_deref());
        let vectors = text.and_then(vectors).unwrap_or_default();
        let mut is_answered = true;
        for (at, job) in group.into_iter().enumerate() {
            let vector = vectors.get(at).map(|vector| vector.get());
            let record = whole.map(|whole| part(whole, &job, at, vector));
            is_answered &= self.add(Finished { job, record });
        }
        is_answered
    }

    /// All prompts, and on record with the first of each group that was refused, the call for that.
    fn finished(mut self) -> Vec<Finished> {
        for (line, whole) in self.refused.into_iter().rev() {
            let mut all = self.finished.iter_mut();
            let first = all.find(|finished| finished.job.prompt.line == line);
            if let Some(record) = first.and_then(|finished| finished.record.as_mut()) {
                record.attempts.splice(0..0, whole.attempts);
                for (n, attempt) in record.attempts.iter_mut().enumerate() {
                    attempt.n = n as u32 + 1;
                }
            }
        }
        self.finished
    }
}

/// Whether prompts that were refused together may be answered in smaller groups.
fn is_to_be_split(whole: &Record, count: usize) -> bool {
    if let Some(text) = &whole.text {
        return vectors(text).is_none_or(|vectors| vectors.len() != count);
    }
    let (Some(last), Some(error)) = (whole.attempts.last(), whole.error.clone()) else {
        return true; // it panicked
    };
    let response = whole.response.clone();
    match last.outcome {
        CallOutcome::Rejected => CallError {
            status: response.as_ref().map(|response| response.status_code),
            body: response.and_then(|response| response.body).map(Box::new),
            ..CallError::new(Class::Rejected, error.code, error.message)
        }
        .may_be_about_an_input(),
        outcome => matches!(outcome, CallOutcome::ServerError | CallOutcome::Unreadable),
    }
}

fn is_answered(finished: &Finished) -> bool {
    let record = finished.record.as_ref();
    record.is_some_and(|record| record.text.is_some())
}

/// The record of the first of these prompts, if all failed with the same status and code.
fn failure(finished: &[Finished]) -> Option<&Record> {
    let why = |finished: &Finished| {
        let record = finished.record.as_ref()?;
        let status = record
            .response
            .as_ref()
            .map(|response| response.status_code);
        Some((status, record.error.as_ref()?.code.clone()))
    };
    let first = why(finished.first()?)?;
    let is_alike = finished
        .iter()
        .all(|other| why(other).as_ref() == Some(&first));
    finished[0].record.as_ref().filter(|_| is_alike)
}

fn vectors(text: &str) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_str(text).ok()
}

/// One job for a whole group: its request has a list of inputs.
fn join(group: &[Job]) -> Job {
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
        is_joined: true,
    }
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
