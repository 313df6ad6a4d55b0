//! What a row asks beyond its prompt: a conversation, parameters of its own, files.
//!
//! A field that a template uses is only a field. What an API makes of it is left to `api`.

use std::path::Path;

use serde_json::{Map, Value};

use super::{InputRow, Reading, short};
use crate::api::{ApiKind, Row, is_url, text_of};

/// Parameters that a row may have of its own.
const SETTINGS: [&str; 4] = ["model", "system", "max_tokens", "temperature"];

/// Fields that name files, beside those of `--attach-column`.
const FILES: [&str; 3] = ["image", "images", "files"];

/// Whether the record of a prompt has this field under another name.
pub(super) fn is_told_elsewhere(name: &str) -> bool {
    let names = ["prompt", "id", "custom_id", "messages", "body"];
    names.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The conversation of an object, if only in its body.
pub(super) fn messages(fields: &Map<String, Value>) -> Option<&Value> {
    let in_body = || fields.get("body")?.get("messages");
    let messages = fields
        .get("messages")
        .filter(|messages| !messages.is_null());
    messages.or_else(in_body)
}

/// What the row asks. An error says what was expected, and what was found.
pub(super) fn row(row: &InputRow, reading: &Reading) -> Result<Row, String> {
    let mut asked = Row::default();
    let template = reading.template.as_ref();
    let is_free = |name: &str| template.is_none_or(|template| !template.takes(name));
    let fields = row.fields.iter();
    if let Some(messages) = messages(&row.fields).filter(|_| template.is_none()) {
        asked.messages = match (messages.as_array(), &row.prompt) {
            (Some(said), None) => checked(said)?,
            (Some(said), Some(_)) if !said.is_empty() => {
                return Err("it has both a \"prompt\" and \"messages\": remove one".to_owned());
            }
            (_, Some(_)) => Vec::new(),
            (None, None) => {
                let found = short(&messages.to_string());
                return Err(format!("expected \"messages\" to be a list, found {found}"));
            }
        };
    }
    for (name, value) in fields.filter(|(name, value)| is_free(name) && !is_blank(value)) {
        let is_attached = FILES.contains(&&**name) || reading.attached.contains(name);
        match (name.as_str(), value) {
            ("body", Value::Object(body)) if template.is_none() => {
                let others = body.iter().filter(|(name, _)| *name != "messages");
                asked
                    .settings
                    .extend(others.map(|(name, value)| (name.clone(), value.clone())));
            }
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
    if !reading.api_path.is_empty() && !asked.is_plain() {
        asked.check(ApiKind::of_path(&reading.api_path))?;
    }
    Ok(asked)
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
    let places = value.as_array().map_or(one, Vec::as_slice).iter();
    for place in places.filter(|place| !is_blank(place)) {
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

/// A conversation in which the user says something.
fn checked(messages: &[Value]) -> Result<Vec<Value>, String> {
    let is_filled = |content: &Value| match content {
        Value::Array(parts) => !parts.is_empty(),
        content => !is_blank(content),
    };
    let is_message = |message: &Value| {
        message["role"].is_string()
            && (!message["content"].is_null() || message.get("tool_calls").is_some())
    };
    if let Some(other) = messages.iter().find(|message| !is_message(message)) {
        let found = short(&other.to_string());
        let problem = "expected each of \"messages\" to have a \"role\" and \"content\", found";
        return Err(format!("{problem} {found}"));
    }
    let is_asked = |message: &Value| message["role"] == "user" && is_filled(&message["content"]);
    match messages.iter().any(is_asked) {
        true => Ok(messages.to_vec()),
        false => Err(
            "in \"messages\" the user says nothing: add a message with the role user".to_owned(),
        ),
    }
}

/// The question in a conversation: the last text that the user says.
pub(super) fn question(messages: &[Value]) -> Option<String> {
    let mut said = messages.iter().rev();
    let last = said.find(|message| message["role"] == "user")?;
    Some(text_of(&last["content"])).filter(|text| !text.trim().is_empty())
}
