//! The second reading of the results: the names of the few records that the numbers point to.

use std::collections::BTreeMap;
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

/// Fills in the names, for which the causes have the numbers of their first records. Nothing is read behind the last
/// record that is wanted.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
) -> Result<(), RereadError> {
    let mut names: BTreeMap<u64, RecordRef> = BTreeMap::new();
    let causes = report.prompts.causes.list.iter();
    let of_causes = causes.flat_map(|cause| &cause.first);
    names.extend(of_causes.filter_map(|number| Some((number.parse().ok()?, RecordRef::default()))));
    names.extend(references(report).map(|to| (to.record, to.clone())));
    let Some(last) = names.keys().next_back().copied() else {
        return Ok(());
    };
    results.seek(0).map_err(RereadError::Again)?;
    for record in 1..=last {
        let line = results.next_line().map_err(RereadError::second)?;
        let line = line.ok_or(RereadError::Changed)?;
        if let Some(name) = names.get_mut(&record) {
            let fields: Result<RecordFields<'_, IgnoredAny>, _> = line.parse();
            let fields = fields.map_err(|_| RereadError::Changed)?;
            name.custom_id = fields.custom_id.into_owned();
            name.asked = shortened(&fields.prompt, ASKED);
            name.record = record;
        }
    }
    for reference in references(report) {
        reference.clone_from(&names[&reference.record]);
    }
    let causes = report.prompts.causes.list.iter_mut();
    for first in causes.flat_map(|cause| &mut cause.first) {
        let name = first.parse().ok().and_then(|record| names.get(&record));
        *first = name.map_or_else(String::new, |name| shortened(&name.custom_id, NAME));
    }
    Ok(())
}

/// Every record that a number points to.
fn references(report: &mut Report) -> impl Iterator<Item = &mut RecordRef> {
    let ranked = report.slowest.iter_mut().chain(&mut report.most_retried);
    let ranked = ranked.map(|ranked| &mut ranked.prompt);
    let keys = report.keys.iter_mut().flat_map(|key| {
        let gap = key.smallest_gap.iter_mut();
        let gap = gap.flat_map(|gap| [&mut gap.from, &mut gap.to]);
        let worst = key.excess.iter_mut().flat_map(|excess| &mut excess.worst);
        gap.chain(worst.map(|worst| &mut worst.call))
    });
    ranked.chain(keys)
}
