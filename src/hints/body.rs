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
            self.retry_after = find_in(body, &mut |name, part| self.field(name, part, now));
        }
        if self.retry_after.is_none() {
            self.retry_after = find_in(body, &mut |_, part| times::in_words(part.as_str()?));
        }
    }

    /// The wait in a field of this name: a number of seconds, or a duration such as `17s`; or in the
    /// headers of the server behind a gateway.
    fn field(&mut self, name: &str, value: &Value, now: SystemTime) -> Option<Duration> {
        let unit = match name {
            "retryDelay"
            | "retry_after"
            | "retryAfter"
            | "retry-after"
            | "estimated_time"
            | "retry_after_seconds" => Duration::from_secs(1),
            "retry_after_ms" | "retryAfterMs" => Duration::from_millis(1),
            "headers" => {
                self.read_headers(&headers_in(value), now);
                return self.retry_after;
            }
            _ => return None,
        };
        let wait = match value {
            Value::Number(number) => times::number_of(&number.to_string(), unit),
            Value::String(text) => times::units(text).or_else(|| times::number_of(text, unit)),
            _ => None,
        };
        self.known(name, wait)
    }
}

/// The fields of an object as headers.
fn headers_in(fields: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fields = fields.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.to_lowercase(), text(value)))
        .collect()
}

/// Shows each part of a body with the name of its field, however deep it stands, also in a JSON text, until `look` finds
/// something.
pub(crate) fn find_in<T>(
    body: &Value,
    look: &mut dyn FnMut(&str, &Value) -> Option<T>,
) -> Option<T> {
    find("", body, DEPTH, look)
}

fn find<T>(
    name: &str,
    part: &Value,
    depth: usize,
    look: &mut dyn FnMut(&str, &Value) -> Option<T>,
) -> Option<T> {
    let depth = depth.checked_sub(1)?;
    look(name, part).or_else(|| match part {
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, part)| find(name, part, depth, look)),
        Value::Array(parts) => parts.iter().find_map(|part| find(name, part, depth, look)),
        Value::String(text) => find("", &nested(text)?, depth, look),
        _ => None,
    })
}

/// The JSON in a text, as gateways wrap the error of another server.
fn nested(text: &str) -> Option<Value> {
    let inner = |open: char, close: char| {
        let inner = text.get(text.find(open)?..=text.rfind(close)?)?;
        serde_json::from_str(inner).ok()
    };
    inner('{', '}').or_else(|| inner('[', ']'))
}
