//! The second reading of the results: the names of the few records that the numbers point to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Seek};

use serde::de::IgnoredAny;

use super::numbers::{RecordRef, Report};
use crate::cli::fields::RecordFields;
use crate::cli::format::shortened;
use crate::cli::output::RereadError;
use crate::journal::Results;

/// Characters of a prompt that are kept: two lines of a terminal.
const ASKED: usize = 160;
/// Characters of a name among others.
const NAME: usize = 80;

/// Fills in the names.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
) -> Result<(), RereadError> {
    let mut wanted: BTreeSet<_> = report.references().map(|to| to.record).collect();
    wanted.extend(report.prompts.first_records.iter().flatten());
    let names = look_up(&wanted, results)?;
    let first = report.prompts.first_records.iter();
    for (cause, first) in report.prompts.causes.list.iter_mut().zip(first) {
        let named = first.iter().filter_map(|record| names.get(record));
        cause.first = named.map(|name| shortened(&name.custom_id, NAME)).collect();
    }
    for reference in report.references() {
        if let Some(named) = names.get(&reference.record) {
            reference.clone_from(named);
        }
    }
    Ok(())
}

/// Reads the records at these lines, and no further than the last of them.
fn look_up<R: BufRead + Seek>(
    wanted: &BTreeSet<u64>,
    results: &mut Results<R>,
) -> Result<BTreeMap<u64, RecordRef>, RereadError> {
    let mut names = BTreeMap::new();
    let Some(last) = wanted.last() else {
        return Ok(names);
    };
    results.seek(0).map_err(RereadError::Again)?;
    for record in 1..=*last {
        let line = results.next_line().map_err(RereadError::second)?;
        let line = line.ok_or(RereadError::Changed)?;
        if wanted.contains(&record) {
            let fields: Result<RecordFields<'_, IgnoredAny>, _> = line.parse();
            let fields = fields.map_err(|_| RereadError::Changed)?;
            let named = RecordRef {
                custom_id: fields.custom_id.into_owned(),
                asked: shortened(&fields.prompt, ASKED),
                record,
            };
            names.insert(record, named);
        }
    }
    Ok(names)
}

impl Report {
    /// Every record that a number points to.
    fn references(&mut self) -> impl Iterator<Item = &mut RecordRef> {
        let ranked = self.slowest.iter_mut().chain(&mut self.most_retried);
        let ranked = ranked.map(|ranked| &mut ranked.prompt);
        let keys = self.keys.iter_mut().flat_map(|key| {
            let gap = key.smallest_gap.iter_mut();
            let gap = gap.flat_map(|gap| [&mut gap.from, &mut gap.to]);
            let worst = key.excess.iter_mut().flat_map(|excess| &mut excess.worst);
            gap.chain(worst.map(|worst| &mut worst.call))
        });
        ranked.chain(keys)
    }
}
