//! The outcome of a call in one word, as in the `outcome` of an attempt in records, in the log and in reports.
//!
//! This is the only list of these words. `api` classifies a response; the batch and the reports count the outcomes.

use serde::{Deserialize, Serialize};

use crate::names::named;

named! {
    /// The outcome of one call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub(crate) enum CallOutcome {
        /// The call returned an answer.
        Answered = "answered",
        /// The server limits the rate or is overloaded: 429, 529, or 503 with Retry-After.
        RateLimited = "rate_limited",
        /// The server has no capacity left for the flex tier: this prompt waits, and the rate is not to blame.
        NoCapacity = "no_capacity",
        /// No complete answer arrived in time. The call may have been billed.
        Timeout = "timeout",
        /// The connection failed or broke.
        Connection = "connection",
        /// A server error: a status from 500, or 408, 409 or 425.
        ServerError = "server_error",
        /// The status is a success, but the body is not an answer.
        Unreadable = "unreadable",
        /// The answer does not fit the schema that was asked for.
        Misfit = "misfit",
        /// The server rejects this prompt for good: 400, 404, 413, 422 and similar.
        Rejected = "rejected",
        /// The server rejects every call with this key: 401, 403, or no credit. Older versions wrote `refused`.
        #[serde(alias = "refused")]
        Fatal = "fatal" | "refused",
        /// The provider's batch expired before it asked this prompt, which is not billed.
        Expired = "expired",
        /// The provider's batch was cancelled, or not accepted, before it asked this prompt, which is not billed.
        Cancelled = "cancelled",
        /// The call panicked, which is a bug in this program.
        Panic = "panic",
        /// An outcome that this version does not know: so files of later versions can be read.
        #[serde(other)]
        Unknown = "unknown",
    }
}

impl CallOutcome {
    /// Whether the prompt was not asked at all.
    pub(crate) fn is_unasked(self) -> bool {
        matches!(self, Self::Expired | Self::Cancelled)
    }

    /// How a failed prompt ended: as its last call did. A prompt that failed with others in one call, which is on record with
    /// the first of them, has none of its own.
    pub(crate) fn of_prompt(last: Option<Self>, code: &str, status: Option<u16>) -> Self {
        match (last, code, status) {
            (Some(last), ..) => last,
            (_, "panic", _) => Self::Panic,
            (_, "timeout", _) => Self::Timeout,
            (_, _, Some(200..300)) => Self::Unreadable,
            (_, _, Some(500..)) => Self::ServerError,
            (_, _, Some(_)) => Self::Rejected,
            (_, _, None) => Self::Connection,
        }
    }

    /// A failure in one or two words for people: its status, or how it ended. `429`, `503`, `connection`, `time-out`.
    pub(crate) fn label(self, status: Option<u16>) -> String {
        match (self, status) {
            (Self::Timeout, _) => "time-out".to_owned(),
            (Self::NoCapacity, _) => "no flex capacity".to_owned(),
            (Self::Unreadable, _) => "unreadable answer".to_owned(),
            (Self::Misfit, _) => "schema misfit".to_owned(),
            (Self::Connection | Self::Panic, _) | (_, None) => self.name().replace('_', " "),
            (_, Some(status)) => status.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> CallOutcome {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_outcome_is_stored_by_its_name() {
        use CallOutcome::*;
        let outcomes = [
            Answered,
            RateLimited,
            NoCapacity,
            Timeout,
            Connection,
            ServerError,
            Unreadable,
            Misfit,
            Rejected,
            Fatal,
            Expired,
            Cancelled,
            Panic,
            Unknown,
        ];
        for outcome in outcomes {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(json, format!("\"{outcome}\""));
            assert_eq!(read(&json), outcome);
        }
    }

    #[test]
    fn each_kind_of_failure_has_its_own_label() {
        let label = |outcome: CallOutcome, status| outcome.label(status);
        let table = [
            (CallOutcome::RateLimited, Some(529), "529"),
            (CallOutcome::ServerError, Some(500), "500"),
            (CallOutcome::Rejected, None, "rejected"),
            (CallOutcome::Fatal, Some(401), "401"),
            (CallOutcome::RateLimited, None, "rate limited"),
            (CallOutcome::Unreadable, Some(200), "unreadable answer"),
            (CallOutcome::Timeout, None, "time-out"),
            (CallOutcome::Misfit, Some(200), "schema misfit"),
            (CallOutcome::Connection, None, "connection"),
        ];
        for (outcome, status, expected) in table {
            assert_eq!(label(outcome, status), expected);
        }
    }

    #[test]
    fn words_of_other_versions_can_be_read() {
        assert_eq!(read("\"refused\""), CallOutcome::Fatal);
        assert_eq!(read("\"odd\\u0021\""), CallOutcome::Unknown);
    }
}
