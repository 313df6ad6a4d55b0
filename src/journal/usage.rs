//! The tokens that a record states: of its answer, and of calls that brought none. A run that goes on and the report add
//! them up by this one rule.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::RecordAttempt;
use crate::api::{Usage, usage_of};

/// A response, with its body as it was written.
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseUsage<'a> {
    pub(crate) status_code: Option<u16>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// The tokens of a call that brought no answer; the other fields of an attempt are skipped.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct AttemptUsage {
    #[serde(default)]
    usage: Option<Usage>,
}

impl From<&RecordAttempt> for AttemptUsage {
    fn from(attempt: &RecordAttempt) -> Self {
        AttemptUsage {
            usage: attempt.usage,
        }
    }
}

impl From<&AttemptUsage> for AttemptUsage {
    fn from(attempt: &AttemptUsage) -> Self {
        *attempt
    }
}

/// The tokens of a record, in the words of any API; `None` if it states none. A failed prompt's response is that of its
/// last attempt, and counts once.
pub(crate) fn usage_of_record(
    response: Option<&ResponseUsage<'_>>,
    attempts: impl IntoIterator<Item = AttemptUsage>,
) -> Option<Usage> {
    let attempts: Vec<_> = attempts.into_iter().map(|attempt| attempt.usage).collect();
    let is_stated = attempts.last().is_some_and(Option::is_some);
    let response = response
        .filter(|_| !is_stated)
        .and_then(|response| usage_of(response.body?.get()));
    let mut stated = attempts.into_iter().chain([response]).flatten();
    let mut sum = stated.next()?;
    stated.for_each(|usage| sum += usage);
    Some(sum)
}
