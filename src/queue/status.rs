//! How a queue stands.

use std::time::Duration;

use serde::Serialize;

/// How a queue stands, at one instant. Counts are of prompts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Nobody has taken them yet.
    pub waiting: u64,
    /// Taken by workers, and not finished.
    pub in_flight: u64,
    /// Have an answer on record.
    pub answered: u64,
    /// Have a failure on record.
    pub failed: u64,
    /// Records that were dropped because another of the same prompt had come first.
    pub dropped: u64,
    /// Were ever put in.
    pub pushed: u64,
    /// Whether the last push came to its end.
    pub complete: bool,
    /// Whether a push is going on.
    pub pushing: bool,
    /// Whether there are prompts that need a model to be named.
    #[serde(skip)]
    pub plain: bool,
    /// How long ago the oldest unfinished prompt was put in, or was last handed on. In JSON: in seconds.
    #[serde(rename = "oldest_s", serialize_with = "seconds")]
    pub oldest: Option<Duration>,
    /// Who is at work.
    pub workers: Vec<Peer>,
}

/// One process that works on a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Peer {
    /// Its machine and the number of its process.
    pub name: String,
    /// How many prompts it has taken and not finished.
    pub in_flight: u64,
    /// Whether it still gives signs of life; if not, its prompts are handed on soon.
    pub alive: bool,
}

/// Whether anything is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Prompts are put in, or worked on.
    Open,
    /// All that was pushed is finished.
    Done,
    /// All that is there is finished, but a push broke off: there is more where it came from.
    BrokenOff,
}

impl Status {
    /// Prompts that are not finished.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.waiting + self.in_flight
    }

    /// Whether anything is still to come.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.left() > 0 || self.pushing, self.complete) {
            (true, _) => Standing::Open,
            (false, true) => Standing::Done,
            (false, false) => Standing::BrokenOff,
        }
    }

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
        let peer = |(name, in_flight, alive)| Peer {
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

/// As `status.lua` returns it.
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
        assert_eq!(done.standing(), Standing::Done);
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
            assert_eq!(open.standing(), Standing::Open, "{open:?}");
        }
        assert_eq!(
            Status {
                complete: false,
                ..done
            }
            .standing(),
            Standing::BrokenOff
        );
    }
}
