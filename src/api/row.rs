//! What a row of the input asks beyond a text: a conversation, files, parameters of its own; and how each API writes them.
//!
//! A file is read when its request is made, so the files of a batch are never in memory together; before the run it is
//! only looked at.

use std::fs::{self, File};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Api, Params};

/// The largest file, in bytes: what the makers take in one request is 20 MB (Gemini) and more.
const LARGEST: u64 = 20_000_000;

/// What a row asks beyond a text: plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// A conversation in the words of chat completions, instead of the text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) messages: Vec<Value>,
    /// Parameters of its own: `model`, `system`, `max_tokens`, `temperature`, or other fields of the body.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) settings: Map<String, Value>,
    /// Paths and addresses of files that belong to the last thing the user says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<String>,
}

/// How an API writes conversations and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestStyle {
    Chat,
    Responses,
    Messages,
    Gemini,
}

/// A file as it is sent.
enum Attached {
    Url(String),
    Data { mime: String, base64: String },
}

impl RequestStyle {
    /// The dialect of the API with this path; `None` for embeddings and APIs of somebody's own.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/chat/completions" => Some(RequestStyle::Chat),
            "/responses" => Some(RequestStyle::Responses),
            "/messages" => Some(RequestStyle::Messages),
            _ if path.ends_with(":generateContent") => Some(RequestStyle::Gemini),
            _ => None,
        }
    }

    /// The field of a body with the conversation.
    fn list(self) -> &'static str {
        match self {
            RequestStyle::Chat | RequestStyle::Messages => "messages",
            RequestStyle::Responses => "input",
            RequestStyle::Gemini => "contents",
        }
    }

    /// Puts a conversation into a body that was made from its last text.
    fn put(self, body: &mut Value, messages: Vec<Value>) {
        let (system, said): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| matches!(message["role"].as_str(), Some("system" | "developer")));
        let said = said.into_iter().map(|message| self.message(message));
        if self == RequestStyle::Chat {
            let first = body["messages"][0].take();
            let given = (system.is_empty() && first["role"] == "system").then_some(first);
            body["messages"] = given.into_iter().chain(system).chain(said).collect();
            return;
        }
        body[self.list()] = said.collect();
        if system.is_empty() {
            return;
        }
        let texts = system.iter().map(|message| text_of(&message["content"]));
        let text = texts.collect::<Vec<_>>().join("\n\n");
        match self {
            RequestStyle::Gemini => body["systemInstruction"] = json!({"parts": [{"text": text}]}),
            RequestStyle::Responses => body["instructions"] = text.into(),
            RequestStyle::Messages | RequestStyle::Chat => body["system"] = text.into(),
        }
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
            Value::Array(parts) => parts
                .into_iter()
                .map(|part| self.part(part, is_model))
                .collect(),
            Value::String(text) if self == RequestStyle::Gemini => json!([{"text": text}]),
            other => other,
        };
        if self == RequestStyle::Gemini {
            return json!({"role": if is_model { "model" } else { "user" }, "parts": content});
        }
        message["content"] = content;
        message
    }

    /// A part of a message; parts that are unknown stay as they are.
    fn part(self, part: Value, is_model: bool) -> Value {
        if self == RequestStyle::Chat {
            return part;
        }
        if part["type"] == "text" {
            let kind = ["input_text", "output_text"][usize::from(is_model)];
            return match self {
                RequestStyle::Responses => json!({"type": kind, "text": part["text"]}),
                RequestStyle::Gemini => json!({"text": part["text"]}),
                _ => part,
            };
        }
        match part["image_url"]["url"].as_str() {
            Some(url) => self.file(&Attached::of_url(url)),
            None => part,
        }
    }

    /// A file as a part of a message.
    fn file(self, file: &Attached) -> Value {
        let is_pdf = file.is_pdf();
        let (mime, base64) = match file {
            Attached::Data { mime, base64 } => (mime.as_str(), base64.as_str()),
            Attached::Url(url) => return self.file_at(url, is_pdf),
        };
        let data_url = || format!("data:{mime};base64,{base64}");
        match (self, is_pdf) {
            (RequestStyle::Chat, false) => {
                json!({"type": "image_url", "image_url": {"url": data_url()}})
            }
            (RequestStyle::Chat, true) => {
                let file = json!({"filename": "file.pdf", "file_data": data_url()});
                json!({"type": "file", "file": file})
            }
            (RequestStyle::Responses, false) => {
                json!({"type": "input_image", "image_url": data_url()})
            }
            (RequestStyle::Responses, true) => {
                json!({"type": "input_file", "filename": "file.pdf", "file_data": data_url()})
            }
            (RequestStyle::Messages, _) => {
                let source = json!({"type": "base64", "media_type": mime, "data": base64});
                json!({"type": if is_pdf { "document" } else { "image" }, "source": source})
            }
            (RequestStyle::Gemini, _) => json!({"inlineData": {"mimeType": mime, "data": base64}}),
        }
    }

    /// A file that the server fetches.
    fn file_at(self, url: &str, is_pdf: bool) -> Value {
        match (self, is_pdf) {
            (RequestStyle::Chat, _) => json!({"type": "image_url", "image_url": {"url": url}}),
            (RequestStyle::Responses, false) => json!({"type": "input_image", "image_url": url}),
            (RequestStyle::Responses, true) => json!({"type": "input_file", "file_url": url}),
            (RequestStyle::Messages, _) => {
                let kind = if is_pdf { "document" } else { "image" };
                json!({"type": kind, "source": {"type": "url", "url": url}})
            }
            (RequestStyle::Gemini, _) => json!({"fileData": {"fileUri": url}}),
        }
    }
}

impl Attached {
    /// An address, or the data that it holds itself.
    fn of_url(url: &str) -> Self {
        let data = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        match data {
            Some((mime, base64)) => Attached::Data {
                mime: mime.to_owned(),
                base64: base64.to_owned(),
            },
            None => Attached::Url(url.to_owned()),
        }
    }

    /// Reads a file, unless it is elsewhere.
    fn read(place: &str) -> Result<Self, String> {
        if is_url(place) {
            return Ok(Self::of_url(place));
        }
        let mime = mime_of(place)?;
        let bytes = fs::read(place).map_err(|error| format!("{place}: {error}"))?;
        Ok(Attached::Data {
            mime: mime.to_owned(),
            base64: STANDARD.encode(bytes),
        })
    }

    fn is_pdf(&self) -> bool {
        match self {
            Attached::Url(url) => url.to_lowercase().ends_with(".pdf"),
            Attached::Data { mime, .. } => mime == "application/pdf",
        }
    }
}

/// Whether a file is fetched by the server, or stands in its address.
pub(crate) fn is_url(place: &str) -> bool {
    ["https://", "http://", "data:"]
        .iter()
        .any(|scheme| place.starts_with(scheme))
}

/// The type of a file, by its first bytes. An error says what is wrong with the file.
fn mime_of(path: &str) -> Result<&'static str, String> {
    let fail = |problem: String| format!("the file {path}: {problem}");
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        file.take(12).read_to_end(&mut head)?;
        Ok(length)
    });
    let length = read.map_err(|error| fail(error.to_string()))?;
    if length > LARGEST {
        let (length, most) = (length / 1_000_000, LARGEST / 1_000_000);
        return Err(fail(format!("{length} MB; {most} MB is the most")));
    }
    match &head[..] {
        [0x89, b'P', b'N', b'G', ..] => Ok("image/png"),
        [0xff, 0xd8, 0xff, ..] => Ok("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Ok("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Ok("image/webp"),
        [b'%', b'P', b'D', b'F', ..] => Ok("application/pdf"),
        _ => Err(fail("no PNG, JPEG, GIF, WebP or PDF".to_owned())),
    }
}

impl Row {
    /// Whether it asks nothing beyond its text.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Row::default()
    }

    /// Whether the API with this path has a place for all of it, and its files can be read. Nothing large is read.
    pub(crate) fn check(&self, path: &str) -> Result<(), String> {
        let dialect = RequestStyle::of_path(path);
        if dialect.is_none() && !(self.messages.is_empty() && self.files.is_empty()) {
            return Err(format!("the API at {path} takes no messages or files"));
        }
        if dialect == Some(RequestStyle::Gemini) && self.settings.contains_key("model") {
            return Err(
                "with --api gemini the model is part of the address, and cannot differ by row"
                    .to_owned(),
            );
        }
        let local = self.files.iter().filter(|place| !is_url(place));
        local
            .map(|place| mime_of(place))
            .try_for_each(|mime| mime.map(drop))
    }

    /// The body of the request.
    pub(crate) fn body(
        &self,
        api: &dyn Api,
        path: &str,
        prompt: &str,
        params: &Params,
    ) -> Result<Value, String> {
        self.check(path)?;
        let mut body = api.body(prompt, &self.params(params));
        let Some(dialect) = RequestStyle::of_path(path) else {
            return Ok(body);
        };
        let files = self.files.iter().map(|place| Attached::read(place));
        let parts = files.map(|file| Ok(dialect.file(&file?)));
        let parts = parts.collect::<Result<Vec<_>, String>>()?;
        if !self.messages.is_empty() {
            dialect.put(&mut body, self.messages.clone());
        } else if !parts.is_empty() {
            let said = json!({"role": "user", "content": prompt});
            dialect.put(&mut body, vec![said]);
        }
        if !parts.is_empty() {
            attach(dialect, &mut body, parts)?;
        }
        Ok(body)
    }

    /// The parameters of the batch, with those of this row.
    fn params(&self, params: &Params) -> Params {
        let mut own = params.clone();
        for (name, value) in &self.settings {
            match (name.as_str(), value) {
                ("model", Value::String(model)) => own.model.clone_from(model),
                ("system", Value::String(text)) => own.system = Some(text.clone()),
                ("max_tokens", Value::Number(most)) => {
                    own.max_tokens = most.as_u64().and_then(|most| most.try_into().ok());
                }
                ("temperature", Value::Number(number)) => own.temperature = number.as_f64(),
                _ => {
                    own.extra.insert(name.clone(), value.clone());
                }
            }
        }
        own
    }
}

/// Puts files before the last thing that the user says.
fn attach(dialect: RequestStyle, body: &mut Value, mut parts: Vec<Value>) -> Result<(), String> {
    let is_gemini = dialect == RequestStyle::Gemini;
    let content = if is_gemini { "parts" } else { "content" };
    let messages = body[dialect.list()].as_array_mut().into_iter().flatten();
    let last = messages.filter(|message| message["role"] == "user").last();
    let last = last.ok_or("files need a message of the user to belong to")?;
    match last[content].take() {
        Value::Array(more) => parts.extend(more),
        Value::String(text) => {
            parts.push(dialect.part(json!({"type": "text", "text": text}), false))
        }
        _ => {}
    }
    last[content] = parts.into();
    Ok(())
}

/// The text of a message, which may have several parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        content => content.as_str().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::chat::Chat;
    use super::super::embeddings::Embeddings;
    use super::super::gemini::Gemini;
    use super::super::messages::Messages;
    use super::super::responses::Responses;
    use super::*;

    /// The body that each API makes of a row, with the model `m` and the system message `all`.
    fn bodies(prompt: &str, row: &Row) -> [Value; 4] {
        let params = Params {
            model: "m".to_owned(),
            system: Some("all".to_owned()),
            ..Params::default()
        };
        let apis: [&dyn Api; 4] = [&Chat, &Responses, &Messages, &Gemini];
        apis.map(|api| row.body(api, &api.path("m"), prompt, &params).unwrap())
    }

    fn row(json: Value) -> Row {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_conversation_is_written_as_each_api_wants_it() {
        let row = row(json!({"messages": [
            {"role": "system", "content": "brief"},
            {"role": "user", "content": "1"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": [{"type": "text", "text": "3"}]},
        ]}));
        let [chat, responses, messages, gemini] = bodies("3", &row);
        assert_eq!(
            chat["messages"],
            json!(row.messages),
            "the row's system message wins"
        );
        assert_eq!(
            responses,
            json!({"model": "m", "instructions": "brief", "input": [
                {"role": "user", "content": "1"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": [{"type": "input_text", "text": "3"}]},
            ]})
        );
        assert_eq!(messages["system"], "brief");
        assert_eq!(messages["messages"], json!(row.messages[1..]));
        assert_eq!(
            gemini,
            json!({
                "systemInstruction": {"parts": [{"text": "brief"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "1"}]},
                    {"role": "model", "parts": [{"text": "2"}]},
                    {"role": "user", "parts": [{"text": "3"}]},
                ]
            })
        );
    }

    #[test]
    fn the_system_message_of_the_batch_stays_where_a_row_has_none() {
        let row = row(json!({"messages": [{"role": "user", "content": "1"}]}));
        let [chat, responses, messages, gemini] = bodies("1", &row);
        assert_eq!(
            chat["messages"][0],
            json!({"role": "system", "content": "all"})
        );
        assert_eq!(chat["messages"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&responses["instructions"], &messages["system"]),
            (&json!("all"), &json!("all"))
        );
        assert_eq!(gemini["systemInstruction"]["parts"][0]["text"], "all");
    }

    #[test]
    fn parameters_of_a_row_win() {
        let settings =
            json!({"model": "own", "system": "s", "max_tokens": 7, "temperature": 0.5, "top_p": 1});
        let row = row(json!({"settings": settings}));
        let chat = row
            .body(&Chat, &Chat.path(""), "p", &Params::default())
            .unwrap();
        let expected = json!({"model": "own", "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "p"}
        ], "max_tokens": 7, "temperature": 0.5, "top_p": 1});
        assert_eq!(chat, expected);
        let error = row.check(":generateContent").unwrap_err();
        assert!(error.contains("part of the address"), "{error}");
    }

    #[test]
    fn files_are_written_as_each_api_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let (png, pdf) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&png, b"\x89PNG\r\n").unwrap();
        fs::write(&pdf, b"%PDF-1.7").unwrap();
        let url = "https://example.org/c.jpg";
        let row = row(json!({"files": [png, pdf, url]}));
        let [chat, responses, messages, gemini] = bodies("p", &row);
        let image = "iVBORw0K";
        let data = format!("data:image/png;base64,{image}");
        let parts = &chat["messages"][1]["content"];
        assert_eq!(
            parts[0],
            json!({"type": "image_url", "image_url": {"url": data}})
        );
        assert!(
            parts[1]["file"]["file_data"]
                .as_str()
                .unwrap()
                .starts_with("data:application/pdf")
        );
        assert_eq!(parts[2]["image_url"]["url"], url);
        assert_eq!(parts[3], json!({"type": "text", "text": "p"}));
        let parts = &responses["input"][0]["content"];
        assert_eq!(parts[0], json!({"type": "input_image", "image_url": data}));
        assert_eq!(parts[1]["type"], "input_file");
        assert_eq!(parts[3], json!({"type": "input_text", "text": "p"}));
        let parts = &messages["messages"][0]["content"];
        let source = json!({"type": "base64", "media_type": "image/png", "data": image});
        assert_eq!(parts[0], json!({"type": "image", "source": source}));
        assert_eq!(
            (&parts[1]["type"], &parts[2]["source"]["url"]),
            (&json!("document"), &json!(url))
        );
        let parts = &gemini["contents"][0]["parts"];
        assert_eq!(
            parts[0],
            json!({"inlineData": {"mimeType": "image/png", "data": image}})
        );
        assert_eq!(
            (&parts[2], &parts[3]),
            (
                &json!({"fileData": {"fileUri": url}}),
                &json!({"text": "p"})
            )
        );
    }

    #[test]
    fn images_in_parts_of_chat_completions_are_translated() {
        let part = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
        let row = row(json!({"messages": [{"role": "user", "content": [part]}]}));
        let [_, responses, messages, gemini] = bodies("", &row);
        assert_eq!(responses["input"][0]["content"][0]["type"], "input_image");
        assert_eq!(
            messages["messages"][0]["content"][0]["source"]["data"],
            "AAAA"
        );
        assert_eq!(
            gemini["contents"][0]["parts"][0]["inlineData"]["mimeType"],
            "image/png"
        );
    }

    #[test]
    fn a_file_that_cannot_be_sent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("a.png");
        fs::write(&text, "text").unwrap();
        let check = |place: &str| row(json!({"files": [place]})).check("/messages");
        let error = check(text.to_str().unwrap()).unwrap_err();
        assert!(
            error.ends_with("a.png: no PNG, JPEG, GIF, WebP or PDF"),
            "{error}"
        );
        assert!(
            check("/not/there.png")
                .unwrap_err()
                .contains("/not/there.png: No such file")
        );
        File::create(&text).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(
            check(text.to_str().unwrap())
                .unwrap_err()
                .contains("20 MB is the most")
        );
        let error = row(json!({"files": ["https://a"]}))
            .check(&Embeddings.path(""))
            .unwrap_err();
        assert!(error.contains("takes no messages or files"), "{error}");
    }
}
