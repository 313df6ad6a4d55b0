//! The body of a failure, in the shapes of all makers: a code, a message, and what they are about.

use serde_json::Value;

/// What a body says about the failure. Servers differ: `error` is an object or a text, or missing
/// around its fields; a code is a word or a number, and named `code`, `type` or `status`.
#[derive(Debug, Default)]
pub(super) struct ErrorBody {
    /// The error's code, in a word.
    pub(super) code: Option<String>,
    /// What happened, in a sentence.
    pub(super) message: Option<String>,
    /// The server's name for the call.
    pub(super) request_id: Option<String>,
    /// The status that the body states.
    status: Option<u16>,
    /// Whether the details say that the key is unknown, or has used up its quota for the day.
    key_is_useless: bool,
}

impl ErrorBody {
    pub(super) fn read(body: &Value) -> Self {
        let body = body.get(0).unwrap_or(body);
        let error = body.get("error").unwrap_or(body);
        let word = |name: &str| error.get(name)?.as_str().filter(|word| !word.is_empty());
        let number = error
            .get("code")
            .filter(|code| code.is_number())
            .map(Value::to_string);
        let status = word("code")
            .or(number.as_deref())
            .and_then(|code| code.parse().ok());
        let a_word = |name: &str| word(name).filter(|word| word.parse::<u16>().is_err());
        // Where the code repeats the status as a number, the word is beside it.
        let named = ["code", "status", "type"]
            .iter()
            .find_map(|name| a_word(name))
            .map(str::to_owned);
        let id = ["request_id", "responseId"]
            .iter()
            .find_map(|name| body.get(name)?.as_str());
        ErrorBody {
            request_id: id.map(str::to_owned),
            code: named.or_else(|| word("code").map(str::to_owned)).or(number),
            message: word("message")
                .or_else(|| error.as_str())
                .map(str::to_owned),
            status,
            key_is_useless: details(error).any(is_about_the_key),
        }
    }

    /// The status that counts: gateways answer 200 and put the upstream's status into the error's code,
    /// and so does an API whose call was accepted and then failed, in words.
    pub(super) fn status_within(&self, status: u16) -> u16 {
        if !(200..300).contains(&status) {
            return status;
        }
        let in_words = || match self.code.as_deref()? {
            "rate_limit_exceeded" => Some(429),
            "server_error" => Some(500),
            "invalid_prompt" => Some(400),
            _ => None,
        };
        self.status
            .filter(|inner| (400..600).contains(inner))
            .or_else(in_words)
            .unwrap_or(status)
    }

    /// Whether no call with this key will be answered for long: no credit, an unknown key, a quota for
    /// the day that is used up.
    pub(super) fn is_about_the_key(&self) -> bool {
        const CODES: [&str; 4] = [
            "insufficient_quota",
            "billing_hard_limit_reached",
            "billing_not_active",
            "FAILED_PRECONDITION",
        ];
        // Anthropic has neither a status nor a code for it, only these words.
        const WORDS: [&str; 2] = [
            "credit balance is too low",
            "reached your specified API usage limits",
        ];
        self.key_is_useless
            || self
                .code
                .as_deref()
                .is_some_and(|code| CODES.contains(&code))
            || WORDS.iter().any(|words| self.says(words))
    }

    /// Whether the request is larger than the whole limit of tokens: `Request too large … Limit 30000,
    /// Requested 50000`.
    pub(super) fn never_fits(&self) -> bool {
        let stated = |name: &str| number_after(self.message.as_deref()?, name);
        self.says("Request too large for")
            || stated("Limit ")
                .zip(stated("Requested "))
                .is_some_and(|(limit, requested)| requested > limit)
    }

    /// Whether the server is only full, or not ready yet: its queue is full, its model is loading.
    pub(super) fn is_busy(&self) -> bool {
        ["server busy", "Slow down", "Loading model"]
            .iter()
            .any(|words| self.says(words))
    }

    fn says(&self, words: &str) -> bool {
        self.message
            .as_deref()
            .is_some_and(|message| message.contains(words))
    }
}

/// Google's list of details.
fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error
        .get("details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whether a detail says that the key is unknown, or that its quota for the day is used up. The wait
/// that stands beside it is for another quota.
fn is_about_the_key(detail: &Value) -> bool {
    let by_the_day = |violation: &Value| {
        violation
            .get("quotaId")
            .and_then(Value::as_str)
            .is_some_and(|id| id.contains("PerDay"))
    };
    let violations = detail.get("violations").and_then(Value::as_array);
    detail
        .get("reason")
        .is_some_and(|reason| reason == "API_KEY_INVALID")
        || violations.is_some_and(|violations| violations.iter().any(by_the_day))
}

/// The whole number that follows a word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    let digits: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .collect();
    digits.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_explain_themselves_in_every_shape_that_servers_use() {
        let table = [
            // OpenAI
            (
                r#"{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                "context_length_exceeded",
                "too long",
            ),
            (
                r#"{"error":{"message":"bad","type":"invalid_request_error","param":null,"code":null}}"#,
                "invalid_request_error",
                "bad",
            ),
            // Anthropic
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
                "overloaded_error",
                "Overloaded",
            ),
            // Gemini, alone and in a list
            (
                r#"{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}"#,
                "RESOURCE_EXHAUSTED",
                "Resource has been exhausted",
            ),
            (
                r#"[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]"#,
                "INVALID_ARGUMENT",
                "bad",
            ),
            // llama.cpp
            (
                r#"{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_prompt_tokens":14429,"n_ctx":8192}}"#,
                "exceed_context_size_error",
                "too long",
            ),
            // vLLM
            (
                r#"{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}"#,
                "BadRequestError",
                "too long",
            ),
            (
                r#"{"error":{"message":"no such model","type":"NotFoundError","param":null,"code":404}}"#,
                "NotFoundError",
                "no such model",
            ),
            // Ollama
            (
                r#"{"error":{"message":"model 'x' not found","type":"not_found_error","param":null,"code":null}}"#,
                "not_found_error",
                "model 'x' not found",
            ),
            // gateways
            (
                r#"{"error":{"message":"slow down","code":"429"}}"#,
                "429",
                "slow down",
            ),
            (r#"{"message":"flat","code":7}"#, "7", "flat"),
        ];
        for (body, code, message) in table {
            let said = ErrorBody::read(&serde_json::from_str(body).unwrap());
            assert_eq!(
                (said.code.as_deref(), said.message.as_deref()),
                (Some(code), Some(message)),
                "{body}"
            );
        }
        let text = ErrorBody::read(&serde_json::json!({"error": "model 'x' not found"}));
        assert_eq!(
            (text.code, text.message.as_deref()),
            (None, Some("model 'x' not found"))
        );
        let nothing = ErrorBody::read(&serde_json::json!({"error": null}));
        assert_eq!((nothing.code, nothing.message), (None, None));
    }

    #[test]
    fn a_request_never_fits_if_it_is_larger_than_the_whole_limit() {
        let never = |message: &str| {
            ErrorBody {
                message: Some(message.to_owned()),
                ..ErrorBody::default()
            }
            .never_fits()
        };
        for message in [
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 30601.",
            "Request too large for gpt-4o on tokens per min (TPM)",
            "Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 0, Requested 50000. Try again in 40s.",
            "Limit 30,000, Requested 342,389",
        ] {
            assert!(never(message), "{message}");
        }
        for message in [
            "Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 29000, Requested 30000.",
            "This request would exceed the rate limit for your organization of 20,000 input tokens per minute.",
            "Limit reached",
            "",
        ] {
            assert!(!never(message), "{message}");
        }
    }
}
