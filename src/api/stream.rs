//! Answers that come as a stream of events: they are put together into the body that the same call brings without a
//! stream.
//!
//! Pure: bytes in, a body out. [`Client`](super::Client) reads the bytes, and watches the time. A body that is no stream
//! is kept as it is, so a server may ignore that a stream was asked for.

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::reading::items;
use super::{Answer, ApiKind};
use crate::http::{TransportError, TransportFault};
use crate::json::repaired;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What tells a stream from another body is at most this long, in bytes: a byte order mark, and `event:`.
const LONGEST_FIELD: usize = 9;

/// Whether a text of this field comes in parts. Other texts are replaced by later ones.
fn is_in_parts(field: &str) -> bool {
    matches!(
        field,
        "arguments"
            | "content"
            | "partial_json"
            | "reasoning"
            | "reasoning_content"
            | "refusal"
            | "signature"
            | "text"
            | "thinking"
    )
}

/// The body of a response as it comes.
#[derive(Debug, Default)]
pub(crate) struct ComingBody {
    style: Option<ApiKind>,
    /// The most bytes of a body, of a line, and of what an answer is put together to.
    limit: usize,
    /// Whether it is a stream, once that is known.
    is_events: Option<bool>,
    /// The body, unless it is a stream.
    plain: Vec<u8>,
    line: Vec<u8>,
    /// The data of an event that is not whole.
    data: Vec<u8>,
    is_after_return: bool,
    parts: StreamedParts,
    /// An event that reports an error.
    pub(super) error: Option<Value>,
    /// Whether the answer is whole: nothing that counts may follow but its usage.
    is_whole: bool,
    /// Whether the last event has come.
    pub(super) is_over: bool,
}

/// Counts the tokens of streams as they come, by the bytes of their texts.
#[derive(Debug, Default)]
pub(crate) struct StreamMeter(Mutex<MeteredTokens>);

#[derive(Debug, Default)]
struct MeteredTokens {
    come: f64,
    /// The tokens of the answers so far, and the bytes of their texts.
    answer_tokens: f64,
    answer_bytes: f64,
}

impl StreamMeter {
    /// Tokens that have come so far, about.
    pub(crate) fn so_far(&self) -> f64 {
        self.0.lock().come
    }

    /// Counts the bytes of a text that has come.
    pub(super) fn count(&self, bytes: usize) {
        /// English text has about four bytes for each token.
        const BEFORE_THE_FIRST_ANSWER: f64 = 0.25;
        let mut all = self.0.lock();
        let density = match all.answer_bytes > 0.0 {
            true => all.answer_tokens / all.answer_bytes,
            false => BEFORE_THE_FIRST_ANSWER,
        };
        all.come += bytes as f64 * density;
    }

    /// Learns from an answer how many tokens a text has. Those that the model thought are not in its text.
    pub(super) fn learn(&self, answer: &Answer) {
        if let Some(usage) = answer.usage.filter(|_| !answer.text.is_empty()) {
            let mut all = self.0.lock();
            all.answer_tokens += usage.output.saturating_sub(usage.reasoning) as f64;
            all.answer_bytes += answer.text.len() as f64;
        }
    }
}

/// What the events have brought so far.
#[derive(Debug, Default)]
struct StreamedParts {
    body: Value,
    /// About the bytes of the body.
    size: usize,
    /// The bytes of its texts.
    text: usize,
    has_begun: bool,
}

impl ComingBody {
    /// `style` is that of the API, if it has streams.
    pub(super) fn new(style: Option<ApiKind>, limit: usize) -> Self {
        ComingBody {
            style,
            limit,
            ..ComingBody::default()
        }
    }

    /// The answer of a server to a request with this path, whatever stands before it.
    pub(crate) fn at(path: &str, limit: usize) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.replace(":streamGenerateContent", ":generateContent");
        let mut ends = path.rmatch_indices('/').take(2);
        ComingBody::new(
            ends.find_map(|(at, _)| ApiKind::of_path(&path[at..])),
            limit,
        )
    }

    /// Whether a part of the answer itself has come.
    pub(super) fn has_begun(&self) -> bool {
        self.parts.has_begun
    }

    /// The bytes of text that have come.
    pub(super) fn text(&self) -> usize {
        self.parts.text
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_events == Some(true)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The body, a line or the answer is larger than the limit, or an event cannot be read.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), TransportError> {
        if self.is_stream() {
            return self.take_events(piece);
        }
        // Some gateways send white space until there is an answer.
        let is_first = self.plain.is_empty() && self.is_events.is_none();
        let piece = if is_first {
            piece.trim_ascii_start()
        } else {
            piece
        };
        self.plain.extend_from_slice(piece);
        let begun = self.plain.as_slice();
        let is_enough = begun.len() >= LONGEST_FIELD || begun.contains(&b'\n');
        if self.is_events.is_none() && is_enough {
            self.is_events = Some(self.style.is_some() && begins_with_a_field(begun));
            if self.is_stream() {
                let begun = std::mem::take(&mut self.plain);
                return self.take_events(&begun);
            }
        }
        self.fits(self.plain.len())
    }

    fn take_events(&mut self, piece: &[u8]) -> Result<(), TransportError> {
        for byte in piece {
            match byte {
                b'\n' if self.is_after_return => {}
                b'\n' | b'\r' => self.end_line()?,
                byte => self.line.push(*byte),
            }
            self.is_after_return = *byte == b'\r';
        }
        self.fits(self.line.len().max(self.data.len()).max(self.parts.size))
    }

    fn fits(&self, size: usize) -> Result<(), TransportError> {
        if size <= self.limit {
            return Ok(());
        }
        let text = format!("the body is larger than {} bytes", self.limit);
        Err(TransportError::new(TransportFault::TooLarge, &text))
    }

    /// Takes a line. Comments and other fields than the data are skipped.
    fn end_line(&mut self) -> Result<(), TransportError> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line);
        if line.is_empty() {
            return self.end_event();
        }
        let Some(data) = line.strip_prefix(b"data:") else {
            return Ok(());
        };
        let is_first = self.data.is_empty();
        self.data.extend_from_slice(data.trim_ascii_start());
        self.data.push(b'\n');
        // Some servers leave out the empty line between events. An event of many lines has it.
        if is_first && let Ok(event) = serde_json::from_slice(&self.data) {
            self.data.clear();
            self.event(event);
        }
        Ok(())
    }

    /// Takes the data of an event that was not whole after its first line.
    fn end_event(&mut self) -> Result<(), TransportError> {
        let data = std::mem::take(&mut self.data);
        match data.trim_ascii() {
            b"[DONE]" => self.is_over = true,
            text if text.starts_with(b"{") => match serde_json::from_str(&repaired(text)) {
                Ok(event) => self.event(event),
                Err(_) => return Err(broken("an event of the stream is not JSON")),
            },
            _ => {} // a sign of life
        }
        Ok(())
    }

    /// Nothing more comes, for this reason.
    ///
    /// # Errors
    /// The body is not whole.
    pub(crate) fn end(&mut self, read: Result<(), TransportError>) -> Result<(), TransportError> {
        if !self.is_stream() {
            return read;
        }
        let read = read.and_then(|()| self.end_line().and_then(|()| self.end_event()));
        match read {
            _ if self.is_whole || self.error.is_some() => Ok(()),
            _ if self.is_over && self.has_begun() => Ok(()),
            Ok(()) => Err(broken("the stream ended before the answer did")),
            Err(error) => Err(error),
        }
    }

    /// The body that the call would have brought without a stream.
    pub(crate) fn into_body(mut self) -> Vec<u8> {
        if !self.is_stream() {
            return self.plain;
        }
        without_numbers("", &mut self.parts.body);
        self.parts.body.to_string().into_bytes()
    }

    fn event(&mut self, event: Value) {
        let counts = event.is_object() && !self.is_over;
        let Some(style) = self.style.filter(|_| counts) else {
            return;
        };
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        self.parts.has_begun |= kind.ends_with("delta");
        if !event["error"].is_null() || kind == "error" {
            self.error = Some(event);
            self.is_over = true;
            return;
        }
        let part = match style {
            ApiKind::Chat => chat_part(event),
            ApiKind::Responses => self.response_part(&kind, event),
            ApiKind::Messages => self.message_part(&kind, event),
            ApiKind::Gemini | ApiKind::Embeddings => event,
        };
        let ends = |list, reason| {
            items(&part[list])
                .iter()
                .any(|item| item[reason].is_string())
        };
        self.is_whole |= ends("choices", "finish_reason")
            || ends("candidates", "finishReason")
            || part["stop_reason"].is_string()
            || part["promptFeedback"]["blockReason"].is_string();
        self.parts.add(part);
    }

    /// The last event has the whole body. The others count only if it does not come.
    fn response_part(&mut self, kind: &str, mut event: Value) -> Value {
        let mut item = match kind {
            "response.output_item.added" if event["item"].is_object() => event["item"].take(),
            "response.output_text.delta" | "response.refusal.delta" => {
                let name = ["refusal", "text"][usize::from(kind.contains("text"))];
                json!({"content": [{"index": event["content_index"], name: event["delta"]}]})
            }
            _ if event["response"].is_object() => {
                self.parts.body = event["response"].take();
                let status = self.parts.body["status"].as_str();
                self.is_over = !matches!(status, Some("in_progress" | "queued"));
                self.is_whole = self.is_over;
                return Value::Null;
            }
            _ => return Value::Null,
        };
        item["index"] = event["output_index"].take();
        json!({"output": [item]})
    }

    fn message_part(&mut self, kind: &str, mut event: Value) -> Value {
        let mut block = match kind {
            "message_start" => return event["message"].take(),
            "message_delta" => {
                self.parts.add(json!({"usage": event["usage"]}));
                return event["delta"].take();
            }
            "content_block_start" => event["content_block"].take(),
            "content_block_delta" => event["delta"].take(),
            _ => {
                self.is_over = kind == "message_stop";
                return Value::Null;
            }
        };
        let Some(fields) = block.as_object_mut() else {
            return Value::Null;
        };
        if kind == "content_block_delta" {
            fields.remove("type");
        }
        if let Some(citation) = fields.remove("citation") {
            fields.insert("citations".to_owned(), json!([citation]));
        }
        fields.insert("index".to_owned(), event["index"].take());
        json!({"content": [block]})
    }
}

/// A chunk has the shape of a body, but for the name of the message.
fn chat_part(mut chunk: Value) -> Value {
    let fields = chunk.as_object_mut();
    fields.and_then(|fields| fields.remove("obfuscation"));
    if chunk["object"].is_string() {
        chunk["object"] = "chat.completion".into();
    }
    let choices = chunk.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        if let Some(fields) = choice.as_object_mut()
            && let Some(delta) = fields.remove("delta")
        {
            fields.insert("message".to_owned(), delta);
        }
    }
    chunk
}

/// Whether a body begins with a comment or a field of an event.
fn begins_with_a_field(body: &[u8]) -> bool {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let fields: [&[u8]; 5] = [b":", b"data:", b"event:", b"id:", b"retry:"];
    fields.iter().any(|field| body.starts_with(field))
}

impl StreamedParts {
    fn add(&mut self, part: Value) {
        let mut body = self.body.take();
        self.merge("", &mut body, part);
        self.body = body;
    }

    /// Puts a part into what is there. What is null changes nothing.
    fn merge(&mut self, name: &str, there: &mut Value, part: Value) {
        match &part {
            Value::Object(_) if there.is_null() => *there = json!({}),
            Value::Array(_) if there.is_null() => *there = json!([]),
            Value::String(_) if there.is_null() => *there = json!(""),
            _ => {}
        }
        match (there, part) {
            (Value::Object(there), Value::Object(part)) => {
                for (name, part) in part {
                    let field = there.entry(name.as_str()).or_insert(Value::Null);
                    self.merge(&name, field, part);
                }
            }
            (Value::Array(there), Value::Array(parts)) => {
                for part in parts {
                    self.merge_item(name, there, part);
                }
            }
            (Value::String(there), Value::String(part)) if is_in_parts(name) => {
                self.size += part.len();
                self.text += part.len();
                self.has_begun |= !part.is_empty();
                there.push_str(&part);
            }
            (_, Value::Null) => {}
            (there, part) => {
                let size = |value: &Value| value.as_str().map_or(8, str::len);
                self.size += size(&part).saturating_sub(size(there));
                *there = part;
            }
        }
    }

    /// Puts an item into the one of its number, or into the last one if both are texts and alike in the rest.
    fn merge_item(&mut self, list: &str, there: &mut Vec<Value>, part: Value) {
        let only = matches!(list, "choices" | "candidates").then_some(0);
        let number = |item: &Value| item["index"].as_u64().or(only);
        let at = match number(&part) {
            Some(known) => there.iter().position(|item| number(item) == Some(known)),
            None => there.len().checked_sub(1),
        };
        let at = at.filter(|at| number(&part).is_some() || is_more_text(&there[*at], &part));
        let at = at.unwrap_or_else(|| {
            let is_later = |item: &Value| number(item) > number(&part);
            let at = there.iter().position(is_later).unwrap_or(there.len());
            there.insert(at, Value::Null);
            at
        });
        self.size += 8;
        self.merge("", &mut there[at], part);
    }
}

/// Whether two items are texts, and alike in everything else.
fn is_more_text(item: &Value, part: &Value) -> bool {
    let rest = |item: &Value| {
        let mut fields = item.as_object()?.clone();
        fields.remove("text")?.is_string().then_some(fields)
    };
    rest(item).is_some_and(|fields| rest(part) == Some(fields))
}

/// Removes the numbers that only the parts of a stream have, and reads the input of tools, which came as a text.
fn without_numbers(list: &str, value: &mut Value) {
    match value {
        Value::Array(items) => {
            for item in items {
                if matches!(list, "content" | "tool_calls" | "output") {
                    item.as_object_mut().and_then(|item| item.remove("index"));
                }
                without_numbers("", item);
            }
        }
        Value::Object(fields) => {
            let input = fields.get("partial_json").and_then(Value::as_str);
            if let Some(input) = input.and_then(|text| serde_json::from_str(text).ok()) {
                fields.insert("input".to_owned(), input);
                fields.remove("partial_json");
            }
            for (name, field) in fields {
                without_numbers(name, field);
            }
        }
        _ => {}
    }
}

fn broken(why: &str) -> TransportError {
    TransportError {
        is_sent: true,
        ..TransportError::new(TransportFault::Broken, why)
    }
}

/// What a stream of the API at this path brings, whatever its pieces; or why it brings nothing.
#[cfg(any(test, fuzzing))]
pub(crate) fn assembled<'a>(
    path: &str,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limit: usize,
) -> Result<Vec<u8>, String> {
    let mut coming = ComingBody::new(ApiKind::of_path(path), limit);
    let read = pieces.into_iter().try_for_each(|piece| coming.take(piece));
    coming.end(read).map_err(|error| error.message)?;
    match coming.error.take() {
        Some(event) => Err(event.to_string()),
        None => Ok(coming.into_body()),
    }
}

#[cfg(test)]
mod tests;
