//! How long calls take, as a distribution: what an earlier run measured, or what somebody thinks.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::practice::Latency;

/// The latencies that calls are thought to have, all of them equally likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies {
    /// In ascending order, and never empty.
    sorted: Vec<Duration>,
}

impl Latencies {
    /// Of a formula so many are drawn.
    const DRAWN: u64 = 1 << 15;

    /// Those that were measured; none of nothing.
    #[must_use]
    pub fn measured(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        (!latencies.is_empty()).then_some(Latencies { sorted: latencies })
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let sum: f64 = self.sorted.iter().map(Duration::as_secs_f64).sum();
        Duration::from_secs_f64(sum / self.sorted.len() as f64)
    }

    /// The least latency that so many percent of all do not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }

    /// The standard deviation, as a part of the mean.
    #[must_use]
    pub fn spread(&self) -> f64 {
        let mean = self.mean().as_secs_f64();
        let squares = self
            .sorted
            .iter()
            .map(|latency| (latency.as_secs_f64() - mean).powi(2));
        let variance = squares.sum::<f64>() / self.sorted.len() as f64;
        if mean > 0.0 {
            variance.sqrt() / mean
        } else {
            0.0
        }
    }

    /// So many latencies in an order left to chance. Of a few hundred that follow each other, each comes from another of
    /// as many equal parts of the distribution: so a few stand for all, and their mean is that of all.
    pub(super) fn sample(&self, count: usize, seed: u64) -> Vec<Duration> {
        const BLOCK: usize = 250;
        let mut chance = StdRng::seed_from_u64(seed);
        let mut sample = Vec::with_capacity(count);
        while sample.len() < count {
            let parts = BLOCK.min(count - sample.len());
            let within: f64 = if parts == count { 0.5 } else { chance.random() };
            let mut block: Vec<_> = (0..parts)
                .map(|part| self.at((part as f64 + within) / parts as f64))
                .collect();
            block.shuffle(&mut chance);
            sample.append(&mut block);
        }
        sample
    }

    /// The latency that this part of all is below.
    fn at(&self, part: f64) -> Duration {
        self.sorted[((part * self.sorted.len() as f64) as usize).min(self.sorted.len() - 1)]
    }
}

impl From<Latency> for Latencies {
    fn from(latency: Latency) -> Self {
        let count = if matches!(latency, Latency::Constant(_)) {
            1
        } else {
            Self::DRAWN
        };
        const SEED: u64 = 0x5eed;
        let mut sorted: Vec<_> = (0..count)
            .map(|number| latency.draw(SEED, number))
            .collect();
        sorted.sort_unstable();
        Latencies { sorted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_sample_has_the_mean_of_the_whole_however_small_it_is() {
        for latency in [
            Latency::LogNormal(MS * 800, 0.5),
            Latency::Uniform(MS * 100, MS * 2000),
        ] {
            let all = Latencies::from(latency);
            for count in [50, 500, 5000] {
                let sample = Latencies::measured(all.sample(count, 1)).unwrap();
                let off = sample.mean().as_secs_f64() / all.mean().as_secs_f64() - 1.0;
                assert!(off.abs() < 0.01, "{off} with {count}");
            }
        }
        let constant = Latencies::from(Latency::Constant(MS * 400));
        assert_eq!(constant.sample(3, 0), [MS * 400; 3]);
        assert_eq!((constant.mean(), constant.spread()), (MS * 400, 0.0));
    }

    #[test]
    fn the_order_of_a_sample_is_left_to_chance() {
        let all = Latencies::measured((1..=100).map(|n| MS * n).collect()).unwrap();
        let sample = all.sample(100, 1);
        assert_ne!(sample, all.sample(100, 2));
        assert_ne!(sample, all.sorted);
        assert_eq!(
            Latencies::measured(sample),
            Some(all),
            "but each is there once"
        );
    }

    #[test]
    fn percentiles_are_among_what_was_measured() {
        let all = Latencies::measured((1..=100).rev().map(|n| MS * n).collect()).unwrap();
        assert_eq!(
            [50, 95, 100].map(|p| all.percentile(p)),
            [MS * 50, MS * 95, MS * 100]
        );
        assert_eq!(Latencies::measured(Vec::new()), None);
    }
}
