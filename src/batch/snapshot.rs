//! How a batch stands at one moment: plain data, for whoever shows it.

use std::time::Duration;

use super::event::Why;
use super::price::Tokens;

/// How many calls the server allows, as far as is known, with all keys together, in calls a minute.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Allowed {
    /// Any number, or so we were told.
    Any,
    /// So many, as we were told.
    Told(f64),
    /// So many, as the server says.
    Stated(f64),
    /// It has to be found out, and has not been yet.
    Unknown,
    /// About so many, as was found out.
    Found(f64),
}

/// What everyone waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How much longer.
    pub left: Duration,
    /// Why.
    pub why: Why,
}

/// How a batch stands at one moment: plain data.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Since the start.
    pub elapsed: Duration,
    /// All prompts, those of earlier runs among them, if it is known how many they are.
    pub total: Option<u64>,
    /// Prompts that earlier runs had done.
    pub before: u64,
    /// Prompts whose answer has been written.
    pub answered: u64,
    /// Prompts whose failure has been written.
    pub failed: u64,
    /// Calls that have ended.
    pub calls: u64,
    /// Those that were refused for coming too fast.
    pub refused: u64,
    /// Those that failed otherwise.
    pub faults: u64,
    /// Calls a minute, over the last seconds.
    pub rate: f64,
    /// Calls a minute that are allowed.
    pub allowed: Allowed,
    /// Threads.
    pub workers: u64,
    /// Workers whose call is under way.
    pub in_flight: u64,
    /// Workers that wait for their turn.
    pub waiting: u64,
    /// How long a call takes, of late.
    pub latency: Option<Duration>,
    /// What everyone waits for: every key is held.
    pub hold: Option<Hold>,
    /// Keys that are still of use.
    pub keys: usize,
    /// What the answers have cost, as far as they say.
    pub tokens: Tokens,
    /// Answers that did not say what they cost.
    pub unmetered: u64,
}

impl Snapshot {
    /// At the beginning of a batch of so many prompts.
    #[must_use]
    pub fn new(total: Option<u64>) -> Self {
        Snapshot {
            elapsed: Duration::ZERO,
            total,
            before: 0,
            answered: 0,
            failed: 0,
            calls: 0,
            refused: 0,
            faults: 0,
            rate: 0.0,
            allowed: Allowed::Unknown,
            workers: 0,
            in_flight: 0,
            waiting: 0,
            latency: None,
            hold: None,
            keys: 1,
            tokens: Tokens::default(),
            unmetered: 0,
        }
    }

    /// Prompts that are still to do, if it is known how many.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        Some(
            self.total?
                .saturating_sub(self.before + self.answered + self.failed),
        )
    }
}
