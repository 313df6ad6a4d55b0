//! The fields of a record that an export needs.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::batch::Price;
use crate::journal::{AttemptUsage, RecordError, ResponseUsage, usage_of_record};

/// A record, with the response as it was written: no digit of a number is lost on the way.
#[derive(Debug, Deserialize)]
pub(super) struct ExportRow<'a> {
    pub(super) id: String,
    pub(super) custom_id: String,
    #[serde(default)]
    pub(super) prompt: String,
    /// The other columns of the input.
    #[serde(default)]
    pub(super) columns: Map<String, Value>,
    pub(super) text: Option<String>,
    pub(super) finish_reason: Option<String>,
    #[serde(borrow)]
    pub(super) response: Option<&'a RawValue>,
    pub(super) error: Option<RecordError>,
    #[serde(default)]
    pub(super) attempts: Vec<AttemptUsage>,
    /// Set in copies of a record, which cost nothing.
    pub(super) same_as: Option<IgnoredAny>,
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

    /// A column of the input as a cell of a table: a text as it is, anything else as JSON.
    pub(super) fn cell(&self, column: &str) -> String {
        match self.columns.get(column) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// What the prompt cost; `None` if its record states no tokens.
    pub(super) fn cost(&self, price: Price) -> Option<f64> {
        let response: Option<ResponseUsage<'_>> = self
            .response
            .and_then(|response| serde_json::from_str(response.get()).ok());
        if self.same_as.is_some() {
            return Some(0.0);
        }
        let attempts = self.attempts.iter().copied();
        usage_of_record(response.as_ref(), attempts).map(|usage| price.cost(usage))
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
