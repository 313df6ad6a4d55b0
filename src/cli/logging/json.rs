//! A line of the log as a JSON object, for tools.

use jiff::Timestamp;
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use serde_json::{Map, Value as Json};

/// An object with the time, the level, the event (`log` for a plain log line), its fields and the message.
pub(super) fn line(record: &Record<'_>, now: Timestamp) -> String {
    let mut object = Map::new();
    object.insert("time".into(), format!("{now:.3}").into());
    object.insert(
        "level".into(),
        record.level().as_str().to_ascii_lowercase().into(),
    );
    object.insert("event".into(), "log".into());
    object.extend(fields(record));
    object.insert("message".into(), record.args().to_string().into());
    Json::Object(object).to_string()
}

/// The fields of a log record.
pub(super) fn fields(record: &Record<'_>) -> Map<String, Json> {
    let mut fields = Map::new();
    // It cannot fail: the visitor does not.
    let _ = record.key_values().visit(&mut JsonFields(&mut fields));
    fields
}

struct JsonFields<'a>(&'a mut Map<String, Json>);

impl<'kvs> VisitSource<'kvs> for JsonFields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut field = JsonValue(Json::Null);
        value.visit(&mut field)?;
        self.0.insert(key.as_str().to_owned(), field.0);
        Ok(())
    }
}

/// A value; numbers stay numbers.
struct JsonValue(Json);

impl<'v> VisitValue<'v> for JsonValue {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

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
