//! Values as people type them: durations, numbers, parts of all. An error says what to give.

use std::time::Duration;

/// A duration of up to a year; beyond that, sums of times overflow.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
    let parsed: Option<Duration> = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok());
    parsed
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| "give a duration such as 500ms, 2s, 1m30s, of a year at most".into())
}

/// A duration, or 0.
pub(crate) fn zero_or_duration(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

pub(crate) fn finite(text: &str) -> Result<f64, String> {
    number(text, |_| true, "give a number")
}

/// A part of all, from 0 to 1.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    let is_part = |part| (0.0..=1.0).contains(&part);
    number(text, is_part, "give a number from 0 to 1")
}

/// An amount of money. With 0 the run would stop before its first call.
pub(crate) fn amount(text: &str) -> Result<f64, String> {
    let advice = "give an amount above 0, in the currency of --price";
    number(text, |amount| amount > 0.0, advice)
}

fn number(text: &str, is_usable: impl Fn(f64) -> bool, advice: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| number.is_finite() && is_usable(*number))
        .ok_or_else(|| advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [
            ("500ms", 500),
            ("2s", 2000),
            ("1m30s", 90_000),
            ("15m", 900_000),
            ("1h", 3_600_000),
        ];
        for (text, ms) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)));
        }
        for bad in ["", "5", "-1s", "0s", "soon", "8761h", "99999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
