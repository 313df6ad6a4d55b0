//! The tokens that a record states: of its answer, and of calls that brought none. A run that goes on and the report add
//! them up by this one rule.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::RecordAttempt;
use crate::api::{Usage, usage_of};
use crate::outcome::CallOutcome;

/// A response, with its body as it was written.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ResponseUsage<'a> {
    pub(crate) status_code: Option<u16>,
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// What counts of an attempt; its other fields are skipped.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AttemptUsage {
    /// The tokens of a call that brought no answer.
    #[serde(default)]
    usage: Option<Usage>,
    pub(super) outcome: Option<CallOutcome>,
    /// The provider's batch that it was a row of.
    #[serde(default)]
    pub(super) batch: Option<String>,
}

impl AttemptUsage {
    fn tokens(self) -> Option<Usage> {
        match self.batch {
            Some(_) => self.usage.map(Usage::at_half),
            None => self.usage,
        }
    }
}

impl From<&RecordAttempt> for AttemptUsage {
    fn from(attempt: &RecordAttempt) -> Self {
        AttemptUsage {
            usage: attempt.usage,
            outcome: Some(attempt.outcome),
            batch: attempt.batch.clone(),
        }
    }
}

impl From<&AttemptUsage> for AttemptUsage {
    fn from(attempt: &AttemptUsage) -> Self {
        attempt.clone()
    }
}

/// The tokens of a record, in the words of any API; `None` if it states none. A failed prompt's response is that of its
/// last attempt, and counts once.
pub(crate) fn usage_of_record(
    response: Option<&ResponseUsage<'_>>,
    attempts: impl IntoIterator<Item = AttemptUsage>,
) -> Option<Usage> {
    let attempts: Vec<_> = attempts.into_iter().collect();
    let last = attempts.last();
    let is_stated = last.is_some_and(|attempt| attempt.usage.is_some());
    let body = response
        .filter(|_| !is_stated)
        .and_then(|response| response.body);
    let answer = AttemptUsage {
        usage: body.and_then(|body| usage_of(body.get())),
        outcome: None,
        batch: last.and_then(|attempt| attempt.batch.clone()),
    };
    let stated = attempts.into_iter().chain([answer]);
    stated
        .filter_map(AttemptUsage::tokens)
        .reduce(|mut sum, more| {
            sum += more;
            sum
        })
}
