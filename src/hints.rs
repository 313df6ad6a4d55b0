//! What a response says about pace: how long to stay away, and whether to come back at all.
//!
//! Pure reading of headers. Servers write waits as seconds, as fractions, as milliseconds and as dates; a wait that
//! makes no sense (negative, not a number, longer than a week) is as good as none.

use std::time::{Duration, SystemTime};

/// What the server said, as far as it makes sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// How long to wait before the next call: `retry-after-ms`, or else `retry-after`.
    pub retry_after: Option<Duration>,
    /// Whether trying again is any use: `x-should-retry`.
    pub should_retry: Option<bool>,
}

impl Hints {
    /// No server means that one waits longer than this.
    const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Reads the hints of a response that arrived at `now`. `header` looks up a header by its lower-case name.
    #[must_use]
    pub fn read<'a>(header: impl Fn(&str) -> Option<&'a str>, now: SystemTime) -> Self {
        let milliseconds = header("retry-after-ms").and_then(|value| seconds(value, 1e-3));
        let retry_after =
            milliseconds.or_else(|| header("retry-after").and_then(|value| seconds_or_date(value, now)));
        let should_retry = header("x-should-retry").and_then(|value| value.trim().parse().ok());
        Hints { retry_after: retry_after.filter(|wait| *wait <= Self::LONGEST), should_retry }
    }
}

/// A number of units of `unit` seconds.
fn seconds(value: &str, unit: f64) -> Option<Duration> {
    let number: f64 = value.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// A number of seconds, or an HTTP date; a date that has passed means now.
fn seconds_or_date(value: &str, now: SystemTime) -> Option<Duration> {
    let until_date = || httpdate::parse_http_date(value.trim()).ok();
    seconds(value, 1.0).or_else(|| Some(until_date()?.duration_since(now).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> Hints {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        Hints::read(|name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value), now)
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let table = [
            ("retry-after", "20", Some(20_000)),
            ("retry-after", " 1.5 ", Some(1500)),
            ("retry-after", "0", Some(0)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
            ("retry-after-ms", "85", Some(85)),
            ("retry-after-ms", "85.4", Some(85)),
            ("retry-after", "soon", None),
            ("retry-after", "", None),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "99999999", None),
            ("retry-after", "1e300", None),
            ("retry-after-ms", "-5", None),
        ];
        for (name, value, expected) in table {
            let wait = read(&[(name, value)]).retry_after.map(|wait| wait.as_millis());
            assert_eq!(wait, expected, "{name}: {value}");
        }
    }

    #[test]
    fn milliseconds_win_over_whole_seconds_unless_they_make_no_sense() {
        let both = |ms| read(&[("retry-after", "1"), ("retry-after-ms", ms)]).retry_after;
        assert_eq!(both("85"), Some(Duration::from_millis(85)));
        assert_eq!(both("?"), Some(Duration::from_secs(1)));
    }

    #[test]
    fn should_retry_is_true_false_or_unsaid() {
        assert_eq!(read(&[("x-should-retry", "true")]).should_retry, Some(true));
        assert_eq!(read(&[("x-should-retry", "false")]).should_retry, Some(false));
        assert_eq!(read(&[("x-should-retry", "maybe")]).should_retry, None);
        assert_eq!(read(&[]), Hints::default());
    }
}
