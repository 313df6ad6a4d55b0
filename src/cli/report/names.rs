//! The second reading of the results: the names of the few records that the numbers point to.

use std::io::{BufRead, Seek};

use serde::de::IgnoredAny;

use super::numbers::{RecordRef, Report};
use crate::cli::fields::RecordFields;
use crate::cli::output::{RereadError, read_again};
use crate::journal::{ResultLine, Results};
use crate::text::shortened;

/// Characters of a prompt that are kept: two lines of a terminal.
const ASKED: usize = 160;
/// Characters of a name among others.
const NAME: usize = 80;

/// The place of every 64th record is noted. A name is found again in less than 1 ms, and a million records take 130 kB.
const STRIDE: u64 = 64;

/// Where some of the records begin, to find the others near them.
#[derive(Debug, Default)]
pub(super) struct RecordPlaces(Vec<u64>);

impl RecordPlaces {
    /// Takes note of a line. They come in order.
    pub(super) fn add(&mut self, line: &ResultLine<'_>) {
        if line.number % STRIDE == 1 {
            self.0.push(line.offset);
        }
    }

    fn name_of<R: BufRead + Seek>(
        &self,
        record: u64,
        results: &mut Results<R>,
    ) -> Result<RecordRef, RereadError> {
        let before = record.saturating_sub(1);
        let offset = self.0.get((before / STRIDE) as usize);
        let offset = *offset.ok_or(RereadError::Changed)?;
        let line = read_again(results, offset, before % STRIDE)?;
        let fields: Result<RecordFields<'_, IgnoredAny>, _> = line.parse();
        let fields = fields.map_err(|_| RereadError::Changed)?;
        Ok(RecordRef {
            custom_id: fields.custom_id.into_owned(),
            asked: shortened(&fields.prompt, ASKED),
            record,
        })
    }
}

/// Fills in the names, for which the causes have the numbers of their first records.
pub(super) fn fill_in<R: BufRead + Seek>(
    report: &mut Report,
    results: &mut Results<R>,
    places: &RecordPlaces,
) -> Result<(), RereadError> {
    for reference in references(report) {
        *reference = places.name_of(reference.record, results)?;
    }
    let causes = report.prompts.causes.list.iter_mut();
    for first in causes.flat_map(|cause| &mut cause.first) {
        let record = first.parse().unwrap_or_default();
        *first = shortened(&places.name_of(record, results)?.custom_id, NAME);
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
