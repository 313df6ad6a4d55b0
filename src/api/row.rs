//! What a row of the input asks beyond a text: a conversation, files, parameters of its own.
//!
//! A file is read when its request is made, so the files of a batch are never in memory together; before the run it is
//! only looked at.

use std::fs::{self, File};
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Api, ApiKind, Params};

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

impl Row {
    /// Whether it asks nothing beyond its text.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Row::default()
    }

    fn has_conversation(&self) -> bool {
        !(self.messages.is_empty() && self.files.is_empty())
    }

    /// Whether the API has a place for all of it, and its files can be read. Nothing large is read. `api` is one that answers
    /// questions.
    pub(crate) fn check(&self, api: Option<ApiKind>) -> Result<(), String> {
        if api.is_none() && self.has_conversation() {
            return Err("this API takes no messages or files".to_owned());
        }
        if api == Some(ApiKind::Gemini) && self.settings.contains_key("model") {
            let problem =
                "with --api gemini the model is part of the address, and cannot differ by row";
            return Err(problem.to_owned());
        }
        let mut local = self.files.iter().filter(|place| !is_url(place));
        local.try_for_each(|place| mime_of(place).map(drop))
    }

    /// The body of the request.
    pub(super) fn body(
        &self,
        api: &dyn Api,
        kind: Option<ApiKind>,
        prompt: &str,
        params: &Params,
    ) -> Result<Value, String> {
        self.check(kind)?;
        let mut params = self.params(params);
        let Some(kind) = kind.filter(|_| self.has_conversation()) else {
            return Ok(api.body(prompt, &params));
        };
        let mut said = self.messages.clone();
        if said.is_empty() {
            said.push(json!({"role": "user", "content": prompt}));
        }
        self.attach_files(&mut said)?;
        if said.iter().any(is_of_the_system) {
            let system = said.iter().filter(|message| is_of_the_system(message));
            let texts: Vec<_> = system.map(|message| text_of(&message["content"])).collect();
            params.system = (kind != ApiKind::Chat).then(|| texts.join("\n\n"));
        }
        // Chat completions have the system's messages in the conversation.
        said.retain(|message| kind == ApiKind::Chat || !is_of_the_system(message));
        Ok(kind.request(kind.conversation(said, &params), &params))
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

    /// Puts the files before the last thing that the user says.
    fn attach_files(&self, said: &mut [Value]) -> Result<(), String> {
        if self.files.is_empty() {
            return Ok(());
        }
        let part =
            |place: &String| Ok(json!({"type": "image_url", "image_url": {"url": url_of(place)?}}));
        let parts: Result<Vec<_>, String> = self.files.iter().map(part).collect();
        let mut parts = parts?;
        let last = said.iter_mut().rfind(|message| message["role"] == "user");
        let last = last.ok_or("files need a message of the user to belong to")?;
        match last["content"].take() {
            Value::Array(more) => parts.extend(more),
            Value::String(text) => parts.push(json!({"type": "text", "text": text})),
            _ => {}
        }
        last["content"] = parts.into();
        Ok(())
    }
}

fn is_of_the_system(message: &Value) -> bool {
    matches!(message["role"].as_str(), Some("system" | "developer"))
}

/// The text of a message, which may have several parts, some of them pictures.
pub(crate) fn text_of(content: &Value) -> String {
    let Value::Array(parts) = content else {
        return content.as_str().unwrap_or_default().to_owned();
    };
    let texts = parts.iter().filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("\n")
}

/// Whether a file is fetched by the server, or stands in its address.
pub(crate) fn is_url(place: &str) -> bool {
    let schemes = ["https://", "http://", "data:"];
    schemes.iter().any(|scheme| place.starts_with(scheme))
}

/// The address of a file, or one that has its content.
fn url_of(place: &str) -> Result<String, String> {
    if is_url(place) {
        return Ok(place.to_owned());
    }
    let mut url = format!("data:{};base64,", mime_of(place)?);
    let bytes = fs::read(place).map_err(|error| format!("{place}: {error}"))?;
    STANDARD.encode_string(bytes, &mut url);
    Ok(url)
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

#[cfg(test)]
mod tests {
    use super::super::ApiKind::*;
    use super::*;

    /// The body that each API makes of a row, with the model `m` and the system message `all`.
    fn bodies(prompt: &str, row: &Row) -> [Value; 4] {
        let params = Params {
            model: "m".to_owned(),
            system: Some("all".to_owned()),
            ..Params::default()
        };
        let body = |api| row.body(&api, Some(api), prompt, &params).unwrap();
        [Chat, Responses, Messages, Gemini].map(body)
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
            .body(&Chat, Some(Chat), "p", &Params::default())
            .unwrap();
        let expected = json!({"model": "own", "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "p"}
        ], "max_tokens": 7, "temperature": 0.5, "top_p": 1});
        assert_eq!(chat, expected);
        let error = row.check(Some(Gemini)).unwrap_err();
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
        let check = |place: &str| row(json!({"files": [place]})).check(Some(Messages));
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
            .check(None)
            .unwrap_err();
        assert!(error.contains("takes no messages or files"), "{error}");
    }
}
