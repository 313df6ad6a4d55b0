//! A line of the log for people: the local time, and for a call the prompt, the status and how long it took.

use std::time::Duration;

use jiff::ZonedDateTime;
use log::{Level, Record};

use super::json;
use crate::cli::format::{milliseconds, one_line};
use crate::cli::style::{Emphasis, paint};

/// The line of a log record.
pub(super) fn line(record: &Record<'_>) -> String {
    let colour = console::colors_enabled_stderr();
    match record.level() {
        Level::Error => paint(Emphasis::Alarm, "error: ", colour) + &message(record),
        Level::Warn => paint(Emphasis::Paused, "warning: ", colour) + &message(record),
        _ => format!(
            "{}  {}",
            ZonedDateTime::now().strftime("%H:%M:%S"),
            message(record)
        ),
    }
}

fn message(record: &Record<'_>) -> String {
    let text = one_line(&record.args().to_string());
    let fields = json::fields(record);
    let field = |name: &str| fields.get(name);
    let ms = |name: &str| field(name).and_then(|value| value.as_u64());
    let is_ours = record.target().starts_with("paceline");
    let (Some(prompt), Some(took)) = (field("prompt"), ms("took_ms")) else {
        return match is_ours || record.target().is_empty() {
            true => text,
            false => format!("{}: {text}", record.target()),
        };
    };
    let word = |name: &str| field(name).map(|value| one_line(value.as_str().unwrap_or_default()));
    let status = ms("status").map(|status| status.to_string());
    let outcome = status.or_else(|| word("outcome")).unwrap_or_default();
    let seconds = Duration::from_millis(took).as_secs_f64();
    let prompt = one_line(prompt.as_str().unwrap_or_default());
    let error = text.strip_prefix("call failed: ").unwrap_or_default();
    let error = match (error, error.split_once(", ")) {
        ("", _) => String::new(),
        // The status stands there already.
        (_, Some((status, rest))) if status.starts_with("status ") => format!("  {rest}"),
        _ => format!("  {error}"),
    };
    let again = match ms("backoff_ms") {
        Some(wait) => format!("  (again in {})", milliseconds(wait)),
        None => String::new(),
    };
    format!("{prompt}  {outcome}  {seconds:.2} s{error}{again}")
}

#[cfg(test)]
mod tests {
    use log::kv::Value;

    use super::*;

    fn said(fields: &[(&str, Value<'_>)], text: &str) -> String {
        let mut record = Record::builder();
        record.level(Level::Info).key_values(&fields);
        message(&record.args(format_args!("{text}")).build())
    }

    #[test]
    fn a_call_is_its_prompt_its_status_and_how_long_it_took() {
        let call = |more: &[(&'static str, Value<'static>)]| {
            let fields = [("prompt", "line-27".into()), ("took_ms", 301.into())];
            [&fields[..], more].concat()
        };
        let fine = call(&[("status", 200.into())]);
        assert_eq!(said(&fine, "call"), "line-27  200  0.30 s");
        let refused = call(&[("status", 429.into()), ("backoff_ms", 20_000.into())]);
        assert_eq!(
            said(
                &refused,
                "call failed: status 429, rate_limit: Slow\u{1b} down."
            ),
            "line-27  429  0.30 s  rate_limit: Slow\u{fffd} down.  (again in 20 s)"
        );
        let broken = call(&[("outcome", "connection".into())]);
        assert_eq!(
            said(&broken, "call failed: no connection: refused"),
            "line-27  connection  0.30 s  no connection: refused"
        );
    }

    #[test]
    fn anything_else_is_its_message() {
        assert_eq!(said(&[], "found a limit\nof 60"), "found a limit of 60");
        let mut record = Record::builder();
        record.level(Level::Debug).target("ureq::pool");
        let record = record.args(format_args!("so")).build();
        assert_eq!(message(&record), "ureq::pool: so");
    }
}
