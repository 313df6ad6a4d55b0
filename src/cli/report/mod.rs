//! What happened, from the results alone: prompts, calls, pace and time, so that anyone can check the pace a run claims.
//!
//! The numbers are plain data ([`Report`]), shown as text, as a page, and by `serde` as JSON.
//!
//! The results are read once for the numbers, in 24 bytes a call and 24 bytes a record; then the few records that the
//! numbers point to are read again for their names. A prompt's last record says what became of
//! it; the calls of all its records count, because they were all made.
//!
//! **What the pace is judged by.** A call is dated by `started_at`, the instant of its permit, in whole milliseconds: a
//! gap between two calls is true to 1 ms. So against a limit a call that is less than 2 ms early is on time.

mod audit;
mod builder;
mod call;
mod charts;
mod command;
mod names;
mod numbers;
mod pauses;
mod view;

use std::io::{BufRead, Seek};

use super::fields::RecordFields;
use super::output::RereadError;
use crate::batch::Price;
use crate::journal::{RecordAttempt, Results};
use builder::ReportBuilder;
use numbers::{AuditedLimit, Report};

pub(super) use command::run;

impl Report {
    /// Reads results from their beginning, and checks the pace against a limit if there is one.
    ///
    /// A run may be writing them meanwhile: what is there is reported, without a last line that is unfinished.
    fn read<R: BufRead + Seek>(
        results: &mut Results<R>,
        limit: Option<AuditedLimit>,
    ) -> Result<Self, RereadError> {
        let mut builder = ReportBuilder::default();
        let mut offsets = Vec::new();
        while let Some(line) = results.next_line()? {
            let fields: RecordFields<'_, RecordAttempt> = line.parse()?;
            offsets.push(line.offset);
            builder.add(line.number, line.id(&fields.id)?.line, &fields);
        }
        let mut report = builder.finish(limit);
        report.torn_bytes = results.torn;
        names::fill_in(&mut report, results, &offsets)?;
        Ok(report)
    }

    /// Says what the tokens cost, if there is a price.
    fn priced(mut self, price: Option<Price>) -> Self {
        self.cost = price.map(|price| price.cost(self.tokens.usage));
        self.cost_without_answer = price.map(|price| price.cost(self.tokens.without_answer));
        self
    }
}

#[cfg(test)]
mod tests;
