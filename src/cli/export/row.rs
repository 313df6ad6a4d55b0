//! The fields of a record that an export needs.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::journal::RecordError;

/// A record, with the response as it was written: no digit of a number is lost on the way.
#[derive(Debug, Deserialize)]
pub(super) struct ExportRow<'a> {
    pub(super) id: String,
    pub(super) custom_id: String,
    #[serde(default)]
    pub(super) prompt: String,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    pub(super) error: Option<RecordError>,
    #[serde(default)]
    pub(super) attempts: Vec<IgnoredAny>,
}

impl ExportRow<'_> {
    /// Whether it is an answer that is empty or did not end by itself.
    pub(super) fn is_flagged(&self) -> bool {
        let is_empty = self
            .text
            .as_ref()
            .is_some_and(|text| text.trim().is_empty());
        is_empty || self.odd_ending().is_some()
    }

    /// Why the answer ended, if it did not end by itself.
    pub(super) fn odd_ending(&self) -> Option<&str> {
        let reason = self.finish_reason.as_deref()?;
        (self.text.is_some() && reason != "stop").then_some(reason)
    }

    /// The HTTP status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        #[derive(Deserialize)]
        struct StatusOnly {
            status_code: u16,
        }
        let response: StatusOnly = serde_json::from_str(self.response?.get()).ok()?;
        Some(response.status_code)
    }
}
