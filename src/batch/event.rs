//! The events of a batch, for the log and for a watcher.
//!
//! An event is only formatted if the log level asks for it.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use log::kv::Value;
use log::{Level, log_enabled};

use crate::api::CallError;
use crate::journal::RecordAttempt;
use crate::prompts::{Prompt, input_line};
use crate::text::{millis, milliseconds, time_of_day};

/// Why a key is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PauseReason {
    /// The server answered 429 and said when to come back.
    Ordered,
    /// The server answered 429 and did not say when to come back.
    RateLimited,
    /// Too many calls fail with a fault.
    Faults,
}

impl PauseReason {
    /// Name in the log.
    fn name(self) -> &'static str {
        match self {
            PauseReason::Ordered => "said",
            PauseReason::RateLimited => "silent",
            PauseReason::Faults => "faults",
        }
    }
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PauseReason::Ordered => "paused by the server",
            PauseReason::RateLimited => "rate limited by the server",
            PauseReason::Faults => "slowed down by too many faults",
        })
    }
}

/// An event of a batch. Keys are numbered from 0.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A call has ended, and whether it will be retried is known.
    Attempt {
        /// The prompt.
        prompt: &'a Prompt,
        /// The attempt, as it will be in the record.
        attempt: &'a RecordAttempt,
        /// The error; `None` if the call was answered.
        error: Option<&'a CallError>,
    },
    /// A key is paused: no call with it may leave.
    Paused {
        /// The key.
        key: usize,
        /// How long the pause lasts.
        wait: Duration,
        /// When it ends, in wall time.
        until: SystemTime,
        /// Its cause.
        why: PauseReason,
    },
    /// The pause of a key is over: a call has its permit.
    Resumed {
        /// The key.
        key: usize,
    },
    /// The rate of a key is known, or has changed.
    RateKnown {
        /// The key.
        key: usize,
        /// Calls per minute.
        per_minute: f64,
        /// Whether it was found from the server's 429s; if not, the server's headers state it.
        found: bool,
    },
    /// A key is retired: the server accepts no calls with it.
    Retired {
        /// The key.
        key: usize,
        /// The error that retired it.
        error: &'a CallError,
    },
    /// A worker was added.
    WorkerAdded {
        /// Number of workers now.
        workers: u64,
    },
    /// A prompt is done; its record has been written.
    Done {
        /// The prompt.
        prompt: &'a Prompt,
        /// Whether it was answered.
        answered: bool,
    },
}

impl Event<'_> {
    /// Logs the event: a message for people, with fields for tools. Fields without a value are left out.
    pub(super) fn log(&self) {
        match *self {
            Event::Attempt {
                prompt,
                attempt,
                error,
            } => log_attempt(prompt, attempt, error),
            Event::Paused {
                key,
                wait,
                until,
                why,
            } => {
                let pause_ms = wait.as_millis() as u64;
                let until = Timestamp::try_from(until).map(|until| format!("{until:.3}"));
                let until = until.as_deref().unwrap_or_default();
                let back = time_of_day(wait);
                log::info!(event = "paused", key, pause_ms, until, why = why.name();
                    "key {key}: {why}, continues {back}");
            }
            Event::Resumed { key } => log::info!(event = "resumed", key; "the pause is over"),
            Event::RateKnown {
                key,
                per_minute,
                found,
            } => {
                let (origin, said) = match found {
                    true => ("found", "found a limit of about"),
                    false => ("stated", "the server states a limit of"),
                };
                log::info!(event = "rate", key, per_minute, origin; "{said} {per_minute:.0} calls a minute");
            }
            Event::Retired { key, error } => {
                log::warn!(event = "retired", key, code = error.code.as_str();
                    "key {key} is retired, the other keys continue: {error}");
            }
            Event::WorkerAdded { workers } => {
                log::info!(event = "worker_added", workers; "added a worker: none was waiting for the next permit");
            }
            Event::Done { prompt, answered } => {
                let line = input_line(prompt.line);
                let prompt = prompt.custom_id.as_str();
                log::debug!(event = "done", prompt, line, answered; "done");
            }
        }
    }
}

fn log_attempt(prompt: &Prompt, attempt: &RecordAttempt, error: Option<&CallError>) {
    if !log_enabled!(Level::Info) {
        return;
    }
    let ms = |duration: Duration| Value::from(duration.as_millis() as u64);
    let fields = [
        ("event", Some("attempt".into())),
        ("prompt", Some(prompt.custom_id.as_str().into())),
        ("line", Some(input_line(prompt.line).into())),
        ("attempt", Some(attempt.n.into())),
        ("key", Some(attempt.key.into())),
        ("status", attempt.status.map(Value::from)),
        ("outcome", Some(attempt.outcome.name().into())),
        ("paced_ms", Some(ms(attempt.paced))),
        ("took_ms", Some(ms(attempt.took))),
        ("backoff_ms", attempt.backoff.map(ms)),
        ("retry_after_ms", attempt.retry_after.map(ms)),
    ];
    let there = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let there: Vec<_> = there.collect();
    let text = attempt_text(prompt, attempt, error);
    let record = &mut log::Record::builder();
    let fields = there.as_slice();
    let record = record
        .level(Level::Info)
        .target(module_path!())
        .key_values(&fields);
    log::logger().log(&record.args(format_args!("{text}")).build());
}

/// The prompt, the status, how long it took, and if it failed why, and when it is made again.
fn attempt_text(prompt: &Prompt, attempt: &RecordAttempt, error: Option<&CallError>) -> String {
    let outcome = || attempt.outcome.name().to_owned();
    let outcome = attempt
        .status
        .map_or_else(outcome, |status| status.to_string());
    let took = attempt.took.as_secs_f64();
    let why = error.map_or_else(String::new, |error| match error.status {
        Some(_) => format!("  {}: {}", error.code, error.message),
        None => format!("  {}", error.message),
    });
    let again = attempt.backoff.map_or_else(String::new, |wait| {
        format!("  (again in {})", milliseconds(millis(wait)))
    });
    format!("{}  {outcome}  {took:.2} s{why}{again}", prompt.custom_id)
}
