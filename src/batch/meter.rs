//! Measures the rate of the last seconds, and the latencies of all calls.

use std::collections::BTreeMap;
use std::time::Duration;

/// The calls of each of the last 64 seconds that had some.
#[derive(Debug, Default)]
pub(super) struct RecentCalls {
    /// By the second, counted from the start of the batch.
    seconds: BTreeMap<u64, u64>,
}

impl RecentCalls {
    const KEPT: usize = 64;
    /// Windows in seconds. The shortest one with enough calls is used, because it is the most recent.
    const WINDOWS: [u64; 4] = [5, 10, 20, 60];
    /// With 30 calls, one call more or less changes the rate by 3 %.
    const ENOUGH: u64 = 30;

    /// Counts a call that is made `elapsed` after the start.
    pub(super) fn count(&mut self, elapsed: Duration) {
        *self.seconds.entry(elapsed.as_secs()).or_default() += 1;
        if self.seconds.len() > Self::KEPT {
            self.seconds.pop_first();
        }
    }

    /// Calls per minute, over the shortest window with enough calls.
    pub(super) fn a_minute(&self, elapsed: Duration) -> f64 {
        let counts = Self::WINDOWS.map(|window| (window, self.over(window, elapsed.as_secs())));
        let has_enough = |(_, calls): &(u64, u64)| *calls >= Self::ENOUGH;
        let (window, calls) = counts.into_iter().find(has_enough).unwrap_or(counts[3]);
        let whole = (window - 1).min(elapsed.as_secs());
        let span = whole as f64 + f64::from(elapsed.subsec_millis()) / 1000.0;
        // The first call came at the start, so a batch of n calls has n - 1 gaps; half a call is the middle.
        let is_begun = whole < window - 1 && calls > 0;
        let gaps = calls as f64 - if is_begun { 0.5 } else { 0.0 };
        gaps * 60.0 / span.max(1.0)
    }

    /// Calls in the `window` seconds that end with `second`.
    fn over(&self, window: u64, second: u64) -> u64 {
        let first = (second + 1).saturating_sub(window);
        self.seconds
            .range(first..=second)
            .map(|(_, calls)| calls)
            .sum()
    }
}

/// The latencies of all calls, in buckets that are 5 % wide: a quantile is right within 3 %.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    buckets: BTreeMap<u64, u64>,
}

impl Latencies {
    /// From 0.1 ms to more than half an hour.
    const MOST: u64 = 349;
    const LEAST: f64 = 1e-4;
    const WIDTH: f64 = 1.05;

    pub(super) fn count(&mut self, latency: Duration) {
        let place = (latency.as_secs_f64() / Self::LEAST).ln() / Self::WIDTH.ln();
        let bucket = (place.max(0.0) as u64).min(Self::MOST);
        *self.buckets.entry(bucket).or_default() += 1;
    }

    /// The latency that this share of the calls kept below; `None` without a call.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = self.buckets.values().sum::<u64>() as f64 * share;
        let mut seen = 0;
        let (bucket, _) = self.buckets.iter().find(|(_, count)| {
            seen += **count;
            seen as f64 >= rank
        })?;
        let middle = Self::WIDTH.powf(*bucket as f64 + 0.5);
        Some(Duration::from_secs_f64(Self::LEAST * middle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Counts calls that are `apart` ms apart, between two times.
    fn calls(meter: &mut RecentCalls, from: u32, to: u32, apart: u32) {
        (from..to)
            .step_by(apart as usize)
            .for_each(|at| meter.count(MS * at));
    }

    #[test]
    fn a_steady_rate_is_measured_whether_it_is_fast_or_slow() {
        for (apart, expected) in [(1, 60_000.0), (100, 600.0), (1000, 60.0), (6000, 10.0)] {
            let mut meter = RecentCalls::default();
            calls(&mut meter, 0, 200_000, apart);
            let read = meter.a_minute(MS * 199_990);
            assert!(
                (read / expected - 1.0f64).abs() < 0.05,
                "{read} for {expected}"
            );
        }
    }

    #[test]
    fn calls_of_more_than_a_minute_ago_do_not_count() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 30_000, 100);
        assert_eq!(meter.a_minute(MS * 95_000), 0.0);
    }

    #[test]
    fn a_change_of_the_rate_shows_within_seconds() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 60_000, 100);
        calls(&mut meter, 60_000, 66_000, 10);
        let read = meter.a_minute(MS * 65_999);
        assert!((5_900.0..6_100.0).contains(&read), "{read}");
    }

    #[test]
    fn a_quantile_of_the_latencies_is_right_within_three_percent() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        (1..=1000).for_each(|ms| latencies.count(MS * ms));
        for (share, expected) in [(0.5, 0.5), (0.95, 0.95)] {
            let read = latencies.quantile(share).unwrap().as_secs_f64();
            assert!(
                (read / expected - 1.0f64).abs() < 0.03,
                "{read} for {expected}"
            );
        }
        latencies.count(Duration::ZERO);
        latencies.count(Duration::from_secs(1 << 40));
        assert!(latencies.quantile(1.0).unwrap() > Duration::from_secs(1800));
    }

    #[test]
    fn the_first_second_is_not_overstated() {
        let mut meter = RecentCalls::default();
        calls(&mut meter, 0, 200, 100);
        assert_eq!(meter.a_minute(MS * 200), 90.0);
    }
}
