//! The second reading of the results: the names of the few records that the numbers point to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Seek};

use serde::Deserialize;

use super::numbers::{RecordRef, Report};
use crate::cli::format::shortened;
use crate::cli::output::RereadError;
use crate::journal::{RecordError, Results};

/// Characters of a prompt that are kept: two lines of a terminal.
const ASKED: usize = 160;

/// What is looked up.
#[derive(Debug, Deserialize)]
struct RecordName {
    custom_id: String,
    #[serde(default)]
    prompt: String,
    error: Option<RecordError>,
}

/// Fills in the names, and the messages of the failures.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
) -> Result<(), RereadError> {
    let wanted = report
        .references()
        .map(|reference| reference.record)
        .collect();
    let names = look_up(&wanted, results)?;
    let reasons = report.prompts.failures.iter_mut();
    for example in reasons.flat_map(|reason| &mut reason.examples) {
        let name = names.get(&example.prompt.record);
        let error = name.and_then(|name| name.error.as_ref());
        example.message = error.map(|error| error.message.clone()).unwrap_or_default();
    }
    for reference in report.references() {
        if let Some(name) = names.get(&reference.record) {
            reference.custom_id = name.custom_id.clone();
            reference.asked = shortened(&name.prompt, ASKED);
        }
    }
    Ok(())
}

/// Reads the records at these lines, and no further than the last of them.
fn look_up<R: BufRead + Seek>(
    wanted: &BTreeSet<u64>,
    results: &mut Results<R>,
) -> Result<BTreeMap<u64, RecordName>, RereadError> {
    let mut names = BTreeMap::new();
    let Some(last) = wanted.last() else {
        return Ok(names);
    };
    results.seek(0).map_err(RereadError::Again)?;
    for record in 1..=*last {
        let line = results.next_line().map_err(RereadError::second)?;
        let line = line.ok_or(RereadError::Changed)?;
        if wanted.contains(&record) {
            names.insert(record, line.parse().map_err(|_| RereadError::Changed)?);
        }
    }
    Ok(names)
}

impl Report {
    /// Every record that a number points to.
    fn references(&mut self) -> impl Iterator<Item = &mut RecordRef> {
        let failures = self.prompts.failures.iter_mut();
        let failures = failures.flat_map(|reason| &mut reason.examples);
        let failures = failures.map(|example| &mut example.prompt);
        let slowest = self.slowest.iter_mut().map(|slow| &mut slow.prompt);
        let retried = self.most_retried.iter_mut().map(|most| &mut most.prompt);
        let keys = self.keys.iter_mut().flat_map(|key| {
            let gap = key.smallest_gap.iter_mut();
            let gap = gap.flat_map(|gap| [&mut gap.from, &mut gap.to]);
            let worst = key.excess.iter_mut().flat_map(|excess| &mut excess.worst);
            gap.chain(worst.map(|worst| &mut worst.call))
        });
        failures.chain(slowest).chain(retried).chain(keys)
    }
}
