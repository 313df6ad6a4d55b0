//! What each API is sent: the fields of a body, and how it writes conversations and files.
//!
//! Conversations come in the words of chat completions, whose parts the other APIs write in their own way.

use serde_json::{Map, Value, json};

use super::ApiKind::{self, *};
use super::Params;

/// Maximum number of tokens of an answer of `messages` if none is given. The API demands a number, and this is one that
/// every model takes.
const MAX_TOKENS: u32 = 4096;

impl ApiKind {
    /// The body of a request that says this.
    pub(super) fn request(self, said: Value, params: &Params) -> Value {
        let model = &params.model;
        let mut body = match self {
            Chat => json!({"model": model, "messages": said}),
            Responses | Embeddings => json!({"model": model, "input": said}),
            Messages => json!({"model": model, "max_tokens": MAX_TOKENS, "messages": said}),
            Gemini => json!({"contents": said}),
        };
        // An embedding has neither a system message nor anything to be drawn by chance.
        let [system, most, temperature] = match self {
            Chat => ["", "max_tokens", "temperature"], // its system message is part of the conversation
            Responses => ["instructions", "max_output_tokens", "temperature"],
            Messages => ["system", "max_tokens", "temperature"],
            Gemini => ["systemInstruction", "maxOutputTokens", "temperature"],
            Embeddings => ["", "", ""],
        };
        let text = params.system.as_ref().map(|text| match self {
            Gemini => json!({"parts": [{"text": text}]}),
            _ => text.as_str().into(),
        });
        put(&mut body, system, text);
        let mut options = Value::Null;
        put(&mut options, most, params.max_tokens.map(Value::from));
        put(
            &mut options,
            temperature,
            params.temperature.map(Value::from),
        );
        match options {
            Value::Object(_) if self == Gemini => body["generationConfig"] = options,
            Value::Object(options) => join(&mut body, &options),
            _ => {}
        }
        join(&mut body, &params.extra);
        body
    }

    /// The field of a body with the conversation.
    fn list(self) -> &'static str {
        match self {
            Chat | Messages => "messages",
            Responses | Embeddings => "input",
            Gemini => "contents",
        }
    }

    /// A conversation as this API writes it. Chat completions have the system message in it.
    pub(super) fn conversation(self, said: Vec<Value>, params: &Params) -> Value {
        let system = params.system.as_ref().filter(|_| self == Chat);
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let said = said.into_iter().map(|message| self.message(message));
        system.into_iter().chain(said).collect()
    }

    /// A request that goes on with an answer that did not fit, and the reason. `None` if the request is of another shape.
    pub(super) fn again(self, request: &[u8], answer: &str, misfit: &str) -> Option<Vec<u8>> {
        let mut body: Value = serde_json::from_slice(request).ok()?;
        let list = &mut body[self.list()];
        if list.is_string() {
            *list = json!([{"role": "user", "content": list}]);
        }
        let list = list.as_array_mut()?;
        if !answer.trim().is_empty() {
            list.push(self.message(json!({"role": "assistant", "content": answer})));
        }
        let problem = format!("This answer does not fit the schema: {misfit}. Answer once more.");
        list.push(self.message(json!({"role": "user", "content": problem})));
        Some(body.to_string().into_bytes())
    }

    /// A message of a conversation.
    fn message(self, mut message: Value) -> Value {
        let is_model = message["role"] == "assistant";
        let content = match message["content"].take() {
            Value::Array(parts) => {
                let parts = parts.into_iter();
                parts.map(|part| self.part(part, is_model)).collect()
            }
            Value::String(text) if self == Gemini => json!([{"text": text}]),
            other => other,
        };
        if self == Gemini {
            return json!({"role": if is_model { "model" } else { "user" }, "parts": content});
        }
        message["content"] = content;
        message
    }

    /// A part of a message; parts that are unknown stay as they are.
    fn part(self, part: Value, is_model: bool) -> Value {
        let kind = ["input_text", "output_text"][usize::from(is_model)];
        match (self, part["type"].as_str()) {
            (Responses, Some("text")) => json!({"type": kind, "text": part["text"]}),
            (Gemini, Some("text")) => json!({"text": part["text"]}),
            _ => self.file(&part).unwrap_or(part),
        }
    }

    /// A part with a file, or the address of one, if this API writes it in another way than chat completions.
    fn file(self, part: &Value) -> Option<Value> {
        let url = part["image_url"]["url"].as_str()?;
        let data = url.strip_prefix("data:");
        let data = data.and_then(|rest| rest.split_once(";base64,"));
        let is_pdf = match data {
            Some((mime, _)) => mime == "application/pdf",
            None => url.to_lowercase().ends_with(".pdf"),
        };
        let kind = if is_pdf { "document" } else { "image" };
        Some(match (self, data) {
            (Chat, Some(_)) if is_pdf => {
                json!({"type": "file", "file": {"filename": "file.pdf", "file_data": url}})
            }
            (Responses, Some(_)) if is_pdf => {
                json!({"type": "input_file", "filename": "file.pdf", "file_data": url})
            }
            (Responses, None) if is_pdf => json!({"type": "input_file", "file_url": url}),
            (Responses, _) => json!({"type": "input_image", "image_url": url}),
            (Messages, Some((mime, data))) => {
                let source = json!({"type": "base64", "media_type": mime, "data": data});
                json!({"type": kind, "source": source})
            }
            (Messages, None) => json!({"type": kind, "source": {"type": "url", "url": url}}),
            (Gemini, Some((mime, data))) => json!({"inlineData": {"mimeType": mime, "data": data}}),
            (Gemini, None) => json!({"fileData": {"fileUri": url}}),
            (Chat | Embeddings, _) => return None,
        })
    }
}

/// A request with these fields, but for those that it has itself.
pub(super) fn with_fields(mut fields: Value, request: &[u8]) -> Option<Vec<u8>> {
    let given: Map<String, Value> = serde_json::from_slice(request).ok()?;
    join(&mut fields, &given);
    serde_json::to_vec(&fields).ok()
}

/// Puts a value into a body, unless there is none, or no place for it.
fn put(body: &mut Value, name: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|_| !name.is_empty()) {
        body[name] = value;
    }
}

/// Puts fields into a body. They win over those that are there; objects are joined.
pub(super) fn join(body: &mut Value, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (&mut body[name], value) {
            (there @ Value::Object(_), Value::Object(more)) => join(there, more),
            (there, value) => *there = value.clone(),
        }
    }
}
