//! Everything on standard error: the log, one line an event, as `RUST_LOG` or `-v` ask; and sentences for people.
//!
//! Both go above what is drawn on the screen, and with `--log-format json` both are one JSON object a line. `ureq` does
//! not redact what it logs at its finest level, so no setting lets that level through: a key is never logged.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use env_logger::{Builder, Env, Target, WriteStyle};
use jiff::{Timestamp, ZonedDateTime};
use log::kv;
use log::{Level, LevelFilter, Record};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::args::LogFormat;
use super::progress::Screen;
use super::template::{self, ALARM, PAUSED, folded, paint};
use crate::text::{cleaned, one_line};

/// Standard error, shared by the whole program.
static SCREEN: LazyLock<Screen> = LazyLock::new(Screen::default);
/// Whether only errors are told.
static QUIET: AtomicBool = AtomicBool::new(false);
/// Whether every line is a JSON object.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// Writes above what is drawn. A line comes in one piece, so that the output of other programs does not get between.
struct AboveTheDrawing;

impl Write for AboveTheDrawing {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        SCREEN.write(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the log of this process, if none is running.
pub(super) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let in_json = format == LogFormat::Json;
    IN_JSON.store(in_json, Ordering::Relaxed);
    QUIET.store(quiet, Ordering::Relaxed);
    let level = match (quiet, verbose.max(in_json.into())) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = Builder::from_env(
        Env::default().default_filter_or(format!("{level},ureq=warn,ureq_proto=warn")),
    );
    let write = match format {
        LogFormat::Json => |record: &Record<'_>| json_line(record, Timestamp::now()),
        LogFormat::Text => |record: &Record<'_>| for_terminal(line(record)),
    };
    builder.format(move |to, record| writeln!(to, "{}", write(record)));
    // Colours are chosen with the text.
    builder.write_style(WriteStyle::Always);
    builder.target(Target::Pipe(Box::new(AboveTheDrawing)));
    if builder.try_init().is_ok() {
        log::set_max_level(log::max_level().min(LevelFilter::Debug));
    }
}

/// Standard error, to draw on it.
pub(super) fn screen() -> &'static Screen {
    &SCREEN
}

/// Whether texts for people have colours now.
pub(super) fn has_colour() -> bool {
    !IN_JSON.load(Ordering::Relaxed) && console::colors_enabled_stderr()
}

/// A text for people, whose lines may be of any length.
pub(super) fn render(template: &str, values: &impl Serialize) -> String {
    template::endless(template, values, has_colour())
}

/// Tells people something.
pub(super) fn tell(text: impl AsRef<str>) {
    let text = cleaned(text.as_ref()).into_owned();
    say(Level::Info, "said", text, Fields::new());
}

/// Whether people asked for nothing but errors.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Tells people something, unless they asked for nothing but errors.
pub(super) fn inform(text: impl AsRef<str>) {
    if !is_quiet() {
        tell(text);
    }
}

/// Tells people something, whatever the log's level is; in JSON, as an event with fields. The text is clean, and has its
/// colours. A closed standard error is no reason to stop.
pub(super) fn say(level: Level, event: &str, text: String, fields: Fields) {
    let line = if IN_JSON.load(Ordering::Relaxed) {
        let mut all = Fields::from_iter([("event".to_owned(), event.into())]);
        all.extend(fields);
        object(level, all, text, Timestamp::now())
    } else {
        for_terminal(text)
    };
    let _ = AboveTheDrawing.write_all(format!("{line}\n").as_bytes());
}

/// The text as standard error shows it: on a terminal, lines end between words.
fn for_terminal(text: String) -> String {
    match Term::stderr().size_checked() {
        Some((_, columns)) => folded(&text, columns.into(), 2),
        None => text,
    }
}

/// The line of a log record for people: the local time, and what happened.
fn line(record: &Record<'_>) -> String {
    let colour = console::colors_enabled_stderr();
    let begin = match record.level() {
        Level::Error => paint(ALARM, "error: ", colour),
        Level::Warn => paint(PAUSED, "warning: ", colour),
        _ => ZonedDateTime::now().strftime("%H:%M:%S  ").to_string(),
    };
    begin + &message(record)
}

/// What the record says, and who says it if not we.
fn message(record: &Record<'_>) -> String {
    let text: Vec<_> = record
        .args()
        .to_string()
        .split("  ")
        .map(one_line)
        .collect();
    let text = text.join("  "); // which separates columns
    match record.target() {
        "" => text,
        ours if ours.starts_with("paceline") => text,
        other => format!("{other}: {text}"),
    }
}

/// The fields of an event.
pub(super) type Fields = Map<String, Json>;

/// The line of a log record for tools.
fn json_line(record: &Record<'_>, now: Timestamp) -> String {
    let message = record.args().to_string();
    object(record.level(), fields(record), message, now)
}

/// An object with the time, the level, the event (`log` for a plain log line), its fields and the message.
fn object(level: Level, fields: Fields, message: String, now: Timestamp) -> String {
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

impl<'kvs> kv::VisitSource<'kvs> for FieldVisitor {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.0.insert(key.as_str().to_owned(), json(&value));
        Ok(())
    }
}

/// Numbers stay numbers.
fn json(value: &kv::Value<'_>) -> Json {
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

    fn said(target: &str, text: &str) -> String {
        let mut record = Record::builder();
        record.target(target);
        message(&record.args(format_args!("{text}")).build())
    }

    #[test]
    fn a_message_is_one_line_with_its_columns() {
        let call = "line-27  429  0.30 s  rate_limit: Slow\u{1b} down.  (again in 20 s)";
        let expected = "line-27  429  0.30 s  rate_limit: Slow\u{fffd} down.  (again in 20 s)";
        assert_eq!(said("paceline::batch", call), expected);
        assert_eq!(said("", "found a limit\nof 60"), "found a limit of 60");
    }

    #[test]
    fn a_message_of_a_library_names_it() {
        assert_eq!(said("ureq::pool", "so"), "ureq::pool: so");
    }

    #[test]
    fn fields_keep_their_kind_and_their_order() {
        let fields: &[(&str, kv::Value<'_>)] = &[
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
            json_line(&record.args(format_args!("call {}", 1)).build(), now),
            expected
        );
    }

    #[test]
    fn a_plain_log_line_is_the_event_log() {
        let line = json_line(
            &Record::builder().args(format_args!("so")).build(),
            Timestamp::UNIX_EPOCH,
        );
        let expected =
            r#"{"time":"1970-01-01T00:00:00.000Z","level":"info","event":"log","message":"so"}"#;
        assert_eq!(line, expected);
    }
}
