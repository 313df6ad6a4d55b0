//! What the benches share: a measured figure with its spread, and what the system counts.

#![allow(dead_code)] // Included by several benches, none of which uses everything.

use std::fmt;

/// The same figure, measured a few times: the noise of the machine is part of it.
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    pub(crate) fn of(times: usize, mut measure: impl FnMut() -> f64) -> Self {
        (0..times).map(|_| measure()).collect()
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<_> = figures.into_iter().collect();
        assert!(!figures.is_empty(), "nothing was measured");
        figures.sort_by(f64::total_cmp);
        Spread(figures)
    }
}

/// `median (min to max)`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |figure: f64| {
            if figure >= 100.0 {
                format!("{figure:.0}")
            } else {
                format!("{figure:.2}")
            }
        };
        let (min, max) = (self.0[0], self.0[self.0.len() - 1]);
        f.pad(&format!(
            "{} ({} to {})",
            short(self.median()),
            short(min),
            short(max)
        ))
    }
}

/// How often the calling thread has gone to sleep; 0 where the system does not count it.
pub(crate) fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_default()
}

/// The half and the hundredth worst.
pub(crate) fn p50_and_p99(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    (
        figures[figures.len() / 2],
        figures[figures.len() * 99 / 100],
    )
}
