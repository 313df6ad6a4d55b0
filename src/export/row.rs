//! What an export wants to know of a record.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::journal::Fault;

/// A record, with the response as the letters that it is written in: nothing is lost on the way, no digit of a number.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    pub(super) id: String,
    pub(super) custom_id: String,
    #[serde(default)]
    pub(super) prompt: String,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    pub(super) error: Option<Fault>,
    #[serde(default)]
    pub(super) attempts: Vec<IgnoredAny>,
}

impl Row<'_> {
    /// Whether it is an answer that is empty or did not end by itself.
    pub(super) fn is_flagged(&self) -> bool {
        self.odd_ending().is_some()
            || self
                .text
                .as_ref()
                .is_some_and(|text| text.trim().is_empty())
    }

    /// Why the answer ended, if it did not end by itself.
    pub(super) fn odd_ending(&self) -> Option<&str> {
        let reason = self
            .finish_reason
            .as_deref()
            .filter(|reason| *reason != "stop");
        reason.filter(|_| self.text.is_some())
    }

    /// The HTTP status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        #[derive(Deserialize)]
        struct Status {
            status_code: u16,
        }
        let status: Status = serde_json::from_str(self.response?.get()).ok()?;
        Some(status.status_code)
    }
}
