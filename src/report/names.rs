//! The second look at the results: the names of the few records that the numbers point out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Seek};

use serde::Deserialize;

use super::ReportError;
use super::numbers::{Named, Report};
use super::text::{cut, one_line};
use crate::journal::{Fault, Results, ResultsError};

/// How many characters of a prompt are shown.
const ASKED: usize = 160;

/// What is wanted of such a record.
#[derive(Debug, Deserialize)]
struct Name {
    custom_id: String,
    #[serde(default)]
    prompt: String,
    error: Option<Fault>,
}

/// Puts in the names, and the messages of the failures.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
) -> Result<(), ReportError> {
    let wanted = report.named().map(|named| named.record).collect();
    let names = look_up(&wanted, results)?;
    for example in report
        .prompts
        .failures
        .iter_mut()
        .flat_map(|failure| &mut failure.examples)
    {
        let fault = names
            .get(&example.prompt.record)
            .and_then(|name| name.error.as_ref());
        example.message = fault.map(|fault| fault.message.clone()).unwrap_or_default();
    }
    for named in report.named() {
        let Some(name) = names.get(&named.record) else {
            continue;
        };
        named.custom_id = name.custom_id.clone();
        named.asked = beginning(&name.prompt);
    }
    Ok(())
}

/// So much of a prompt that one knows it again. A prompt can be a book.
fn beginning(prompt: &str) -> String {
    let some: String = prompt.chars().take(ASKED * 4).collect();
    cut(&one_line(&some), ASKED)
}

/// Reads those lines, and no further than the last of them.
fn look_up<R: BufRead + Seek>(
    wanted: &BTreeSet<u64>,
    results: &mut Results<R>,
) -> Result<BTreeMap<u64, Name>, ReportError> {
    let mut names = BTreeMap::new();
    let Some(last) = wanted.last() else {
        return Ok(names);
    };
    results.seek(0).map_err(ReportError::Again)?;
    for record in 1..=*last {
        let line = results
            .next_line()
            .map_err(again)?
            .ok_or(ReportError::Changed)?;
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
        let failures = self
            .prompts
            .failures
            .iter_mut()
            .flat_map(|failure| &mut failure.examples);
        let failures = failures.map(|example| &mut example.prompt);
        let slowest = self.slowest.iter_mut().map(|slow| &mut slow.prompt);
        let retried = self
            .most_retried
            .iter_mut()
            .map(|retried| &mut retried.prompt);
        let paces = self.keys.iter_mut().flat_map(|pace| {
            let gap = pace
                .smallest_gap
                .iter_mut()
                .flat_map(|gap| [&mut gap.from, &mut gap.to]);
            let worst = pace.excess.iter_mut().flat_map(|excess| &mut excess.worst);
            gap.chain(worst.map(|worst| &mut worst.call))
        });
        failures.chain(slowest).chain(retried).chain(paces)
    }
}
