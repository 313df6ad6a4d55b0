//! How many workers to use: the batch with few and with many, and the fewest that are enough.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::thread;

use super::forecast::{PlanInputs, WorkerChoice};
use super::simulation;
use crate::batch::Settings;
use crate::pool::Pool;

/// A number of workers is enough if it takes at most 1 % longer than the best: more cannot be noticed.
const HARDLY_LONGER: f64 = 1.01;

/// What the batch takes with several numbers of workers, in ascending order.
pub(super) fn choices(inputs: &PlanInputs, count: usize, calls: f64) -> Vec<WorkerChoice> {
    let mut choices = try_all(inputs, count, candidates(inputs, calls));
    if is_limited(inputs) {
        while let Some(between) = gap(&choices) {
            choices.extend(try_all(inputs, count, [between]));
            choices.sort_by_key(|choice| choice.workers);
        }
    }
    choices
}

/// The fewest workers that are enough; `None` without a limit to keep up with.
pub(super) fn enough(inputs: &PlanInputs, choices: &[WorkerChoice]) -> Option<usize> {
    let enough = first_enough(choices).filter(|_| is_limited(inputs))?;
    Some(choices[enough].workers)
}

fn first_enough(choices: &[WorkerChoice]) -> Option<usize> {
    let best = choices.iter().map(|choice| choice.took).min()?;
    let longest = best.mul_f64(HARDLY_LONGER);
    choices.iter().position(|choice| choice.took <= longest)
}

fn is_limited(inputs: &PlanInputs) -> bool {
    inputs.by_rate(2.0).is_some() || inputs.by_tokens(2.0).is_some()
}

/// A number half-way between too few and enough, if there is one, and if it matters: of a hundred, one does not.
fn gap(choices: &[WorkerChoice]) -> Option<usize> {
    let enough = first_enough(choices)?;
    let few = choices[enough.checked_sub(1)?].workers;
    let many = choices[enough].workers;
    (many - few > 1 + many / 25).then_some((few + many) / 2)
}

/// Numbers to try, around that of Little's law: rate x latency. Without a rate, each is twice the last.
fn candidates(inputs: &PlanInputs, calls: f64) -> BTreeSet<usize> {
    let fastest = inputs.by_rate(calls).max(inputs.by_tokens(calls));
    let numbers: Vec<usize> = match fastest.filter(|took| !took.is_zero()) {
        Some(took) => {
            let latency = inputs.known.latency.mean();
            let in_flight = calls * latency.as_secs_f64() / took.as_secs_f64();
            let parts = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0];
            parts
                .map(|part| (in_flight * part).ceil() as usize + 1)
                .into()
        }
        None => (0..9).map(|power| 1 << power).collect(),
    };
    let most = inputs.most_workers().min(inputs.load.count() as usize);
    let wanted = inputs.settings.workers.map(NonZeroUsize::get);
    let fitting = numbers.into_iter().map(|number| number.min(most));
    fitting.chain(wanted).filter(|number| *number > 0).collect()
}

/// Tries each of them, as many at a time as there are processors.
fn try_all(
    inputs: &PlanInputs,
    count: usize,
    numbers: impl IntoIterator<Item = usize, IntoIter: Send>,
) -> Vec<WorkerChoice> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let run = |workers: usize| {
        let settings = Settings {
            workers: NonZeroUsize::new(workers),
            ..inputs.settings
        };
        let took = simulation::run(inputs, settings, count).took;
        WorkerChoice { workers, took }
    };
    let mut choices = Vec::new();
    let _ = Pool::new(processors).for_each(numbers, run, |_, choice| {
        choices.extend(choice.ok());
        ControlFlow::<()>::Continue(())
    });
    choices.sort_by_key(|choice| choice.workers);
    choices
}
