//! How many workers to use: the batch with few and with many, and the fewest that are enough.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use super::{Case, Row, simulation};
use crate::pool;

/// Enough is what takes this much longer than the best, and no more.
const HARDLY: f64 = 1.01;

/// The durations of several numbers of workers, and the fewest that are enough.
pub(super) fn compare(case: &Case, count: usize, calls: f64) -> (Vec<Row>, Option<usize>) {
    let mut table = try_all(case, count, candidates(case, calls));
    let Some(best) = table.iter().map(|row| row.took).min() else {
        return (table, None);
    };
    if !is_limited(case) {
        return (table, None);
    }
    let is_enough = |took: Duration| took <= best.mul_f64(HARDLY);
    // Between the last that is too few and the first that is enough there may be fewer that are enough.
    while let Some(between) = gap(&table, is_enough) {
        table.extend(try_all(case, count, vec![between]));
        table.sort_by_key(|row| row.workers);
    }
    let enough = table
        .iter()
        .find(|row| is_enough(row.took))
        .map(|row| row.workers);
    (table, enough)
}

/// Whether there is a limit for workers to keep up with.
fn is_limited(case: &Case) -> bool {
    case.paced(2.0).is_some() || case.metered(2.0).is_some()
}

/// A number half-way between too few and enough, if there is one, and if it matters: of a hundred one is nothing.
fn gap(table: &[Row], is_enough: impl Fn(Duration) -> bool) -> Option<usize> {
    let enough = table.iter().position(|row| is_enough(row.took))?;
    let (few, many) = (table[enough.checked_sub(1)?].workers, table[enough].workers);
    (many - few > 1 + many / 25).then_some((few + many) / 2)
}

/// Numbers to try, around that of Little's law: rate x latency. Without a rate, each is twice the last.
fn candidates(case: &Case, calls: f64) -> Vec<usize> {
    let fastest = case
        .paced(calls)
        .max(case.metered(calls))
        .map(|took| took.as_secs_f64());
    let in_flight = |took: f64| calls * case.latency.mean().as_secs_f64() / took;
    let numbers: Vec<_> = match fastest.filter(|took| *took > 0.0).map(in_flight) {
        Some(flight) => [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
            .map(|part| (flight * part).ceil() + 1.0)
            .into(),
        None => (0..9).map(|power| f64::from(1 << power)).collect(),
    };
    let most = case
        .most_workers()
        .min(usize::try_from(case.load.count).unwrap_or(usize::MAX));
    let yours = case.settings.workers.map(NonZeroUsize::get);
    let mut numbers: Vec<_> = numbers
        .into_iter()
        .map(|number| (number as usize).min(most))
        .chain(yours)
        .filter(|n| *n > 0)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Tries each of them, as many at a time as there are processors.
fn try_all(case: &Case, count: usize, numbers: Vec<usize>) -> Vec<Row> {
    let at_once = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let run = |workers: &usize| {
        let settings = crate::batch::Settings {
            workers: NonZeroUsize::new(*workers),
            ..case.settings
        };
        simulation::run(case, settings, count).took
    };
    let mut table: Vec<_> = thread::scope(|scope| {
        let tried = pool::run(scope, at_once, numbers, run);
        tried
            .filter_map(|(workers, took)| {
                Some(Row {
                    workers,
                    took: took.ok()?,
                })
            })
            .collect()
    });
    table.sort_by_key(|row| row.workers);
    table
}
