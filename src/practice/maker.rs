//! The manners of each maker: how it words an error, how it refuses, and what it says of its limits.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::answer::MODEL;
use super::limits::{Kind, Left};
use super::wire::Reply;

/// Whose manners an API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    OpenAi,
    Anthropic,
    Google,
}

impl Maker {
    /// An error in this maker's words.
    pub(super) fn error(self, status: u16, message: &str, code: Option<&str>) -> Reply {
        match self {
            Maker::OpenAi => Reply::error(status, openai_type(status, code), message, code),
            Maker::Anthropic => {
                let error = json!({"type": anthropic_type(status), "message": message});
                Reply::json(status, &json!({"type": "error", "error": error}))
            }
            Maker::Google => google(status, message, Vec::new()),
        }
    }

    /// The answer to a call that came too soon, or is too large to come at all.
    pub(super) fn refusal(self, wait: Duration, kind: Kind, hints: bool) -> Reply {
        if let Kind::TooLarge { limit, requested } = kind {
            return self.too_large(limit, requested);
        }
        let what = kind.words();
        let mut reply = match self {
            Maker::OpenAi => {
                let advice = if hints {
                    format!(" Please try again in {}.", spell(wait))
                } else {
                    String::new()
                };
                let message =
                    format!("Rate limit reached for {what} on the practice server.{advice}");
                let kind = if kind == Kind::Tokens {
                    "tokens"
                } else {
                    "requests"
                };
                Reply::error(429, kind, &message, Some("rate_limit_exceeded"))
            }
            Maker::Anthropic => self.error(
                429,
                &format!("This request would exceed the practice server's limit of {what}."),
                None,
            ),
            Maker::Google => {
                let info = json!({"@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": format!("{}s", wait_ms(wait) as f64 / 1e3)});
                let details = if hints { vec![info] } else { Vec::new() };
                google(
                    429,
                    &format!("Quota exceeded for {what} on the practice server."),
                    details,
                )
            }
        };
        if hints && self != Maker::Google {
            reply.header("retry-after", wait.as_secs_f64().ceil().to_string());
        }
        if hints && self == Maker::OpenAi {
            reply.header("retry-after-ms", wait_ms(wait).to_string());
        }
        reply
    }

    fn too_large(self, limit: NonZeroU32, requested: u32) -> Reply {
        match self {
            Maker::OpenAi => {
                let message = format!(
                    "Request too large for {MODEL} on tokens per min (TPM): Limit {limit}, Requested {requested}. \
                     The input or output tokens must be reduced in order to run successfully."
                );
                Reply::error(429, "tokens", &message, Some("rate_limit_exceeded"))
            }
            Maker::Anthropic => self.error(413, "Request exceeds the maximum size", None),
            Maker::Google => {
                let message =
                    format!("The input token count ({requested}) exceeds the maximum of {limit}.");
                google(400, &message, Vec::new())
            }
        }
    }

    /// The answer to a key that has no money left.
    pub(super) fn no_money(self) -> Reply {
        let message =
            "You exceeded your current quota, please check your plan and billing details.";
        match self {
            Maker::OpenAi => self.error(429, message, Some("insufficient_quota")),
            Maker::Anthropic => self.error(
                400,
                "Your credit balance is too low to access the practice server.",
                None,
            ),
            Maker::Google => {
                let id = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
                let failure = json!({"@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"quotaId": id}]});
                google(429, message, vec![failure])
            }
        }
    }

    /// The answer of a server in trouble.
    pub(super) fn trouble(self, status: u16, hints: bool) -> Reply {
        let (message, code) = match status {
            529 => ("Overloaded", Some("overloaded_error")),
            429 => ("Too many requests", Some("rate_limit_exceeded")),
            _ => ("The practice server fails, as it was told to.", None),
        };
        let mut reply = self.error(status, message, code);
        if hints && status == 503 && self != Maker::Google {
            reply.header("retry-after", "1".to_owned());
        }
        reply
    }

    /// The header that names a call; Google has a field in the answer for it.
    pub(super) fn request_id(self) -> Option<&'static str> {
        match self {
            Maker::OpenAi => Some("x-request-id"),
            Maker::Anthropic => Some("request-id"),
            Maker::Google => None,
        }
    }

    /// The headers about a limit on requests, and one on tokens. Google has none.
    pub(super) fn limits(self, left: [Option<Left>; 2]) -> Vec<(&'static str, String)> {
        let names = match self {
            Maker::OpenAi => [
                [
                    "x-ratelimit-limit-requests",
                    "x-ratelimit-remaining-requests",
                    "x-ratelimit-reset-requests",
                ],
                [
                    "x-ratelimit-limit-tokens",
                    "x-ratelimit-remaining-tokens",
                    "x-ratelimit-reset-tokens",
                ],
            ],
            Maker::Anthropic => [
                [
                    "anthropic-ratelimit-requests-limit",
                    "anthropic-ratelimit-requests-remaining",
                    "anthropic-ratelimit-requests-reset",
                ],
                [
                    "anthropic-ratelimit-tokens-limit",
                    "anthropic-ratelimit-tokens-remaining",
                    "anthropic-ratelimit-tokens-reset",
                ],
            ],
            Maker::Google => return Vec::new(),
        };
        let stated = names
            .into_iter()
            .zip(left)
            .filter_map(|(names, left)| Some((names, left?)));
        let spelled = stated.flat_map(|([limit, remaining, reset], left)| {
            let whole = if self == Maker::Anthropic {
                instant(left.whole_in)
            } else {
                spell(left.whole_in)
            };
            [
                (limit, left.limit.to_string()),
                (remaining, left.remaining.to_string()),
                (reset, whole),
            ]
        });
        spelled.collect()
    }
}

fn openai_type(status: u16, code: Option<&str>) -> &'static str {
    match (status, code) {
        (_, Some("insufficient_quota")) => "insufficient_quota",
        (429, _) => "requests",
        (500.., _) => "server_error",
        _ => "invalid_request_error",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn google(status: u16, message: &str, details: Vec<Value>) -> Reply {
    let name = match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        501.. => "UNAVAILABLE",
        _ => "INVALID_ARGUMENT",
    };
    let mut error = json!({"code": status, "message": message, "status": name});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    Reply::json(status, &json!({"error": error}))
}

/// Rounded up: who comes back then is not early.
fn wait_ms(wait: Duration) -> u128 {
    wait.as_micros().div_ceil(1000)
}

/// A duration as OpenAI spells it: `85ms`, `1.5s`, `6m0s`.
fn spell(duration: Duration) -> String {
    match wait_ms(duration) {
        ms @ 0..1000 => format!("{ms}ms"),
        ms @ 1000..60_000 => format!("{}s", ms as f64 / 1000.0),
        ms => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// An instant as Anthropic spells it, in whole seconds, rounded up.
fn instant(from_now: Duration) -> String {
    let at = SystemTime::now() + from_now + Duration::from_millis(999);
    jiff::Timestamp::try_from(at)
        .map(|at| format!("{at:.0}"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAKERS: [Maker; 3] = [Maker::OpenAi, Maker::Anthropic, Maker::Google];

    fn body(reply: &Reply) -> Value {
        serde_json::from_str(&reply.body).unwrap()
    }

    #[test]
    fn each_maker_says_in_its_own_way_when_to_come_back() {
        let refusals =
            MAKERS.map(|maker| maker.refusal(Duration::from_millis(1500), Kind::Requests, true));
        assert!(refusals.iter().all(|reply| reply.status == 429));
        let headers = refusals.each_ref().map(|reply| reply.names());
        assert_eq!(
            headers,
            [
                vec!["retry-after", "retry-after-ms"],
                vec!["retry-after"],
                vec![]
            ]
        );
        let [openai, anthropic, google] = refusals.each_ref().map(body);
        assert_eq!(openai["error"]["code"], "rate_limit_exceeded");
        assert_eq!(anthropic["error"]["type"], "rate_limit_error");
        assert_eq!(
            (&google["error"]["status"], &google["error"]["code"]),
            (&json!("RESOURCE_EXHAUSTED"), &json!(429))
        );
        assert_eq!(google["error"]["details"][0]["retryDelay"], "1.5s");
        for maker in MAKERS {
            let silent = maker.refusal(Duration::from_millis(1500), Kind::Requests, false);
            assert!(silent.names().is_empty() && body(&silent)["error"].get("details").is_none());
        }
    }

    #[test]
    fn only_openai_calls_a_request_that_is_too_large_too_fast() {
        let kind = Kind::TooLarge {
            limit: NonZeroU32::new(30_000).unwrap(),
            requested: 50_000,
        };
        let statuses = MAKERS.map(|maker| maker.refusal(Duration::ZERO, kind, true).status);
        assert_eq!(statuses, [429, 413, 400]);
    }

    #[test]
    fn limits_are_said_in_headers_or_not_at_all() {
        let left = Left {
            limit: NonZeroU32::new(600).unwrap(),
            remaining: 3,
            whole_in: Duration::from_millis(200),
        };
        let [openai, anthropic, google] = MAKERS.map(|maker| maker.limits([Some(left), None]));
        assert_eq!(
            openai
                .iter()
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>(),
            ["600", "3", "200ms"]
        );
        assert_eq!(
            anthropic[0],
            ("anthropic-ratelimit-requests-limit", "600".to_owned())
        );
        assert!(
            anthropic[2].1.parse::<jiff::Timestamp>().is_ok(),
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
