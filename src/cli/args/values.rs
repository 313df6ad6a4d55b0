//! Values as people type them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use crate::backoff::{Backoff, Jitter};
use crate::practice::Outage;

/// Calls a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum RpmArg {
    /// The server's limit is followed, or found.
    Auto,
    /// The server has none.
    None,
    Limit(NonZeroU32),
}

impl RpmArg {
    /// The number, if it is one.
    pub(in crate::cli) fn number(self) -> Option<NonZeroU32> {
        match self {
            RpmArg::Limit(rpm) => Some(rpm),
            RpmArg::Auto | RpmArg::None => None,
        }
    }
}

/// The number of workers; `None` is `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct WorkersArg(pub(in crate::cli) Option<NonZeroUsize>);

/// A jitter by its name.
pub(in crate::cli) fn jitter(name: &str) -> Result<Jitter, String> {
    match name {
        "none" => Ok(Jitter::None),
        "additive" => Ok(Backoff::new().jitter),
        "full" => Ok(Jitter::Full),
        "equal" => Ok(Jitter::Equal),
        "decorrelated" => Ok(Jitter::Decorrelated),
        _ => Err("give none, additive, full, equal or decorrelated".into()),
    }
}

pub(super) fn rpm(text: &str) -> Result<RpmArg, String> {
    match text {
        "auto" => Ok(RpmArg::Auto),
        "none" => Ok(RpmArg::None),
        _ => up_to::<{ u32::MAX }, _>(text)
            .map(RpmArg::Limit)
            .map_err(|error| format!("{error}, auto or none")),
    }
}

pub(super) fn workers(text: &str) -> Result<WorkersArg, String> {
    match text {
        "auto" => Ok(WorkersArg(None)),
        _ => up_to::<10_000, _>(text)
            .map(|workers| WorkersArg(Some(workers)))
            .map_err(|error| format!("{error}, or auto")),
    }
}

/// When the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShowProgress {
    Auto,
    Always,
    Never,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}

/// A field of the request's body.
pub(super) fn param(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("give KEY=JSON")?;
    let value = serde_json::from_str(json).map_err(|error| {
        format!("the value is not JSON ({error}); a text needs quotes: '{name}=\"…\"'")
    })?;
    Ok((name.to_owned(), value))
}

/// A number from 1 to `MOST`.
pub(super) fn up_to<const MOST: u32, N: TryFrom<NonZeroU32>>(text: &str) -> Result<N, String> {
    let number: Option<NonZeroU32> = text.parse().ok();
    number
        .filter(|number| number.get() <= MOST)
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("give a number from 1 to {MOST}"))
}

/// A duration of up to a year; beyond that, sums of times overflow.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
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
pub(super) fn zero_or_duration(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

pub(super) fn finite(text: &str) -> Result<f64, String> {
    number(text, |_| true, "give a number")
}

/// A part of all, from 0 to 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    let is_part = |part| (0.0..=1.0).contains(&part);
    number(text, is_part, "give a number from 0 to 1")
}

/// An amount of money. With 0 the run would stop before its first call.
pub(super) fn amount(text: &str) -> Result<f64, String> {
    let advice = "give an amount above 0, in the currency of --price";
    number(text, |amount| amount > 0.0, advice)
}

fn number(text: &str, is_usable: impl Fn(f64) -> bool, advice: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| number.is_finite() && is_usable(*number))
        .ok_or_else(|| advice.to_owned())
}

/// `AFTER,LENGTH` or `AFTER,LENGTH,STATUS`.
pub(super) fn outage(text: &str) -> Result<Outage, String> {
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let (after, length, status) = match parts[..] {
        [after, length] => (after, length, 503),
        [after, length, status] => (after, length, status.parse().unwrap_or(0)),
        _ => return Err("give AFTER,LENGTH or AFTER,LENGTH,STATUS".into()),
    };
    if !(400..600).contains(&status) {
        return Err("the status is from 400 to 599".into());
    }
    Ok(Outage {
        after: zero_or_duration(after)?,
        length: duration(length)?,
        status,
    })
}

/// `AFTER,N`: from then on this many calls a minute.
pub(super) fn change(text: &str) -> Result<(Duration, NonZeroU32), String> {
    text.split_once(',')
        .and_then(|(after, rpm)| Some((duration(after.trim()).ok()?, rpm.trim().parse().ok()?)))
        .ok_or_else(|| "give AFTER,N such as 60s,300".into())
}

/// Answers until a key has no credit left, and which key that is, counted from 0; `None` is every key.
pub(super) fn quota(text: &str) -> Result<(u64, Option<usize>), String> {
    let parsed = match text.split_once('@') {
        None => text.parse().ok().map(|answers| (answers, None)),
        Some((answers, key)) => answers.parse().ok().zip(
            key.parse::<usize>()
                .ok()
                .and_then(|key| key.checked_sub(1))
                .map(Some),
        ),
    };
    parsed.ok_or_else(|| {
        "give a number of answers, or N@K for the K-th key that comes, as in 100@2".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_a_minute_are_a_number_or_auto_or_none() {
        assert_eq!(rpm("auto"), Ok(RpmArg::Auto));
        assert_eq!(rpm("none"), Ok(RpmArg::None));
        assert_eq!(rpm("60").map(RpmArg::number), Ok(NonZeroU32::new(60)));
        assert_eq!(workers("auto"), Ok(WorkersArg(None)));
        assert_eq!(workers("60"), Ok(WorkersArg(NonZeroUsize::new(60))));
        for bad in ["", "0", "-1", "10001", "fast", "1.5"] {
            assert!(workers(bad).is_err(), "{bad}");
        }
        assert!(rpm("0").is_err_and(|error| error.contains("none")));
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

    #[test]
    fn parameters_are_json() {
        let field = |name: &str, value| Ok((name.to_owned(), value));
        assert_eq!(
            param("stop=[\"a=b\"]"),
            field("stop", serde_json::json!(["a=b"]))
        );
        let error = param("user=me").unwrap_err();
        assert!(error.contains("'user=\"…\"'"), "{error}");
        assert!(param("=1").is_err());
    }

    #[test]
    fn credit_runs_out_for_each_key_or_for_one() {
        assert_eq!(quota("100"), Ok((100, None)));
        assert_eq!(quota("100@2"), Ok((100, Some(1))));
        for bad in ["", "many", "100@", "100@0", "@2", "-1", "1@2@3"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }
}
