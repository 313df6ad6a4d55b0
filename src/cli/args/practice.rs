//! The options of `practice`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use super::values::{change, duration, finite, fraction, outage, quota};
use crate::practice::{Latency, Outage};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/practice.txt"))]
pub(in crate::cli) struct PracticeArgs {
    /// The port to listen on, on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "N", default_value = "8321")]
    pub(in crate::cli) port: u16,

    /// The seed of everything random
    #[arg(long, value_name = "N", default_value = "0")]
    pub(in crate::cli) seed: u64,

    #[command(flatten)]
    pub(in crate::cli) limits: LimitArgs,
    #[command(flatten)]
    pub(in crate::cli) behaviour: BehaviourArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitArgs {
    /// Calls a minute for each key [default: no limit]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) rpm: Option<NonZeroU32>,

    /// Calls accepted at once after a quiet time; 1 is strict
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) burst: NonZeroU32,

    /// Change the calls a minute after a time, as in 60s,300 [default: never]
    #[arg(long, value_name = "AFTER,N", value_parser = change, requires = "rpm")]
    pub(in crate::cli) then: Option<(Duration, NonZeroU32)>,

    /// Tokens a minute for each key [default: no limit]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) tpm: Option<NonZeroU32>,

    /// Calls in flight at once [default: no limit]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_inflight: Option<usize>,

    /// Calls worked on at once; others queue [default: no limit]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) slots: Option<NonZeroUsize>,

    /// Send 429s without a Retry-After, and no limits in the headers
    #[arg(long)]
    pub(in crate::cli) no_hints: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Behaviour")]
pub(in crate::cli) struct BehaviourArgs {
    /// How long an answer takes
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA.
    #[arg(long, value_name = "TIME", default_value = "400ms")]
    pub(in crate::cli) latency: Latency,

    /// Answer with status 500
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) error_500: f64,

    /// Answer with status 503 and a Retry-After
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) error_503: f64,

    /// Answer with status 529, overloaded
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) error_529: f64,

    /// Reset the connection
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) reset: f64,

    /// Send half of the body
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) truncated: f64,

    /// Send half of the body, then nothing more
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) stalled: f64,

    /// Answer with status 200 and something that is not JSON
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) bad_json: f64,

    /// Answer with an empty text
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) empty: f64,

    /// Answer with JSON that does not fit the schema
    ///
    /// Asked again, it answers as it should.
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) wrong_json: f64,

    /// Answer with such JSON also when asked again
    #[arg(long, requires = "wrong_json")]
    pub(in crate::cli) wrong_again: bool,

    /// Never answer
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) hang: f64,
    /// Refuse calls of the tier flex, for lack of capacity
    ///
    /// Of the calls with "service_tier": "flex". The status is 429, the code resource_unavailable.
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) no_flex: f64,

    /// Keep this part of each prompt in a cache
    ///
    /// The first call writes it, later ones read it.
    #[arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) cached: f64,

    /// How long a batch takes at the batch endpoints
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration)]
    pub(in crate::cli) batch_time: Duration,

    /// Let rows of batches expire before they are answered
    #[arg(long, value_name = "PART", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) batch_expired: f64,

    /// Answer rows of batches with status 500
    #[arg(long, value_name = "PART", default_value = "0", value_parser = fraction)]
    pub(in crate::cli) batch_failed: f64,

    /// After N answers, say that the key has no credit left [default: never]
    ///
    /// N is for each key, N@2 only for the second key that comes.
    #[arg(long, value_name = "N", value_parser = quota)]
    pub(in crate::cli) quota: Option<(u64, Option<usize>)>,

    /// Answer only this status for a time, as in 10s,5s,503 [default: never]
    ///
    /// It reads AFTER,LENGTH or AFTER,LENGTH,STATUS.
    #[arg(long, value_name = "WINDOW", value_parser = outage)]
    pub(in crate::cli) outage: Option<Outage>,
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
}
