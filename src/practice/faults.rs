//! How the practice server misbehaves: drawn at random, the same for the same seed and the same call.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

#[cfg(feature = "cli")]
use super::args::quota;
#[cfg(feature = "cli")]
use crate::values::fraction;

/// How long an answer takes.
///
/// # Default
/// No time at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always this long.
    Constant(Duration),
    /// Anything between the two.
    Uniform(Duration, Duration),
    /// Mostly near the median, sometimes much longer, as real models are: the median, and the standard deviation of
    /// the logarithm.
    LogNormal(Duration, f64),
}

impl Default for Latency {
    fn default() -> Self {
        Latency::Constant(Duration::ZERO)
    }
}

impl Latency {
    /// Longest latency that is drawn: the default time-out of clients.
    const MAX: Duration = Duration::from_secs(600);

    /// The latency of the call of this number.
    #[must_use]
    pub(crate) fn draw(&self, seed: u64, number: u64) -> Duration {
        let mut random = random(seed, number, 1);
        match *self {
            Latency::Constant(latency) => latency,
            Latency::Uniform(one, other) => random.random_range(one.min(other)..=one.max(other)),
            Latency::LogNormal(median, sigma) => {
                let seconds = median.as_secs_f64() * (sigma * normal(&mut random)).exp();
                let latency = Duration::try_from_secs_f64(seconds);
                latency.map_or(Self::MAX, |latency| latency.min(Self::MAX))
            }
        }
    }
}

/// A draw from the standard normal distribution, by Box and Muller.
fn normal(random: &mut StdRng) -> f64 {
    let radius = 1.0 - random.random::<f64>();
    let angle: f64 = random.random();
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// A time in which the server answers every call with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// From the server's start to the beginning of the outage.
    pub after: Duration,
    /// How long it lasts.
    pub length: Duration,
    /// The status of every answer.
    pub status: u16,
}

/// Declares the faults that are drawn at random, each with its rate, an option of the command line, and the others.
macro_rules! faults {
    ($(#[$about:meta])* $vis:vis struct $faults:ident {
        $($(#[$rate_about:meta])* $rate:ident: $fault:expr,)*
        ..
        $($(#[$other_about:meta])* pub $other:ident: $kind:ty,)*
    }) => {
        $(#[$about])*
        $vis struct $faults {
            $(
                $(#[$rate_about])*
                #[cfg_attr(feature = "cli", arg(long, value_name = "FRACTION"))]
                #[cfg_attr(feature = "cli", arg(default_value = "0", value_parser = fraction))]
                pub $rate: f64,
            )*
            $($(#[$other_about])* pub $other: $kind,)*
        }

        impl $faults {
            /// The name and the rate of each fault that comes at random.
            fn rates(&self) -> impl Iterator<Item = (&'static str, f64, InjectedFault)> {
                let rates = [$((stringify!($rate), self.$rate, $fault)),*];
                rates.into_iter().filter_map(|(name, rate, fault)| Some((name, rate, fault?)))
            }
        }
    };
}

faults! {
    /// How often each fault comes: plain data. Rates are from 0 to 1, of the calls that are within the limits.
    ///
    /// # Default
    /// No faults.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    #[cfg_attr(feature = "cli", derive(clap::Args))]
    pub struct Faults {
        /// Answer with status 500
        error_500: Some(InjectedFault::Status(500)),
        /// Answer with status 503 and a Retry-After
        error_503: Some(InjectedFault::Status(503)),
        /// Answer with status 529, overloaded
        error_529: Some(InjectedFault::Status(529)),
        /// Reset the connection
        reset: Some(InjectedFault::Reset),
        /// Send half of the body, then close the connection
        truncated: Some(InjectedFault::Truncated),
        /// Send half of the body, then nothing more
        stalled: Some(InjectedFault::Stalled),
        /// Answer with status 200 and something that is not JSON
        bad_json: Some(InjectedFault::BadJson),
        /// Answer with an empty text
        empty: Some(InjectedFault::Empty),
        /// Answer with JSON that does not fit the schema
        ///
        /// Asked again, the server answers as it should.
        wrong_json: Some(InjectedFault::WrongJson),
        /// Never answer
        hang: Some(InjectedFault::Hang),
        /// Refuse calls of the tier flex, for lack of capacity
        ///
        /// Of the calls with "service_tier": "flex". The status is 429, the code resource_unavailable, as at OpenAI.
        no_flex: Some(InjectedFault::NoFlex),
        /// Let rows of batches expire before they are answered
        batch_expired: None,
        /// Answer rows of batches with status 500
        batch_failed: None,
        ..
        /// Answer with JSON that does not fit also when asked again
        #[cfg_attr(feature = "cli", arg(long, requires = "wrong_json"))]
        pub wrong_again: bool,
        /// After N answers, say that the key has no credit left
        ///
        /// N is for each key, N@2 only for the second key that comes. As data, keys are counted from 0.
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", value_parser = quota))]
        pub quota: Option<(u64, Option<usize>)>,
        /// Answer only this status for a time, as in 10s,5s,503
        ///
        /// It reads AFTER,LENGTH or AFTER,LENGTH,STATUS.
        #[cfg_attr(feature = "cli", arg(long, value_name = "WINDOW"))]
        pub outage: Option<Outage>,
    }
}

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InjectedFault {
    Status(u16),
    Reset,
    Truncated,
    Stalled,
    BadJson,
    Empty,
    WrongJson,
    Hang,
    NoFlex,
}

impl InjectedFault {
    /// Its name in the statistics.
    pub(super) fn name(self) -> &'static str {
        let known = Faults::default().rates().find(|(.., fault)| *fault == self);
        known.map_or("outage", |(name, ..)| name)
    }
}

impl Faults {
    /// What goes wrong with the call of this number, which came `elapsed` after the server's start.
    pub(super) fn draw(&self, seed: u64, number: u64, elapsed: Duration) -> Option<InjectedFault> {
        if let Some(Outage {
            after,
            length,
            status,
        }) = self.outage
            && (after..after.saturating_add(length)).contains(&elapsed)
        {
            return Some(InjectedFault::Status(status));
        }
        let mut draw = random(seed, number, 2).random::<f64>();
        let hit = self.rates().find(|(_, rate, _)| {
            draw -= rate;
            draw < 0.0
        });
        hit.map(|(.., fault)| fault)
    }

    /// Whether this key has no credit for the answer of this number, from 1.
    pub(super) fn is_out_of_credit(&self, key: usize, answer: u64) -> bool {
        let ends =
            |(quota, only): (_, Option<_>)| answer > quota && only.is_none_or(|only| only == key);
        self.quota.is_some_and(ends)
    }
}

/// Random numbers that depend on the seed, the call and the purpose alone.
pub(super) fn random(seed: u64, number: u64, purpose: u64) -> StdRng {
    // The odd constant is 2^64 over the golden ratio: it spreads consecutive numbers over all bits.
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    StdRng::seed_from_u64(seed ^ spread ^ purpose.rotate_left(48))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

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
        assert_eq!(uniform, draws(Latency::Uniform(MS * 300, MS * 100)));
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
    fn faults_come_at_their_rates_and_the_same_for_the_same_seed() {
        let faults = Faults {
            error_500: 0.1,
            reset: 0.05,
            hang: 0.01,
            ..Faults::default()
        };
        let drawn = |seed| {
            (0..10_000)
                .map(|number| faults.draw(seed, number, MS))
                .collect::<Vec<_>>()
        };
        let count = |fault| {
            drawn(1)
                .iter()
                .filter(|drawn| **drawn == Some(fault))
                .count()
        };
        assert!(count(InjectedFault::Status(500)).abs_diff(1000) < 150);
        assert!(count(InjectedFault::Reset).abs_diff(500) < 100);
        assert!(count(InjectedFault::Hang).abs_diff(100) < 50);
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!((0..100).all(|number| Faults::default().draw(1, number, MS).is_none()));
    }

    #[test]
    fn in_an_outage_every_call_gets_its_status() {
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
            .draw(1, 1, MS * at)
        };
        let during = Some(InjectedFault::Status(503));
        assert_eq!(
            [fault(9), fault(10), fault(14), fault(15)],
            [None, during, during, None]
        );
    }

    #[test]
    fn credit_runs_out_for_each_key_or_for_one() {
        let each = Faults {
            quota: Some((3, None)),
            ..Faults::default()
        };
        assert!(
            each.is_out_of_credit(0, 4)
                && each.is_out_of_credit(1, 4)
                && !each.is_out_of_credit(1, 3)
        );
        let one = Faults {
            quota: Some((3, Some(1))),
            ..each
        };
        assert!(one.is_out_of_credit(1, 4) && !one.is_out_of_credit(0, 4));
    }
}
