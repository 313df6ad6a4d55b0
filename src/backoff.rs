//! How long to wait before trying again: pure delays that grow and are jittered.
//!
//! The formulas are those of Marc Brooker's *Exponential Backoff And Jitter* (AWS, 2015), and
//! `min(base * 2^n + U(0, 1 s), max)`, known from a thousand retry decorators. Chance comes in as a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How chance spreads the delays, so that callers that failed together do not come back together.
///
/// `U(a, b)` is a random duration between `a` and `b`; `n` counts the retries from zero.
///
/// ```
/// use paceline::{Backoff, Jitter};
/// use std::time::Duration;
///
/// let backoff = Backoff::new().jitter(Jitter::Full);
/// let [one, other] = [1, 2].map(|seed| backoff.delays(seed).nth(3).unwrap());
/// assert!(one != other && one.max(other) <= Duration::from_secs(8)); // U(0, 1 s * 2^3)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Jitter {
    /// `min(base * 2^n, max)`: no spread. Callers that failed together stay together.
    None,
    /// `min(base * 2^n + U(0, this), max)`: the article's formula, and the default, with 1 s. Nobody comes back early, and
    /// behind a limiter, which separates callers anyway, a second of spread is enough.
    Additive(Duration),
    /// `U(0, min(base * 2^n, max))`: callers without a limiter come back spread over the whole time, some almost at once.
    Full,
    /// Half of `min(base * 2^n, max)`, plus `U(0, the other half)`: spread, and nobody comes back at once.
    Equal,
    /// `min(U(base, 3 * previous delay), max)`: grows with its own history.
    Decorrelated,
}

/// How delays grow: plain data.
///
/// # Default
/// `base` 1 s, `max` 60 s, `jitter` [`Additive`](Jitter::Additive) with 1 s, which gives 1-2 s, 2-3 s, 4-5 s, 8-9 s,
/// 16-17 s: 31 to 36 seconds for five retries.
///
/// ```
/// use paceline::{Backoff, Jitter};
///
/// let backoff = Backoff::new().jitter(Jitter::None);
/// let seconds: Vec<u64> = backoff.delays(0).map(|delay| delay.as_secs()).take(8).collect();
/// assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) base: Duration,
    pub(crate) max: Duration,
    pub(crate) jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::new()
    }
}

impl Backoff {
    /// The default delays.
    #[must_use]
    pub const fn new() -> Self {
        Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            jitter: Jitter::Additive(Duration::from_secs(1)),
        }
    }

    /// Sets the delay before the first retry, without its jitter.
    #[must_use]
    pub const fn base(self, base: Duration) -> Self {
        Backoff { base, ..self }
    }

    /// Sets the longest delay, jitter included.
    #[must_use]
    pub const fn max(self, max: Duration) -> Self {
        Backoff { max, ..self }
    }

    /// Sets how chance spreads the delays.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Backoff { jitter, ..self }
    }

    /// The delays before the first retry, the second and so on, without end; the same for the same seed.
    ///
    /// ```
    /// use paceline::Backoff;
    ///
    /// let five: Vec<_> = Backoff::new().delays(7).take(5).collect();
    /// assert_eq!(five, Backoff::new().delays(7).take(5).collect::<Vec<_>>());
    /// ```
    #[must_use]
    pub fn delays(&self, seed: u64) -> Delays {
        Delays {
            backoff: *self,
            chance: StdRng::seed_from_u64(seed),
            ceiling: self.base,
            previous: self.base,
        }
    }
}

/// The delays of one caller, one after the other: see [`Backoff::delays`].
#[derive(Debug)]
pub struct Delays {
    backoff: Backoff,
    chance: StdRng,
    /// `base * 2^n`, or `max` where that is less.
    ceiling: Duration,
    previous: Duration,
}

impl Delays {
    /// The next delay. Where the server has ordered a wait, at least that, plus up to a tenth of it or 1 s, whichever is
    /// less: never earlier, and not everyone at the same instant.
    pub(crate) fn wait(&mut self, ordered: Option<Duration>) -> Duration {
        let Some(ordered) = ordered else {
            return self.next().unwrap_or(self.backoff.max);
        };
        let most = (ordered / 10).min(Duration::from_secs(1));
        ordered.saturating_add(self.between(Duration::ZERO, most))
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        self.chance.random_range(low..=high.max(low))
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let Backoff { base, max, jitter } = self.backoff;
        let ceiling = self.ceiling.min(max);
        self.ceiling = ceiling.saturating_mul(2);
        let delay = match jitter {
            Jitter::None => ceiling,
            Jitter::Additive(most) => ceiling.saturating_add(self.between(Duration::ZERO, most)),
            Jitter::Full => self.between(Duration::ZERO, ceiling),
            Jitter::Equal => self.between(ceiling / 2, ceiling),
            Jitter::Decorrelated => self.between(base, self.previous.saturating_mul(3)),
        };
        self.previous = delay.min(max);
        Some(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn with(jitter: Jitter) -> Backoff {
        Backoff::new().jitter(jitter)
    }

    fn ceiling(n: usize) -> Duration {
        (SECOND * 2u32.pow(n as u32)).min(SECOND * 60)
    }

    /// The first eight delays for each of a thousand seeds.
    fn many(jitter: Jitter) -> Vec<Vec<Duration>> {
        (0..1000)
            .map(|seed| with(jitter).delays(seed).take(8).collect())
            .collect()
    }

    #[test]
    fn additive_adds_up_to_a_second_and_the_cap_holds() {
        for delays in many(Backoff::new().jitter) {
            for (n, delay) in delays.into_iter().enumerate() {
                let ceiling = ceiling(n);
                assert!(
                    delay >= ceiling && delay <= (ceiling + SECOND).min(SECOND * 60),
                    "{n}: {delay:?}"
                );
            }
        }
    }

    #[test]
    fn full_and_equal_stay_below_the_ceiling_and_equal_above_half_of_it() {
        for (jitter, part) in [(Jitter::Full, 0), (Jitter::Equal, 1)] {
            for delays in many(jitter) {
                for (n, delay) in delays.into_iter().enumerate() {
                    let ceiling = ceiling(n);
                    assert!(
                        delay <= ceiling && delay >= ceiling / 2 * part,
                        "{jitter:?} {n}: {delay:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn decorrelated_grows_from_the_delay_before() {
        for delays in many(Jitter::Decorrelated) {
            let before = std::iter::once(SECOND).chain(delays.iter().copied());
            for (previous, delay) in before.zip(&delays) {
                assert!(*delay >= SECOND && *delay <= (previous * 3).min(SECOND * 60));
            }
        }
    }

    #[test]
    fn chance_uses_the_whole_range() {
        let firsts: Vec<_> = many(Jitter::Full)
            .into_iter()
            .map(|delays| delays[0])
            .collect();
        assert!(firsts.iter().min().unwrap() < &(SECOND / 50));
        assert!(firsts.iter().max().unwrap() > &(SECOND * 49 / 50));
    }

    #[test]
    fn no_retry_number_overflows() {
        let tiny = Backoff::new()
            .base(Duration::from_nanos(1))
            .max(SECOND * 3600);
        let delays = tiny.jitter(Jitter::None).delays(0);
        let delays: Vec<_> = delays.take(2_000).collect();
        assert_eq!(delays[34].as_secs(), 17, "2^34 nanoseconds");
        assert!(delays[42..].iter().all(|delay| *delay == SECOND * 3600));
        let zero = Backoff::new().base(Duration::ZERO).jitter(Jitter::None);
        assert_eq!(zero.delays(0).nth(2_000), Some(Duration::ZERO));
        let all = [
            Jitter::None,
            Backoff::new().jitter,
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ];
        for jitter in all {
            let endless = Backoff::new().base(Duration::MAX).max(Duration::MAX);
            let _ = endless.jitter(jitter).delays(1).take(100).count();
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let delays = |seed| with(Jitter::Full).delays(seed).take(5).collect::<Vec<_>>();
        assert_eq!(delays(7), delays(7));
        assert_ne!(delays(7), delays(8));
    }

    #[test]
    fn an_ordered_wait_is_never_shortened_and_at_most_a_tenth_or_a_second_longer() {
        for seed in 0..1000 {
            let mut delays = Backoff::default().delays(seed);
            let wait = delays.wait(Some(SECOND * 2));
            assert!(wait >= SECOND * 2 && wait <= SECOND * 22 / 10);
            let long = delays.wait(Some(SECOND * 3600));
            assert!(long >= SECOND * 3600 && long <= SECOND * 3601);
        }
        assert_eq!(
            Backoff::default().delays(1).wait(Some(Duration::MAX)),
            Duration::MAX
        );
    }
}
