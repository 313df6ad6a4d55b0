//! What a failed call means: the only place where statuses and bodies are classed.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::client::request_id;
use super::error_body::ErrorBody;
use crate::hints::Hints;
use crate::http::{HttpResponse, TransportError};
use crate::json::Json;
use crate::outcome::CallOutcome;
use crate::retry::Verdict;

/// The code of a request that is larger than the server's whole limit of tokens: waiting does not
/// help.
const TOO_LARGE: &str = "request_too_large";

/// What to do about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A passing error of the server or the network: try again.
    Fault,
    /// Calls come too fast, or the server is full: everyone waits, then tries again. This costs the
    /// prompt no retry.
    RateLimited,
    /// This prompt will never be answered; others may.
    Rejected,
    /// No prompt will be answered with this key.
    Fatal,
}

/// A call that brought no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// What to do about it.
    pub class: Class,
    /// The server's error code, or one of our own, such as `timeout`.
    pub code: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The HTTP status, if a response came.
    pub status: Option<u16>,
    /// The server's name for this call.
    pub request_id: Option<String>,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
    /// What the server said about its limits. Boxed, because errors travel by value.
    pub hints: Box<Hints>,
    /// The response's body, if it was JSON. Boxed for the same reason.
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
            (Class::RateLimited, wait) => Verdict::Throttled(wait),
            (Class::Fault, Some(wait)) => Verdict::RetryAfter(wait),
            (Class::Fault, None) => Verdict::Retry,
            (Class::Rejected | Class::Fatal, _) => Verdict::Stop,
        }
    }

    /// Whether no prompt will be answered with this key.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.class == Class::Fatal
    }

    /// How the call ended, in the word of the records.
    #[must_use]
    pub fn outcome(&self) -> CallOutcome {
        match (self.class, self.status) {
            (Class::RateLimited, _) => CallOutcome::RateLimited,
            (Class::Rejected, _) => CallOutcome::Rejected,
            (Class::Fatal, _) => CallOutcome::Fatal,
            (Class::Fault, Some(200..300)) => CallOutcome::Unreadable,
            (Class::Fault, Some(_)) => CallOutcome::ServerError,
            (Class::Fault, None) if self.code == "timeout" => CallOutcome::Timeout,
            (Class::Fault, None) => CallOutcome::Connection,
        }
    }

    /// A failure without a response.
    fn without_response(class: Class, code: &str, message: String) -> Self {
        CallError {
            class,
            code: code.to_owned(),
            message,
            status: None,
            request_id: None,
            retry_after: None,
            hints: Box::default(),
            body: None,
        }
    }

    /// Classes a complete response that is not an answer, by its status, its headers and its body in
    /// the words of all APIs. `now` is when it came: some servers name the instant to come back at.
    #[must_use]
    pub fn of_response(response: &HttpResponse, now: SystemTime) -> Self {
        let body: Option<Value> = serde_json::from_slice(&response.body).ok();
        let hints = Hints::read(response.headers.iter(), body.as_ref(), now);
        let said = body.as_ref().map(ErrorBody::read).unwrap_or_default();
        let status = said.status_within(response.status);
        let class = classify(status, &said, &hints);
        let is_too_large = status == 429 && class == Class::Rejected && said.never_fits();
        let code = if is_too_large {
            TOO_LARGE.to_owned()
        } else {
            let usual = || default_code(status).to_owned();
            said.code.clone().unwrap_or_else(usual)
        };
        CallError {
            class,
            code,
            message: said.message.unwrap_or_else(|| describe(response)),
            status: Some(response.status),
            request_id: request_id(&response.headers).or(said.request_id),
            retry_after: hints.retry_after,
            hints: Box::new(hints),
            body: body.map(|body| Box::new(body.into())),
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
        CallError::without_response(class, code, error.to_string())
    }
}

/// The class of a response, by its status, and by what the body says of money, keys and requests that
/// never fit.
fn classify(status: u16, said: &ErrorBody, hints: &Hints) -> Class {
    match (status, hints.should_retry) {
        (300..=399 | 401..=403, _) => Class::Fatal,
        (400 | 429, _) if said.is_about_the_key() => Class::Fatal,
        (429, _) if said.never_fits() => Class::Rejected,
        (_, Some(false)) => Class::Rejected,
        (429, _) => Class::RateLimited,
        (503 | 529, _) if hints.retry_after.is_some() || said.is_busy() => Class::RateLimited,
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

/// A sentence for a response that does not explain itself.
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

/// The beginning of a body, in one line.
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
        let response = HttpResponse {
            status,
            headers: headers.iter().copied().collect(),
            body: body.as_bytes().to_vec(),
        };
        CallError::of_response(&response, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn every_status_is_classed() {
        let table = [
            (
                Class::Fault,
                vec![200, 204, 408, 409, 425, 500, 502, 503, 504, 520, 529, 599],
            ),
            (Class::RateLimited, vec![429]),
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
            (Class::RateLimited, "rate_limit_exceeded")
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
            Class::RateLimited
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
        assert_eq!(class(json!({"error": loading})), Class::RateLimited);
        assert_eq!(class(json!({"error": ollama})), Class::RateLimited);
        assert_eq!(
            class(json!({"error": {"message": "Slow down.", "type": "server_error"}})),
            Class::RateLimited
        );
        assert_eq!(class(json!({"error": "down for repair"})), Class::Fault);
    }

    #[test]
    fn a_gateways_200_with_an_upstream_error_counts_as_that_error() {
        assert_eq!(
            error(200, r#"{"error":{"code":429,"message":"slow down"}}"#, &[]).class,
            Class::RateLimited
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
        assert_eq!(failed("rate_limit_exceeded"), Class::RateLimited);
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
