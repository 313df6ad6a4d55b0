//! What happens in a batch, told as it happens: to the log, and to whoever watches.
//!
//! Nothing is put into words for an event that nobody wants to hear of.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use log::kv::Value;
use log::{Level, log_enabled};

use crate::api::CallError;
use crate::journal::Attempt;
use crate::prompts::Prompt;

/// Sees what happens in a batch. It is told by the threads that work, so it must not keep them waiting.
///
/// Any function of an event will do:
/// ```
/// use paceline::batch::{Event, Watch};
///
/// fn watch(event: &Event<'_>) {
///     if let Event::Held { wait, .. } = event {
///         eprintln!("a pause of {wait:?}");
///     }
/// }
/// let _: std::sync::Arc<dyn Watch> = std::sync::Arc::new(watch);
/// ```
pub trait Watch: Send + Sync {
    /// Something has happened.
    fn see(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Watch for F {
    fn see(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Why everyone with a key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The server said until when.
    Said,
    /// The server refuses, and does not say until when.
    Silent,
    /// Too many calls fail for other reasons.
    Faults,
}

impl Why {
    /// In a word, for tools.
    fn name(self) -> &'static str {
        match self {
            Why::Said => "said",
            Why::Silent => "silent",
            Why::Faults => "faults",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Said => "held by the server",
            Why::Silent => "refused by the server",
            Why::Faults => "slowed down by too many faults",
        })
    }
}

/// How a pace has come to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The server's headers say so.
    Stated,
    /// It was found out by being refused.
    Found,
}

/// Something that has happened in a batch. Keys are named by their position, from 0.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call has ended, and what follows from it is known.
    Attempt {
        /// For which prompt.
        prompt: &'a Prompt,
        /// The call.
        attempt: &'a Attempt,
        /// What was wrong; none: it was answered.
        error: Option<&'a CallError>,
    },
    /// Nobody may call with this key for a while.
    Held {
        /// The key.
        key: usize,
        /// For how long.
        wait: Duration,
        /// Until then, by the calendar.
        until: SystemTime,
        /// Why.
        why: Why,
    },
    /// The first call after a hold has its turn.
    Released {
        /// The key.
        key: usize,
    },
    /// From now on calls go at this pace, or about.
    Pace {
        /// The key.
        key: usize,
        /// Calls a minute.
        per_minute: f64,
        /// How that is known.
        origin: Origin,
    },
    /// A key is of no use any more.
    Retired {
        /// The key.
        key: usize,
        /// What was wrong with the call that showed it.
        error: &'a CallError,
    },
    /// There is one worker more.
    Hired {
        /// Workers now.
        workers: u64,
    },
    /// A prompt is done, and on record.
    Done {
        /// The prompt.
        prompt: &'a Prompt,
        /// Whether it was answered.
        answered: bool,
    },
}

impl Event<'_> {
    /// One line for people, with fields that tools can read. What a call does not have is left out.
    pub(super) fn log(&self) {
        match *self {
            Event::Attempt {
                prompt,
                attempt,
                error,
            } => log_attempt(prompt, attempt, error),
            Event::Held {
                key,
                wait,
                until,
                why,
            } => log_hold(key, wait, until, why),
            Event::Released { key } => log::info!(event = "released", key; "the hold is over"),
            Event::Pace {
                key,
                per_minute,
                origin: Origin::Stated,
            } => {
                log::info!(event = "pace", key, per_minute, origin = "stated"; "the server says: {per_minute:.0} calls a minute");
            }
            Event::Pace {
                key,
                per_minute,
                origin: Origin::Found,
            } => {
                log::info!(event = "pace", key, per_minute, origin = "found"; "found: about {per_minute:.0} calls a minute");
            }
            Event::Retired { key, error } => {
                log::warn!(event = "retired", key, code = error.code.as_str();
                    "key {key} is of no use any more, the others go on: {error}");
            }
            Event::Hired { workers } => {
                log::info!(event = "hired", workers; "one more worker: nobody was in line for the next turn");
            }
            Event::Done { prompt, answered } => {
                let (line, prompt) = (prompt.line, prompt.custom_id.as_str());
                log::debug!(event = "done", prompt, line, answered; "done");
            }
        }
    }
}

fn log_hold(key: usize, wait: Duration, until: SystemTime, why: Why) {
    let hold_ms = wait.as_millis() as u64;
    let until =
        Timestamp::try_from(until).map_or_else(|_| String::new(), |until| format!("{until:.3}"));
    let until = until.as_str();
    log::info!(event = "held", key, hold_ms, until, why = why.name(); "{why} until {until}, with this key");
}

fn log_attempt(prompt: &Prompt, attempt: &Attempt, error: Option<&CallError>) {
    if !log_enabled!(Level::Info) {
        return;
    }
    let ms = |duration: Duration| Value::from(duration.as_millis() as u64);
    let fields = [
        ("event", Some(Value::from("attempt"))),
        ("prompt", Some(Value::from(prompt.custom_id.as_str()))),
        ("line", Some(Value::from(prompt.line))),
        ("attempt", Some(Value::from(attempt.n))),
        ("key", Some(Value::from(attempt.key))),
        ("status", attempt.status.map(Value::from)),
        ("outcome", Some(Value::from(attempt.outcome.name()))),
        ("paced_ms", Some(ms(attempt.paced))),
        ("took_ms", Some(ms(attempt.took))),
        ("backoff_ms", attempt.backoff.map(ms)),
        ("retry_after_ms", attempt.retry_after.map(ms)),
    ];
    let there: Vec<_> = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let fields = there.as_slice();
    let mut record = log::Record::builder();
    record
        .level(Level::Info)
        .target(module_path!())
        .key_values(&fields);
    let logger = log::logger();
    match error {
        None => logger.log(&record.args(format_args!("call")).build()),
        Some(error) => logger.log(&record.args(format_args!("call failed: {error}")).build()),
    }
}
