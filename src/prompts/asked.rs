//! What a row asks beyond its prompt: a conversation, parameters of its own, files.
//!
//! A field that a template uses is only a field. What an API makes of it is left to `api`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{InputRow, Reading, short};
use crate::api::{Row, is_url};

/// Parameters that a row may have of its own.
const SETTINGS: [&str; 4] = ["model", "system", "max_tokens", "temperature"];

/// Fields that name files, beside those of `--attach-column`.
const FILES: [&str; 3] = ["image", "images", "files"];

/// Whether the record of a prompt has this field under another name.
pub(super) fn is_told_elsewhere(name: &str) -> bool {
    let names = ["prompt", "id", "custom_id", "messages", "body"];
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Whether an object holds a conversation, if only in its body.
pub(super) fn has_messages(fields: &Map<String, Value>) -> bool {
    let body = fields.get("body").and_then(|body| body.get("messages"));
    fields.contains_key("messages") || body.is_some()
}

/// What the row asks. An error says what was expected, and what was found.
pub(super) fn row(row: &InputRow, reading: &Reading) -> Result<Row, String> {
    let mut asked = Row::default();
    let template = reading.template.as_ref();
    let is_free = |name: &str| template.is_none_or(|template| !template.takes(name));
    let fields = row.fields.iter();
    for (name, value) in fields.filter(|(name, value)| is_free(name) && !is_blank(value)) {
        let is_attached = FILES.contains(&&**name) || reading.attached.contains(name);
        match (name.as_str(), value) {
            ("messages", Value::Array(said)) if template.is_none() => {
                asked.messages.clone_from(said)
            }
            ("body", Value::Object(body)) if template.is_none() => take_body(&mut asked, body),
            (name, value) if SETTINGS.contains(&name) => {
                asked
                    .settings
                    .insert(name.to_owned(), setting(name, value)?);
            }
            (name, value) if is_attached => add_files(&mut asked, name, value, &reading.path)?,
            _ => {}
        }
    }
    if reading.one_model {
        asked.settings.shift_remove("model");
    }
    if !asked.messages.is_empty() {
        check_messages(&asked.messages, row.prompt.is_some())?;
    }
    if !reading.api_path.is_empty() && !asked.is_plain() {
        asked.check(&reading.api_path)?;
    }
    Ok(asked)
}

/// The body of a request without an address: its conversation, and the rest as parameters.
fn take_body(asked: &mut Row, body: &Map<String, Value>) {
    for (name, value) in body {
        match value {
            Value::Array(said) if name == "messages" => asked.messages.clone_from(said),
            value => {
                asked.settings.insert(name.clone(), value.clone());
            }
        }
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// A parameter; tables write numbers as text.
fn setting(name: &str, value: &Value) -> Result<Value, String> {
    let is_number = matches!(name, "max_tokens" | "temperature");
    let number = match value {
        Value::String(text) if is_number => {
            serde_json::from_str(text.trim()).unwrap_or(Value::Null)
        }
        value => value.clone(),
    };
    let fits = match name {
        "max_tokens" => number
            .as_u64()
            .is_some_and(|most| u32::try_from(most).is_ok()),
        "temperature" => number.is_number(),
        _ => number.is_string(),
    };
    let expected = if is_number { "a number" } else { "a text" };
    let found = || short(&value.to_string());
    fits.then_some(number)
        .ok_or_else(|| format!("expected \"{name}\" to be {expected}, found {}", found()))
}

/// Adds the files of a field, a name or a list of names; they are beside the input.
fn add_files(asked: &mut Row, name: &str, value: &Value, input: &Path) -> Result<(), String> {
    let one = std::slice::from_ref(value);
    for place in value.as_array().map_or(one, Vec::as_slice) {
        let Value::String(place) = place else {
            let found = short(&place.to_string());
            return Err(format!("expected \"{name}\" to name files, found {found}"));
        };
        let beside = input.parent().unwrap_or(Path::new("")).join(place.trim());
        asked.files.push(match is_url(place) {
            true => place.clone(),
            false => beside.to_string_lossy().into_owned(),
        });
    }
    Ok(())
}

fn check_messages(messages: &[Value], has_prompt: bool) -> Result<(), String> {
    if has_prompt {
        return Err("it has both a \"prompt\" and \"messages\": remove one".to_owned());
    }
    let is_message = |message: &Value| {
        let content = &message["content"];
        message["role"].is_string()
            && (content.is_string() || !content.is_null() || message.get("tool_calls").is_some())
    };
    match messages.iter().find(|message| !is_message(message)) {
        None => Ok(()),
        Some(other) => Err(format!(
            "expected each of \"messages\" to have a \"role\" and \"content\", found {}",
            short(&other.to_string())
        )),
    }
}

/// The question in a conversation: the last text that the user says.
pub(super) fn question(messages: &[Value]) -> Option<String> {
    let mut said = messages.iter().rev();
    let last = said.find(|message| message["role"] == "user")?;
    Some(text_of(&last["content"])?).filter(|text| !text.trim().is_empty())
}

/// The text of a message, which may have several parts, some of them pictures.
fn text_of(content: &Value) -> Option<String> {
    let Value::Array(parts) = content else {
        return content.as_str().map(str::to_owned);
    };
    let texts: Vec<_> = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    Some(texts.join("\n"))
}
