//! The second look at the results: the names of the few records that the numbers point out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Seek};

use serde::Deserialize;

use super::ReportError;
use super::numbers::{Named, Report};
use crate::journal::{Fault, Results, ResultsError};

/// What is wanted of such a record.
#[derive(Debug, Deserialize)]
struct Name {
    custom_id: String,
    error: Option<Fault>,
}

/// Puts in the names, and the messages of the failures.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
) -> Result<(), ReportError> {
    let wanted = report.named().map(|named| named.record).collect();
    let names = look_up(&wanted, results)?;
    for failure in &mut report.prompts.failures {
        let fault = names.get(&failure.example.record).and_then(|name| name.error.as_ref());
        failure.message = fault.map(|fault| fault.message.clone()).unwrap_or_default();
    }
    for named in report.named() {
        named.custom_id = names.get(&named.record).map(|name| name.custom_id.clone()).unwrap_or_default();
    }
    Ok(())
}

/// Reads those lines, and no further than the last of them.
fn look_up<R: BufRead + Seek>(
    wanted: &BTreeSet<u64>,
    results: &mut Results<R>,
) -> Result<BTreeMap<u64, Name>, ReportError> {
    let mut names = BTreeMap::new();
    let Some(last) = wanted.last() else { return Ok(names) };
    results.seek(0).map_err(ReportError::Again)?;
    for record in 1..=*last {
        let line = results.next_line().map_err(again)?.ok_or(ReportError::Changed)?;
        if wanted.contains(&record) {
            names.insert(record, line.parse().map_err(|_| ReportError::Changed)?);
        }
    }
    Ok(names)
}

/// The first time all was well with the results.
fn again(error: ResultsError) -> ReportError {
    if let ResultsError::Read { source, .. } = error {
        ReportError::Again(source)
    } else {
        ReportError::Changed
    }
}

impl Report {
    /// Every record that is pointed out.
    fn named(&mut self) -> impl Iterator<Item = &mut Named> {
        let failures = self.prompts.failures.iter_mut().map(|failure| &mut failure.example);
        let slowest = self.slowest.iter_mut().map(|slow| &mut slow.prompt);
        let retried = self.most_retried.iter_mut().map(|retried| &mut retried.prompt);
        let paces = self.keys.iter_mut().flat_map(|pace| {
            let gap = pace.smallest_gap.iter_mut().flat_map(|gap| [&mut gap.from, &mut gap.to]);
            let worst = pace.excess.iter_mut().flat_map(|excess| &mut excess.worst);
            gap.chain(worst.map(|worst| &mut worst.call))
        });
        failures.chain(slowest).chain(retried).chain(paces)
    }
}
