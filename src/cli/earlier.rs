//! What an earlier run teaches a plan: how long calls took, how many tokens there were to a text, how often calls failed.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::unusable::Unusable;
use crate::api::Ask;
use crate::batch::Density;
use crate::forecast::{Faults, Latencies};
use crate::journal::{JournalError, Line, Results, ResultsError};
use crate::outcome::CallOutcome;
use crate::report::Row;

/// What there is to learn.
pub(super) struct Lesson {
    pub(super) latency: Latencies,
    pub(super) density: Density,
    pub(super) faults: Faults,
    /// Calls that were answered, from which the latency is known.
    pub(super) answers: u64,
    /// Whether responses said how many tokens they cost.
    pub(super) tells_tokens: bool,
}

/// Reads the results of an earlier run; what was asked then is measured as it would be asked now.
pub(super) fn read(path: &Path, ask: &dyn Ask) -> Result<Lesson, Unusable> {
    let failed = |source| JournalError::Results {
        path: path.to_owned(),
        source,
    };
    let opened = Results::open(path);
    let mut results = opened.map_err(|source| Unusable::OpenEarlier {
        path: path.to_owned(),
        source,
    })?;
    let mut ledger = Ledger::default();
    while let Some(line) = results.next_line().map_err(failed)? {
        ledger.enter(&line, ask).map_err(failed)?;
    }
    ledger
        .finish()
        .ok_or_else(|| Unusable::NothingEarlier(path.to_owned()))
}

#[derive(Default)]
struct Ledger {
    latencies: Vec<Duration>,
    /// Every so many-th answer counts.
    stride: u64,
    answers: u64,
    faults: u64,
    rejected: u64,
    /// Bytes of requests and tokens, where responses said how many.
    bytes: f64,
    input: f64,
    output: f64,
    stated: u64,
}

impl Ledger {
    /// No more latencies are kept than this.
    const KEPT: usize = 1 << 16;

    fn enter(&mut self, line: &Line<'_>, ask: &dyn Ask) -> Result<(), ResultsError> {
        #[derive(Deserialize)]
        struct Asked<'a> {
            #[serde(borrow, default)]
            prompt: Cow<'a, str>,
        }
        let row: Row<'_> = line.parse()?;
        for attempt in &row.attempts {
            match attempt.outcome {
                CallOutcome::Answered => self.answered(attempt.took),
                CallOutcome::RateLimited | CallOutcome::Fatal => {} // a matter of the pace, or of the key
                CallOutcome::Rejected => self.rejected += 1,
                _ => self.faults += 1,
            }
        }
        let asked: Asked<'_> = line.parse()?;
        if let Some(tokens) = row.tokens().filter(|_| !asked.prompt.is_empty()) {
            self.bytes += ask.request(&asked.prompt).len() as f64;
            self.input += tokens.input as f64;
            self.output += tokens.output as f64;
            self.stated += 1;
        }
        Ok(())
    }

    fn answered(&mut self, took: Duration) {
        if self.answers.is_multiple_of(self.stride.max(1)) {
            self.latencies.push(took);
        }
        self.answers += 1;
        if self.latencies.len() > Self::KEPT {
            self.latencies = self.latencies.iter().step_by(2).copied().collect();
            self.stride = self.stride.max(1) * 2;
        }
    }

    /// None: nothing was answered.
    fn finish(self) -> Option<Lesson> {
        let latency = Latencies::measured(self.latencies)?;
        let (stated, density) = (self.stated as f64, Density::default());
        let density = match self.stated {
            0 => density,
            _ => Density {
                input: self.input / self.bytes,
                output: self.output / stated,
            },
        };
        let calls = (self.answers + self.faults + self.rejected) as f64;
        let faults = Faults {
            faults: self.faults as f64 / calls,
            rejected: self.rejected as f64 / calls,
        };
        Some(Lesson {
            latency,
            density,
            faults,
            answers: self.answers,
            tells_tokens: self.stated > 0,
        })
    }
}
