//! The key to an API: sent in one header, and never shown.

use std::fmt::{self, Debug};

use serde_json::Value;

use super::{Answer, CallError};
use crate::json::Json;

/// An API key. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// What stands in place of a key that a server repeats.
    const HIDDEN: &str = "…";

    /// Makes a key of a text, without the white space around it. `None` if nothing is left, or if it
    /// has characters that a header cannot carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sendable = !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        sendable.then(|| Key(text.to_owned()))
    }

    /// The key itself, for the header that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Hides the key in an answer that repeats it.
    pub(super) fn hide_in_answer(&self, answer: &mut Answer) {
        self.hide(&mut answer.text);
        self.hide_in(&mut answer.finish_reason);
        self.hide_in(&mut answer.request_id);
        self.hide_in_json(&mut answer.body);
    }

    /// Hides the key in a failure that repeats it, as some servers do to say that it is wrong.
    pub(super) fn hide_in_error(&self, error: &mut CallError) {
        self.hide(&mut error.code);
        self.hide(&mut error.message);
        self.hide_in(&mut error.request_id);
        if let Some(body) = &mut error.body {
            self.hide_in_json(body);
        }
    }

    fn hide_in(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.hide(text);
        }
    }

    fn hide(&self, text: &mut String) {
        if self.is_in(text) {
            *text = text.replace(&self.0, Self::HIDDEN);
        }
    }

    /// Keys of less than 8 characters are placeholders, and may be any word.
    fn is_in(&self, text: &str) -> bool {
        const SHORTEST: usize = 8;
        self.0.len() >= SHORTEST && text.contains(&self.0)
    }

    /// Hides the key in all texts of a body, however its characters are escaped there.
    fn hide_in_json(&self, body: &mut Json) {
        const ASCII: [&str; 6] = ["\\u002", "\\u003", "\\u004", "\\u005", "\\u006", "\\u007"];
        let text = body.as_str();
        let may_be_escaped =
            ASCII.iter().any(|escape| text.contains(escape)) || self.0.contains(['/', '"', '\\']);
        if self.is_in(text) || may_be_escaped {
            let mut value = body.value();
            if self.hide_in_value(&mut value) {
                *body = Json::from(value);
            }
        }
    }

    /// Hides the key in all texts of a value, and returns whether there was one.
    fn hide_in_value(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let is_in = self.is_in(text);
                self.hide(text);
                is_in
            }
            Value::Array(parts) => self.hide_in_values(parts.iter_mut()),
            Value::Object(fields) if fields.keys().any(|name| self.is_in(name)) => {
                *value = Value::from(Self::HIDDEN);
                true
            }
            Value::Object(fields) => self.hide_in_values(fields.values_mut()),
            _ => false,
        }
    }

    fn hide_in_values<'a>(&self, values: impl Iterator<Item = &'a mut Value>) -> bool {
        values.fold(false, |found, value| self.hide_in_value(value) | found)
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_is_trimmed_checked_and_never_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert_eq!(key.expose(), "sk-secret");
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!(
            (Key::new("  "), Key::new("two words"), Key::new("smörgås")),
            (None, None, None)
        );
    }

    #[test]
    fn a_key_is_hidden_in_a_body_however_it_is_escaped() {
        let key = Key::new("sk/test\"12345").unwrap();
        let table = [
            json!({"a": ["bad key sk/test\"12345", 1]}).to_string(),
            json!({"sk/test\"12345": 1}).to_string(),
            r#"{"a": "sk\/test\"12345"}"#.to_owned(),
            r#"{"a": {"b": "sk\u002ftest\u002212345"}}"#.to_owned(),
            r#""\u0073k/test\u0022\u0031\u00322345""#.to_owned(),
        ];
        for text in table {
            let mut body = Json::read(text.replace("22345", "2345")).unwrap();
            key.hide_in_json(&mut body);
            assert!(!body.value().to_string().contains("2345"), "{body}");
        }
        let mut other = Json::read(r#"{"a": 1.50, "b": "sk\/other"}"#.to_owned()).unwrap();
        key.hide_in_json(&mut other);
        assert_eq!(
            other.as_str(),
            r#"{"a": 1.50, "b": "sk\/other"}"#,
            "digits stay"
        );
    }
}
