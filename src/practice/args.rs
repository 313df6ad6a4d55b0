//! The options of a server as people type them, for `paceline practice`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use super::{Latency, Outage};
use crate::values::{duration, finite, zero_or_duration};

impl FromStr for Outage {
    type Err = String;

    /// `AFTER,LENGTH` or `AFTER,LENGTH,STATUS`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        let ([after, length] | [after, length, _]) = parts[..] else {
            return Err("give AFTER,LENGTH or AFTER,LENGTH,STATUS".into());
        };
        let status = parts.get(2).map_or(Ok(503), |status| status.parse());
        let status = status.unwrap_or(0);
        if !(400..600).contains(&status) {
            return Err("the status is from 400 to 599".into());
        }
        Ok(Outage {
            after: zero_or_duration(after)?,
            length: duration(length)?,
            status,
        })
    }
}

impl FromStr for Latency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        latency(text).ok_or_else(|| {
            "give a duration (400ms), a range (100ms..2s), or lognormal:MEDIAN,SIGMA (lognormal:800ms,0.5)".into()
        })
    }
}

fn latency(text: &str) -> Option<Latency> {
    let duration =
        |text: &str| Duration::try_from(text.trim().parse::<jiff::SignedDuration>().ok()?).ok();
    if let Some(rest) = text.strip_prefix("lognormal:") {
        let (median, sigma) = rest.split_once(',')?;
        let sigma = finite(sigma.trim()).ok()?;
        let is_usable = (0.0..=5.0).contains(&sigma);
        return is_usable.then_some(Latency::LogNormal(duration(median)?, sigma));
    }
    let Some((low, high)) = text.split_once("..") else {
        return duration(text).map(Latency::Constant);
    };
    let low = duration(low)?;
    let high = duration(high)?;
    (low <= high).then_some(Latency::Uniform(low, high))
}

/// `AFTER,N`: from then on this many calls a minute.
pub(super) fn change(text: &str) -> Result<(Duration, NonZeroU32), String> {
    text.split_once(',')
        .and_then(|(after, rpm)| Some((duration(after.trim()).ok()?, rpm.trim().parse().ok()?)))
        .ok_or_else(|| "give AFTER,N such as 60s,300".into())
}

/// Answers until a key has no credit left, and which key that is, counted from 0; `None` is every key.
pub(super) fn quota(text: &str) -> Result<(u64, Option<usize>), String> {
    let (answers, key) = match text.split_once('@') {
        Some((answers, key)) => (answers, Some(key.parse::<NonZeroUsize>())),
        None => (text, None),
    };
    let key = key.transpose().ok();
    let quota = answers.parse().ok().zip(key);
    let quota = quota.map(|(answers, key)| (answers, key.map(|key| key.get() - 1)));
    quota.ok_or_else(|| {
        "give a number of answers, or N@K for the K-th key that comes, as in 100@2".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn latencies_are_read() {
        assert_eq!("400ms".parse(), Ok(Latency::Constant(MS * 400)));
        assert_eq!("1m30s".parse(), Ok(Latency::Constant(MS * 90_000)));
        assert_eq!(
            "100ms..2s".parse(),
            Ok(Latency::Uniform(MS * 100, MS * 2000))
        );
        assert_eq!(
            "lognormal:800ms,0.5".parse(),
            Ok(Latency::LogNormal(MS * 800, 0.5))
        );
        for bad in [
            "",
            "fast",
            "2s..1s",
            "-1s",
            "lognormal:1s",
            "lognormal:1s,-1",
            "lognormal:1s,NaN",
        ] {
            assert!(bad.parse::<Latency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_outage_has_a_beginning_a_length_and_perhaps_a_status() {
        let outage = |text: &str| text.parse::<Outage>();
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
    fn credit_runs_out_for_each_key_or_for_one() {
        assert_eq!(quota("100"), Ok((100, None)));
        assert_eq!(quota("100@2"), Ok((100, Some(1))));
        for bad in ["", "many", "100@", "100@0", "@2", "-1", "1@2@3"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }
}
