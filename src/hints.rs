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

pub(crate) use body::find_in;
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
        let date = header_named(headers, "date");
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let now = date.unwrap_or(now);
        let mut hints = Hints::default();
        hints.read_headers(headers, now);
        if let Some(error) = error {
            hints.read_body(error, now);
        }
        hints
    }

    /// How long nothing is allowed, by the limits of which nothing is left.
    #[must_use]
    pub(crate) fn until_reset(&self) -> Option<Duration> {
        let tokens = [self.tokens, self.input_tokens, self.output_tokens];
        let quotas = [self.requests].into_iter().chain(tokens);
        let used_up = quotas.filter(|quota| quota.remaining == Some(0));
        used_up.filter_map(|quota| quota.reset).max()
    }

    /// Takes what the headers say. What is known already stays.
    fn read_headers(&mut self, headers: &[(String, String)], now: SystemTime) {
        for name in ["retry-after-ms", "x-ms-retry-after-ms", "retry-after"] {
            if self.retry_after.is_none()
                && let Some(value) = header_named(headers, name)
            {
                let wait = match name.ends_with("-ms") {
                    true => times::number_of(value.trim(), Duration::from_millis(1)),
                    false => times::seconds_or_date(value.trim(), now),
                };
                self.retry_after = self.known(name, wait);
            }
        }
        if let Some(should_retry) = header_named(headers, "x-should-retry") {
            self.should_retry = should_retry.trim().parse().ok();
        }
        quota::read(self, headers, now);
    }

    /// What was read, if it could be; notes the name of what could not.
    fn known<T>(&mut self, name: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.unreadable.push(name.to_owned());
        }
        read
    }
}

/// The first header with this name, which is in lower case.
pub(crate) fn header_named<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
