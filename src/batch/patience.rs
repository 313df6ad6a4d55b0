//! Decides when a failed call ends the batch because waiting will not help: the server orders too long a wait, or it
//! cannot be reached at all. Pure; the batch asks once for each outcome.

use std::time::{Duration, Instant};

use super::Stop;
use crate::api::{CallError, Class};

/// What a failed call means beyond its own failure.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Nothing: the prompt may be tried again.
    Prompt,
    /// The key is retired, but others are left: the prompt may try again at once.
    Retired,
    /// This prompt fails, and others go on: the wait that was ordered is longer than anybody waits.
    WaitTooLong,
    /// The batch must stop.
    Stop(Stop),
}

/// One rule for every wait that a server orders, whatever the status: it must end within `max_wait` of the last answer.
#[derive(Debug)]
pub(super) struct PatienceRule {
    max_wait: Duration,
    /// Since when the server keeps us waiting without one answer.
    waiting_since: Option<Instant>,
    first_call: Option<Instant>,
    was_reached: bool,
    was_answered: bool,
    /// Faults in a row whose wait is too long.
    too_long: u32,
}

impl PatienceRule {
    /// A wrong address is known by then: two or three attempts at the usual backoff.
    const TO_REACH: Duration = Duration::from_secs(4);
    /// After an answer, one prompt may make the server fail; five in a row are no accident.
    const IN_A_ROW: u32 = 5;

    pub(super) fn new(max_wait: Duration) -> Self {
        PatienceRule {
            max_wait,
            waiting_since: None,
            first_call: None,
            was_reached: false,
            was_answered: false,
            too_long: 0,
        }
    }

    pub(super) fn answered(&mut self) {
        self.waiting_since = None;
        self.was_reached = true;
        self.was_answered = true;
        self.too_long = 0;
    }

    /// A call that left at `sent` has failed.
    pub(super) fn failed(&mut self, error: &CallError, sent: Instant, now: Instant) -> Meaning {
        let first_call = *self.first_call.get_or_insert(sent);
        let is_another = error.is_of_another_server();
        self.was_reached |= !error.is_unreachable() && !is_another;
        let tried = now.saturating_duration_since(first_call);
        if !self.was_reached && error.class == Class::Fault && tried >= Self::TO_REACH {
            let error = Box::new(error.clone());
            return Meaning::Stop(match is_another {
                true => Stop::Refused(error),
                false => Stop::Unreachable(error),
            });
        }
        match (error.class, error.retry_after) {
            (Class::RateLimited, more) => self.wait(error, more, now),
            (Class::Fault, Some(more)) if more > self.max_wait => {
                self.too_long += 1;
                if self.was_answered && self.too_long < Self::IN_A_ROW {
                    return Meaning::WaitTooLong;
                }
                self.wait(error, Some(more), now)
            }
            _ => Meaning::Prompt,
        }
    }

    fn wait(&mut self, error: &CallError, more: Option<Duration>, now: Instant) -> Meaning {
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited.saturating_add(more.unwrap_or_default()) <= self.max_wait {
            return Meaning::Prompt;
        }
        Meaning::Stop(Stop::Held {
            waited,
            more,
            error: Box::new(error.clone()),
        })
    }
}
