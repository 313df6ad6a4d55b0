//! What a failed call means: the one place where statuses and bodies are classed.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::hints::Hints;
use crate::http::{Response, TransportError};
use crate::retry::Verdict;

/// What to do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A passing fault of the server or the network: try again.
    Fault,
    /// We called too fast: wait, all of us, and try again. No fault of the prompt.
    Throttled,
    /// This prompt will never be answered; others may.
    Rejected,
    /// No prompt will be answered: stop the batch.
    Fatal,
}

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// What to do about it.
    pub class: Class,
    /// What happened, in a word: the server's error code, or our own such as `timeout`.
    pub code: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The HTTP status, if a response came.
    pub status: Option<u16>,
    /// The server's name for this call.
    pub request_id: Option<String>,
    /// How long the server said to wait.
    pub retry_after: Option<Duration>,
    /// What else the server said about pace. Boxed like the body.
    pub hints: Box<Hints>,
    /// The response's body, if it was JSON. Boxed: errors travel by value, and this would be most of their size.
    pub body: Option<Box<Value>>,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "status {status}, {}: {}", self.code, self.message),
            None => write!(f, "{}", self.message),
        }
    }
}

impl std::error::Error for CallError {}

impl CallError {
    /// For [`Retry`](crate::retry::Retry): what to do about this failure.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.class, self.retry_after) {
            (Class::Throttled, wait) => Verdict::Throttled(wait),
            (Class::Fault, Some(wait)) => Verdict::RetryAfter(wait),
            (Class::Fault, None) => Verdict::Retry,
            (Class::Rejected | Class::Fatal, _) => Verdict::Stop,
        }
    }

    /// Whether no prompt will be answered.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.class == Class::Fatal
    }

    /// What an attempt that ended so is called in the records.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match (self.class, self.status) {
            (Class::Throttled, _) => "rate_limited",
            (Class::Rejected, _) => "rejected",
            (Class::Fatal, _) => "refused",
            (Class::Fault, Some(200..300)) => "unreadable",
            (Class::Fault, Some(_)) => "server_error",
            (Class::Fault, None) if self.code == "timeout" => "timeout",
            (Class::Fault, None) => "connection",
        }
    }

    /// Classes a complete response that is not an answer.
    pub(super) fn of_response(
        response: &Response,
        body: Option<Value>,
        hints: Hints,
        request_id: Option<String>,
    ) -> Self {
        let told = body.as_ref().map(Told::read).unwrap_or_default();
        let status = told.status_within(response.status);
        let message = told.message.unwrap_or_else(|| describe(response));
        let class = classify(status, told.code.as_deref(), &hints);
        let code = told.code.unwrap_or_else(|| default_code(status).to_owned());
        let retry_after = hints.retry_after;
        let (status, body) = (Some(response.status), body.map(Box::new));
        CallError { class, code, message, status, request_id, retry_after, hints: Box::new(hints), body }
    }
}

impl From<TransportError> for CallError {
    fn from(error: TransportError) -> Self {
        let (class, code) = match &error {
            TransportError::Timeout(_) => (Class::Fault, "timeout"),
            TransportError::Unreachable(_) => (Class::Fault, "no_connection"),
            TransportError::Broken(_) => (Class::Fault, "broken_connection"),
            TransportError::TooLarge(_) => (Class::Rejected, "too_large"),
            TransportError::Untrusted(_) => (Class::Fatal, "untrusted"),
            TransportError::Unsendable(_) => (Class::Fatal, "unsendable"),
        };
        let (code, message) = (code.to_owned(), error.to_string());
        let (status, request_id, retry_after, hints, body) = Default::default();
        CallError { class, code, message, status, request_id, retry_after, hints, body }
    }
}

/// What a body says about the failure. Servers differ: `error` is an object or a text, a code is a word or a number.
#[derive(Debug, Default)]
struct Told {
    code: Option<String>,
    message: Option<String>,
}

impl Told {
    fn read(body: &Value) -> Self {
        let error = body.get("error").unwrap_or(body);
        let word = |name: &str| match error.get(name) {
            Some(Value::String(word)) if !word.is_empty() => Some(word.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let message = word("message").or_else(|| error.as_str().map(str::to_owned));
        Told { code: word("code").or_else(|| word("type")), message }
    }

    /// The status that counts: gateways answer 200 and put the upstream's status into the error's code.
    fn status_within(&self, status: u16) -> u16 {
        let inner = self.code.as_deref().and_then(|code| code.parse().ok());
        inner.filter(|inner| (200..300).contains(&status) && (400..600).contains(inner)).unwrap_or(status)
    }
}

/// The three ways of the design, by status; money, which comes as a 429, by its code.
fn classify(status: u16, code: Option<&str>, hints: &Hints) -> Class {
    let out_of_money =
        matches!(code, Some("insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active"));
    match (status, hints.should_retry) {
        (401 | 403 | 300..=399, _) => Class::Fatal,
        (402 | 429, _) if out_of_money || status == 402 => Class::Fatal,
        (_, Some(false)) => Class::Rejected,
        (429, _) => Class::Throttled,
        (503 | 529, _) if hints.retry_after.is_some() => Class::Throttled,
        (100..300 | 408 | 409 | 425 | 500.., _) => Class::Fault,
        (_, Some(true)) => Class::Fault,
        _ => Class::Rejected,
    }
}

fn default_code(status: u16) -> &'static str {
    match status {
        100..300 => "unreadable_body",
        300..=399 => "redirect",
        401 | 403 => "key_refused",
        429 => "rate_limited",
        500.. => "server_error",
        _ => "rejected",
    }
}

/// What there is to say about a response that does not explain itself.
fn describe(response: &Response) -> String {
    match response.status {
        300..=399 => {
            let target = response.header("location").unwrap_or("nowhere");
            format!("the server redirects to {target}: give the address that it means with --base-url")
        }
        200..300 if response.body.is_empty() => "the answer's body is empty".to_owned(),
        200..300 => format!("the answer is not what this API answers: {}", excerpt(&response.body)),
        _ if response.body.is_empty() => "no explanation".to_owned(),
        _ => excerpt(&response.body),
    }
}

/// The beginning of a body, on one line.
fn excerpt(body: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MOST)]);
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(status: u16, body: &str, headers: &[(&str, &str)]) -> CallError {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let response = Response { status, headers, body: body.as_bytes().to_vec() };
        let hints = Hints::read(|name| response.header(name), None, std::time::SystemTime::UNIX_EPOCH);
        CallError::of_response(&response, serde_json::from_str(body).ok(), hints, None)
    }

    #[test]
    fn every_status_is_classed() {
        let table = [
            (Class::Fault, vec![200, 204, 408, 409, 425, 500, 502, 503, 504, 520, 529, 599]),
            (Class::Throttled, vec![429]),
            (Class::Rejected, vec![400, 404, 405, 413, 415, 422, 451]),
            (Class::Fatal, vec![301, 302, 307, 308, 401, 402, 403]),
        ];
        for (class, statuses) in table {
            for status in statuses {
                assert_eq!(error(status, "", &[]).class, class, "{status}");
            }
        }
    }

    #[test]
    fn an_exhausted_quota_is_no_rate_limit() {
        let quota =
            json!({"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}});
        let error = error(429, &quota.to_string(), &[("retry-after", "1")]);
        assert_eq!((error.class, error.code.as_str()), (Class::Fatal, "insufficient_quota"));
        assert_eq!(error.verdict(), Verdict::Stop);
    }

    #[test]
    fn being_told_when_to_come_back_is_no_fault() {
        let wait = Some(Duration::from_secs(2));
        for status in [429, 503, 529] {
            assert_eq!(
                error(status, "", &[("retry-after", "2")]).verdict(),
                Verdict::Throttled(wait),
                "{status}"
            );
        }
        assert_eq!(
            error(500, "", &[("retry-after", "2")]).verdict(),
            Verdict::RetryAfter(Duration::from_secs(2))
        );
        assert_eq!(error(500, "", &[]).verdict(), Verdict::Retry);
    }

    #[test]
    fn the_server_may_say_whether_to_retry() {
        assert_eq!(error(500, "", &[("x-should-retry", "false")]).class, Class::Rejected);
        assert_eq!(error(422, "", &[("x-should-retry", "true")]).class, Class::Fault);
        assert_eq!(error(401, "", &[("x-should-retry", "true")]).class, Class::Fatal);
    }

    #[test]
    fn errors_explain_themselves_in_every_form_that_servers_use() {
        let table = [
            (
                400,
                r#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#,
                "context_length_exceeded",
                "too long",
            ),
            (
                400,
                r#"{"error":{"message":"bad","type":"invalid_request_error","code":null}}"#,
                "invalid_request_error",
                "bad",
            ),
            (404, r#"{"error":"model 'x' not found"}"#, "rejected", "model 'x' not found"),
            (400, r#"{"message":"flat","code":7}"#, "7", "flat"),
            (502, "<html>\n  Bad Gateway\n</html>", "server_error", "<html> Bad Gateway </html>"),
            (500, "", "server_error", "no explanation"),
        ];
        for (status, body, code, message) in table {
            let error = error(status, body, &[]);
            assert_eq!((error.code.as_str(), error.message.as_str()), (code, message));
        }
    }

    #[test]
    fn a_gateways_200_with_an_upstream_error_counts_as_that_error() {
        assert_eq!(
            error(200, r#"{"error":{"code":429,"message":"slow down"}}"#, &[]).class,
            Class::Throttled
        );
        assert_eq!(error(200, r#"{"error":{"code":"401","message":"who?"}}"#, &[]).class, Class::Fatal);
        assert_eq!(error(200, r#"{"error":{"code":"odd","message":"?"}}"#, &[]).class, Class::Fault);
    }

    #[test]
    fn a_redirect_says_where_to() {
        let error = error(308, "", &[("location", "https://other/v1")]);
        assert!(
            error.message.contains("https://other/v1") && error.message.contains("--base-url"),
            "{error}"
        );
    }

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        let long = "ü".repeat(5000);
        assert_eq!(excerpt(long.as_bytes()).chars().count(), 200);
        assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
