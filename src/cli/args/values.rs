//! Values that are typed, and read as people write them.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::practice::Outage;

/// How many calls a minute: a number, or whatever the server lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Rpm {
    Auto,
    Told(NonZeroU32),
}

impl FromStr for Rpm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Rpm::Auto),
            _ => text
                .parse()
                .map(Rpm::Told)
                .map_err(|_| "give auto, or a number from 1"),
        }
    }
}

/// Beyond a year clocks overflow, and nobody waits.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| duration.try_into().ok());
    parsed
        .filter(|duration: &Duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| "give a duration such as 500ms, 2s, 1m30s, of a year at most".into())
}

pub(super) fn finite(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| "give a number".into())
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    finite(text)
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| "give a number from 0 to 1".into())
}

pub(super) fn outage(text: &str) -> Result<Outage, String> {
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let window = |after, length, status| {
        let status: u16 = status;
        Ok(Outage {
            after: zero_or_duration(after)?,
            length: duration(length)?,
            status,
        })
    };
    match parts[..] {
        [after, length] => window(after, length, 503),
        [after, length, status] => match status.parse() {
            Ok(status @ 400..600) => window(after, length, status),
            _ => Err("the status is from 400 to 599".into()),
        },
        _ => Err("give AFTER,LENGTH or AFTER,LENGTH,STATUS".into()),
    }
}

pub(super) fn change(text: &str) -> Result<(Duration, NonZeroU32), String> {
    let parts = text
        .split_once(',')
        .map(|(after, rpm)| (duration(after.trim()), rpm.trim().parse()));
    match parts {
        Some((Ok(after), Ok(rpm))) => Ok((after, rpm)),
        _ => Err("give AFTER,N such as 60s,300".into()),
    }
}

pub(super) fn zero_or_duration(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        Ok(Duration::ZERO)
    } else {
        duration(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_a_minute_are_a_number_or_auto() {
        assert_eq!(
            ("auto".parse(), "60".parse()),
            (Ok(Rpm::Auto), NonZeroU32::new(60).map(Rpm::Told).ok_or(""))
        );
        assert!(
            ["", "0", "-1", "fast", "1.5"]
                .iter()
                .all(|bad| bad.parse::<Rpm>().is_err())
        );
    }

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

    #[test]
    fn an_outage_has_a_beginning_a_length_and_perhaps_a_status() {
        let expected = Outage {
            after: Duration::from_secs(10),
            length: Duration::from_secs(5),
            status: 503,
        };
        assert_eq!(outage("10s,5s"), Ok(expected));
        assert_eq!(
            outage("10s, 5s, 429"),
            Ok(Outage {
                status: 429,
                ..expected
            })
        );
        assert!(outage("10s").is_err() && outage("1s,2s,200").is_err());
    }
}
