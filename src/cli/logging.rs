//! What is said on standard error: the log, one line an event, as `RUST_LOG` or `-v` say; and words for people.
//!
//! Both go above what is drawn on the screen, and both are objects where the log is JSON: then every line is one. What
//! `ureq` logs at its finest level is not redacted, so no setting lets it through: a key is never logged.

mod json;

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::{Builder, Env, Logger};
use jiff::Timestamp;
use log::kv::Value;
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::args::LogFormat;
use crate::progress::Screen;

/// Standard error, as all of the program share it.
static SCREEN: LazyLock<Screen> = LazyLock::new(Screen::default);
/// Whether every line is an object.
static IN_JSON: AtomicBool = AtomicBool::new(false);

struct Redacted(Logger);

impl Redacted {
    fn may_show_a_key(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        metadata.level() == Level::Trace
            && ["ureq", "rustls"]
                .iter()
                .any(|name| target.starts_with(name))
    }
}

impl Log for Redacted {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !Self::may_show_a_key(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !Self::may_show_a_key(record.metadata()) && self.0.matches(record) {
            SCREEN.write(|| self.0.log(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Starts the log of this process, if none is running.
pub(super) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let in_json = format == LogFormat::Json;
    IN_JSON.store(in_json, Ordering::Relaxed);
    let level = match (quiet, verbose.max(in_json.into())) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = Builder::from_env(
        Env::default().default_filter_or(format!("{level},ureq=warn,ureq_proto=warn")),
    );
    if in_json {
        builder.format(|to, record| writeln!(to, "{}", json::line(record, Timestamp::now())));
    }
    let logger = builder.format_timestamp_millis().build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Redacted(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// Standard error, for who draws on it.
pub(super) fn screen() -> &'static Screen {
    &SCREEN
}

/// Says something to people, whatever the log lets through; where that is JSON, as an event with fields. That nobody may
/// be listening is no reason to stop.
pub(super) fn say(level: Level, event: &str, text: &str, fields: &[(&str, Value<'_>)]) {
    let text = if IN_JSON.load(Ordering::Relaxed) {
        let fields: Vec<_> = [("event", event.into())]
            .into_iter()
            .chain(fields.iter().cloned())
            .collect();
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record.level(level).key_values(&fields);
        json::line(
            &record.args(format_args!("{text}")).build(),
            Timestamp::now(),
        )
    } else {
        text.to_owned()
    };
    SCREEN.write(|| _ = writeln!(std::io::stderr(), "{text}"));
}
