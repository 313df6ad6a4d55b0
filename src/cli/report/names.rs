//! The second reading of the results: the names of the few records that the numbers point to.

use std::io::{BufRead, Seek};

use serde::de::IgnoredAny;

use super::numbers::{RecordRef, Report};
use crate::cli::fields::RecordFields;
use crate::cli::output::{RereadError, read_again};
use crate::journal::Results;
use crate::text::shortened;

/// Characters of a prompt that are kept: two lines of a terminal.
const ASKED: usize = 160;
/// Characters of a name among others.
const NAME: usize = 80;

/// Fills in the names, for which the causes have the numbers of their first records. The records begin at these offsets.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
    offsets: &[u64],
) -> Result<(), RereadError> {
    let mut look_up = |record: u64| {
        let offset = offsets.get((record as usize).wrapping_sub(1));
        let line = read_again(results, *offset.ok_or(RereadError::Changed)?)?;
        let fields: Result<RecordFields<'_, IgnoredAny>, _> = line.parse();
        let fields = fields.map_err(|_| RereadError::Changed)?;
        Ok::<_, RereadError>(RecordRef {
            custom_id: fields.custom_id.into_owned(),
            asked: shortened(&fields.prompt, ASKED),
            record,
        })
    };
    for reference in references(report) {
        *reference = look_up(reference.record)?;
    }
    let causes = report.prompts.causes.list.iter_mut();
    for first in causes.flat_map(|cause| &mut cause.first) {
        let record = first.parse().map_err(|_| RereadError::Changed)?;
        *first = shortened(&look_up(record)?.custom_id, NAME);
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
