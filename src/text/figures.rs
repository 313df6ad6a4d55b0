//! How figures are written for people: one function for each kind, used everywhere.
//!
//! Pure. Texts that come from outside are cleaned by [`text`](crate::text).

use std::time::Duration;

use jiff::{SignedDuration, ZonedDateTime};

/// A duration to three figures: `7.25 ms`, `1.3 s`, `58 s`, `1 min 42 s`, `2 h 1 min`, `4 d 4 h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        0.0 => "0 s".to_owned(),
        ..0.9995 => three_figures(seconds * 1e3) + " ms",
        ..59.95 => three_figures(seconds) + " s",
        ..3_599.5 => two_units(whole, (60, "min"), (1, "s")),
        ..359_999.5 => two_units(whole, (3_600, "h"), (60, "min")),
        _ => two_units(whole, (86_400, "d"), (3_600, "h")),
    }
}

/// The same for whole milliseconds.
pub(crate) fn milliseconds(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

/// Whole milliseconds, rounded down.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time still to wait, in whole seconds and rounded up, so that a countdown ends with `1 s`.
pub(crate) fn countdown(left: Duration) -> String {
    let begun = u64::from(left.subsec_nanos() > 0);
    duration(Duration::from_secs(left.as_secs().saturating_add(begun)))
}

/// `2 h 1 min`; the smaller unit is left out if it is zero. Units are given with their length in seconds.
fn two_units(seconds: u64, large: (u64, &str), small: (u64, &str)) -> String {
    let rounded = seconds.saturating_add(small.0 / 2) / small.0 * small.0;
    let rest = rounded % large.0 / small.0;
    let first = format!("{} {}", grouped(rounded / large.0), large.1);
    match rest {
        0 => first,
        _ => format!("{first} {rest} {}", small.1),
    }
}

/// A number with a comma at each thousand: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// A measured number: grouped and whole from 100 on, below that with one decimal if it is not whole.
pub(crate) fn number(number: f64) -> String {
    if number < 99.95 {
        trimmed(format!("{number:.1}"))
    } else {
        grouped(number.round() as u64)
    }
}

/// A large number in short: `9,999`, `24.1k`, `121k`, `2.5M`.
pub(crate) fn short_number(number: u64) -> String {
    match number {
        0..10_000 => grouped(number),
        10_000..999_500 => three_figures(number as f64 / 1e3) + "k",
        _ => three_figures(number as f64 / 1e6) + "M",
    }
}

/// A number of things: `1 call`, `2,000 calls`, `2 retries`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let number = grouped(count);
    match noun.strip_suffix("ry") {
        _ if count == 1 => format!("1 {noun}"),
        Some(stem) => format!("{number} {stem}ries"),
        None => format!("{number} {noun}s"),
    }
}

/// A size in bytes, in decimal units: `640 bytes`, `12.3 kB`, `3.02 MB`.
pub(crate) fn size(bytes: u64) -> String {
    let large = bytes as f64;
    match bytes {
        0..1_000 => counted(bytes, "byte"),
        1_000..999_500 => three_figures(large / 1e3) + " kB",
        999_500..999_500_000 => three_figures(large / 1e6) + " MB",
        _ => three_figures(large / 1e9) + " GB",
    }
}

/// An amount of money: `$1,234.50`, below one three figures, as in `$0.021`. A currency that is a word comes behind.
pub(crate) fn money(amount: f64, currency: &str) -> String {
    let figures = figures_of_money(amount);
    match currency.chars().all(char::is_alphabetic) {
        true => format!("{figures} {currency}"),
        false => format!("{currency}{figures}"),
    }
}

fn figures_of_money(amount: f64) -> String {
    if amount <= 0.0 {
        return "0".to_owned();
    }
    if amount < 0.995 {
        let decimals = (2.0 - amount.log10().floor()).min(9.0) as usize;
        return trimmed(format!("{amount:.decimals$}"));
    }
    let cents = (amount * 100.0).round() as u64;
    format!("{}.{:02}", grouped(cents / 100), cents % 100)
}

/// When a time is over, on the clock of this place: `at 10:27:47 (in 20 s)`, with the date if that is not today.
pub(crate) fn time_of_day(away: Duration) -> String {
    let within = format!("in {}", countdown(away));
    let now = ZonedDateTime::now();
    let at = SignedDuration::try_from(away).ok();
    let Some(at) = at.and_then(|away| now.checked_add(away).ok()) else {
        return within;
    };
    let is_today = at.date() == now.date();
    let shape = if is_today { "%H:%M:%S" } else { "%F %H:%M:%S" };
    format!("at {} ({within})", at.strftime(shape))
}

/// Two decimals below 10, one below 100, none above; without zeros at the end.
fn three_figures(number: f64) -> String {
    trimmed(match number {
        ..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    })
}

/// Without zeros at the end of a fraction.
fn trimmed(number: String) -> String {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.').into(),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_figures_or_two_units() {
        let table = [
            (0.0, "0 s"),
            (0.00725, "7.25 ms"),
            (0.999, "999 ms"),
            (0.9999, "1 s"),
            (1.234, "1.23 s"),
            (2.5, "2.5 s"),
            (9.999, "10 s"),
            (59.94, "59.9 s"),
            (59.999, "1 min"),
            (61.0, "1 min 1 s"),
            (3_599.6, "1 h"),
            (7_260.0, "2 h 1 min"),
            (7_199.0, "2 h"),
            (360_000.0, "4 d 4 h"),
            (1e9, "11,574 d 2 h"),
        ];
        for (seconds, expected) in table {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), expected);
        }
        assert_eq!(milliseconds(1_250), "1.25 s");
        assert!(milliseconds(u64::MAX).contains(" d"));
    }

    #[test]
    fn a_countdown_ends_with_one_second() {
        let table = [
            (0, "0 s"),
            (1, "1 s"),
            (10_001, "11 s"),
            (11_000, "11 s"),
            (60_001, "1 min 1 s"),
        ];
        for (ms, expected) in table {
            assert_eq!(countdown(Duration::from_millis(ms)), expected);
        }
        assert!(countdown(Duration::MAX).contains(" d"));
    }

    #[test]
    fn numbers_are_grouped_or_short() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let measured = [0.0, 9.84, 9.97, 99.0, 590.8, 1_234.0, 1e6].map(number);
        let expected = ["0", "9.8", "10", "99", "591", "1,234", "1,000,000"];
        assert_eq!(measured, expected);
        let short = [9_999, 24_050, 121_400, 999_499, 999_500, 2_500_000].map(short_number);
        assert_eq!(short, ["9,999", "24.1k", "121k", "999k", "1M", "2.5M"]);
    }

    #[test]
    fn things_are_counted_in_the_singular_and_the_plural() {
        let said = [
            (1, "call"),
            (0, "call"),
            (2_000, "call"),
            (1, "retry"),
            (2, "retry"),
        ];
        let expected = ["1 call", "0 calls", "2,000 calls", "1 retry", "2 retries"];
        assert_eq!(said.map(|(count, noun)| counted(count, noun)), expected);
    }

    #[test]
    fn sizes_are_decimal() {
        let said = [1, 999, 1_000, 12_345, 3_020_000, 999_500_000].map(size);
        assert_eq!(
            said,
            ["1 byte", "999 bytes", "1 kB", "12.3 kB", "3.02 MB", "1 GB"]
        );
    }

    #[test]
    fn money_shows_the_figures_that_matter() {
        let said =
            [0.0, 0.000_042, 0.021, 0.1307, 0.999, 1.5, 1_234.5].map(|amount| money(amount, "$"));
        let expected = [
            "$0",
            "$0.000042",
            "$0.021",
            "$0.131",
            "$1.00",
            "$1.50",
            "$1,234.50",
        ];
        assert_eq!(said, expected);
        assert_eq!(
            [money(1e-30, "$"), money(0.021, "EUR")],
            ["$0", "0.021 EUR"]
        );
    }

    #[test]
    fn a_time_is_the_local_one_and_how_far_away_it_is() {
        let said = time_of_day(Duration::from_secs(1));
        assert!(
            said.starts_with("at ") && said.ends_with(" (in 1 s)"),
            "{said}"
        );
        let far = time_of_day(Duration::from_secs(3 * 86_400));
        assert_eq!(far.len(), "at 2026-11-27 10:27:47 (in 72 h)".len(), "{far}");
        assert!(time_of_day(Duration::MAX).starts_with("in "));
    }
}
