//! The log: on standard error, one line an event, as `RUST_LOG` or `-v` say.
//!
//! What `ureq` logs at its finest level is not redacted, so no setting lets it through: a key is never logged.

use env_logger::{Builder, Env, Logger};
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Redacted(Logger);

impl Redacted {
    fn may_show_a_key(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        metadata.level() == Level::Trace && ["ureq", "rustls"].iter().any(|name| target.starts_with(name))
    }
}

impl Log for Redacted {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !Self::may_show_a_key(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !Self::may_show_a_key(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Starts the log of this process, if none is running.
pub(super) fn start(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (_, 0) => LevelFilter::Warn,
        (_, 1) => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let logger =
        Builder::from_env(Env::default().default_filter_or(format!("{level},ureq=warn,ureq_proto=warn")))
            .format_timestamp_millis()
            .build();
    let most = logger.filter();
    if log::set_boxed_logger(Box::new(Redacted(logger))).is_ok() {
        log::set_max_level(most);
    }
}
