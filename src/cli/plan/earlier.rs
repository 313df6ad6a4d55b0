//! What an earlier run teaches a plan: the latencies, the tokens for a text, and how often calls fail.

use std::path::Path;
use std::time::Duration;

use super::forecast::FailureRates;
use super::latencies::LatencyDistribution;
use crate::api::{Ask, Usage};
use crate::batch::Density;
use crate::cli::error::CommandError;
use crate::cli::fields::RecordFields;
use crate::journal::{RecordAttempt, ResultLine, Results, ResultsError};
use crate::outcome::CallOutcome;

/// What is known from an earlier run.
pub(super) struct EarlierRun {
    pub(super) latency: LatencyDistribution,
    pub(super) density: Density,
    pub(super) failures: FailureRates,
    /// Answered calls, from which the latency is known.
    pub(super) answers: u64,
    /// Whether answers reported their tokens.
    pub(super) has_tokens: bool,
    /// The parts of the input that were read from a cache, and written to one.
    pub(super) cached: f64,
    pub(super) cache_write: f64,
}

/// Reads the results of an earlier run. The size of its requests is that of the request as it would be made now.
pub(super) fn read(path: &Path, ask: &dyn Ask) -> Result<EarlierRun, CommandError> {
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
    fn finish(self) -> Option<EarlierRun> {
        let density = match self.with_tokens {
            0 => Density::default(),
            answers => Density {
                input: self.usage.input as f64 / self.bytes,
                output: self.usage.output as f64 / answers as f64,
            },
        };
        let part = |tokens: u64| tokens as f64 / self.usage.input.max(1) as f64;
        let answers = self.latencies.len() as u64;
        let calls = (answers + self.faults + self.rejected) as f64;
        Some(EarlierRun {
            latency: LatencyDistribution::measured(self.latencies)?,
            density,
            failures: FailureRates {
                faults: self.faults as f64 / calls,
                rejected: self.rejected as f64 / calls,
            },
            answers,
            has_tokens: self.with_tokens > 0,
            cached: part(self.usage.cached),
            cache_write: part(self.usage.cache_write),
        })
    }
}
