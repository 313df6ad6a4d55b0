//! How long calls take, as a distribution: measured in an earlier run, or given by a formula.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::practice::Latency;

/// Latencies, all of them equally likely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LatencyDistribution {
    /// In ascending order, and never empty.
    sorted: Vec<Duration>,
}

impl LatencyDistribution {
    /// Samples drawn from a formula: enough for the 99th percentile.
    const DRAWN: u64 = 1 << 15;

    /// Measured latencies; `None` if there are none.
    pub(super) fn measured(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        (!latencies.is_empty()).then_some(LatencyDistribution { sorted: latencies })
    }

    /// The mean.
    pub(super) fn mean(&self) -> Duration {
        let sum: f64 = self.sorted.iter().map(Duration::as_secs_f64).sum();
        Duration::from_secs_f64(sum / self.sorted.len() as f64)
    }

    /// The least latency that this percentage of all does not exceed.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }

    /// The part, from 0 to 1, that is longer than this.
    pub(super) fn part_above(&self, longest: Duration) -> f64 {
        let within = self.sorted.partition_point(|latency| *latency <= longest);
        (self.sorted.len() - within) as f64 / self.sorted.len() as f64
    }

    /// `count` latencies in random order. Of each 250 that follow each other, each comes from another of as many equal
    /// parts of the distribution: so a few stand for all, and their mean is that of all.
    pub(super) fn sample(&self, count: usize, seed: u64) -> Vec<Duration> {
        const BLOCK: usize = 250;
        let mut random = StdRng::seed_from_u64(seed);
        let mut sample = Vec::with_capacity(count);
        while sample.len() < count {
            let parts = BLOCK.min(count - sample.len());
            let within: f64 = if parts == count { 0.5 } else { random.random() };
            let mut block: Vec<_> = (0..parts)
                .map(|part| self.at((part as f64 + within) / parts as f64))
                .collect();
            block.shuffle(&mut random);
            sample.append(&mut block);
        }
        sample
    }

    /// The `part`-quantile, for a part from 0 to 1.
    fn at(&self, part: f64) -> Duration {
        self.sorted[((part * self.sorted.len() as f64) as usize).min(self.sorted.len() - 1)]
    }
}

impl From<Latency> for LatencyDistribution {
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
        LatencyDistribution { sorted }
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
            let all = LatencyDistribution::from(latency);
            for count in [50, 500, 5000] {
                let sample = LatencyDistribution::measured(all.sample(count, 1)).unwrap();
                let off = sample.mean().as_secs_f64() / all.mean().as_secs_f64() - 1.0;
                assert!(off.abs() < 0.01, "{off} with {count}");
            }
        }
        let constant = LatencyDistribution::from(Latency::Constant(MS * 400));
        assert_eq!(constant.sample(3, 0), [MS * 400; 3]);
        assert_eq!(constant.mean(), MS * 400);
    }

    #[test]
    fn the_order_of_a_sample_is_random() {
        let all = LatencyDistribution::measured((1..=100).map(|n| MS * n).collect()).unwrap();
        let sample = all.sample(100, 1);
        assert_ne!(sample, all.sample(100, 2));
        assert_ne!(sample, all.sorted);
        assert_eq!(
            LatencyDistribution::measured(sample),
            Some(all),
            "but each is there once"
        );
    }

    #[test]
    fn percentiles_are_measured_values() {
        let all = LatencyDistribution::measured((1..=100).rev().map(|n| MS * n).collect()).unwrap();
        assert_eq!(
            [50, 95, 100].map(|p| all.percentile(p)),
            [MS * 50, MS * 95, MS * 100]
        );
        assert_eq!(LatencyDistribution::measured(Vec::new()), None);
    }
}
