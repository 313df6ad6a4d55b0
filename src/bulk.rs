//! A provider's own batch endpoint: rows go there together, are asked within a day at half the price, and come back
//! together.
//!
//! This room makes the calls: it submits a part of the prompts once, whatever breaks on the way, looks how far it is, and
//! fetches its rows. Which prompts are in which part, and what is written down when, is decided in `cli`.

mod rows;
mod state;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{ApiKind, CANCELLED, CallError, Class, Client, EXPIRED};
use crate::backoff::{Backoff, Jitter};
use crate::batch::Stop;
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::json::in_one_line;
use crate::retry::{GaveUp, Retry, RetryError};

pub(crate) use rows::BulkRows;
pub(crate) use state::{BulkState, Part};

/// The most rows of a batch: OpenAI's limit. Anthropic takes twice as many.
pub(crate) const MOST_ROWS: u64 = 50_000;
/// The most bytes of a batch: OpenAI's limit, less a little for what is around the rows. Anthropic takes 256 MB.
pub(crate) const MOST_BYTES: usize = 200_000_000 - 10_000;

/// The longest wait between two looks at a batch, in times of the first: what `--poll` promises.
const LONGEST_POLL: u32 = 10;

/// Whose endpoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkApi {
    OpenAi,
    Anthropic,
}

impl BulkApi {
    /// The endpoint for requests to this API; `None` if there is none.
    pub(crate) fn of(api: ApiKind) -> Option<Self> {
        match api {
            ApiKind::Chat | ApiKind::Responses | ApiKind::Embeddings => Some(BulkApi::OpenAi),
            ApiKind::Messages => Some(BulkApi::Anthropic),
            ApiKind::Gemini => None,
        }
    }

    /// A request to this path as a row of a batch.
    pub(crate) fn row(self, name: &str, path: &str, request: &[u8]) -> String {
        let request = in_one_line(String::from_utf8_lossy(request).into_owned());
        match self {
            BulkApi::OpenAi => format!(
                r#"{{"custom_id":"{name}","method":"POST","url":"/v1{path}","body":{request}}}"#
            ),
            BulkApi::Anthropic => format!(r#"{{"custom_id":"{name}","params":{request}}}"#),
        }
    }

    /// The path of the batches.
    fn path(self) -> &'static str {
        match self {
            BulkApi::OpenAi => "/batches",
            BulkApi::Anthropic => "/messages/batches",
        }
    }
}

/// How far a batch is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BulkStatus {
    /// The provider's word for it.
    pub(crate) word: String,
    pub(crate) has_ended: bool,
    /// Rows that are done, whatever became of them.
    pub(crate) done: u64,
    /// Where the results are.
    files: Vec<String>,
    /// What became of a row that has no result.
    lost: CallError,
}

/// A provider's batches, seen through one client.
pub(crate) struct Bulk<'a> {
    pub(crate) api: BulkApi,
    pub(crate) client: &'a Client,
    /// How calls are repeated, and for how long at most.
    pub(crate) retry: Retry,
    /// The first wait between two looks at a batch; the longest is [`LONGEST_POLL`] times that.
    pub(crate) poll: Duration,
    pub(crate) cancel: &'a CancelToken,
}

impl Bulk<'_> {
    /// The waits between looks.
    fn waits(&self) -> impl Iterator<Item = Duration> {
        let backoff = Backoff::new().base(self.poll);
        let backoff = backoff.max(self.poll * LONGEST_POLL);
        let jitter = Jitter::Additive(self.poll / 10);
        backoff.jitter(jitter).delays(rand::random())
    }

    /// What is to be submitted for the rows of a part. OpenAI takes them as a file, which is uploaded.
    ///
    /// # Errors
    /// Why they cannot be uploaded. Nothing is submitted by that.
    pub(crate) fn prepare(&self, part: &Part, rows: &[String]) -> Result<String, Stop> {
        if self.api == BulkApi::Anthropic {
            return Ok(format!("{{\"requests\":[{}]}}", rows.join(",\n")));
        }
        let boundary = format!("paceline-{}", part.name);
        let form = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"{boundary}.jsonl\"\r\n\
             content-type: application/jsonl\r\n\r\n{}\n\r\n--{boundary}--\r\n",
            rows.join("\n")
        );
        let kind = format!("multipart/form-data; boundary={boundary}");
        let content = Some((kind.as_str(), form.as_bytes()));
        let file = self.again(|| id_of(&self.client.call_json("/files", content)?))?;
        let endpoint = format!("/v1{}", self.client.path());
        let batch = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
            "metadata": {"paceline": part.name}});
        Ok(batch.to_string())
    }

    /// Submits what [`prepare`](Self::prepare) made of a part, and returns the name of the batch.
    ///
    /// # Errors
    /// Why it could not be submitted: nobody knows if it was, unless the server refused it.
    pub(crate) fn submit(&self, part: &Part, body: &str) -> Result<String, Stop> {
        let mut was_tried = false;
        self.again(|| {
            // The call before may have arrived, though nothing came back.
            if was_tried && let Some(batch) = self.find(part)? {
                return Ok(batch);
            }
            was_tried = true;
            let content = Some(("application/json", body.as_bytes()));
            id_of(&self.client.call_json(self.api.path(), content)?)
        })
    }

    /// Finds the batch of a part that may have been submitted by a program that was killed. Its request may still be on
    /// its way, and the provider's list may lag behind: `None` is certain only some time after the note, and waits for that.
    ///
    /// # Errors
    /// As [`again`](Self::again).
    pub(crate) fn find_lost(&self, part: &Part) -> Result<Option<String>, Stop> {
        let noted_at = UNIX_EPOCH + Duration::from_secs(part.noted_at.try_into().unwrap_or(0));
        let mut waits = self.waits();
        loop {
            let age = SystemClock.wall().duration_since(noted_at);
            let is_last = age.is_ok_and(|age| age >= self.poll * LONGEST_POLL);
            let found = self.again(|| self.find(part))?;
            if found.is_some() || is_last {
                return Ok(found);
            }
            self.sleep(waits.next())?;
        }
    }

    /// Looks at a batch, less and less often, until it has ended, and shows it to `look` each time.
    ///
    /// # Errors
    /// As [`again`](Self::again).
    pub(crate) fn ended(
        &self,
        batch: &str,
        mut look: impl FnMut(&BulkStatus),
    ) -> Result<BulkStatus, Stop> {
        let mut waits = self.waits();
        loop {
            let status = self.again(|| self.status(batch))?;
            look(&status);
            if status.has_ended {
                return Ok(status);
            }
            self.sleep(waits.next())?;
        }
    }

    fn sleep(&self, wait: Option<Duration>) -> Result<(), Stop> {
        let slept = self.cancel.sleep(wait.unwrap_or(self.poll));
        slept.map_err(|_| Stop::Interrupted)
    }

    /// Finds the batch of a part in the provider's list, which begins with the newest.
    fn find(&self, part: &Part) -> Result<Option<String>, CallError> {
        /// Clocks may differ by this much, in seconds.
        const SKEW: i64 = 3600;
        /// Of up to 100 batches each: more than anybody submits in an hour.
        const MOST_PAGES: usize = 200;
        let parameter = match self.api {
            BulkApi::OpenAi => "after",
            BulkApi::Anthropic => "after_id",
        };
        let mut path = format!("{}?limit=100", self.api.path());
        let wrong = |what| CallError::new(Class::Rejected, "unreadable_body", what);
        for _ in 0..MOST_PAGES {
            let page = self.client.call_json(&path, None)?;
            let batches = page["data"].as_array();
            let batches = batches.ok_or_else(|| wrong("the list of batches is no list"))?;
            for batch in batches {
                if created(batch).is_some_and(|at| at < part.noted_at - SKEW) {
                    return Ok(None);
                }
                if self.is_of(part, batch)? {
                    return id_of(batch).map(Some);
                }
            }
            let Some(last) = batches.last().filter(|_| page["has_more"] == true) else {
                return Ok(None);
            };
            let last = id_of(last)?;
            path = format!("{}?limit=100&{parameter}={last}", self.api.path());
        }
        Err(wrong("the list of batches has no end"))
    }

    /// Whether a batch of the list is that of a part. Anthropic's batches have no names: one of the same size is asked for its
    /// first row, when it has ended.
    fn is_of(&self, part: &Part, batch: &Value) -> Result<bool, CallError> {
        if self.api == BulkApi::OpenAi {
            return Ok(batch["metadata"]["paceline"] == part.name.as_str());
        }
        let counts = batch["request_counts"].as_object();
        let counts = counts.map(|counts| counts.values().filter_map(Value::as_u64).sum::<u64>());
        if counts != Some(part.rows) {
            return Ok(false);
        }
        let id = id_of(batch)?;
        for wait in self.waits() {
            let status = self.status(&id)?;
            if status.has_ended {
                return rows::is_of(self.client, &status, part);
            }
            let interrupted = |_| CallError::new(Class::Fault, "interrupted", "interrupted");
            self.cancel.sleep(wait).map_err(interrupted)?;
        }
        Ok(false)
    }

    /// How far a batch is.
    fn status(&self, batch: &str) -> Result<BulkStatus, CallError> {
        let path = format!("{}/{batch}", self.api.path());
        let page = self.client.call_json(&path, None)?;
        Ok(BulkStatus::of(&page, self.api, &path))
    }

    /// Makes a call until it succeeds, or until it is clear that it will not.
    ///
    /// # Errors
    /// The reason to stop.
    pub(crate) fn again<T>(
        &self,
        mut call: impl FnMut() -> Result<T, CallError>,
    ) -> Result<T, Stop> {
        let call = self.retry.call(CallError::verdict, |_| call());
        call.cancel(self.cancel).run().map_err(stop_of)
    }
}

impl BulkStatus {
    /// Reads the page of a batch at this path.
    fn of(page: &Value, api: BulkApi, path: &str) -> Self {
        let word = page["status"]
            .as_str()
            .or(page["processing_status"].as_str());
        let word = word.unwrap_or("unknown");
        let counts = page["request_counts"].as_object().into_iter().flatten();
        let done = counts.filter(|(name, _)| !matches!(name.as_str(), "total" | "processing"));
        let ids = ["output_file_id", "error_file_id"].into_iter();
        let ids = ids.filter_map(|name| page[name].as_str());
        BulkStatus {
            word: word.to_owned(),
            has_ended: ["completed", "expired", "cancelled", "failed", "ended"].contains(&word),
            done: done.filter_map(|(_, count)| count.as_u64()).sum(),
            files: match api {
                BulkApi::OpenAi => ids.map(|id| format!("/files/{id}/content")).collect(),
                BulkApi::Anthropic => vec![format!("{path}/results")],
            },
            lost: lost(word, &page["errors"]["data"][0]),
        }
    }
}

/// What became of a row without a result in a batch of this status; the error is that of the batch.
fn lost(status: &str, error: &Value) -> CallError {
    match status {
        "expired" => unasked(EXPIRED),
        "cancelled" => unasked(CANCELLED),
        "failed" => {
            let because = error["message"].as_str().unwrap_or("no reason is given");
            let refused = format!("the batch was not accepted: {because}");
            CallError::new(Class::Rejected, CANCELLED, refused)
        }
        _ => {
            let message = "the batch has no result for this prompt";
            CallError::new(Class::Rejected, "batch_row_missing", message)
        }
    }
}

/// A prompt that the batch did not come to.
fn unasked(code: &str) -> CallError {
    let why = match code {
        EXPIRED => "expired",
        _ => "was cancelled",
    };
    let message = format!("the batch {why} before it came to this prompt");
    CallError::new(Class::Rejected, code, message)
}

/// The name of a file or a batch.
fn id_of(page: &Value) -> Result<String, CallError> {
    let message = "the answer has no id: is this the API that --api names?";
    let unnamed = || CallError::new(Class::Rejected, "unreadable_body", message);
    page["id"].as_str().map(str::to_owned).ok_or_else(unnamed)
}

/// When a batch was made, in Unix seconds: OpenAI's number, or Anthropic's date.
fn created(batch: &Value) -> Option<i64> {
    let date = |text: &str| text.parse::<Timestamp>().ok().map(Timestamp::as_second);
    let at = &batch["created_at"];
    at.as_i64().or_else(|| date(at.as_str()?))
}

/// The time now, in Unix seconds.
pub(crate) fn seconds(now: SystemTime) -> i64 {
    Timestamp::try_from(now).unwrap_or_default().as_second()
}

fn stop_of(failed: RetryError<CallError>) -> Stop {
    let waited = failed.elapsed;
    match (failed.why, failed.last) {
        (GaveUp::Cancelled, _) | (_, None) => Stop::Interrupted,
        (_, Some(error)) if error.code == rows::DISK => Stop::Sink(error.message.into()),
        (GaveUp::Stopped, Some(error)) => Stop::Refused(Box::new(error)),
        (_, Some(error)) => Stop::Held {
            waited,
            more: error.retry_after,
            error: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests;
