//! How long calls took, in a histogram of constant size: exact up to 255 ms, above in steps of at most 0.8 %.
//!
//! The buckets are those of HDR histograms: each doubling of the value has 128 of them, of equal width.

use super::numbers::Latency;

/// Counts durations, in whole milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: u64,
}

impl Histogram {
    /// A doubling has 2 to this power of buckets.
    const BITS: u32 = 7;

    pub(super) fn note(&mut self, ms: u64) {
        let bucket = Self::bucket(ms);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.longest = self.longest.max(ms);
    }

    /// The percentiles; none of nothing.
    pub(super) fn latency(&self) -> Option<Latency> {
        let [p50_ms, p95_ms, p99_ms] = [50, 95, 99].map(|percent| self.percentile(percent));
        (self.count > 0).then_some(Latency {
            p50_ms,
            p95_ms,
            p99_ms,
            longest_ms: self.longest,
        })
    }

    /// How many durations there are in each of at most 61 steps that widen as the durations do: from, below, and the count.
    pub(super) fn steps(&self) -> Vec<(u64, u64, u64)> {
        let counts = self
            .buckets
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        let counts =
            counts.map(|(bucket, count)| (Self::longest_in(bucket).min(self.longest), *count));
        let mut steps: Vec<(u64, u64, u64)> = Vec::new();
        let mut factor = 0.0;
        for (ms, count) in counts {
            if steps.is_empty() {
                let least = ms.max(1);
                factor = (self.longest.max(1) as f64 / least as f64)
                    .powf(1.0 / 60.0)
                    .max(1.05);
                steps.push((least.min(ms), Self::next(least, factor), 0));
            }
            while let Some((_, below, _)) =
                steps.last().filter(|(_, below, _)| *below <= ms).copied()
            {
                steps.push((below, Self::next(below, factor), 0));
            }
            if let Some(last) = steps.last_mut() {
                last.2 += count;
            }
        }
        steps
    }

    fn next(below: u64, factor: f64) -> u64 {
        ((below as f64 * factor).ceil() as u64).max(below.saturating_add(1))
    }

    /// The least duration that so many percent of all do not exceed, or the longest of its bucket.
    fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let reached = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        reached.map_or(0, Self::longest_in).min(self.longest)
    }

    /// Below twice the buckets of a doubling each value has its own; above, the low bits are dropped.
    fn bucket(ms: u64) -> usize {
        let dropped = (ms | 1).ilog2().saturating_sub(Self::BITS);
        ((u64::from(dropped) << Self::BITS) + (ms >> dropped)) as usize
    }

    fn longest_in(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        let dropped = (bucket >> Self::BITS).saturating_sub(1);
        let value = bucket - (dropped << Self::BITS);
        (value << dropped) + ((1 << dropped) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn latency(durations: impl IntoIterator<Item = u64>) -> Option<Latency> {
        let mut histogram = Histogram::default();
        durations.into_iter().for_each(|ms| histogram.note(ms));
        histogram.latency()
    }

    #[test]
    fn a_percentile_is_the_least_that_so_many_do_not_exceed() {
        let expected = Latency {
            p50_ms: 50,
            p95_ms: 95,
            p99_ms: 99,
            longest_ms: 100,
        };
        assert_eq!(latency((1..=100).rev()), Some(expected));
        let expected = Latency {
            p50_ms: 7,
            p95_ms: 7,
            p99_ms: 7,
            longest_ms: 7,
        };
        assert_eq!(latency([7]), Some(expected));
        assert_eq!(latency([]), None);
    }

    #[test]
    fn the_longest_is_exact_and_nothing_is_said_to_be_longer() {
        let expected = Latency {
            p50_ms: 120_001,
            p95_ms: 120_001,
            p99_ms: 120_001,
            longest_ms: 120_001,
        };
        assert_eq!(latency([120_001; 3]), Some(expected));
        assert_eq!(latency([0, u64::MAX]).unwrap().longest_ms, u64::MAX);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_differs_by_less_than_one_percent(ms: u64, shift in 0u32..64) {
            let ms = ms >> shift;
            let longest = Histogram::longest_in(Histogram::bucket(ms));
            prop_assert!(longest >= ms && longest - ms <= ms / 128, "{} for {}", longest, ms);
            prop_assert_eq!(Histogram::bucket(longest), Histogram::bucket(ms));
            prop_assert!(longest == u64::MAX || Histogram::bucket(longest + 1) == Histogram::bucket(ms) + 1);
        }
    }
}
