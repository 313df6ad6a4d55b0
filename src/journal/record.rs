//! A record: what became of one prompt, as it is written to the results file.
//!
//! Plain data that round-trips through JSON. A reader ignores unknown fields and allows for missing ones, so files of
//! other versions can be read.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use serde_json::{Map, Value};

use crate::api::{CallError, Usage};
use crate::json::Json;
use crate::outcome::CallOutcome;

/// What became of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Identifies the prompt and its request: its line and a hash, as in `pl_17_ca978112ca1bbdca`.
    pub id: String,
    /// The prompt's name: `line-17`.
    pub custom_id: String,
    /// The text of the prompt.
    #[serde(default)]
    pub prompt: String,
    /// What it was sent with, in parts: the model, and digests of the others, such as the system message. Only to tell
    /// which part of a later run is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<Json>,
    /// The other fields of its row.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub columns: Map<String, Value>,
    /// The record that this one is a copy of, because the requests are identical: only that one was paid for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// The answer; `None` if the prompt failed.
    pub text: Option<String>,
    /// Why the answer ended: `stop`, `length` and so on.
    pub finish_reason: Option<String>,
    /// The last response, if one came.
    pub(crate) response: Option<RecordResponse>,
    /// Why the prompt failed.
    pub error: Option<RecordError>,
    /// Every call that was made for the prompt, in order.
    #[serde(default)]
    pub attempts: Vec<RecordAttempt>,
}

impl Record {
    /// The record without the response's body, which is the part that can be got again.
    pub(super) fn without_body(&self) -> Self {
        let mut record = self.clone();
        if let Some(response) = &mut record.response {
            response.body = None;
        }
        record
    }

    /// The model that answered, if the response names it.
    pub(super) fn model(&self) -> Option<String> {
        let body = self.response.as_ref()?.body.as_ref()?.value();
        Some(body.get("model")?.as_str()?.to_owned())
    }
}

/// The response of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecordResponse {
    /// The HTTP status.
    pub status_code: u16,
    /// The server's name for the call.
    pub request_id: Option<String>,
    /// The JSON of its body.
    pub body: Option<Json>,
}

/// Why a prompt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordError {
    /// One word: the error code of the server, or one of ours such as `timeout`.
    pub code: String,
    /// One sentence for people.
    pub message: String,
}

/// One call: how long it waited, and how it ended. Durations are stored as whole milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordAttempt {
    /// The number of the attempt, from 1.
    pub n: u32,
    /// The number of the key that it was made with, from 0.
    #[serde(default)]
    pub key: usize,
    /// When it was sent.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
    /// How long the prompt was in the queue before a worker took it.
    #[serde(rename = "queued_ms", with = "millis", default)]
    pub queued: Duration,
    /// How long it waited for its permit.
    #[serde(rename = "paced_ms", with = "millis", default)]
    pub paced: Duration,
    /// How late it left: from the instant that its permit was due, in milliseconds with three decimal places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) late_ms: Option<f64>,
    /// How long the call took.
    #[serde(rename = "took_ms", with = "millis", default)]
    pub took: Duration,
    /// The HTTP status, if a response came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub(crate) outcome: CallOutcome,
    /// The provider's batch that it was a row of, at half the price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<String>,
    /// Whether it was billed, if that is in doubt: there was no answer, but the request was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) billed: Option<Billed>,
    /// The tokens that the server stated. Older versions left them out where the record's response states them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// What came of an answer that broke off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partial: Option<Json>,
    /// How long the server said to wait.
    #[serde(
        rename = "retry_after_ms",
        with = "millis",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// The backoff before the next attempt.
    #[serde(
        rename = "backoff_ms",
        with = "millis",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub backoff: Option<Duration>,
    /// The server's name for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl RecordAttempt {
    /// An attempt that was answered, or failed with this error. Its durations are for the caller to fill in, and so is what
    /// an answer states.
    pub(crate) fn of(started_at: SystemTime, error: Option<&CallError>) -> Self {
        let in_doubt = error.filter(|error| error.may_be_billed());
        RecordAttempt {
            n: 1,
            key: 0,
            started_at,
            queued: Duration::ZERO,
            paced: Duration::ZERO,
            late_ms: None,
            took: Duration::ZERO,
            status: error.and_then(|error| error.status),
            outcome: error.map_or(CallOutcome::Answered, CallError::outcome),
            batch: None,
            billed: in_doubt.map(|_| Billed::Unknown),
            usage: error.and_then(CallError::usage),
            partial: error.and_then(CallError::partial),
            retry_after: error.and_then(|error| error.retry_after),
            backoff: None,
            request_id: error.and_then(|error| error.request_id.clone()),
        }
    }
}

/// How late a call left, as it is written: `None` if it was in time.
pub(crate) fn late_ms(late: Duration) -> Option<f64> {
    (!late.is_zero()).then(|| late.as_micros() as f64 / 1e3)
}

/// Whether a call was billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Billed {
    /// It may have been.
    #[serde(other)]
    Unknown,
}

mod rfc3339 {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match jiff::Timestamp::try_from(*time) {
            Ok(time) => serializer.collect_str(&format_args!("{time:.3}")),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        SystemTime::try_from(time).map_err(serde::de::Error::custom)
    }
}

/// Whole milliseconds, for a `Duration` and for an `Option` of one.
pub(crate) mod millis {
    use super::*;

    pub(crate) fn serialize<T, S>(time: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<Option<Duration>>,
        S: Serializer,
    {
        let time: Option<Duration> = (*time).into();
        let millis = time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        millis.serialize(serializer)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: Default + From<Duration>,
        D: Deserializer<'de>,
    {
        let millis: Option<u64> = Option::deserialize(deserializer)?;
        Ok(millis.map_or_else(T::default, |millis| Duration::from_millis(millis).into()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A failed prompt with every field filled.
    pub(in crate::journal) fn full(id: &str) -> Record {
        let attempt = RecordAttempt {
            n: 1,
            key: 0,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_687_200_123),
            queued: Duration::ZERO,
            paced: Duration::from_millis(412),
            late_ms: Some(0.131),
            took: Duration::from_millis(655),
            status: Some(429),
            outcome: CallOutcome::RateLimited,
            batch: None,
            billed: Some(Billed::Unknown),
            usage: None,
            partial: None,
            retry_after: Some(Duration::from_secs(1)),
            backoff: Some(Duration::from_millis(1204)),
            request_id: Some("req_1".into()),
        };
        Record {
            id: id.into(),
            custom_id: "line-1".into(),
            prompt: "a\u{2028}b\nc".into(),
            settings: None,
            columns: Map::new(),
            same_as: None,
            text: None,
            finish_reason: None,
            response: Some(RecordResponse {
                status_code: 429,
                request_id: None,
                body: None,
            }),
            error: Some(RecordError {
                code: "rate_limited".into(),
                message: "slow down".into(),
            }),
            attempts: vec![attempt],
        }
    }

    fn design() -> Value {
        json!({
            "id": "pl_1", "custom_id": "line-1", "prompt": "a\u{2028}b\nc", "text": null, "finish_reason": null,
            "response": {"status_code": 429, "request_id": null, "body": null},
            "error": {"code": "rate_limited", "message": "slow down"},
            "attempts": [{"n": 1, "key": 0, "started_at": "2026-11-26T10:00:00.123Z", "queued_ms": 0,
                "paced_ms": 412, "late_ms": 0.131, "took_ms": 655, "status": 429, "outcome": "rate_limited", "billed": "unknown",
                "retry_after_ms": 1000, "backoff_ms": 1204, "request_id": "req_1"}],
        })
    }

    #[test]
    fn a_record_is_written_as_the_design_gives_it_and_reads_back_the_same() {
        let record = full("pl_1");
        assert_eq!(serde_json::to_value(&record).unwrap(), design());
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let mut bare = record;
        bare.attempts[0] = RecordAttempt {
            status: None,
            billed: None,
            retry_after: None,
            backoff: None,
            request_id: None,
            ..bare.attempts[0].clone()
        };
        let text = serde_json::to_string(&bare).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), bare);
    }

    #[test]
    fn fractions_of_a_millisecond_are_not_kept() {
        let mut record = full("pl_1");
        record.attempts[0].took = Duration::from_micros(655_900);
        assert_eq!(serde_json::to_value(&record).unwrap(), design());
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_allowed_for() {
        let text = r#"{"id": "pl_1", "new": [1], "custom_id": "line-1",
            "attempts": [{"n": 1, "started_at": "2026-11-26T10:00:00Z", "outcome": "odd", "more": null}]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(
            (record.text, record.error, record.attempts[0].outcome),
            (None, None, CallOutcome::Unknown)
        );
    }
}
