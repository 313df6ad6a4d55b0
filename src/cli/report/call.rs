//! One call, as the report needs it: the calls of a million records are held in memory, 24 bytes each.

use std::time::SystemTime;

use serde::Serialize;

use crate::journal::RecordAttempt;
use crate::outcome::CallOutcome;
use crate::text::millis;

/// How a call ended, as a class of the style sheet. They are drawn in this order, from below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallFate {
    Answered,
    Failed,
    /// Status 429, 503 or 529, or an answer that says the same.
    #[serde(rename = "limited")]
    RateLimited,
}

impl CallFate {
    pub(super) const ALL: [CallFate; 3] =
        [CallFate::Answered, CallFate::Failed, CallFate::RateLimited];
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct CallSummary {
    /// When it left, in milliseconds since 1970.
    pub(super) at: u64,
    /// How long it took. Longer calls count as 49 days.
    pub(super) took_ms: u32,
    /// How long it had waited for its permit.
    pub(super) paced_ms: u32,
    /// The line of the results that its record is.
    pub(super) record: u32,
    pub(super) key: u16,
    pub(super) end: CallFate,
    /// Whether it was rate limited and the server did not say how long to wait.
    pub(super) is_silent: bool,
}

impl CallSummary {
    /// Later instants count as this one (the year 6429), so that no sum of instants overflows.
    const LATEST: u64 = (1 << 47) - 1;

    pub(super) fn of(attempt: &RecordAttempt, record: u32) -> Self {
        let small = |time| u32::try_from(millis(time)).unwrap_or(u32::MAX);
        let since_1970 = attempt.started_at.duration_since(SystemTime::UNIX_EPOCH);
        let end = match (attempt.outcome, attempt.status) {
            (CallOutcome::Answered, _) => CallFate::Answered,
            (CallOutcome::NoCapacity, _) => CallFate::Failed,
            (CallOutcome::RateLimited, _) | (_, Some(429 | 503 | 529)) => CallFate::RateLimited,
            _ => CallFate::Failed,
        };
        CallSummary {
            at: since_1970.map_or(0, millis).min(Self::LATEST),
            took_ms: small(attempt.took),
            paced_ms: small(attempt.paced),
            record,
            key: u16::try_from(attempt.key).unwrap_or(u16::MAX),
            end,
            is_silent: end == CallFate::RateLimited && attempt.retry_after.is_none(),
        }
    }

    /// When it began to wait for its permit.
    pub(super) fn asked(&self) -> u64 {
        self.at.saturating_sub(self.paced_ms.into())
    }

    /// When it was over.
    pub(super) fn ended_at(&self) -> u64 {
        self.at + u64::from(self.took_ms)
    }
}

/// A call that left at an instant, for tests.
#[cfg(test)]
pub(super) fn call_at(at: u64) -> CallSummary {
    CallSummary {
        at,
        took_ms: 0,
        paced_ms: 0,
        record: 1,
        key: 0,
        end: CallFate::Answered,
        is_silent: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_24_bytes_and_absurd_numbers_are_capped() {
        assert_eq!(size_of::<CallSummary>(), 24);
        let attempt = r#"{"n":1,"key":70000,"started_at":"9999-01-01T00:00:00Z","paced_ms":9999999999,
            "took_ms":18446744073709551615,"outcome":"odd"}"#;
        let call = CallSummary::of(&serde_json::from_str(attempt).unwrap(), u32::MAX);
        assert_eq!((call.at, call.key), (CallSummary::LATEST, u16::MAX));
        assert_eq!(
            (call.took_ms, call.paced_ms, call.record),
            (u32::MAX, u32::MAX, u32::MAX)
        );
        assert!(call.asked() < call.at && call.at < call.ended_at());
    }
}
