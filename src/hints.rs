//! What a response says about pace: how long to stay away, whether to come back at all, and how much is allowed.
//!
//! Pure reading of headers and of the error's body, in all the dialects that servers speak. What makes no sense (a
//! negative wait, one that is no number, one of years) is as good as not said, and named, so that somebody can warn.

mod quota;
mod spelling;

use std::time::{Duration, SystemTime};

use serde_json::Value;

pub use quota::Quota;

/// What the server said, as far as it makes sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// How long to wait before the next call: `retry-after-ms`, or else `retry-after`, or else the body's `RetryInfo`.
    pub retry_after: Option<Duration>,
    /// Whether trying again is any use: `x-should-retry`.
    pub should_retry: Option<bool>,
    /// How many calls are allowed.
    pub requests: Quota,
    /// How many tokens are allowed, input and output together.
    pub tokens: Quota,
    /// How many input tokens are allowed, where they are counted apart.
    pub input_tokens: Quota,
    /// How many output tokens are allowed, where they are counted apart.
    pub output_tokens: Quota,
    /// What made no sense: the names of headers, and `retryDelay`.
    pub nonsense: Vec<&'static str>,
}

impl Hints {
    /// Reads the hints of a response that arrived at `now`, with these headers, their names in lower case; of those with the
    /// same name the first counts. `error` is the body of a failure, if it was JSON.
    #[must_use]
    pub fn read<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        error: Option<&Value>,
        now: SystemTime,
    ) -> Self {
        let headers = headers
            .into_iter()
            .filter(|(name, _)| may_be_a_hint(name))
            .collect();
        let mut sheet = Sheet {
            headers,
            now,
            nonsense: Vec::new(),
        };
        let retry_after = sheet
            .read("retry-after-ms", |value, _| {
                spelling::number_of(value, Duration::from_millis(1))
            })
            .or_else(|| sheet.read("retry-after", spelling::seconds_or_date))
            .or_else(|| sheet.retry_info(error));
        Hints {
            retry_after,
            should_retry: sheet
                .get("x-should-retry")
                .and_then(|value| value.trim().parse().ok()),
            requests: quota::requests(&mut sheet),
            tokens: quota::tokens(&mut sheet),
            input_tokens: quota::named(&mut sheet, &quota::INPUT_TOKENS),
            output_tokens: quota::named(&mut sheet, &quota::OUTPUT_TOKENS),
            nonsense: sheet.nonsense,
        }
    }
}

/// Most headers are none, and to leave them out at once saves looking through them for every name that there is.
fn may_be_a_hint(name: &str) -> bool {
    const BEGINNINGS: [&str; 5] = [
        "retry-after",
        "x-should-retry",
        "x-ratelimit-",
        "ratelimit",
        "anthropic-ratelimit-",
    ];
    BEGINNINGS
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// The headers of one response that may be hints, and what made no sense in them.
struct Sheet<'a> {
    headers: Vec<(&'a str, &'a str)>,
    now: SystemTime,
    nonsense: Vec<&'static str>,
}

impl<'a> Sheet<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| *value)
    }

    /// A header's value as `read` understands it.
    fn read<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&'a str, SystemTime) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let sense = read(value.trim(), self.now);
        if sense.is_none() {
            self.nonsense.push(name);
        }
        sense
    }

    /// Google's `google.rpc.RetryInfo` among the details of an error: `"retryDelay": "17s"`.
    fn retry_info(&mut self, error: Option<&Value>) -> Option<Duration> {
        const NAME: &str = "retryDelay";
        let details = error?.get("error")?.get("details")?.as_array()?;
        let is_retry_info = |detail: &&Value| {
            detail
                .get("@type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.ends_with("google.rpc.RetryInfo"))
        };
        let delay = details
            .iter()
            .find(is_retry_info)?
            .get(NAME)?
            .as_str()
            .unwrap_or_default();
        let sense = spelling::units(delay);
        if sense.is_none() {
            self.nonsense.push(NAME);
        }
        sense
    }
}

#[cfg(test)]
mod tests;
