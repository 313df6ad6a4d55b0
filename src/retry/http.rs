//! The two forms of `Retry-After`: seconds, or a date as RFC 9110 writes it. By hand, so that the pattern needs no crate
//! for it.

use std::time::{Duration, SystemTime};

/// How long to wait; `None` if the value is neither form. A date in the past is no wait at all.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some(date(value)?.duration_since(now).unwrap_or_default())
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may send.
fn date(value: &str) -> Option<SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let parts: Vec<&str> = value.split([' ', ':']).collect();
    let [_, day, month, year, hour, minute, second, "GMT"] = parts[..] else {
        return None;
    };
    let number = |text: &str| text.parse::<u16>().ok().map(u64::from); // small: no sum overflows
    let at = MONTHS
        .find(month)
        .filter(|at| month.len() == 3 && at % 3 == 0)?;
    let days = days_before(number(year)?, at as u64 / 3)? + number(day)?.checked_sub(1)?;
    let seconds = (days * 24 + number(hour)?) * 3600 + number(minute)? * 60 + number(second)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The days from 1 January 1970 to the first of this month (0 is January). `None` before 1970 and after 9999.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let year = (1970..=9999).contains(&year).then_some(year)?;
    // In years that begin with March, so that a leap day is the last of its year.
    let (year, month) = ((year * 12 + month - 2) / 12, (month + 10) % 12);
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5;
    Some(days - 719_468) // 1 January 1970, counted in the same way
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn dates_are_read_as_the_calendar_has_them() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Fri, 31 Dec 2100 12:00:00 GMT", 4_133_937_600),
        ] {
            assert_eq!(date(text), Some(at(seconds)), "{text}");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_the_time_to_a_date() {
        let now = at(784_111_777);
        let wait = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(wait(" 20 "), Some(20));
        assert_eq!(wait("99999999999999999999"), Some(u64::MAX));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:57 GMT"), Some(20));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for nonsense in [
            "",
            "soon",
            "-1",
            "1.5",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "a b anF 1 1 1 1 GMT",
        ] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
        let huge = "x, 99999999999999999999 Nov 1994 99999999999999999999:49:37 GMT";
        assert_eq!(wait(huge), None);
    }
}
