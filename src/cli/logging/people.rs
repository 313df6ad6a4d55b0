//! A line of the log for people: the local time, and what happened.

use jiff::ZonedDateTime;
use log::{Level, Record};

use crate::cli::style::{Emphasis, paint};
use crate::text::one_line;

/// The line of a log record.
pub(super) fn line(record: &Record<'_>) -> String {
    let colour = console::colors_enabled_stderr();
    let begin = match record.level() {
        Level::Error => paint(Emphasis::Alarm, "error: ", colour),
        Level::Warn => paint(Emphasis::Paused, "warning: ", colour),
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
}
