//! The state of a queue: its counts, its workers, and whether it is done.

use std::time::Duration;

use serde::Serialize;

/// The state of a queue at one instant. All counts but `dropped` are of prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    #[serde(skip)]
    pub(crate) plain: bool,
    /// How long ago the oldest unfinished prompt was added or handed on. JSON has it in seconds.
    #[serde(rename = "oldest_s", serialize_with = "seconds")]
    pub(crate) oldest: Option<Duration>,
    /// The processes that work on the queue.
    pub(crate) workers: Vec<WorkerStatus>,
}

/// One process that works on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    pub(crate) fn standing(&self) -> QueueState {
        match (self.left() > 0 || self.pushing, self.complete) {
            (true, _) => QueueState::Open,
            (false, true) => QueueState::Done,
            (false, false) => QueueState::BrokenOff,
        }
    }

    /// Reads the result of `status.lua`.
    pub(super) fn of(row: Row) -> Self {
        let (
            waiting,
            in_flight,
            answered,
            failed,
            dropped,
            pushed,
            complete,
            pushing,
            plain,
            age,
            workers,
        ) = row;
        let peer = |(name, in_flight, alive)| WorkerStatus {
            name,
            in_flight,
            alive,
        };
        let oldest = u64::try_from(age).ok().map(Duration::from_millis);
        let workers = workers.into_iter().map(peer).collect();
        Status {
            waiting,
            in_flight,
            answered,
            failed,
            dropped,
            pushed,
            complete,
            pushing,
            plain,
            oldest,
            workers,
        }
    }
}

/// The result of `status.lua`.
pub(super) type Row = (
    u64,
    u64,
    u64,
    u64,
    u64,
    u64,
    bool,
    bool,
    bool,
    i64,
    Vec<(String, u64, bool)>,
);

fn seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_done_when_all_was_pushed_and_nothing_is_left() {
        let done = Status {
            complete: true,
            ..Status::default()
        };
        assert_eq!(done.standing(), QueueState::Done);
        for open in [
            Status {
                waiting: 1,
                ..done.clone()
            },
            Status {
                in_flight: 1,
                ..done.clone()
            },
            Status {
                pushing: true,
                complete: false,
                ..done.clone()
            },
        ] {
            assert_eq!(open.standing(), QueueState::Open, "{open:?}");
        }
        assert_eq!(
            Status {
                complete: false,
                ..done
            }
            .standing(),
            QueueState::BrokenOff
        );
    }
}
