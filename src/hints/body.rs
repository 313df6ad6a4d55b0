//! The wait that the body of a failure states: in a field, among headers that a gateway passes on,
//! in words, and all of that in a list or in a JSON text inside a field.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Hints, times};

/// Deeper parts of a body are not looked at: gateways wrap an error at most a few times.
const DEPTH: usize = 8;

impl Hints {
    /// Takes what the body says; a header that says the same wins.
    pub(super) fn read_body(&mut self, body: &Value, now: SystemTime) {
        if self.retry_after.is_none() {
            self.retry_after = self.fields(body, now, DEPTH);
        }
        if self.retry_after.is_none() {
            self.retry_after = words(body, DEPTH);
        }
    }

    /// The wait that a field states, however deep it stands.
    fn fields(&mut self, body: &Value, now: SystemTime, depth: usize) -> Option<Duration> {
        let depth = depth.checked_sub(1)?;
        match body {
            Value::Object(fields) => {
                let stated = fields
                    .iter()
                    .find_map(|(name, value)| self.field(name, value));
                if stated.is_some() {
                    return stated;
                }
                if let Some(Value::Object(headers)) = fields.get("headers") {
                    self.headers_within(headers, now);
                }
                let mut parts = fields.values();
                self.retry_after
                    .or_else(|| parts.find_map(|part| self.fields(part, now, depth)))
            }
            Value::Array(parts) => parts.iter().find_map(|part| self.fields(part, now, depth)),
            Value::String(text) => self.fields(&nested(text)?, now, depth),
            _ => None,
        }
    }

    /// The wait in a field of this name: a number of seconds, or a duration such as `17s`.
    fn field(&mut self, name: &str, value: &Value) -> Option<Duration> {
        let unit = match name {
            "retryDelay"
            | "retry_after"
            | "retryAfter"
            | "retry-after"
            | "estimated_time"
            | "retry_after_seconds" => Duration::from_secs(1),
            "retry_after_ms" | "retryAfterMs" => Duration::from_millis(1),
            _ => return None,
        };
        let wait = match value {
            Value::Number(number) => times::number_of(&number.to_string(), unit),
            Value::String(text) => times::units(text).or_else(|| times::number_of(text, unit)),
            _ => None,
        };
        self.note_unreadable(name, wait.is_none());
        wait
    }

    /// Headers of the server behind a gateway, in the gateway's body.
    fn headers_within(&mut self, fields: &serde_json::Map<String, Value>, now: SystemTime) {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let headers: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.to_lowercase(), text(value)))
            .collect();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.read_headers(&headers, now);
    }
}

/// The wait that a text says in words, however deep it stands.
fn words(body: &Value, depth: usize) -> Option<Duration> {
    let depth = depth.checked_sub(1)?;
    match body {
        Value::Object(fields) => fields.values().find_map(|part| words(part, depth)),
        Value::Array(parts) => parts.iter().find_map(|part| words(part, depth)),
        Value::String(text) => match nested(text) {
            Some(inner) => words(&inner, depth),
            None => times::in_words(text),
        },
        _ => None,
    }
}

/// The JSON in a text, as gateways wrap the error of another server.
pub(crate) fn nested(text: &str) -> Option<Value> {
    let inner = |open: char, close: char| {
        let inner = text.get(text.find(open)?..=text.rfind(close)?)?;
        serde_json::from_str(inner).ok()
    };
    inner('{', '}').or_else(|| inner('[', ']'))
}
