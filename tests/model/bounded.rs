//! Every schedule with at most so many preemptions, depth first.
//!
//! A preemption takes the run from a thread that could go on; the switch from a thread that waits or has ended is free.
//! Nearly all faults of real programs show with two (Musuvathi and Qadeer, *Iterative Context Bounding for Systematic
//! Testing of Multithreaded Programs*, PLDI 2007), and their number grows with the steps' power of the bound, not
//! with the power of the steps.

use std::cell::Cell;
use std::rc::Rc;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

pub(crate) struct Bounded {
    preemptions: usize,
    /// No more schedules than this.
    most: usize,
    tried: usize,
    /// What there was to choose from at each step, and which of it was taken.
    levels: Vec<(Vec<TaskId>, usize)>,
    step: usize,
    spent: usize,
    /// The steps of the longest schedule.
    pub(crate) longest: Rc<Cell<usize>>,
}

impl Bounded {
    pub(crate) fn new(preemptions: usize, most: usize) -> Self {
        let (tried, levels, step, spent, longest) = (0, Vec::new(), 0, 0, Rc::default());
        Bounded {
            preemptions,
            most,
            tried,
            levels,
            step,
            spent,
            longest,
        }
    }

    /// Who may run now, those first who cost no preemption.
    fn choices(&self, runnable: &[&Task], current: Option<TaskId>) -> Vec<TaskId> {
        let all = runnable.iter().map(|task| task.id());
        let Some(current) = current.filter(|current| all.clone().any(|task| task == *current))
        else {
            return all.collect();
        };
        let others = all.filter(|task| *task != current && self.spent < self.preemptions);
        [current].into_iter().chain(others).collect()
    }
}

impl Scheduler for Bounded {
    /// Goes back to the last step at which something else could have been chosen.
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.tried > 0 {
            let has_more = |(choices, taken): &(Vec<TaskId>, usize)| *taken + 1 < choices.len();
            let last = self.levels.iter().rposition(has_more)?;
            self.levels.truncate(last + 1);
            self.levels[last].1 += 1;
        }
        (self.step, self.spent, self.tried) = (0, 0, self.tried + 1);
        (self.tried <= self.most).then(|| Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        _: bool,
    ) -> Option<TaskId> {
        if self.step == self.levels.len() {
            self.levels.push((self.choices(runnable, current), 0));
        }
        let (choices, taken) = &self.levels[self.step];
        let next = choices[*taken];
        let goes_on =
            current.is_some_and(|current| runnable.iter().any(|task| task.id() == current));
        self.spent += usize::from(goes_on && current != Some(next));
        self.step += 1;
        self.longest.set(self.longest.get().max(self.step));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("no check draws lots")
    }
}
