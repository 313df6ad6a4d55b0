//! How the practice server misbehaves: drawn by chance, the same for the same seed and the same call.

use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use thiserror::Error;

/// How long an answer takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always this long: `400ms`.
    Constant(Duration),
    /// Anything between: `100ms..2s`.
    Uniform(Duration, Duration),
    /// Mostly near the median, sometimes much longer, as real models are: `lognormal:800ms,0.5` gives the median and
    /// the standard deviation of the logarithm.
    LogNormal(Duration, f64),
}

impl Default for Latency {
    fn default() -> Self {
        Latency::Constant(Duration::ZERO)
    }
}

impl Latency {
    /// The longest that chance may come up with.
    const LONGEST: Duration = Duration::from_secs(600);

    /// The latency of the call of this number.
    #[must_use]
    pub fn draw(&self, seed: u64, number: u64) -> Duration {
        let mut chance = chance(seed, number, 1);
        match *self {
            Latency::Constant(latency) => latency,
            Latency::Uniform(low, high) => chance.random_range(low..=high),
            Latency::LogNormal(median, sigma) => {
                let seconds = median.as_secs_f64() * (sigma * normal(&mut chance)).exp();
                Duration::try_from_secs_f64(seconds)
                    .map_or(Self::LONGEST, |latency| latency.min(Self::LONGEST))
            }
        }
    }
}

/// A draw from the standard normal distribution, by Box and Muller.
fn normal(chance: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (1.0 - chance.random::<f64>(), chance.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// The text is not a [`Latency`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} is no latency: give a duration (400ms), a range (100ms..2s), or lognormal:MEDIAN,SIGMA (lognormal:800ms,0.5)"
)]
pub struct ParseLatencyError(String);

impl FromStr for Latency {
    type Err = ParseLatencyError;

    fn from_str(text: &str) -> Result<Self, ParseLatencyError> {
        parse_latency(text).ok_or_else(|| ParseLatencyError(text.to_owned()))
    }
}

fn parse_latency(text: &str) -> Option<Latency> {
    let duration =
        |text: &str| Duration::try_from(text.trim().parse::<jiff::SignedDuration>().ok()?).ok();
    if let Some(rest) = text.strip_prefix("lognormal:") {
        let (median, sigma) = rest.split_once(',')?;
        let sigma = sigma
            .trim()
            .parse()
            .ok()
            .filter(|sigma: &f64| (0.0..=5.0).contains(sigma))?;
        return Some(Latency::LogNormal(duration(median)?, sigma));
    }
    match text.split_once("..") {
        None => Some(Latency::Constant(duration(text)?)),
        Some((low, high)) => {
            let (low, high) = (duration(low)?, duration(high)?);
            (low <= high).then_some(Latency::Uniform(low, high))
        }
    }
}

/// A time in which the server answers nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// From the server's start to the beginning of the outage.
    pub after: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// The status that everyone gets.
    pub status: u16,
}

/// How often each fault comes: plain data. Rates are from 0 to 1, of the calls that were admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Status 500.
    pub error_500: f64,
    /// Status 503, with a `retry-after` of one second.
    pub error_503: f64,
    /// Status 529, overloaded.
    pub error_529: f64,
    /// The connection is reset.
    pub reset: f64,
    /// Half of the body is sent.
    pub truncated: f64,
    /// Status 200, and a body that is not JSON.
    pub bad_json: f64,
    /// An answer without a word in it.
    pub empty: f64,
    /// No answer at all.
    pub hang: f64,
    /// After so many answers a key has no money left.
    pub quota: Option<u64>,
    /// The one key that this is true of, in order of appearance from 0; none is each.
    pub quota_key: Option<usize>,
    /// A time in which the server answers nothing else.
    pub outage: Option<Outage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Status(u16),
    Reset,
    Truncated,
    BadJson,
    Empty,
    Hang,
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::Status(500) => "error_500",
            Fault::Status(503) => "error_503",
            Fault::Status(529) => "error_529",
            Fault::Status(_) => "outage",
            Fault::Reset => "reset",
            Fault::Truncated => "truncated",
            Fault::BadJson => "bad_json",
            Fault::Empty => "empty",
            Fault::Hang => "hang",
        }
    }

    /// Whether no client could use an answer with this fault.
    pub(super) fn spoils(self) -> bool {
        self != Fault::Empty
    }
}

/// What is to happen to one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) fault: Option<Fault>,
}

impl Faults {
    /// The fate of the call of this number, `elapsed` after the server's start.
    pub(super) fn fate(&self, seed: u64, number: u64, elapsed: Duration) -> Fate {
        let within =
            |outage: &Outage| elapsed >= outage.after && elapsed - outage.after < outage.length;
        if let Some(outage) = self.outage.filter(within) {
            return Fate {
                fault: Some(Fault::Status(outage.status)),
            };
        }
        let mut draw = chance(seed, number, 2).random::<f64>();
        let hit = self.rates().into_iter().find(|(rate, _)| {
            draw -= rate;
            draw < 0.0
        });
        Fate {
            fault: hit.map(|(_, fault)| fault),
        }
    }

    /// Whether the key of this number has no money left after so many answers.
    pub(super) fn is_out_of_money(&self, key: usize, answered: u64) -> bool {
        self.quota_key.is_none_or(|only| only == key)
            && self.quota.is_some_and(|quota| answered > quota)
    }

    fn rates(&self) -> [(f64, Fault); 8] {
        [
            (self.error_500, Fault::Status(500)),
            (self.error_503, Fault::Status(503)),
            (self.error_529, Fault::Status(529)),
            (self.reset, Fault::Reset),
            (self.truncated, Fault::Truncated),
            (self.bad_json, Fault::BadJson),
            (self.empty, Fault::Empty),
            (self.hang, Fault::Hang),
        ]
    }
}

/// Chance that depends on the seed, the call and the question alone.
fn chance(seed: u64, number: u64, question: u64) -> StdRng {
    StdRng::seed_from_u64(
        seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ question.rotate_left(48),
    )
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
    fn latencies_keep_to_their_distribution_and_their_seed() {
        let draws = |latency: Latency| {
            let mut draws: Vec<_> = (0..2001).map(|number| latency.draw(1, number)).collect();
            draws.sort();
            draws
        };
        let uniform = draws(Latency::Uniform(MS * 100, MS * 300));
        assert!(uniform[0] >= MS * 100 && uniform[2000] <= MS * 300);
        assert!(uniform[1000].abs_diff(MS * 200) < MS * 10);
        let long_tailed = draws(Latency::LogNormal(MS * 800, 0.5));
        assert!(
            long_tailed[1000].abs_diff(MS * 800) < MS * 50,
            "{:?}",
            long_tailed[1000]
        );
        assert!(long_tailed[1980] > MS * 2000);
        assert_eq!(
            Latency::LogNormal(MS, 0.5).draw(3, 4),
            Latency::LogNormal(MS, 0.5).draw(3, 4)
        );
    }

    #[test]
    fn faults_come_as_often_as_told_and_the_same_for_the_same_seed() {
        let faults = Faults {
            error_500: 0.1,
            reset: 0.05,
            hang: 0.01,
            ..Faults::default()
        };
        let fates = |seed| {
            (0..10_000)
                .map(|number| faults.fate(seed, number, MS))
                .collect::<Vec<_>>()
        };
        let count = |fault| {
            fates(1)
                .iter()
                .filter(|fate| fate.fault == Some(fault))
                .count()
        };
        assert!(count(Fault::Status(500)).abs_diff(1000) < 150);
        assert!(count(Fault::Reset).abs_diff(500) < 100);
        assert!(count(Fault::Hang).abs_diff(100) < 50);
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
        assert!((0..100).all(|number| Faults::default().fate(1, number, MS) == Fate::default()));
    }

    #[test]
    fn in_an_outage_everyone_gets_its_status() {
        let outage = Some(Outage {
            after: MS * 10,
            length: MS * 5,
            status: 503,
        });
        let fault = |at| {
            Faults {
                outage,
                ..Faults::default()
            }
            .fate(1, 1, MS * at)
            .fault
        };
        let during = Some(Fault::Status(503));
        assert_eq!(
            [fault(9), fault(10), fault(14), fault(15)],
            [None, during, during, None]
        );
    }

    #[test]
    fn money_runs_out_for_each_key_or_for_one() {
        let each = Faults {
            quota: Some(3),
            ..Faults::default()
        };
        assert!(
            each.is_out_of_money(0, 4) && each.is_out_of_money(1, 4) && !each.is_out_of_money(1, 3)
        );
        let one = Faults {
            quota_key: Some(1),
            ..each
        };
        assert!(one.is_out_of_money(1, 4) && !one.is_out_of_money(0, 4));
    }
}
