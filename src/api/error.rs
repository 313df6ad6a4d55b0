//! What a failed call means: the only place where statuses and bodies are classed.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::error_body::{Cause, ErrorBody, may_mean_the_key};
use super::reading::usage_of;
use super::{Answer, Usage, request_id};
use crate::hints::Hints;
use crate::http::{TransportError, TransportFault, header_named};
use crate::json::{Json, repaired};
use crate::outcome::CallOutcome;
use crate::retry::Verdict;
use crate::text::shortened;

/// The code of a request that is larger than the server's whole limit of tokens: waiting does not
/// help.
const TOO_LARGE: &str = "request_too_large";

/// The codes of calls that may have been billed, also where a part of the response came.
const TIMEOUT: &str = "timeout";
const BROKEN: &str = "broken_connection";

/// The code of a response that is not HTTP.
const NOT_HTTP: &str = "not_http";

/// The code of an answer that is none of the API's, and explains nothing.
const UNREADABLE: &str = "unreadable_body";

/// The code of an answer that does not fit the schema.
const MISFIT: &str = "schema";

/// The code of a call for which the flex tier had no capacity.
const NO_CAPACITY: &str = "no_capacity";

/// The codes of prompts that a provider's batch did not ask: it expired, or was cancelled or not accepted.
pub(crate) const EXPIRED: &str = "batch_expired";
pub(crate) const CANCELLED: &str = "batch_cancelled";

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
    pub(crate) hints: Box<Hints>,
    /// Whether the call may have been billed all the same: it timed out, or its connection broke,
    /// after the request was sent.
    pub maybe_billed: bool,
    /// The response's body, if it was JSON. Boxed for the same reason.
    pub(crate) body: Option<Box<Json>>,
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
            (Class::RateLimited, wait) => Verdict::RateLimited(wait),
            (Class::Fault, Some(wait)) => Verdict::RetryAfter(wait),
            (Class::Fault, None) => Verdict::Retry,
            (Class::Rejected | Class::Fatal, _) => Verdict::Stop,
        }
    }

    /// The tokens of the call, if its response states them: a server may bill a call that it answers with an error.
    #[must_use]
    pub(crate) fn usage(&self) -> Option<Usage> {
        usage_of(self.body.as_ref()?.as_str())
    }

    /// What came of an answer that broke off.
    pub(crate) fn partial(&self) -> Option<Json> {
        let has_begun = self.maybe_billed && matches!(self.status, Some(200..300));
        self.body.as_deref().filter(|_| has_begun).cloned()
    }

    /// The verdict where a limiter pauses everyone with the key: without a stated time, it decides when.
    pub(crate) fn verdict_behind_a_limiter(&self) -> Verdict {
        match self.verdict() {
            Verdict::RateLimited(None) if !self.is_without_capacity() => {
                Verdict::RateLimited(Some(Duration::ZERO))
            }
            verdict => verdict,
        }
    }

    /// The failure of a call at the flex tier. If the tier has no capacity (OpenAI: 429 `resource_unavailable`, Groq: 498
    /// `capacity_exceeded`), that says nothing about the rate.
    pub(super) fn at_flex(mut self) -> Self {
        let said = format!("{} {}", self.code, self.message).to_lowercase();
        let said = said.replace('_', " ");
        let is_short = |of: &str| said.contains(&format!("{of} unavailable"));
        let is_it =
            is_short("resource") || is_short("resources") || said.contains("capacity exceeded");
        if is_it && self.class == Class::RateLimited {
            self.code = NO_CAPACITY.to_owned();
        }
        self
    }

    /// Whether the flex tier had no capacity for the call.
    #[must_use]
    pub(crate) fn is_without_capacity(&self) -> bool {
        self.class == Class::RateLimited && self.code == NO_CAPACITY
    }

    /// Whether no connection was made at all.
    #[must_use]
    pub(crate) fn is_unreachable(&self) -> bool {
        let is_late = self.code == TIMEOUT && !self.maybe_billed;
        self.status.is_none() && (is_late || self.code == "no_connection")
    }

    /// Whether no prompt will be answered with this key.
    #[must_use]
    pub(crate) fn is_fatal(&self) -> bool {
        self.class == Class::Fatal
    }

    /// Whether somebody may be billed for the call. A gateway that gives up waiting (504) has passed the call on.
    #[must_use]
    pub(crate) fn may_be_billed(&self) -> bool {
        self.maybe_billed || self.status == Some(504)
    }

    /// How the call ended, in the word of the records.
    #[must_use]
    pub(crate) fn outcome(&self) -> CallOutcome {
        let is_cut = self.maybe_billed || self.status.is_none();
        match (self.class, self.status) {
            _ if self.code == EXPIRED => CallOutcome::Expired,
            _ if self.code == CANCELLED => CallOutcome::Cancelled,
            _ if self.is_without_capacity() => CallOutcome::NoCapacity,
            (Class::RateLimited, _) => CallOutcome::RateLimited,
            (Class::Rejected, Some(200..300)) if self.code == MISFIT => CallOutcome::Misfit,
            (Class::Rejected, _) => CallOutcome::Rejected,
            (Class::Fatal, _) => CallOutcome::Fatal,
            (Class::Fault, _) if is_cut && self.code == TIMEOUT => CallOutcome::Timeout,
            (Class::Fault, Some(_)) if is_cut && self.code == BROKEN => CallOutcome::Connection,
            (Class::Fault, Some(200..300)) => CallOutcome::Unreadable,
            (Class::Fault, Some(_)) => CallOutcome::ServerError,
            (Class::Fault, None) => CallOutcome::Connection,
        }
    }

    /// An answer that does not fit the schema, and why.
    pub(crate) fn misfit(answer: Answer, message: String) -> Self {
        CallError {
            status: Some(answer.status),
            request_id: answer.request_id,
            hints: answer.hints,
            body: Some(Box::new(answer.body)),
            ..CallError::new(Class::Rejected, MISFIT, message)
        }
    }

    /// A failure that is known by no more than this, for an [`Ask`](super::Ask) of your own.
    #[must_use]
    pub fn new(class: Class, code: impl Into<String>, message: impl Into<String>) -> Self {
        CallError {
            class,
            code: code.into(),
            message: message.into(),
            status: None,
            request_id: None,
            retry_after: None,
            hints: Box::default(),
            maybe_billed: false,
            body: None,
        }
    }

    /// A reset that is nearer than this is the gap to the next call, which every answer of a strict server states: it says
    /// nothing about how long an outage lasts.
    const WINDOW: Duration = Duration::from_secs(1);

    /// Classes a complete response that is not an answer, by its status, its headers (their names in
    /// lower case) and its body in the words of all servers.
    #[must_use]
    pub fn of_response(status: u16, headers: &[(String, String)], body: &[u8]) -> Self {
        Self::of_response_at(SystemTime::now(), status, headers, body)
    }

    /// `now` is when it came, in case it has no `Date` header.
    fn of_response_at(
        now: SystemTime,
        came_with: u16,
        headers: &[(String, String)],
        bytes: &[u8],
    ) -> Self {
        let body = json(bytes);
        let plain = plain_text(came_with, bytes).filter(|_| body.is_none());
        let explained = body.as_ref().or(plain.as_ref());
        let hints = Hints::read(headers, explained, now);
        let said = explained.map(ErrorBody::read).unwrap_or_default();
        let status = said.status_within(came_with);
        let reset = hints.until_reset();
        let cause = said.cause(status, hints.retry_after.or(reset).is_some());
        let class = classify(status, cause, &hints, bytes.is_empty());
        let until_reset = reset.filter(|reset| *reset >= Self::WINDOW);
        let until_reset = until_reset.filter(|_| class == Class::RateLimited);
        let code = said.code.filter(|_| cause != Cause::TooLarge);
        let text = said.message.filter(|_| body.is_some());
        let kept = body
            .map(Json::from)
            .or_else(|| unreadable(came_with, bytes));
        CallError {
            class,
            code: code.unwrap_or_else(|| default_code(status, cause).to_owned()),
            message: text.unwrap_or_else(|| describe(came_with, headers, bytes)),
            status: Some(came_with),
            request_id: request_id(headers).or(said.request_id),
            retry_after: hints.retry_after.or(until_reset),
            hints: Box::new(hints),
            maybe_billed: false,
            body: kept.map(Box::new),
        }
    }

    /// Whether this prompt was refused in a way that may be meant for the key: a 402 or 403 that
    /// names neither, or a 400 that speaks of keys. If it goes on for other prompts, the key is useless.
    #[must_use]
    pub(crate) fn may_be_the_key(&self) -> bool {
        let is_meant = match self.status {
            Some(402 | 403) => true,
            Some(400) => may_mean_the_key(&self.message),
            _ => false,
        };
        is_meant && self.class == Class::Rejected
    }

    /// Whether a request for several inputs that fails like this may be answered for some of them: not if the key, the address,
    /// the model or a parameter is to blame, or the network.
    #[must_use]
    pub(crate) fn may_be_about_an_input(&self) -> bool {
        let body = self.body.as_deref().map(Json::as_str).unwrap_or_default();
        let said = ErrorBody::read(&serde_json::from_str(body).unwrap_or(Value::Null));
        match (self.outcome(), self.status) {
            (CallOutcome::ServerError | CallOutcome::Unreadable, _) => true,
            (CallOutcome::Rejected, Some(status @ (401..=406 | 410 | 415 | 501))) => {
                said.cause(status, false) == Cause::Prompt
            }
            (CallOutcome::Rejected, _) => {
                !said.names_a_parameter() && !is_about_the_model(&self.code, &self.message)
            }
            _ => false,
        }
    }

    /// Whether an answer came, but none of this API: a page of a web site, or of the network.
    #[must_use]
    pub(crate) fn is_of_another_server(&self) -> bool {
        self.class == Class::Fault && [UNREADABLE, NOT_HTTP].contains(&self.code.as_str())
    }
}

impl From<TransportError> for CallError {
    fn from(error: TransportError) -> Self {
        use TransportFault::*;
        let (class, code) = match error.fault {
            Timeout => (Class::Fault, TIMEOUT),
            Unreachable => (Class::Fault, "no_connection"),
            Broken => (Class::Fault, BROKEN),
            Garbled => (Class::Fault, NOT_HTTP),
            ProxyRefused => (Class::Fatal, "proxy_refused"),
            TooLarge => (Class::Rejected, "too_large"),
            Untrusted => (Class::Fatal, "untrusted"),
            Unsendable => (Class::Fatal, "unsendable"),
        };
        CallError {
            maybe_billed: error.is_sent && matches!(error.fault, Timeout | Broken | Garbled),
            ..CallError::new(class, code, error.message)
        }
    }
}

/// Whether a failure says at its beginning, before it may repeat the prompt, that the model or a parameter is unknown. A
/// model that does not take as many inputs is not.
fn is_about_the_model(code: &str, message: &str) -> bool {
    const BEGINNING: usize = 100;
    let beginning = message.char_indices().nth(BEGINNING);
    let beginning = beginning.map_or(message, |(end, _)| &message[..end]);
    let said = format!("{code} {beginning}")
        .to_lowercase()
        .replace('_', " ");
    let says = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let unknown = "unknown,not exist,not found,not support,unsupported,invalid model,unrecognized";
    let unknown: Vec<_> = unknown.split(',').collect();
    says(&["model", "parameter", "argument"])
        && says(&unknown)
        && !says(&["inputs", "batch", "texts", "array"])
        || says(&["extra inputs are not permitted"])
}

/// The class of a response, by its status and by what its body is about.
fn classify(status: u16, cause: Cause, hints: &Hints, is_empty: bool) -> Class {
    match (status, cause) {
        (300..=399 | 401 | 407 | 511, _) => Class::Fatal,
        (402 | 403, Cause::Prompt) => Class::Rejected,
        (_, Cause::Credit) if status >= 400 => Class::Fatal,
        (400 | 403, Cause::Key) | (402, _) => Class::Fatal,
        // This prompt or this key? An explanation that names neither is for this prompt.
        (403, _) if is_empty => Class::Fatal,
        (429, Cause::TooLarge) => Class::Rejected,
        _ if hints.should_retry == Some(false) => Class::Rejected,
        (429 | 529, _) => Class::RateLimited,
        (503, _) if hints.retry_after.is_some() => Class::RateLimited,
        (400 | 408 | 409 | 424 | 425 | 498 | 500.., Cause::Busy) => Class::RateLimited,
        (100..300 | 408 | 409 | 425 | 500.., _) => Class::Fault,
        _ if hints.should_retry == Some(true) => Class::Fault,
        _ => Class::Rejected,
    }
}

fn default_code(status: u16, cause: Cause) -> &'static str {
    match status {
        429 if cause == Cause::TooLarge => TOO_LARGE,
        100..300 => UNREADABLE,
        300..=399 => "redirect",
        401 | 403 => "key_refused",
        407 => "proxy_refused",
        429 => "rate_limited",
        500.. => "server_error",
        _ => "rejected",
    }
}

/// The body as JSON, repaired if it is broken. Large bodies are not parsed: a failure is explained in
/// a few lines, and a parsed body takes up to 30 times its size.
fn json(body: &[u8]) -> Option<Value> {
    const LARGEST: usize = 1 << 20;
    let body = Some(body).filter(|body| body.len() <= LARGEST)?;
    let as_it_came = serde_json::from_slice(body).ok();
    as_it_came.or_else(|| serde_json::from_str(&repaired(body)).ok())
}

/// The beginning of a failure's body, which may be a text or a page that says when to come back.
fn plain_text(status: u16, body: &[u8]) -> Option<Value> {
    const MOST: usize = 2 << 10; // as long as an explanation may be
    let beginning = String::from_utf8_lossy(&body[..body.len().min(MOST)]);
    (status >= 400).then(|| Value::from(beginning))
}

/// An answer that cannot be read was paid for: its text is kept.
fn unreadable(status: u16, body: &[u8]) -> Option<Json> {
    const MOST: usize = 64 << 10;
    let is_paid = (200..300).contains(&status) && !body.is_empty();
    let beginning = &body[..body.len().min(MOST)];
    is_paid.then(|| Json::from(Value::from(String::from_utf8_lossy(beginning))))
}

/// A sentence for a response that does not explain itself.
fn describe(status: u16, headers: &[(String, String)], body: &[u8]) -> String {
    match status {
        300..=399 => {
            let target = header_named(headers, "location").unwrap_or("nowhere");
            format!(
                "the server redirects to {target}: give the address that it means with --base-url"
            )
        }
        200..300 if body.is_empty() => "the answer's body is empty".to_owned(),
        200..300 => format!("the answer is not what this API answers: {}", excerpt(body)),
        _ if body.is_empty() => "no explanation".to_owned(),
        _ => excerpt(body),
    }
}

/// The beginning of a body, or the title of a page, in one line.
fn excerpt(body: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MOST)]);
    let title = text.split_once("<title>");
    let title = title.and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => format!("a web page: {}", shortened(title, MOST)),
        None => shortened(&text, MOST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(status: u16, body: &str, headers: &[(&str, &str)]) -> CallError {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let headers: Vec<_> = headers.iter().map(owned).collect();
        CallError::of_response_at(SystemTime::UNIX_EPOCH, status, &headers, body.as_bytes())
    }

    #[test]
    fn a_refusal_of_several_inputs_may_be_about_one_or_about_their_number_unless_it_says_otherwise()
    {
        let of_inputs = [
            (
                400,
                r#"{"error":{"message":"Too many inputs. The max number of inputs is 16."}}"#,
            ),
            (
                400,
                r#"{"error":{"code":"InvalidParameter","message":"batch size is invalid, it should not be larger than 10"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"This model does not support more than 96 texts"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"'$.input' is invalid","param":"input"}}"#,
            ),
            (
                413,
                r#"{"error":"batch size 100 > maximum allowed batch size 32"}"#,
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","input",3],"msg":"empty"}]}"#,
            ),
            (403, r#"{"error":{"message":"your input was flagged"}}"#),
            (400, "no"),
            (413, ""),
        ];
        let of_the_call = [
            (
                400,
                r#"{"error":{"message":"no","code":"model_not_found"}}"#,
            ),
            (
                400,
                r#"{"message":"Invalid model: x","type":"invalid_model","param":null}"#,
            ),
            (
                400,
                r#"{"error":{"message":"The model `text-embedding-9` does not exist"}}"#,
            ),
            (
                400,
                r#"{"error":{"message":"Unrecognized request argument supplied: size"}}"#,
            ),
            (400, r#"{"error":{"message":"wrong","param":"dimensions"}}"#),
            (
                422,
                r#"{"detail":[{"loc":["body","encoding_format"],"msg":"wrong"}]}"#,
            ),
            (403, r#"{"error":{"message":"not for you"}}"#),
            (404, "no such page"),
            (405, ""),
        ];
        let tables = [(true, &of_inputs[..]), (false, &of_the_call[..])];
        for (expected, table) in tables {
            for (status, body) in table {
                let refused = error(*status, body, &[]);
                let found = refused.may_be_about_an_input();
                assert_eq!(found, expected, "{status} {body}");
            }
        }
    }

    #[test]
    fn every_status_is_classed() {
        let table = [
            (
                Class::Fault,
                vec![200, 204, 408, 409, 425, 500, 502, 503, 504, 520, 599],
            ),
            (Class::RateLimited, vec![429, 529]),
            (Class::Rejected, vec![400, 404, 405, 413, 415, 422, 451]),
            (Class::Fatal, vec![301, 302, 307, 308, 401, 402, 403, 407]),
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
                Verdict::RateLimited(wait),
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

    fn class(status: u16, body: Value) -> Class {
        error(status, &body.to_string(), &[]).class
    }

    #[test]
    fn no_credit_is_fatal_in_the_words_of_every_server() {
        let per_day = json!({"@type": "QuotaFailure", "violations": [{"quotaId": "RequestsPerDay-FreeTier"}]});
        let exhausted = json!({"error": {"status": "RESOURCE_EXHAUSTED", "details": [per_day]}});
        let nested = json!({"error": {"code": "insufficient_quota", "message": "?"}}).to_string();
        let table = [
            (
                429,
                json!({"error": {"code": "1113", "message": "Insufficient balance."}}),
            ),
            (429, json!({"error": {"code": 1113, "message": "?"}})),
            (
                429,
                json!({"error": {"type": "exceeded_current_quota_error", "message": "?"}}),
            ),
            (
                429,
                json!({"error": {"message": "You exceeded your current quota, check your plan."}}),
            ),
            (
                429,
                json!({"error": {"type": "budget_exceeded", "code": "429", "message": "?"}}),
            ),
            (
                400,
                json!({"error": {"message": "Budget has been exceeded! Max budget: 10.0"}}),
            ),
            (
                400,
                json!({"code": "Arrearage", "message": "Access denied."}),
            ),
            (
                429,
                json!({"message": "You are limited to 1000 API calls / month."}),
            ),
            (429, json!({"errors": [{"code": 4006, "message": "?"}]})),
            (
                429,
                json!({"error": {"message": "Rate limit exceeded: free-models-per-day."}}),
            ),
            (
                402,
                json!({"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),
            ),
            (402, json!({"detail": "Payment required"})),
            (
                412,
                json!({"error": {"message": "Account x is suspended, see billing."}}),
            ),
            (
                429,
                json!({"error": {"message": "Credit limit exceeded.", "type": "credit_limit"}}),
            ),
            (
                403,
                json!({"error": {"message": "Key limit exceeded (total limit)."}}),
            ),
            (
                400,
                json!({"error": {"message": "ExceededTokenBudget: Current spend: 0.5"}}),
            ),
            (
                429,
                json!({"error": {"message": "您的账户已欠费，请充值后重试。"}}),
            ),
            (
                403,
                json!({"error": {"message": "Your account has an overdue balance."}}),
            ),
            (
                429,
                json!({"error": {"message": "Your account has exhausted its free trial quota."}}),
            ),
            (
                400,
                json!({"error": {"message": "Your organization has been disabled."}}),
            ),
            (429, json!([exhausted])),
            (429, json!({"error": {"message": nested, "code": 429}})),
            (
                429,
                json!({"error": {"message": format!("upstream: {nested}")}}),
            ),
            (
                403,
                json!({"error": {"message": "Your API key does not have permission."}}),
            ),
        ];
        for (status, body) in table {
            assert_eq!(class(status, body.clone()), Class::Fatal, "{status} {body}");
        }
        let a_minute = json!({"error": {"status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "7s"}],
            "message": "You exceeded your current quota, please check your plan."}});
        assert_eq!(class(429, a_minute), Class::RateLimited);
        let soon =
            "on requests per day (RPD): Limit 200, Used 200, Requested 1. Try again in 7m12s.";
        assert_eq!(
            class(429, json!({"error": {"message": soon}})),
            Class::RateLimited
        );
    }

    #[test]
    fn a_reset_is_a_wait_unless_it_is_only_the_gap_to_the_next_call() {
        let wait = |reset: &str| {
            let headers = [
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", reset),
            ];
            error(429, "{}", &headers).retry_after
        };
        assert_eq!(wait("16s"), Some(Duration::from_secs(16)));
        assert_eq!(wait("95ms"), None, "an outage is probed less and less");
    }

    #[test]
    fn a_prompt_that_is_refused_for_what_it_is_fails_alone() {
        let html = error(403, "<html><h1>Request blocked</h1></html>", &[]);
        assert_eq!((html.class, html.may_be_the_key()), (Class::Rejected, true));
        let table = [
            (
                403,
                json!({"error": {"message": "Your input was flagged for violence."}}),
            ),
            (
                403,
                json!({"error": {"message": "?", "metadata": {"flagged_input": "..."}}}),
            ),
            (403, json!({"error": {"message": "Forbidden"}})),
            (
                402,
                json!({"error": {"message": "You requested up to 65536 tokens, but can only afford 2119."}}),
            ),
        ];
        for (status, body) in table {
            let error = error(status, &body.to_string(), &[]);
            assert_eq!(error.class, Class::Rejected, "{status} {body}");
            assert!(error.may_be_the_key());
        }
        assert!(!error(400, "{}", &[]).may_be_the_key());
        let echo =
            json!({"error": {"message": "Bad prompt: 'Why is there a rate limit per day?'"}});
        assert_eq!(class(400, echo), Class::Rejected);
    }

    #[test]
    fn a_refusal_that_repeats_the_prompt_is_for_this_prompt() {
        for echo in [
            "Invalid prompt: explain rate limits, insufficient_quota and invalid api key",
            "prompt too long: 'my credit balance is too low, insufficient balance'",
            "Invalid value: your api key is in the prompt",
        ] {
            let echo = json!({"error": {"message": echo}}).to_string();
            let error = error(400, &echo, &[]);
            assert_eq!(error.class, Class::Rejected, "{echo}");
            assert!(error.may_be_the_key(), "{echo}");
        }
    }

    #[test]
    fn a_text_or_a_page_says_what_it_is_about_and_when_to_come_back() {
        let text = "Too many requests, please try again in 5 seconds.";
        for body in [text.to_owned(), format!("<html><body>{text}</body></html>")] {
            let error = error(429, &body, &[]);
            assert_eq!(error.retry_after, Some(Duration::from_secs(5)));
            assert_eq!(error.message, body);
        }
        assert_eq!(error(429, "Insufficient balance", &[]).class, Class::Fatal);
        assert_eq!(error(500, "Queue is full", &[]).class, Class::RateLimited);
        let page = "<!doctype html><html><head><title>Just a\n moment...</title></head>";
        assert_eq!(
            error(503, page, &[]).message,
            "a web page: Just a moment..."
        );
    }

    #[test]
    fn a_page_in_place_of_an_answer_is_of_another_server() {
        let is_of_another = |status, body| error(status, body, &[]).is_of_another_server();
        assert!(is_of_another(200, "<html>Sign in</html>") && is_of_another(200, ""));
        assert!(!is_of_another(
            200,
            r#"{"error":{"code":502,"message":"?"}}"#
        ));
        assert!(!is_of_another(502, "<html>Bad Gateway</html>"));
        assert_eq!(error(511, "<html>Log in</html>", &[]).class, Class::Fatal);
    }

    #[test]
    fn a_busy_server_is_waited_for_under_every_status() {
        let table = [
            (
                503,
                json!({"error": "Model org/m is currently loading", "estimated_time": 20.0}),
            ),
            (
                503,
                json!({"detail": {"msg": "Server is busy; please try again later."}}),
            ),
            (
                400,
                json!({"__type": "ThrottlingException", "message": "Too many requests."}),
            ),
            (
                500,
                json!({"detail": "An error occurred (ThrottlingException): Too many requests."}),
            ),
            (
                424,
                json!({"error": "CUDA out of memory", "error_type": "generation"}),
            ),
            (
                498,
                json!({"error": {"code": "capacity_exceeded", "message": "?"}}),
            ),
            (
                200,
                json!({"error": {"type": "rate_limit_error", "message": "?", "code": null}}),
            ),
            (
                200,
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "?"}}),
            ),
            (
                200,
                json!({"choices": [{"error": {"code": 429, "message": "?"}}]}),
            ),
            (
                500,
                json!({"error": {"message": "The model is overloaded."}}),
            ),
        ];
        for (status, body) in table {
            assert_eq!(
                class(status, body.clone()),
                Class::RateLimited,
                "{status} {body}"
            );
        }
        assert_eq!(
            class(424, json!({"error": "no such tool"})),
            Class::Rejected
        );
        assert_eq!(
            class(200, json!({"note": "too many requests"})),
            Class::Fault
        );
    }

    #[test]
    fn a_refusal_without_a_wait_is_waited_out_until_the_limit_is_whole_again() {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "20")];
        let wait = Duration::from_secs(20);
        assert_eq!(error(429, "", &headers).retry_after, Some(wait));
        assert_eq!(error(500, "", &headers).retry_after, None);
    }

    #[test]
    fn the_body_of_an_answer_that_cannot_be_read_is_kept_and_a_large_one_is_cut() {
        let kept = |status, body: &str| error(status, body, &[]).body.map(|body| body.value());
        assert_eq!(kept(200, "Well done"), Some(json!("Well done")));
        assert_eq!((kept(500, "down"), kept(204, "")), (None, None));
        let large = format!("[{}]", "[],".repeat(1 << 20));
        assert_eq!(kept(200, &large).unwrap().as_str().unwrap().len(), 64 << 10);
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
