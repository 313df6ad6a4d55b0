//! The body of a failure, in the shapes of all servers: a code, a message, and what it is about.
//!
//! Servers wrap an error in a list, in a choice, in a JSON text inside a message. All texts of a
//! body are decoded and looked at, wherever they stand; `causes.txt` says what they mean.

use serde_json::Value;

use crate::hints::find_in;

/// What a body says about the failure. `error` is an object or a text, or missing around its fields;
/// a code is a word or a number, and named `code`, `type` or `status`.
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
    /// The field of the request that is wrong, in lower case: OpenAI's `param`, or the `loc` of many servers in Python.
    parameter: Option<String>,
    /// All codes of the body, in lower case.
    codes: Vec<String>,
    /// All texts of the body, in lower case, a line each.
    texts: String,
}

/// What a failure is about, beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The request is larger than the whole limit: waiting does not help.
    TooLarge,
    /// This prompt: its content, or its price.
    Prompt,
    /// No credit, or a quota for a day or a month that is used up.
    Credit,
    /// The key is unknown, or may not do this.
    Key,
    /// The server is full or not ready, or calls come too fast.
    Busy,
    /// The body does not say.
    Unknown,
}

/// The lines of `causes.txt`: a cause, `code` or `text`, and the words.
fn causes() -> impl Iterator<Item = (Cause, &'static str, &'static str)> {
    include_str!("causes.txt").lines().filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let cause = match words.next()? {
            "too-large" => Cause::TooLarge,
            "prompt" => Cause::Prompt,
            "credit" => Cause::Credit,
            "key" => Cause::Key,
            "busy" => Cause::Busy,
            _ => return None,
        };
        Some((cause, words.next()?, words.next()?))
    })
}

impl ErrorBody {
    /// Longer texts, in bytes, are no explanations: some servers repeat the prompt.
    const LONGEST: usize = 2 << 10;

    pub(super) fn read(body: &Value) -> Self {
        let id = ["request_id", "responseId"];
        let id = id.iter().find_map(|name| body.get(name)?.as_str());
        let error = error_within(body);
        let word = |name: &str| error.get(name)?.as_str().filter(|word| !word.is_empty());
        let number = error.get("code").filter(|code| code.is_number());
        let number = number.map(Value::to_string);
        let status = word("code").or(number.as_deref());
        // Where the code repeats the status as a number, the word is beside it.
        let is_word = |word: &&str| word.parse::<u16>().is_err();
        let names = ["code", "status", "type", "__type"];
        let code = names.iter().find_map(|name| word(name).filter(is_word));
        let code = code.or(word("code")).map(str::to_owned);
        let message = word("message").or(word("detail")).or(error.as_str());
        let mut read = ErrorBody {
            status: status.and_then(|code| code.parse().ok()),
            code: code.or(number),
            message: message.map(str::to_owned),
            request_id: id.map(str::to_owned),
            ..ErrorBody::default()
        };
        find_in::<()>(body, &mut |name, part| {
            read.look_at(name, part);
            None
        });
        read
    }

    /// Takes the code or the text of a part of the body.
    fn look_at(&mut self, name: &str, part: &Value) {
        const CODES: [&str; 6] = ["code", "type", "__type", "status", "reason", "quotaId"];
        if name == "flagged_input" {
            self.texts.push_str("flagged\n");
        }
        let text = part.as_str().map(str::to_lowercase);
        if ["param", "loc"].contains(&name) && !part.is_null() {
            let place = part
                .as_str()
                .map_or_else(|| part.to_string(), str::to_owned);
            self.parameter.get_or_insert(place.to_lowercase());
        }
        if CODES.contains(&name) && (text.is_some() || part.is_number()) {
            self.codes
                .push(text.clone().unwrap_or_else(|| part.to_string()));
        }
        let short = text.filter(|text| text.len() <= Self::LONGEST);
        self.texts.extend(short.map(|text| text + "\n"));
    }

    /// What the failure is about. `has_wait`: whether the server says when to come back.
    pub(super) fn cause(&self, status: u16, has_wait: bool) -> Cause {
        if self.is_larger_than_the_limit() {
            return Cause::TooLarge;
        }
        if matches!(status, 402 | 403 | 429) && self.is_used_up_for_long(has_wait) {
            return Cause::Credit;
        }
        // Google says "quota" for its rate, too.
        let is_google = self.has_code("resource_exhausted");
        // What is wrong with a request may repeat the prompt, which may be about keys and rate limits.
        let may_repeat = matches!(status, 400 | 404 | 413 | 422);
        let says = |cause: Cause, text: &str| match cause {
            Cause::Credit if is_google && text.ends_with("current quota") => false,
            Cause::Credit | Cause::Key if may_repeat => self.begins_with(text),
            Cause::Busy if status == 400 => text == "throttlingexception",
            _ => true,
        };
        let is_it = |(cause, place, words): &(Cause, &str, &str)| match *place {
            "code" => self.has_code(words),
            _ => self.texts.contains(words) && says(*cause, words),
        };
        causes()
            .find(is_it)
            .map_or(Cause::Unknown, |(cause, ..)| cause)
    }

    /// The status that counts: gateways answer 200 and put the upstream's status into the error's
    /// code, and so does an API whose call was accepted and then failed, in words.
    pub(super) fn status_within(&self, status: u16) -> u16 {
        if !(200..300).contains(&status) {
            return status;
        }
        if let Some(inner) = self.status.filter(|inner| (400..600).contains(inner)) {
            return inner;
        }
        match self.cause(status, false) {
            Cause::Busy | Cause::Credit if !self.is_answer_like() => 429,
            Cause::Prompt if self.has_code("invalid_prompt") => 400,
            _ if self.has_code("server_error") => 500,
            _ => status,
        }
    }

    /// Whether there is no error at all: the texts are then those of a model, and mean nothing.
    fn is_answer_like(&self) -> bool {
        self.code.is_none() && self.message.is_none()
    }

    /// Whether a field of the request is named as wrong that is no input.
    pub(super) fn names_a_parameter(&self) -> bool {
        const INPUTS: [&str; 6] = ["input", "text", "content", "prompt", "document", "request"];
        let is_input = |place: &String| INPUTS.iter().any(|input| place.contains(input));
        let place = self.parameter.as_ref().filter(|place| !place.is_empty());
        place.is_some_and(|place| !is_input(place))
    }

    fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|known| known == code)
    }

    /// Whether a text says this at once, as in `Your credit balance is too low`.
    fn begins_with(&self, words: &str) -> bool {
        const LATEST: usize = 12; // bytes: `You have reached your specified API usage limits` has 9
        let mut texts = self.texts.lines();
        texts.any(|text| text.find(words).is_some_and(|at| at <= LATEST))
    }

    /// A quota for a day or a month, unless a wait is stated; Google's wait is for another quota.
    fn is_used_up_for_long(&self, has_wait: bool) -> bool {
        const WINDOWS: [&str; 6] = [
            "per day",
            "per-day",
            "per month",
            "per-month",
            "/ day",
            "daily",
        ];
        let is_googles = self.codes.iter().any(|code| code.contains("perday"));
        let is_said = WINDOWS.iter().any(|window| self.texts.contains(window));
        is_googles || (is_said && !has_wait)
    }

    /// `Limit 30000, Requested 50000`, or `Limit: 5000, Used: 0, Requested: ~6000`.
    fn is_larger_than_the_limit(&self) -> bool {
        let stated = |name: &str| number_after(&self.texts, name);
        let stated = stated("limit").zip(stated("requested"));
        stated.is_some_and(|(limit, requested)| requested > limit)
    }
}

/// Whether a message has words that may be meant for the key.
pub(super) fn may_mean_the_key(message: &str) -> bool {
    let message = message.to_lowercase();
    causes().any(|(cause, place, words)| {
        matches!(cause, Cause::Credit | Cause::Key) && place == "text" && message.contains(words)
    })
}

/// The error in a body: in a list, in a choice, in `error` or `errors`, or the body itself.
fn error_within(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    let within = [
        body.pointer("/error").filter(|error| !error.is_null()),
        body.pointer("/choices/0/error"),
        body.pointer("/errors/0"),
        body.pointer("/error"),
    ];
    within.into_iter().flatten().next().unwrap_or(body)
}

/// The whole number that follows a word; some servers estimate it: `~6000`.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let number = |at: usize| {
        let rest = text[at + word.len()..].trim_start_matches([' ', ':', '~']);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != ',');
        let digits = &rest[..end.unwrap_or(rest.len())];
        digits.replace(',', "").parse().ok()
    };
    text.match_indices(word).find_map(|(at, _)| number(at))
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
            let body = serde_json::json!({"error": {"message": message}});
            ErrorBody::read(&body).cause(429, false) == Cause::TooLarge
        };
        for message in [
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 30601.",
            "Request too large for gpt-4o on tokens per min (TPM)",
            "Rate limit reached for m on tokens per min (TPM): Limit 30000, Used 0, Requested 50000. Try again in 40s.",
            "Limit 30,000, Requested 342,389",
            "Limit 5000, Used 0, Requested ~6000. Please try again in 2s.",
            "This exceeds the limit: Limit: 10,000, Requested: 12,000",
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
