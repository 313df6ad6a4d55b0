//! What a response says about limits: how long to wait, whether to retry at all, and how much is
//! allowed.
//!
//! This is the only reader of waits and limits, in headers and in bodies, in the words of all
//! servers. Instants are read by the server's own clock, its `Date` header. A value that cannot be
//! read (a negative wait, or one of more than a week) is ignored, and named for a warning.

mod body;
mod quota;
mod times;

use std::time::{Duration, SystemTime};

use serde_json::Value;

pub(crate) use body::nested;
pub(crate) use quota::Quota;

/// What the server said, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hints {
    /// How long to wait before the next call: `retry-after-ms`, or else `retry-after`, or else what
    /// the body says.
    pub(crate) retry_after: Option<Duration>,
    /// Whether to try again: `x-should-retry`.
    pub(crate) should_retry: Option<bool>,
    /// How many calls are allowed.
    pub(crate) requests: Quota,
    /// How many tokens are allowed, input and output together.
    pub(crate) tokens: Quota,
    /// How many input tokens are allowed, where they are counted apart.
    pub(crate) input_tokens: Quota,
    /// How many output tokens are allowed, where they are counted apart.
    pub(crate) output_tokens: Quota,
    /// The names of headers and fields that could not be read.
    pub(crate) unreadable: Vec<String>,
}

impl Hints {
    /// Reads the hints of a response that arrived at `now`, with these headers, their names in lower
    /// case; of headers with the same name the first counts. `error` is the body of a failure, if it
    /// was JSON.
    #[must_use]
    pub(crate) fn read(
        headers: &[(String, String)],
        error: Option<&Value>,
        now: SystemTime,
    ) -> Self {
        let texts = headers.iter().map(|(name, value)| (&**name, &**value));
        let headers: Vec<_> = texts.filter(|(name, _)| is_read(name)).collect();
        let date = value_of(&headers, "date").and_then(|date| httpdate::parse_http_date(date).ok());
        let mut hints = Hints::default();
        hints.read_headers(&headers, date.unwrap_or(now));
        if let Some(error) = error {
            hints.read_body(error, date.unwrap_or(now));
        }
        hints
    }

    /// How long nothing is allowed, by the limits of which nothing is left.
    #[must_use]
    pub(crate) fn until_reset(&self) -> Option<Duration> {
        let quotas = [
            self.requests,
            self.tokens,
            self.input_tokens,
            self.output_tokens,
        ];
        let used_up = quotas.iter().filter(|quota| quota.remaining == Some(0));
        used_up.filter_map(|quota| quota.reset).max()
    }

    /// Takes what the headers say. What is known already stays.
    fn read_headers(&mut self, headers: &[(&str, &str)], now: SystemTime) {
        let milliseconds = |value: &str| times::number_of(value, Duration::from_millis(1));
        let seconds = |value: &str| times::seconds_or_date(value, now);
        if self.retry_after.is_none() {
            self.retry_after = self
                .value(headers, "retry-after-ms", milliseconds)
                .or_else(|| self.value(headers, "retry-after", seconds));
        }
        if let Some(should_retry) = value_of(headers, "x-should-retry") {
            self.should_retry = should_retry.trim().parse().ok();
        }
        quota::read(self, headers, now);
    }

    /// A header's value as `read` understands it.
    fn value<T>(
        &mut self,
        headers: &[(&str, &str)],
        name: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = read(value_of(headers, name)?.trim());
        self.note_unreadable(name, value.is_none());
        value
    }

    fn note_unreadable(&mut self, name: &str, is_unreadable: bool) {
        if is_unreadable {
            self.unreadable.push(name.to_owned());
        }
    }
}

/// Most headers are no hints: leaving them out at once saves comparing them with every name.
fn is_read(name: &str) -> bool {
    const BEGINNINGS: [&str; 6] = [
        "date",
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

fn value_of<'a>(headers: &[(&str, &'a str)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests;
