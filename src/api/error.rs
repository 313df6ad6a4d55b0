//! What a failed call means: the one place where statuses and bodies are classed.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::hints::Hints;
use crate::http::{HttpResponse, TransportError};
use crate::json::Json;
use crate::outcome::CallOutcome;
use crate::retry::Verdict;

use super::told::Told;

/// The code of a request that is larger than the server's limit of tokens: not too early, but too large for ever.
const TOO_LARGE: &str = "request_too_large";

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
    /// What else the server said about pace. Boxed: errors travel by value.
    pub hints: Box<Hints>,
    /// The response's body, if it was JSON. Boxed, too.
    pub body: Option<Box<Json>>,
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

    /// How the call ended, in the word of the records.
    #[must_use]
    pub fn outcome(&self) -> CallOutcome {
        match (self.class, self.status) {
            (Class::Throttled, _) => CallOutcome::RateLimited,
            (Class::Rejected, _) => CallOutcome::Rejected,
            (Class::Fatal, _) => CallOutcome::Fatal,
            (Class::Fault, Some(200..300)) => CallOutcome::Unreadable,
            (Class::Fault, Some(_)) => CallOutcome::ServerError,
            (Class::Fault, None) if self.code == "timeout" => CallOutcome::Timeout,
            (Class::Fault, None) => CallOutcome::Connection,
        }
    }

    /// Classes a complete response that is not an answer.
    pub(super) fn of_response(
        response: &HttpResponse,
        body: Option<Value>,
        hints: Hints,
        request_id: Option<String>,
    ) -> Self {
        let told = body.as_ref().map(Told::read).unwrap_or_default();
        let status = told.status_within(response.status);
        let class = classify(status, &told, &hints);
        let too_large =
            (status == 429 && class == Class::Rejected && told.never_fits()).then_some(TOO_LARGE);
        let code = too_large.map(str::to_owned).or(told.code);
        let code = code.unwrap_or_else(|| default_code(status).to_owned());
        let message = told.message.unwrap_or_else(|| describe(response));
        let retry_after = hints.retry_after;
        let (status, body) = (
            Some(response.status),
            body.map(|body| Box::new(body.into())),
        );
        CallError {
            class,
            code,
            message,
            status,
            request_id,
            retry_after,
            hints: Box::new(hints),
            body,
        }
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
        CallError {
            class,
            code,
            message,
            status,
            request_id,
            retry_after,
            hints,
            body,
        }
    }
}

/// The three ways of the design, by status, and by what the body tells of money, keys and requests that never fit.
fn classify(status: u16, told: &Told, hints: &Hints) -> Class {
    match (status, hints.should_retry) {
        (300..=399 | 401..=403, _) => Class::Fatal,
        (400 | 429, _) if told.is_about_the_key() => Class::Fatal,
        (429, _) if told.never_fits() => Class::Rejected,
        (_, Some(false)) => Class::Rejected,
        (429, _) => Class::Throttled,
        (503 | 529, _) if hints.retry_after.is_some() || told.is_busy() => Class::Throttled,
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
fn describe(response: &HttpResponse) -> String {
    match response.status {
        300..=399 => {
            let target = response.headers.get("location").unwrap_or("nowhere");
            format!(
                "the server redirects to {target}: give the address that it means with --base-url"
            )
        }
        200..300 if response.body.is_empty() => "the answer's body is empty".to_owned(),
        200..300 => format!(
            "the answer is not what this API answers: {}",
            excerpt(&response.body)
        ),
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
        let headers = headers.iter().copied().collect();
        let response = HttpResponse {
            status,
            headers,
            body: body.as_bytes().to_vec(),
        };
        let hints = Hints::read(
            response.headers.iter(),
            None,
            std::time::SystemTime::UNIX_EPOCH,
        );
        CallError::of_response(&response, serde_json::from_str(body).ok(), hints, None)
    }

    #[test]
    fn every_status_is_classed() {
        let table = [
            (
                Class::Fault,
                vec![200, 204, 408, 409, 425, 500, 502, 503, 504, 520, 529, 599],
            ),
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
        let quota = json!({"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}});
        let error = error(429, &quota.to_string(), &[("retry-after", "1")]);
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::Fatal, "insufficient_quota")
        );
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
        assert_eq!(
            error(500, "", &[("x-should-retry", "false")]).class,
            Class::Rejected
        );
        assert_eq!(
            error(422, "", &[("x-should-retry", "true")]).class,
            Class::Fault
        );
        assert_eq!(
            error(401, "", &[("x-should-retry", "true")]).class,
            Class::Fatal
        );
    }

    #[test]
    fn a_request_that_can_never_fit_is_rejected_at_once() {
        let told = |message: &str| {
            let body = json!({"error": {"message": message, "type": "tokens", "param": null,
                "code": "rate_limit_exceeded"}});
            error(
                429,
                &body.to_string(),
                &[("retry-after", "59"), ("x-should-retry", "true")],
            )
        };
        let message = "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, \
                       Requested 50000. The input or output tokens must be reduced in order to run successfully.";
        let error = told(message);
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::Rejected, "request_too_large")
        );
        assert_eq!(
            (error.verdict(), error.message.as_str()),
            (Verdict::Stop, message)
        );
        let soon = "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used \
                    29000, Requested 2000. Please try again in 2s.";
        assert_eq!(
            (told(soon).class, told(soon).code.as_str()),
            (Class::Throttled, "rate_limit_exceeded")
        );
    }

    #[test]
    fn a_key_without_money_or_of_no_use_stops_the_batch_whatever_the_status() {
        let gemini = |status: u16, name: &str, detail: Value| {
            error(
                status,
                &json!({"error": {"code": status, "message": "?", "status": name, "details": [detail]}})
                    .to_string(),
                &[],
            )
        };
        let invalid = json!({"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"});
        let error_of = |message: &str| {
            let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
            error(400, &body.to_string(), &[])
        };
        let quota = |period: &str| {
            let id = format!("GenerateRequestsPer{period}PerProjectPerModel-FreeTier");
            json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id}]})
        };
        assert_eq!(gemini(400, "INVALID_ARGUMENT", invalid).class, Class::Fatal);
        assert_eq!(
            gemini(400, "INVALID_ARGUMENT", json!({})).class,
            Class::Rejected
        );
        assert_eq!(
            gemini(400, "FAILED_PRECONDITION", json!({})).class,
            Class::Fatal
        );
        assert_eq!(
            gemini(429, "RESOURCE_EXHAUSTED", quota("Minute")).class,
            Class::Throttled
        );
        assert_eq!(
            gemini(429, "RESOURCE_EXHAUSTED", quota("Day")).class,
            Class::Fatal
        );
        assert_eq!(
            error_of("Your credit balance is too low to access the Anthropic API.").class,
            Class::Fatal
        );
        assert_eq!(
            error_of("You have reached your specified API usage limits.").class,
            Class::Fatal
        );
        assert_eq!(
            error_of("max_tokens: Field required").class,
            Class::Rejected
        );
    }

    #[test]
    fn a_server_that_is_full_or_not_ready_yet_is_waited_for() {
        let class = |body: Value| error(503, &body.to_string(), &[]).class;
        let ollama = "server busy, please try again.  maximum pending requests exceeded";
        let loading = json!({"code": 503, "message": "Loading model", "type": "unavailable_error"});
        assert_eq!(class(json!({"error": loading})), Class::Throttled);
        assert_eq!(class(json!({"error": ollama})), Class::Throttled);
        assert_eq!(
            class(json!({"error": {"message": "Slow down.", "type": "server_error"}})),
            Class::Throttled
        );
        assert_eq!(class(json!({"error": "down for repair"})), Class::Fault);
    }

    #[test]
    fn a_gateways_200_with_an_upstream_error_counts_as_that_error() {
        assert_eq!(
            error(200, r#"{"error":{"code":429,"message":"slow down"}}"#, &[]).class,
            Class::Throttled
        );
        assert_eq!(
            error(200, r#"{"error":{"code":"401","message":"who?"}}"#, &[]).class,
            Class::Fatal
        );
        let failed = |code: &str| {
            error(
                200,
                &json!({"status": "failed", "output": [], "error": {"code": code, "message": "?"}})
                    .to_string(),
                &[],
            )
            .class
        };
        assert_eq!(failed("rate_limit_exceeded"), Class::Throttled);
        assert_eq!(failed("server_error"), Class::Fault);
        assert_eq!(failed("invalid_prompt"), Class::Rejected);
        assert_eq!(
            error(200, r#"{"error":{"code":"odd","message":"?"}}"#, &[]).class,
            Class::Fault
        );
    }

    #[test]
    fn a_body_that_explains_nothing_is_quoted() {
        let table = [
            (
                404,
                r#"{"error":"model 'x' not found"}"#,
                "rejected",
                "model 'x' not found",
            ),
            (
                502,
                "<html>\n  Bad Gateway\n</html>",
                "server_error",
                "<html> Bad Gateway </html>",
            ),
            (500, "", "server_error", "no explanation"),
        ];
        for (status, body, code, message) in table {
            let error = error(status, body, &[]);
            assert_eq!(
                (error.code.as_str(), error.message.as_str()),
                (code, message)
            );
        }
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
