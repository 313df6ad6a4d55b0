//! What is known about calls: what an earlier run teaches, or else guesses. The latencies, the tokens for a text, and how
//! often calls fail.

use std::path::Path;
use std::time::Duration;

use crate::api::{ApiKind, Ask, Usage};
use crate::batch::Density;
use crate::cli::args::PlanArgs;
use crate::cli::error::CommandError;
use crate::cli::fields::RecordFields;
use crate::cli::setup::PRACTICE_LATENCY;
use crate::journal::{RecordAttempt, ResultLine, Results, ResultsError};
use crate::outcome::CallOutcome;
use crate::practice::Latency;

/// The latency of a model about which nothing is known.
const GUESSED_LATENCY: Latency = Latency::LogNormal(Duration::from_secs(2), 0.5);

/// What is known about calls. Parts are from 0 to 1.
#[derive(Clone, Debug, Default)]
pub(super) struct CallStatistics {
    /// Latencies, all of them equally likely: in ascending order, and never empty.
    pub(super) latencies: Vec<Duration>,
    pub(super) density: Density,
    /// The part of the calls that fail with a fault, after which the prompt is tried again.
    pub(super) faults: f64,
    /// The part of the calls that fail for good.
    pub(super) rejected: f64,
    /// Answered calls, from which the latency is known; 0 without an earlier run.
    pub(super) answers: u64,
    /// Whether answers reported their tokens.
    pub(super) has_tokens: bool,
    /// The parts of the input that were read from a cache, and written to one.
    pub(super) cached: f64,
    pub(super) cache_write: f64,
}

impl CallStatistics {
    /// Those of the earlier run that is named, or else guesses.
    pub(super) fn of(args: &PlanArgs, ask: &dyn Ask) -> Result<Self, CommandError> {
        if let Some(path) = &args.from {
            return read(path, ask);
        }
        let usual = match args.run.calls.practice {
            true => PRACTICE_LATENCY,
            false => GUESSED_LATENCY,
        };
        let mut guess = CallStatistics::with_latency(args.latency.unwrap_or(usual));
        if args.run.calls.server.api == ApiKind::Embeddings {
            guess.density.output = 0.0; // a vector costs no tokens
        }
        Ok(guess)
    }

    /// With this latency, and a guess at the rest.
    pub(super) fn with_latency(latency: Latency) -> Self {
        const SEED: u64 = 0x5eed;
        /// Enough for the 99th percentile.
        const DRAWN: u64 = 1 << 15;
        let draw = |number| latency.draw(SEED, number);
        let mut latencies: Vec<_> = (0..DRAWN).map(draw).collect();
        latencies.sort_unstable();
        CallStatistics {
            latencies,
            ..CallStatistics::default()
        }
    }

    pub(super) fn mean_latency(&self) -> Duration {
        let sum: f64 = self.latencies.iter().map(Duration::as_secs_f64).sum();
        Duration::from_secs_f64(sum / self.latencies.len() as f64)
    }

    /// The latency that this part of all, below 1, does not exceed.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        self.latencies[(part * self.latencies.len() as f64) as usize]
    }

    /// The part of the calls that take longer than this.
    pub(super) fn part_above(&self, longest: Duration) -> f64 {
        let within = self.latencies.partition_point(|took| *took <= longest);
        1.0 - within as f64 / self.latencies.len() as f64
    }
}

/// Reads the results of an earlier run. The size of its requests is that of the request as it would be made now.
fn read(path: &Path, ask: &dyn Ask) -> Result<CallStatistics, CommandError> {
    let failed = || CommandError::file("cannot read earlier results from", path);
    let mut results = Results::open(path).map_err(failed())?;
    let mut totals = EarlierTotals::default();
    while let Some(line) = results.next_line().map_err(CommandError::file("", path))? {
        let added = totals.add(&line, ask);
        added.map_err(CommandError::file("", path))?;
    }
    totals.finish().ok_or_else(|| {
        CommandError::usage(format!(
            "{} holds no answer to go by: give the time of a call with --latency",
            path.display()
        ))
    })
}

#[derive(Default)]
struct EarlierTotals {
    known: CallStatistics,
    /// Bytes and tokens of the requests whose answers reported their tokens.
    bytes: f64,
    usage: Usage,
    with_tokens: u64,
}

impl EarlierTotals {
    fn add(&mut self, line: &ResultLine<'_>, ask: &dyn Ask) -> Result<(), ResultsError> {
        let row: RecordFields<'_, RecordAttempt> = line.parse()?;
        let known = &mut self.known;
        for attempt in &row.attempts {
            match attempt.outcome {
                // It waited for its batch.
                _ if attempt.batch.is_some() => {}
                CallOutcome::Answered | CallOutcome::Misfit => known.latencies.push(attempt.took),
                // A matter of the rate, or of the key.
                CallOutcome::RateLimited | CallOutcome::Fatal => {}
                CallOutcome::Rejected => known.rejected += 1.0,
                _ => known.faults += 1.0,
            }
        }
        if let Some(tokens) = row.tokens().filter(|_| !row.prompt.is_empty()) {
            self.bytes += ask.request(&row.prompt).len() as f64;
            self.usage += tokens;
            self.with_tokens += 1;
        }
        Ok(())
    }

    /// `None` if nothing was answered.
    fn finish(self) -> Option<CallStatistics> {
        let mut known = self.known;
        known.latencies.sort_unstable();
        known.answers = known.latencies.len() as u64;
        let calls = known.answers as f64 + known.faults + known.rejected;
        known.faults /= calls;
        known.rejected /= calls;
        known.has_tokens = self.with_tokens > 0;
        if known.has_tokens {
            let input = self.usage.input as f64;
            known.density.input = input / self.bytes;
            known.density.output = self.usage.output as f64 / self.with_tokens as f64;
            known.cached = self.usage.cached as f64 / input.max(1.0);
            known.cache_write = self.usage.cache_write as f64 / input.max(1.0);
        }
        (known.answers > 0).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn quantiles_are_measured_values() {
        let known = CallStatistics {
            latencies: (1..=100).map(|n| MS * n).collect(),
            ..CallStatistics::default()
        };
        let found = [0.0, 0.5, 0.95, 0.999].map(|part| known.quantile(part));
        assert_eq!(found, [MS, MS * 51, MS * 96, MS * 100]);
        assert_eq!(known.mean_latency(), MS * 50 + MS / 2);
        let above = known.part_above(MS * 75) - 0.25;
        assert!(above.abs() < 1e-9, "{above}");
    }
}
