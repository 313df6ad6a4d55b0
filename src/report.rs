//! What happened, from the results alone: prompts, calls, pace and time, so that anyone can check the pace a run claims.
//!
//! The numbers are plain data ([`Report`]), apart from whoever shows them: as text and as a page here, as JSON by `serde`.
//!
//! The results are read once for the numbers, in 16 bytes a prompt, 16 bytes a call and 16 bytes a hold; and once more,
//! without a look at most of it, for the names of the few records that the numbers point out. A prompt's last record
//! says what became of it; the calls of all its records count, because they were all made.
//!
//! **What the pace is told by.** A call is dated by `started_at`, the instant of its turn, in whole milliseconds: a gap
//! between two calls is true to 1 ms. So against a [`Limit`] a call that came less than 2 ms early is not held to be
//! too soon.

mod call;
mod flow;
mod holds;
mod html;
mod lanes;
mod last;
mod latency;
mod ledger;
mod names;
mod numbers;
mod pace;
mod pictures;
mod row;
mod text;
mod top;
mod words;

use std::io::{self, BufRead, Seek};

use thiserror::Error;

use crate::journal::{Results, ResultsError};
use ledger::Ledger;

pub(crate) use row::Row;

pub use numbers::{
    Busiest, Calls, Example, Excess, Failure, Gap, KeyPace, Latencies, Latency, Limit, Moment,
    Named, Outcome, Prompts, Report, Retried, Slow, Span, Times, Tokens, TooSoon,
};

/// Results cannot be reported on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The results cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The results cannot be read a second time.
    #[error("cannot read the results a second time ({0}): are they in a plain file?")]
    Again(io::Error),
    /// A record is not where it was.
    #[error("the results were changed while they were read: try again")]
    Changed,
}

impl Report {
    /// Reads results from their beginning, and checks the pace against a limit if there is one.
    ///
    /// A run may be writing them meanwhile: what is there is reported, without a last line that is unfinished.
    ///
    /// ```
    /// use paceline::journal::Results;
    /// use paceline::report::Report;
    /// use std::io::Cursor;
    ///
    /// let file = r#"{"id":"pl_2_ca978112ca1bbdca","custom_id":"line-2","text":"Rain.","attempts":[{"n":1,
    ///   "started_at":"2026-11-24T10:00:00.250Z","took_ms":900,"outcome":"answered"}]}
    /// {"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1","text":"Sun.","attempts":[{"n":1,
    ///   "started_at":"2026-11-24T10:00:00.000Z","took_ms":900,"outcome":"answered"}]}
    /// "#.replace(",\n ", ",");
    /// let report = Report::read(&mut Results::new(Cursor::new(file)), None).unwrap();
    /// let gap = report.keys[0].smallest_gap.as_ref().unwrap();
    /// assert_eq!((gap.ms, gap.from.custom_id.as_str(), gap.to.custom_id.as_str()), (250, "line-1", "line-2"));
    /// ```
    ///
    /// # Errors
    /// [`ReportError`], at the first line that is no record of ours.
    pub fn read<R: BufRead + Seek>(
        results: &mut Results<R>,
        limit: Option<Limit>,
    ) -> Result<Self, ReportError> {
        let mut ledger = Ledger::default();
        while let Some(line) = results.next_line()? {
            let row: Row<'_> = line.parse()?;
            ledger.enter(line.number, line.id(&row.id)?.line, &row);
        }
        let mut report = ledger.finish(limit);
        report.torn_bytes = results.torn();
        names::fill_in(&mut report, results)?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests;
