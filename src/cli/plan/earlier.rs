//! What is known about calls: what an earlier run teaches, or else guesses. The latencies, the tokens for a text, and how
//! often calls fail.

use std::path::Path;
use std::time::Duration;

use super::latencies::LatencyDistribution;
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
#[derive(Clone, Debug)]
pub(super) struct CallStatistics {
    pub(super) latency: LatencyDistribution,
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
    /// With this latency, and a guess at the rest.
    pub(super) fn with_latency(latency: impl Into<LatencyDistribution>) -> Self {
        CallStatistics {
            latency: latency.into(),
            density: Density::default(),
            faults: 0.0,
            rejected: 0.0,
            answers: 0,
            has_tokens: false,
            cached: 0.0,
            cache_write: 0.0,
        }
    }

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
}

/// Reads the results of an earlier run. The size of its requests is that of the request as it would be made now.
fn read(path: &Path, ask: &dyn Ask) -> Result<CallStatistics, CommandError> {
    let failed = || CommandError::file("cannot read earlier results from", path);
    let mut results = Results::open(path).map_err(failed())?;
    let mut totals = EarlierTotals::default();
    while let Some(line) = results.next_line().map_err(CommandError::file("", path))? {
        totals
            .add(&line, ask)
            .map_err(CommandError::file("", path))?;
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
    latencies: Vec<Duration>,
    faults: u64,
    rejected: u64,
    /// Bytes and tokens of the requests whose answers reported their tokens.
    bytes: f64,
    usage: Usage,
    with_tokens: u64,
}

impl EarlierTotals {
    fn add(&mut self, line: &ResultLine<'_>, ask: &dyn Ask) -> Result<(), ResultsError> {
        let row: RecordFields<'_, RecordAttempt> = line.parse()?;
        for attempt in &row.attempts {
            match attempt.outcome {
                // It waited for its batch.
                _ if attempt.batch.is_some() => {}
                CallOutcome::Answered | CallOutcome::Misfit => self.latencies.push(attempt.took),
                // A matter of the rate, or of the key.
                CallOutcome::RateLimited | CallOutcome::Fatal => {}
                CallOutcome::Rejected => self.rejected += 1,
                _ => self.faults += 1,
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
        let answers = self.latencies.len() as u64;
        let calls = (answers + self.faults + self.rejected) as f64;
        let mut known =
            CallStatistics::with_latency(LatencyDistribution::measured(self.latencies)?);
        known.answers = answers;
        known.faults = self.faults as f64 / calls;
        known.rejected = self.rejected as f64 / calls;
        known.has_tokens = self.with_tokens > 0;
        if known.has_tokens {
            let input = self.usage.input as f64;
            known.density.input = input / self.bytes;
            known.density.output = self.usage.output as f64 / self.with_tokens as f64;
            known.cached = self.usage.cached as f64 / input.max(1.0);
            known.cache_write = self.usage.cache_write as f64 / input.max(1.0);
        }
        Some(known)
    }
}
