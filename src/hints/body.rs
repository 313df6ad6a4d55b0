//! The wait that the body of a failure states: in a field, among headers that a gateway passes on,
//! in words, and all of that in a list or in a JSON text inside a field.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Hints, times};

/// Deeper parts of a body are not looked at: gateways wrap an error at most a few times.
const DEPTH: usize = 16;

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

    /// The wait in a field of this name, however it is written: a number of seconds, a duration such as `17s`, or an
    /// instant; or in the headers of the server behind a gateway.
    fn field(&mut self, name: &str, value: &Value, now: SystemTime) -> Option<Duration> {
        let plain = name.to_lowercase().replace(['_', '-'], "");
        let unit = match plain.as_str() {
            "retrydelay" | "retryafter" | "retryafterseconds" | "retryin" | "estimatedtime"
            | "quotaresetdelay" | "resetafter" | "resetsin" => Duration::from_secs(1),
            "retryafterms" | "retryinms" => Duration::from_millis(1),
            "resetat" | "resetsat" | "retryat" => {
                let wait = times::reset(&text_of(value), now);
                return self.known(name, wait);
            }
            "headers" => {
                self.read_headers(&headers_in(value), now);
                return self.retry_after;
            }
            _ => return None,
        };
        // A duration of Google's protocol may come in its parts.
        let text = text_of(value.get("seconds").unwrap_or(value));
        let wait = times::units(&text).or_else(|| times::number_of(&text, unit));
        self.known(name, wait)
    }
}

/// A text or a number.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The fields of an object as headers.
fn headers_in(fields: &Value) -> Vec<(String, String)> {
    let fields = fields.as_object().into_iter().flatten();
    let header = |(name, value): (&String, _)| (name.to_lowercase(), text_of(value));
    fields.map(header).collect()
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
        Value::Object(fields) => {
            let mut fields = fields.iter();
            fields.find_map(|(name, part)| find(name, part, depth, look))
        }
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
