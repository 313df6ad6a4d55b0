//! The APIs that the practice server speaks: what a request asks in each of them, and how an answer is put.

use rand::RngExt;
use serde_json::{Value, json};

use super::faults::{Faults, InjectedFault};
use super::prose::{self, Prose, tokens};
use super::script::ReceivedRequest;
use super::stream;

/// The `model` in every answer, whatever model was asked for.
pub(crate) const MODEL: &str = "paceline-practice";

/// The most texts of one request for embeddings, as in OpenAI's reference.
const MAX_TEXTS: usize = 2048;
/// The longest vector, as OpenAI's largest model makes it: with it, the longest answer has 63 MB.
const MAX_DIMENSIONS: u64 = 3072;

/// An API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Responses,
    Messages,
    Gemini,
    Embeddings,
}

/// What is asked, in whatever API.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// What the user said last; for embeddings, each text.
    topics: Vec<String>,
    /// The tokens of everything that was sent.
    input: u32,
    /// The most tokens that the answer may have.
    max_tokens: Option<u32>,
    /// Of the input: read from a cache, and written to one.
    cached: u32,
    cache_write: u32,
    /// The length of the vectors.
    dimensions: usize,
    /// What the answer has to fit.
    schema: Option<Value>,
    /// The tool that has to be called with such an answer.
    tool: Option<String>,
    /// Whether the server has answered before.
    is_again: bool,
    /// Whether the answer comes as a stream of events.
    is_streamed: bool,
    /// Whether it asks for OpenAI's tier of half the price.
    is_flex: bool,
}

/// What a file costs: an image of middle size takes about 1,000 tokens at most makers.
const FILE_TOKENS: u32 = 1000;

/// A text, and whether it is the user's.
struct Turn {
    is_user: bool,
    text: String,
    /// The tokens of the files beside the text.
    files: u32,
}

impl Dialect {
    /// The API at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Dialect::Chat),
            "/v1/responses" => Some(Dialect::Responses),
            "/v1/messages" => Some(Dialect::Messages),
            "/v1/embeddings" => Some(Dialect::Embeddings),
            _ => is_gemini(path).then_some(Dialect::Gemini),
        }
    }

    /// Where a request has the turns and their content, the system prompt (a JSON pointer), the limit of the answer (likewise).
    fn fields(self) -> [&'static str; 4] {
        match self {
            Dialect::Chat => ["messages", "content", "/-", "/max_tokens"],
            Dialect::Responses => ["input", "content", "/instructions", "/max_output_tokens"],
            Dialect::Messages => ["messages", "content", "/system", "/max_tokens"],
            Dialect::Gemini => [
                "contents",
                "parts",
                "/systemInstruction/parts",
                "/generationConfig/maxOutputTokens",
            ],
            Dialect::Embeddings => ["input", "content", "/-", "/-"],
        }
    }

    /// What a request asks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(self, request: &ReceivedRequest) -> Result<Question, String> {
        let body: Value =
            serde_json::from_str(&request.body).map_err(|_| "the body is not JSON")?;
        if self == Dialect::Messages && !request.headers.contains_key("anthropic-version") {
            return Err("anthropic-version: header is required".into());
        }
        let mut question = self.parse_body(&body)?;
        let streams = request.path.contains(":streamGenerateContent");
        question.is_streamed = streams || body["stream"] == true;
        Ok(question)
    }

    /// What the body of a request asks.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse_body(self, body: &Value) -> Result<Question, String> {
        let [_, _, system, limit] = self.fields();
        let number = |place: &str| body.pointer(place)?.as_u64();
        let max_tokens = number("/max_completion_tokens").or_else(|| number(limit));
        if self == Dialect::Messages && max_tokens.is_none() {
            return Err("max_tokens: Field required".into());
        }
        let turns = self.turns(body)?;
        let schema = schema(body).cloned();
        let mut others: Vec<_> = schema.iter().map(Value::to_string).collect();
        others.extend(body.pointer(system).and_then(text));
        let framing = if self == Dialect::Embeddings { 0 } else { 4 }; // about what a turn costs
        let texts = turns.iter().map(|turn| &turn.text).chain(&others);
        let costs = texts.map(|text| tokens(text).saturating_add(framing));
        let files = turns.iter().map(|turn| turn.files);
        let dimensions = body["dimensions"].as_u64().unwrap_or(8);
        Ok(Question {
            input: costs.chain(files).fold(0, u32::saturating_add),
            is_again: turns.iter().any(|turn| !turn.is_user),
            tool: body["tool_choice"]["name"].as_str().map(str::to_owned),
            schema,
            is_flex: body["service_tier"] == "flex",
            topics: self.topics(turns)?,
            max_tokens: max_tokens.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
            dimensions: dimensions.clamp(1, MAX_DIMENSIONS) as usize,
            ..Question::default()
        })
    }

    /// Who says what in the conversation. The APIs that call it `input` also take a text, or a list of texts.
    fn turns(self, body: &Value) -> Result<Vec<Turn>, String> {
        let [field, content, ..] = self.fields();
        let turn = |turn: &Value| {
            let bare = text(turn).filter(|_| field == "input");
            let files = files(&turn[content]);
            let only_files = (files > 0).then(String::new);
            Some(Turn {
                is_user: matches!(turn["role"].as_str(), None | Some("user")),
                text: bare.or_else(|| text(&turn[content])).or(only_files)?,
                files,
            })
        };
        let turns = match &body[field] {
            Value::Array(turns) => turns.iter().map(turn).collect(),
            bare => turn(bare).map(|turn| vec![turn]),
        };
        turns.ok_or_else(|| format!("{field}: Field required"))
    }

    fn topics(self, mut turns: Vec<Turn>) -> Result<Vec<String>, String> {
        if self != Dialect::Embeddings {
            let last = turns.iter().rposition(|turn| turn.is_user);
            let last = last.ok_or("there is no message of a user")?;
            return Ok(vec![turns.swap_remove(last).text]);
        }
        if turns.is_empty() || turns.len() > MAX_TEXTS {
            return Err(format!("input has to have 1 to {MAX_TEXTS} texts"));
        }
        Ok(turns.into_iter().map(|turn| turn.text).collect())
    }

    /// The tokens that a call counts for: with OpenAI the most that the answer may have, with Anthropic those that it
    /// has, with Google, and for embeddings, only those of the question.
    pub(super) fn cost(self, question: &Question, seed: u64) -> u32 {
        const USUAL: u32 = 100; // about what an answer has
        let output = match self {
            Dialect::Chat | Dialect::Responses => question.max_tokens.unwrap_or(USUAL),
            Dialect::Messages => question.answer(seed).tokens(),
            Dialect::Gemini | Dialect::Embeddings => 0,
        };
        question.input.saturating_add(output)
    }

    /// The body of an answer with this text; of embeddings, with vectors, whatever the text.
    pub(super) fn completion(self, question: &Question, prose: &Prose, seed: u64) -> String {
        let topic = question.topics.first().map_or("", String::as_str);
        let number: u32 = prose::random(topic, seed).random();
        let name = format!("practice-{number:08x}");
        let body = match self {
            Dialect::Chat => chat(prose, question, &name),
            Dialect::Responses => response(prose, question, &name),
            Dialect::Messages => message(prose, question, &name),
            Dialect::Gemini => candidate(prose, question, &name),
            Dialect::Embeddings => return embeddings(question, seed),
        };
        match question.is_streamed {
            true => stream::events(self, body),
            false => body.to_string(),
        }
    }
}

impl Question {
    pub(super) fn answer(&self, seed: u64) -> Prose {
        let text = match &self.schema {
            Some(schema) => prose::example(schema, &self.topics[0], seed),
            None => prose::sentences(&self.topics[0], seed),
        };
        Prose::within(text, self.max_tokens)
    }

    /// Whether this fault can befall it. The first answer can miss its schema, and later ones if the faults say so.
    pub(super) fn can_have(&self, fault: InjectedFault, faults: &Faults) -> bool {
        match fault {
            InjectedFault::WrongJson if self.is_again && !faults.wrong_again => false,
            InjectedFault::WrongJson => self.schema.is_some(),
            InjectedFault::NoFlex => self.is_flex,
            _ => true,
        }
    }

    /// The tokens of the question, of its answer, and of both.
    fn tokens(&self, answer: &Prose) -> [u32; 3] {
        let output = answer.tokens();
        [self.input, output, self.input.saturating_add(output)]
    }

    /// The tier that it is served at.
    fn tier(&self) -> &'static str {
        if self.is_flex { "flex" } else { "default" }
    }

    /// Keeps this part of the input in a cache, which the first call writes and later ones read.
    pub(super) fn cache(&mut self, part: f64, is_first: bool) {
        let tokens = (f64::from(self.input) * part.clamp(0.0, 1.0)) as u32;
        match is_first {
            true => self.cache_write = tokens,
            false => self.cached = tokens,
        }
    }
}

/// The schema that the answer has to fit, wherever an API has it.
fn schema(body: &Value) -> Option<&Value> {
    let places = [
        "/response_format/json_schema/schema",
        "/text/format/schema",
        "/generationConfig/responseSchema",
        "/generationConfig/responseJsonSchema",
    ];
    let forced_tool = || {
        let name = body.pointer("/tool_choice/name")?;
        let mut tools = body["tools"].as_array()?.iter();
        let tool = tools.find(|tool| tool["name"] == *name)?;
        tool.get("input_schema")
    };
    let given = places.iter().find_map(|place| body.pointer(place));
    given.or_else(forced_tool)
}

/// `/v1beta/models/NAME:generateContent`, and its relatives.
fn is_gemini(path: &str) -> bool {
    let rest = path.strip_prefix("/v1beta/").or(path.strip_prefix("/v1/"));
    let call = rest.and_then(|rest| rest.rsplit_once(':'));
    let (model, call) = call.unwrap_or_default();
    let is_in = |folder: &&str| model.starts_with(*folder);
    ["models/", "tunedModels/"].iter().any(is_in)
        && ["generateContent", "streamGenerateContent"].contains(&call)
}

/// The tokens of the parts of a message that are files.
fn files(content: &Value) -> u32 {
    let parts = content.as_array().into_iter().flatten();
    let files = parts.filter(|part| part.is_object() && part["text"].is_null());
    (files.count() as u32).saturating_mul(FILE_TOKENS)
}

/// The text of a field that is a string, or a list of parts of which some have a text.
fn text(field: &Value) -> Option<String> {
    let Value::Array(parts) = field else {
        return field.as_str().map(str::to_owned);
    };
    let texts = parts.iter().filter_map(|part| part["text"].as_str());
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.concat())
}

fn chat(prose: &Prose, question: &Question, name: &str) -> Value {
    let [input, output, total] = question.tokens(prose);
    let details = json!({"cached_tokens": question.cached});
    let message = json!({"role": "assistant", "content": prose.text});
    let reason = prose.reason("stop", "length");
    json!({
        "id": format!("chatcmpl-{name}"), "object": "chat.completion", "created": 0,
        "model": MODEL, "service_tier": question.tier(),
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": input, "completion_tokens": output,
            "total_tokens": total, "prompt_tokens_details": details},
    })
}

fn response(prose: &Prose, question: &Question, name: &str) -> Value {
    let [input, output, total] = question.tokens(prose);
    let cached = json!({"cached_tokens": question.cached});
    let status = prose.reason("completed", "incomplete");
    let details = prose.is_cut.then(|| json!({"reason": "max_output_tokens"}));
    let part = json!({"type": "output_text", "text": prose.text, "annotations": []});
    let message =
        json!({"type": "message", "status": status, "role": "assistant", "content": [part]});
    json!({
        "id": format!("resp_{name}"), "object": "response", "created_at": 0, "model": MODEL,
        "status": status, "error": null, "incomplete_details": details,
        "service_tier": question.tier(),
        "output": [{"type": "reasoning", "summary": []}, message],
        "usage": {"input_tokens": input, "output_tokens": output,
            "total_tokens": total, "input_tokens_details": cached},
    })
}

fn message(prose: &Prose, question: &Question, name: &str) -> Value {
    let (cached, cache_write) = (question.cached, question.cache_write);
    let input = question.input - cached - cache_write; // those of a cache are counted apart
    let (whole, block) = match &question.schema {
        None => ("end_turn", json!({"type": "text", "text": prose.text})),
        Some(_) => {
            // An answer that was cut has no input that can be read.
            let given: Value = serde_json::from_str(&prose.text).unwrap_or(json!({}));
            let id = format!("toolu_{name}");
            let call = json!({"type": "tool_use", "id": id, "name": question.tool, "input": given});
            ("tool_use", call)
        }
    };
    let reason = prose.reason(whole, "max_tokens");
    json!({
        "id": format!("msg_{name}"), "type": "message", "role": "assistant", "model": MODEL,
        "content": [block], "stop_reason": reason, "stop_sequence": null,
        "usage": {"input_tokens": input, "cache_creation_input_tokens": cache_write,
            "cache_read_input_tokens": cached, "output_tokens": prose.tokens()},
    })
}

fn candidate(prose: &Prose, question: &Question, name: &str) -> Value {
    let [input, output, total] = question.tokens(prose);
    let content = json!({"role": "model", "parts": [{"text": prose.text}]});
    let reason = prose.reason("STOP", "MAX_TOKENS");
    let usage = json!({"promptTokenCount": input, "candidatesTokenCount": output,
        "totalTokenCount": total, "cachedContentTokenCount": question.cached});
    json!({
        "candidates": [{"content": content, "finishReason": reason, "index": 0}],
        "usageMetadata": usage, "modelVersion": MODEL, "responseId": name,
    })
}

/// Written as text at once: JSON values would take ten times the memory.
fn embeddings(question: &Question, seed: u64) -> String {
    let mut body = r#"{"object":"list","data":["#.to_owned();
    for (n, topic) in question.topics.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let vector = prose::vector(topic, seed, question.dimensions);
        body += &format!(r#"{comma}{{"object":"embedding","index":{n},"embedding":{vector}}}"#);
    }
    let usage = json!({"prompt_tokens": question.input, "total_tokens": question.input});
    body + &format!(r#"],"model":"{MODEL}","usage":{usage}}}"#)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const DIALECTS: [Dialect; 5] = [
        Dialect::Chat,
        Dialect::Responses,
        Dialect::Messages,
        Dialect::Gemini,
        Dialect::Embeddings,
    ];

    fn parse(dialect: Dialect, body: &str, version: &str) -> Result<Question, String> {
        dialect.parse(&ReceivedRequest {
            method: "POST".into(),
            path: String::new(),
            headers: [(version.into(), "2023-06-01".into())].into(),
            body: body.into(),
            arrived: Instant::now(),
        })
    }

    fn question(dialect: Dialect, body: &Value) -> Question {
        parse(dialect, &body.to_string(), "anthropic-version").unwrap()
    }

    #[cfg(feature = "batch")]
    #[test]
    fn the_client_and_the_server_agree_on_each_api() {
        use crate::api::{ApiKind, Params};
        let kinds = [
            ApiKind::Chat,
            ApiKind::Responses,
            ApiKind::Messages,
            ApiKind::Gemini,
            ApiKind::Embeddings,
        ];
        for (dialect, kind) in DIALECTS.into_iter().zip(kinds) {
            let api = kind.api();
            let url = format!("{}{}", api.complete("http://host"), api.path("m"));
            let path = url.strip_prefix("http://host").unwrap();
            assert_eq!(Dialect::at(path), Some(dialect), "{url}");
            let params = Params {
                system: Some("Be brief.".into()),
                max_tokens: Some(5),
                ..Default::default()
            };
            let body = api.body("bees in winter", &params).to_string();
            let question = parse(dialect, &body, "anthropic-version").unwrap();
            let answer = dialect.completion(&question, &question.answer(7), 7);
            let read = api.completion(&answer).unwrap();
            let usage = read.usage.unwrap();
            let reason = read.finish_reason.as_deref();
            if dialect == Dialect::Embeddings {
                assert!(read.text.starts_with('[') && reason.is_none() && usage.output == 0);
            } else {
                assert!(
                    read.text.starts_with("[practice] "),
                    "{kind}: {}",
                    read.text
                );
                assert_eq!(reason, Some("length"), "{kind}");
                assert_eq!((read.text.len(), usage.output), (20, 5), "{kind}");
            }
            assert_eq!(usage.input, u64::from(question.input), "{kind}");
            assert_eq!(usage.cached, 0, "{kind}");
        }
    }

    #[test]
    fn a_path_that_is_no_apis_is_not_served() {
        let models = ["/v1/models", "/v1/models/m", "/v1/files/m:generateContent"];
        for path in models.into_iter().chain(["/v1/completions", "/"]) {
            assert_eq!(Dialect::at(path), None, "{path}");
        }
    }

    #[test]
    fn a_call_costs_the_tokens_that_its_provider_counts() {
        let cost = |dialect: Dialect, body: Value| {
            let question = question(dialect, &body);
            dialect.cost(&question, 7) - question.input
        };
        let talk = json!([{"role": "user", "content": "bees"}]);
        let asked = |max| json!({"messages": talk, "max_tokens": max});
        assert_eq!(cost(Dialect::Chat, asked(900)), 900);
        assert_eq!(cost(Dialect::Messages, asked(5)), 5);
        assert!((20..300).contains(&cost(Dialect::Messages, asked(4096))));
        let gemini = json!({"contents": [{"parts": [{"text": "bees"}]}]});
        assert_eq!(cost(Dialect::Gemini, gemini), 0);
    }

    #[test]
    fn a_file_costs_about_as_much_as_an_image() {
        let image = json!({"type": "image_url", "image_url": {"url": "https://a"}});
        let input = |parts: Value| {
            let body = json!({"messages": [{"role": "user", "content": parts}]});
            parse(Dialect::Chat, &body.to_string(), "accept")
                .unwrap()
                .input
        };
        let text = json!({"type": "text", "text": "what?"});
        assert_eq!(
            input(json!([image, text])),
            input(json!([text])) + FILE_TOKENS
        );
        assert!(input(json!([image])) >= FILE_TOKENS);
    }

    #[test]
    fn a_body_that_asks_nothing_is_invalid() {
        let no_text = r#"{"messages":[{"role":"user"}]}"#;
        for dialect in DIALECTS {
            for body in ["", "{", "{}", "[1]", r#"{"messages":[]}"#, no_text] {
                let parsed = parse(dialect, body, "anthropic-version");
                assert!(parsed.is_err(), "{dialect:?}: {body}");
            }
        }
        let messages = r#"{"max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#;
        assert!(parse(Dialect::Messages, messages, "anthropic-version").is_ok());
        let unversioned = parse(Dialect::Messages, messages, "accept");
        assert!(unversioned.is_err(), "the version is required");
    }

    #[test]
    fn several_texts_have_several_vectors_of_the_length_that_was_asked_for() {
        let question = question(
            Dialect::Embeddings,
            &json!({"input": ["a", "b"], "dimensions": 3}),
        );
        let answer = Dialect::Embeddings.completion(&question, &question.answer(7), 7);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let vector = |n: usize| answer["data"][n]["embedding"].as_array().unwrap();
        assert_eq!((vector(0).len(), vector(1).len()), (3, 3));
        assert_ne!(vector(0), vector(1));
    }

    #[test]
    fn an_answer_with_vectors_has_a_largest_size() {
        let ask = |texts: usize, dimensions: u64| {
            let body = json!({"input": vec!["a"; texts], "dimensions": dimensions});
            parse(Dialect::Embeddings, &body.to_string(), "accept")
        };
        assert!(ask(MAX_TEXTS + 1, 8).is_err() && ask(0, 8).is_err());
        let question = ask(MAX_TEXTS, u64::MAX).unwrap();
        let most = question.topics.len() * question.dimensions * "-0.123456,".len();
        assert!(most < 64 << 20, "{most} bytes");
    }

    #[test]
    fn no_more_than_the_whole_question_is_kept_in_a_cache() {
        let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}]});
        let mut question = question(Dialect::Messages, &body);
        question.cache(2.0, false);
        let answer = Dialect::Messages.completion(&question, &Prose::whole("a".into()), 0);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["usage"]["input_tokens"], 0);
    }
}
