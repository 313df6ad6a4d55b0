//! A line of the log as a JSON object, for tools.

use jiff::Timestamp;
use log::kv::{self, Key, Value, VisitSource};
use log::{Level, Record};
use serde_json::{Map, Value as Json};

/// The fields of an event.
pub(in crate::cli) type Fields = Map<String, Json>;

/// The line of a log record.
pub(super) fn line(record: &Record<'_>, now: Timestamp) -> String {
    let message = record.args().to_string();
    object(record.level(), fields(record), message, now)
}

/// An object with the time, the level, the event (`log` for a plain log line), its fields and the message.
pub(super) fn object(level: Level, fields: Fields, message: String, now: Timestamp) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let mut object = Map::new();
    object.insert("time".into(), format!("{now:.3}").into());
    object.insert("level".into(), level.into());
    object.insert("event".into(), "log".into());
    object.extend(fields);
    object.insert("message".into(), message.into());
    Json::Object(object).to_string()
}

/// The fields of a log record.
fn fields(record: &Record<'_>) -> Fields {
    let mut fields = FieldVisitor(Map::new());
    // It cannot fail: the visitor does not.
    let _ = record.key_values().visit(&mut fields);
    fields.0
}

struct FieldVisitor(Fields);

impl<'kvs> VisitSource<'kvs> for FieldVisitor {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        self.0.insert(key.as_str().to_owned(), json(&value));
        Ok(())
    }
}

/// Numbers stay numbers.
fn json(value: &Value<'_>) -> Json {
    let whole = value.to_u64().map(Json::from);
    whole
        .or_else(|| value.to_i64().map(Json::from))
        .or_else(|| value.to_f64().map(Json::from))
        .or_else(|| value.to_bool().map(Json::from))
        .unwrap_or_else(|| value.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_kind_and_their_order() {
        let fields: &[(&str, Value<'_>)] = &[
            ("event", "attempt".into()),
            ("prompt", "say \"hi\"\n".into()),
            ("status", 429.into()),
            ("per_minute", 590.5.into()),
            ("answered", true.into()),
        ];
        let mut record = Record::builder();
        record.level(Level::Info).key_values(&fields);
        let now: Timestamp = "2026-11-24T10:00:00.1239Z".parse().unwrap();
        let expected = r#"{"time":"2026-11-24T10:00:00.123Z","level":"info","event":"attempt","prompt":"say \"hi\"\n","status":429,"per_minute":590.5,"answered":true,"message":"call 1"}"#;
        assert_eq!(
            line(&record.args(format_args!("call {}", 1)).build(), now),
            expected
        );
    }

    #[test]
    fn a_plain_log_line_is_the_event_log() {
        let line = line(
            &Record::builder().args(format_args!("so")).build(),
            Timestamp::UNIX_EPOCH,
        );
        let expected =
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"log","message":"so"}"#;
        assert_eq!(line, expected);
    }
}
