//! The state of a queue: its counts, its workers, and whether it is done.

use serde::{Deserialize, Serialize};

/// The state of a queue at one instant, as `status.lua` writes it. All counts but `dropped` are of prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Prompts that no worker has taken yet.
    pub(crate) waiting: u64,
    /// Prompts that workers have taken and not finished.
    pub(crate) in_flight: u64,
    /// Prompts whose record has an answer.
    pub(crate) answered: u64,
    /// Prompts whose record has a failure.
    pub(crate) failed: u64,
    /// Records that were dropped because the prompt already had one.
    pub(crate) dropped: u64,
    /// Prompts that were ever added.
    pub(crate) pushed: u64,
    /// Whether the last push was complete.
    pub(crate) complete: bool,
    /// Whether a push is in progress.
    pub(crate) pushing: bool,
    /// Whether some prompts have no request body of their own, so that workers need a model.
    #[serde(skip_serializing)]
    pub(crate) plain: bool,
    /// How many seconds ago the oldest unfinished prompt was added or handed on.
    pub(crate) oldest_s: Option<f64>,
    /// The processes that work on the queue. Lua has no empty list.
    #[serde(default)]
    pub(crate) workers: Vec<WorkerStatus>,
}

/// One process that works on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// Its name: machine, process ID and a random number.
    pub(crate) name: String,
    /// The number of prompts that it has taken and not finished.
    pub(crate) in_flight: u64,
    /// Whether its heartbeats arrive in time; if not, its prompts are handed on soon.
    pub(crate) alive: bool,
}

/// Whether a queue is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueState {
    /// A push is in progress, or some prompts are unfinished.
    Open,
    /// The push was complete, and all prompts are finished.
    Done,
    /// All prompts are finished, but the push was interrupted: its input has more.
    BrokenOff,
}

impl Status {
    /// The number of unfinished prompts.
    pub(crate) fn left(&self) -> u64 {
        self.waiting + self.in_flight
    }

    /// Whether the queue is finished.
    pub(crate) fn state(&self) -> QueueState {
        match (self.left() > 0 || self.pushing, self.complete) {
            (true, _) => QueueState::Open,
            (false, true) => QueueState::Done,
            (false, false) => QueueState::BrokenOff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_done_when_all_was_pushed_and_nothing_is_left() {
        let state = |waiting, in_flight, pushing, complete| {
            let status = Status {
                waiting,
                in_flight,
                pushing,
                complete,
                ..Status::default()
            };
            status.state()
        };
        assert_eq!(state(0, 0, false, true), QueueState::Done);
        assert_eq!(state(1, 0, false, true), QueueState::Open);
        assert_eq!(state(0, 1, false, true), QueueState::Open);
        assert_eq!(state(0, 0, true, false), QueueState::Open);
        assert_eq!(state(0, 0, false, false), QueueState::BrokenOff);
    }
}
