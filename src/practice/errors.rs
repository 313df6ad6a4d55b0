//! The errors of each provider, and its headers: when to come back, what is left of the limits.

use std::iter;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::apis::Dialect;
use super::limits::{Headroom, OverLimit};
use super::wire::WireReply;

/// Why a call does not get an answer.
#[derive(Clone, Debug)]
pub(super) enum Problem {
    /// The status, and what is wrong with the request.
    Invalid(u16, String),
    OverLimit(OverLimit),
    NoCredit,
    /// There is no capacity for calls of the tier flex.
    NoFlex,
    /// An error on purpose.
    Injected(u16),
}

impl Problem {
    /// How long a client has to wait, where waiting helps.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Problem::OverLimit(over) => over.wait(),
            Problem::Injected(503) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

impl Dialect {
    /// An error in the format of its provider; `hints` says when to come back.
    pub(super) fn error(self, problem: &Problem, hints: bool) -> WireReply {
        let wait = problem.retry_after().filter(|_| hints);
        let (status, message) = self.describe(problem, wait);
        let body = match self {
            Dialect::Messages => {
                let error = json!({"type": names(status)[0], "message": message});
                json!({"type": "error", "error": error})
            }
            Dialect::Gemini => google_error(problem, status, &message, wait),
            _ => openai_error(problem, status, &message),
        };
        let mut reply = WireReply::new(status, body.to_string());
        if let Some(wait) = wait.filter(|_| self != Dialect::Gemini) {
            reply = reply.header("retry-after", wait.as_secs_f64().ceil());
            if self != Dialect::Messages {
                reply = reply.header("retry-after-ms", millis(wait));
            }
        }
        reply
    }

    /// The status and the message of an error.
    fn describe(self, problem: &Problem, wait: Option<Duration>) -> (u16, String) {
        match problem {
            Problem::Invalid(status, message) => (*status, message.clone()),
            Problem::Injected(status) => (*status, INJECTED.to_owned()),
            Problem::NoCredit if self == Dialect::Messages => (400, LOW_BALANCE.to_owned()),
            Problem::NoCredit => (429, NO_QUOTA.to_owned()),
            Problem::NoFlex => (429, NO_CAPACITY.to_owned()),
            Problem::OverLimit(OverLimit::TooLarge { limit, requested }) => match self {
                Dialect::Messages => (413, "Request exceeds the maximum size".to_owned()),
                Dialect::Gemini => {
                    let count = format!("The input token count ({requested})");
                    (400, format!("{count} exceeds the maximum of {limit}."))
                }
                _ => (
                    429,
                    format!("{TOO_LARGE} Limit {limit}, Requested {requested}."),
                ),
            },
            Problem::OverLimit(OverLimit::Early { what, .. }) => {
                let is_told = !matches!(self, Dialect::Messages | Dialect::Gemini);
                let wait = wait.filter(|_| is_told).map(spell);
                let advice = wait.map(|wait| format!(" Please try again in {wait}."));
                let message = format!("Rate limit reached for {what} on the practice server.");
                (429, message + &advice.unwrap_or_default())
            }
        }
    }

    /// The headers about a call: its number, and what is left of the limits. Google has none.
    pub(super) fn headers(self, number: u64, limits: &[Headroom]) -> Vec<(String, String)> {
        let is_anthropic = self == Dialect::Messages;
        if self == Dialect::Gemini {
            return Vec::new();
        }
        let id = ["x-request-id", "request-id"][usize::from(is_anthropic)];
        let whole = if is_anthropic { instant } else { spell };
        let stated = |left: &Headroom| {
            let name = |part| match is_anthropic {
                true => format!("anthropic-ratelimit-{}-{part}", left.what),
                false => format!("x-ratelimit-{part}-{}", left.what),
            };
            [
                (name("limit"), left.limit.to_string()),
                (name("remaining"), left.remaining.to_string()),
                (name("reset"), whole(left.whole_in)),
            ]
        };
        let number = (id.to_owned(), format!("req_{number:012x}"));
        let limits = limits.iter().flat_map(stated);
        iter::once(number).chain(limits).collect()
    }
}

const TOO_LARGE: &str = "Request too large for paceline-practice on tokens per min (TPM):";
const INJECTED: &str = "The practice server returns this error on purpose.";
const LOW_BALANCE: &str = "Your credit balance is too low to access the practice server.";
const NO_CAPACITY: &str =
    "Resource unavailable: there is no capacity for flex processing. Please try again later.";
const NO_QUOTA: &str =
    "You exceeded your current quota, please check your plan and billing details.";

fn openai_error(problem: &Problem, status: u16, message: &str) -> Value {
    let (kind, code) = match (problem, status) {
        (Problem::NoCredit, _) => ("insufficient_quota", Some("insufficient_quota")),
        (Problem::NoFlex, _) => ("resource_unavailable", Some("resource_unavailable")),
        (Problem::OverLimit(OverLimit::TooLarge { .. }), _)
        | (Problem::OverLimit(OverLimit::Early { what: "tokens", .. }), _) => {
            ("tokens", Some("rate_limit_exceeded"))
        }
        (_, 429) => ("requests", Some("rate_limit_exceeded")),
        (_, 529) => ("server_error", Some("overloaded_error")),
        (_, 500..) => ("server_error", None),
        _ => ("invalid_request_error", None),
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

/// What Anthropic and Google call an error of this status.
fn names(status: u16) -> [&'static str; 2] {
    match status {
        401 => ["authentication_error", "UNAUTHENTICATED"],
        403 => ["permission_error", "PERMISSION_DENIED"],
        404 => ["not_found_error", "NOT_FOUND"],
        413 => ["request_too_large", "INVALID_ARGUMENT"],
        429 => ["rate_limit_error", "RESOURCE_EXHAUSTED"],
        500 => ["api_error", "INTERNAL"],
        529 => ["overloaded_error", "UNAVAILABLE"],
        501.. => ["api_error", "UNAVAILABLE"],
        _ => ["invalid_request_error", "INVALID_ARGUMENT"],
    }
}

fn google_error(problem: &Problem, status: u16, message: &str, wait: Option<Duration>) -> Value {
    let mut error = json!({"code": status, "message": message, "status": names(status)[1]});
    if let Some(wait) = wait {
        let delay = format!("{}s", millis(wait) as f64 / 1e3);
        error["details"] =
            json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]);
    } else if matches!(problem, Problem::NoCredit) {
        let violation = json!({"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"});
        let kind = "type.googleapis.com/google.rpc.QuotaFailure";
        error["details"] = json!([{"@type": kind, "violations": [violation]}]);
    }
    json!({"error": error})
}

/// Milliseconds, rounded up, so that a client that comes back then is not early.
fn millis(wait: Duration) -> u128 {
    wait.as_micros().div_ceil(1000)
}

/// A duration as OpenAI spells it: `85ms`, `1.5s`, `6m0s`.
fn spell(duration: Duration) -> String {
    match millis(duration) {
        ms @ 0..1000 => format!("{ms}ms"),
        ms @ 1000..60_000 => format!("{}s", ms as f64 / 1000.0),
        ms => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// An instant as Anthropic spells it, in whole seconds, rounded up.
fn instant(from_now: Duration) -> String {
    let at = SystemTime::now() + from_now + Duration::from_millis(999);
    let at = jiff::Timestamp::try_from(at);
    at.map(|at| format!("{at:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const PROVIDERS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Gemini];

    fn body(reply: &WireReply) -> Value {
        serde_json::from_str(&reply.body).unwrap()
    }

    fn header_names(reply: &WireReply) -> Vec<&str> {
        reply
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    #[test]
    fn each_provider_says_in_its_own_way_when_to_come_back() {
        let problem = Problem::OverLimit(OverLimit::Early {
            what: "requests",
            wait: Duration::from_millis(1500),
        });
        let errors = PROVIDERS.map(|provider| provider.error(&problem, true));
        assert!(errors.iter().all(|reply| reply.status == 429));
        let headers = errors.each_ref().map(header_names);
        assert_eq!(
            headers,
            [
                vec!["retry-after", "retry-after-ms"],
                vec!["retry-after"],
                vec![]
            ]
        );
        let [openai, anthropic, google] = errors.each_ref().map(body);
        assert_eq!(openai["error"]["code"], "rate_limit_exceeded");
        assert_eq!(anthropic["error"]["type"], "rate_limit_error");
        assert_eq!(google["error"]["status"], "RESOURCE_EXHAUSTED");
        assert_eq!(google["error"]["code"], 429);
        assert_eq!(google["error"]["details"][0]["retryDelay"], "1.5s");
        for provider in PROVIDERS {
            let silent = provider.error(&problem, false);
            assert!(silent.headers.is_empty() && body(&silent)["error"].get("details").is_none());
        }
    }

    #[test]
    fn only_openai_answers_a_call_that_is_too_large_with_a_429() {
        let limit = NonZeroU32::new(30_000).unwrap();
        let requested = 50_000;
        let problem = Problem::OverLimit(OverLimit::TooLarge { limit, requested });
        let statuses = PROVIDERS.map(|provider| provider.error(&problem, true).status);
        assert_eq!(statuses, [429, 413, 400]);
    }

    #[test]
    fn limits_are_stated_in_headers_or_not_at_all() {
        let left = Headroom {
            what: "requests",
            limit: NonZeroU32::new(600).unwrap(),
            remaining: 3,
            whole_in: Duration::from_millis(200),
        };
        let headers = PROVIDERS.map(|provider| provider.headers(1, &[left]));
        let [openai, anthropic, google] = headers;
        let values: Vec<_> = openai.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["req_000000000001", "600", "3", "200ms"]);
        assert_eq!(openai[3].0, "x-ratelimit-reset-requests");
        let limit = (
            "anthropic-ratelimit-requests-limit".to_owned(),
            "600".to_owned(),
        );
        assert_eq!(anthropic[1], limit);
        assert!(
            anthropic[3].1.parse::<jiff::Timestamp>().is_ok(),
            "{anthropic:?}"
        );
        assert_eq!(google, []);
    }

    #[test]
    fn durations_are_spelled_as_openai_does() {
        let table = [
            (0, "0ms"),
            (85, "85ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (360_000, "6m0s"),
        ];
        for (ms, expected) in table {
            assert_eq!(spell(Duration::from_millis(ms)), expected);
        }
        assert_eq!(spell(Duration::from_micros(10)), "1ms");
    }
}
