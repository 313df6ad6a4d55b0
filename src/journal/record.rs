//! A record: what became of one prompt, as it stands in the results file.
//!
//! Plain data that round-trips through JSON. A reader ignores fields it does not know and does without those that may
//! be missing, so files of other versions can be read.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::Json;
use crate::outcome::CallOutcome;

/// What became of one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Names this prompt and this request: a [`RecordId`](super::RecordId).
    pub id: String,
    /// The prompt's name: `line-17`.
    pub custom_id: String,
    /// What was asked.
    #[serde(default)]
    pub prompt: String,
    /// What was answered; none if the prompt failed.
    pub text: Option<String>,
    /// Why the answer ended: `stop`, `length` and so on.
    pub finish_reason: Option<String>,
    /// The last response, if one came.
    pub response: Option<Reply>,
    /// Why the prompt failed.
    pub error: Option<Fault>,
    /// Every call that was made for it, in order.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// The server's response as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status.
    pub status_code: u16,
    /// The server's name for the call.
    pub request_id: Option<String>,
    /// The JSON it sent.
    pub body: Option<Json>,
}

/// Why a prompt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// In a word.
    pub code: String,
    /// In a sentence.
    pub message: String,
}

/// One call: what it waited for, and how it ended. Times are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Counts from 1.
    pub n: u32,
    /// Which key it was made with, from 0.
    #[serde(default)]
    pub key: usize,
    /// When it was sent, by the calendar.
    #[serde(with = "rfc3339")]
    pub started_at: SystemTime,
    /// How long the prompt lay in the queue before a worker took it.
    #[serde(rename = "queued_ms", with = "millis", default)]
    pub queued: Duration,
    /// How long it waited for its turn.
    #[serde(rename = "paced_ms", with = "millis", default)]
    pub paced: Duration,
    /// How long the call took.
    #[serde(rename = "took_ms", with = "millis", default)]
    pub took: Duration,
    /// The HTTP status, if a response came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// How long the server said to wait.
    #[serde(
        rename = "retry_after_ms",
        with = "some_millis",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// How long the next attempt was put off.
    #[serde(
        rename = "backoff_ms",
        with = "some_millis",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub backoff: Option<Duration>,
    /// The server's name for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
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

mod millis {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(whole_millis(duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

mod some_millis {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.as_ref().map(whole_millis).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::deserialize(deserializer).map(|ms: Option<u64>| ms.map(Duration::from_millis))
    }
}

fn whole_millis(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A failed prompt with every field filled.
    pub(in crate::journal) fn full(id: &str) -> Record {
        let attempt = Attempt {
            n: 1,
            key: 0,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_687_200_123),
            queued: Duration::ZERO,
            paced: Duration::from_millis(412),
            took: Duration::from_millis(655),
            status: Some(429),
            outcome: CallOutcome::RateLimited,
            retry_after: Some(Duration::from_secs(1)),
            backoff: Some(Duration::from_millis(1204)),
            request_id: Some("req_1".into()),
        };
        Record {
            id: id.into(),
            custom_id: "line-1".into(),
            prompt: "a\u{2028}b\nc".into(),
            text: None,
            finish_reason: None,
            response: Some(Reply {
                status_code: 429,
                request_id: None,
                body: None,
            }),
            error: Some(Fault {
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
                "paced_ms": 412, "took_ms": 655, "status": 429, "outcome": "rate_limited",
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
        let attempt = &mut bare.attempts[0];
        (
            attempt.status,
            attempt.retry_after,
            attempt.backoff,
            attempt.request_id,
        ) = (None, None, None, None);
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
    fn fields_unknown_or_missing_are_no_obstacle() {
        let text = r#"{"id": "pl_1", "new": [1], "custom_id": "line-1",
            "attempts": [{"n": 1, "started_at": "2026-11-26T10:00:00Z", "outcome": "odd", "more": null}]}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(
            (record.text, record.error, record.attempts[0].outcome),
            (None, None, CallOutcome::Unknown)
        );
    }
}
