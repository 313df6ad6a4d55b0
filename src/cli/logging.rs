//! Everything on standard error: the log, one line an event, as `RUST_LOG` or `-v` ask; and sentences for people.
//!
//! Both go above what is drawn on the screen, and with `--log-format json` both are one JSON object a line. `ureq` does
//! not redact what it logs at its finest level, so no setting lets that through: a key is never logged.

mod json;
mod people;

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use env_logger::{Builder, Env, Logger};
use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

pub(super) use self::json::Fields;
use super::args::LogFormat;
use super::progress::Screen;
use super::style::Text;

/// Standard error, shared by the whole program.
static SCREEN: LazyLock<Screen> = LazyLock::new(Screen::default);
/// Whether every line is a JSON object.
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
    let line = match format {
        LogFormat::Json => |record: &Record<'_>| json::line(record, Timestamp::now()),
        LogFormat::Text => people::line,
    };
    builder.format(move |to, record| writeln!(to, "{}", line(record)));
    let logger = builder.build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Redacted(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// Standard error, to draw on it.
pub(super) fn screen() -> &'static Screen {
    &SCREEN
}

/// Tells people something.
pub(super) fn tell(text: impl Into<Text>) {
    say(Level::Info, "said", &text.into(), Fields::new());
}

/// Tells people something, whatever the log's level is; in JSON, as an event with fields. A closed standard error is no
/// reason to stop.
pub(super) fn say(level: Level, event: &str, text: &Text, fields: Fields) {
    let line = if IN_JSON.load(Ordering::Relaxed) {
        let mut all = Fields::from_iter([("event".to_owned(), event.into())]);
        all.extend(fields);
        json::object(level, all, text.paint(false), Timestamp::now())
    } else {
        text.paint(console::colors_enabled_stderr())
    };
    // In one write, so that the output of other programs does not get between.
    SCREEN.write(|| _ = std::io::stderr().write_all(format!("{line}\n").as_bytes()));
}
