//! A turnstile that several processes share: their threads queue up here, and the front of the line takes its turn with
//! the fronts of all the other lines.
//!
//! Who passes next is decided by a [`Roster`] on a [`Board`] that all can reach: a file, a server. Tokens and the probing
//! of a server that refuses without a word stay in the process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;

use super::roster::{Ask, Claim, Reply, Want};
use super::{Limits, NoTurn, Pace, Peek, Place, Rate, RateLimiter, Tempo, Turn};
use crate::backoff::Absence;
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::sync::Mutex;

/// Where a [`Roster`](super::Roster) is kept, one for each lane.
pub trait Board: Send + Sync + std::fmt::Debug {
    /// Brings one message to the roster of this lane, and its answer back. Blocks no longer than some seconds.
    ///
    /// # Errors
    /// [`BoardError`]: it is not known whether the message arrived.
    fn exchange(&self, lane: usize, ask: &Ask) -> Result<Reply, BoardError>;
}

/// The roster cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardError {
    /// Now; it may come back by itself.
    Away(String),
    /// Ever.
    Useless(String),
}

impl std::fmt::Display for BoardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (BoardError::Away(why) | BoardError::Useless(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for BoardError {}

/// One pace for several processes.
#[derive(Debug)]
pub struct Shared {
    local: RateLimiter,
    clock: Arc<dyn Clock>,
    board: Arc<dyn Board>,
    /// From one turn to the next, and how late one may be: in microseconds.
    step: u64,
    slack: u64,
    /// How long the board may be away.
    patience: Duration,
    lanes: Vec<Mutex<Desk>>,
    absence: Mutex<Absence>,
}

/// What is known here of one lane's roster.
#[derive(Debug, Default)]
struct Desk {
    /// The turn that is reserved for the front of the line.
    claim: Option<Claim>,
    /// How many holds it has seen.
    holds: Option<u64>,
    /// A hold that the others have not been told of yet.
    untold: Option<Instant>,
    /// The last turn that was taken here, and when it was asked for.
    passed: Option<(u64, Instant)>,
    /// The shortest time that such a question took.
    quickest: Option<Duration>,
    /// Whether it was said that somebody else is slower.
    warned: bool,
}

impl Shared {
    /// So often a call that leaves late is told of, at most.
    const TOLD_MOST: u32 = 2;

    /// A pace of so many lanes, each at this rate, shared through `board`. The rate's burst counts for nothing.
    ///
    /// `tokens` a minute are this process's own. When the board is away, everyone waits, and after `patience` there are
    /// no more turns.
    #[must_use]
    pub fn new(
        clock: Arc<dyn Clock>,
        board: Arc<dyn Board>,
        rate: Rate,
        tokens: Option<NonZeroU32>,
        lanes: usize,
        patience: Duration,
    ) -> Self {
        let limits = Limits {
            pace: Tempo::Kept(Rate::unlimited()),
            tokens,
        };
        let local = RateLimiter::with_lanes(clock.clone(), vec![limits; lanes]);
        let us = |duration: Duration| duration.as_micros() as u64;
        // To ask takes its time, day by day, on top of the timer's.
        let (step, slack) = (
            us(rate.step()).max(1),
            us(rate.excused().max(rate.guard / 4)),
        );
        let lanes = (0..lanes).map(|_| Mutex::default()).collect();
        Shared {
            local,
            clock,
            board,
            step,
            slack,
            patience,
            lanes,
            absence: Mutex::default(),
        }
    }

    /// Whether every roster can be reached.
    ///
    /// # Errors
    /// [`BoardError`]
    pub fn check(&self) -> Result<(), BoardError> {
        (0..self.lanes.len()).try_for_each(|lane| self.exchange(lane, Want::Look, None).map(drop))
    }

    /// The front of the line asks for its turn. None: not yet, and the lane knows when.
    fn pass(&self, lane: usize) -> Result<Option<u64>, BoardError> {
        let and_next = self.local.waiting() > 1;
        let asked = self.clock.now();
        let reply = self.exchange(lane, Want::Pass { and_next }, None)?;
        let heard = self.clock.now();
        let mut desk = self.lanes[lane].lock();
        // The answer took its way, and the next question will: no less than the quickest took for both.
        let ways = desk.quickest.unwrap_or_default();
        let due = reply
            .claim
            .map(|_| heard + Duration::from_micros(reply.due_in).saturating_sub(ways));
        desk.claim = reply.claim;
        if let Some(serial) = reply.passed {
            desk.passed = Some((serial, asked));
            desk.quickest = Some(
                desk.quickest
                    .map_or(heard - asked, |quickest| quickest.min(heard - asked)),
            );
        }
        drop(desk);
        self.local.reserve(lane, due);
        Ok(reply.passed)
    }

    /// One message, with what the others should know; the answer is heard before it is returned.
    fn exchange(
        &self,
        lane: usize,
        want: Want,
        departed: Option<u64>,
    ) -> Result<Reply, BoardError> {
        let (claim, untold) = {
            let mut desk = self.lanes[lane].lock();
            (
                desk.claim.filter(|_| want != Want::Look),
                desk.untold.take(),
            )
        };
        let left = |until: Instant| {
            until
                .saturating_duration_since(self.clock.now())
                .as_micros() as u64
        };
        let (step, slack, hold) = (
            self.step,
            self.slack,
            untold.map(left).filter(|left| *left > 0),
        );
        let answer = self.board.exchange(
            lane,
            &Ask {
                step,
                slack,
                claim,
                want,
                hold,
                departed,
            },
        );
        match &answer {
            Ok(reply) => self.hear(lane, reply),
            Err(_) => {
                let mut desk = self.lanes[lane].lock();
                desk.untold = desk.untold.max(untold);
            }
        }
        answer
    }

    fn hear(&self, lane: usize, reply: &Reply) {
        let mut desk = self.lanes[lane].lock();
        let known = desk
            .holds
            .replace(reply.holds)
            .map_or(0, |known| known + u64::from(reply.began));
        let warn =
            reply.step > self.step && !std::mem::replace(&mut desk.warned, reply.step > self.step);
        drop(desk);
        // Also one that is over: it was news once.
        if reply.holds > known {
            self.local.hold_lane(
                lane,
                self.clock.now() + Duration::from_micros(reply.held_for),
            );
        }
        if warn {
            let rpm = 60e6 / reply.step as f64;
            warn!(
                "another process that shares this pace makes {rpm:.1} calls a minute: the slowest rules"
            );
        }
    }

    /// The board does not answer: until when to wait for it.
    fn put_off(&self, error: BoardError) -> Result<Instant, NoTurn> {
        let BoardError::Away(why) = error else {
            return Err(NoTurn::Lost(error.to_string()));
        };
        let mut absence = self.absence.lock();
        if !absence.has_begun() {
            warn!("{why}: nothing is sent until it is back");
        }
        absence
            .put_off(self.clock.now(), self.patience, rand::random())
            .map_err(|waited| {
                NoTurn::Lost(format!(
                    "what the pace is shared through has been away for {waited:.0?} ({why})"
                ))
            })
    }

    fn is_back(&self) {
        if let Some(away) = self.absence.lock().end(self.clock.now()) {
            let away = away.as_secs_f64();
            warn!("what the pace is shared through is back after {away:.1} s: going on");
        }
    }

    /// Waits in line, and then for the turn.
    fn stand(&self, place: &Place<'_>, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        let _listening = cancel.wake_on_cancel(&self.clock);
        while !cancel.is_cancelled() {
            let lane = match place.peek() {
                Peek::Due(lane) => lane,
                Peek::Again(due) => {
                    self.clock.park_until(due);
                    continue;
                }
                Peek::Retired => return Err(NoTurn::Retired),
            };
            match self.pass(lane) {
                Ok(passed) => {
                    self.is_back();
                    if let Some(serial) = passed {
                        return Ok(place.pass(lane, serial));
                    }
                }
                Err(error) => cancel.sleep_until(self.put_off(error)?)?,
            }
        }
        Err(NoTurn::Cancelled)
    }

    /// What is reserved and not needed any more, others may have. If that does not reach them, a turn goes unused.
    fn give_back(&self) {
        for lane in 0..self.lanes.len() {
            if self.local.waiting() == 0 && self.lanes[lane].lock().claim.is_some() {
                let _ = self.exchange(lane, Want::GiveBack, None);
                self.lanes[lane].lock().claim = None;
                self.local.reserve(lane, None);
            }
        }
    }
}

impl Pace for Shared {
    fn take(&self, tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        let place = self.local.queue_up(tokens);
        let turn = self.stand(&place, cancel);
        drop(place);
        self.give_back();
        turn
    }

    fn refused(&self, turn: Turn, until: Option<Instant>) -> Option<Instant> {
        // Others may have been refused before us: then this is no news. Nobody need wait for the board to say so.
        let _ = self.exchange(turn.lane, Want::Look, None);
        let before = self.local.held_until(turn.lane);
        let began = self.local.refused(turn, until);
        let after = self.local.held_until(turn.lane);
        if after > before {
            self.lanes[turn.lane].lock().untold = Some(after);
            let _ = self.exchange(turn.lane, Want::Look, None); // else with the next message
        }
        began
    }

    fn inner(&self) -> Option<&dyn Pace> {
        Some(&self.local)
    }

    /// The rate is what all who share it were told.
    fn keep(&self, _lane: usize, _rate: Rate) {}

    /// The roster took the turn when it was asked, and knows nothing of what came after: an answer that was long on its
    /// way, a connection that had to be made.
    fn departed(&self, turn: Turn) {
        let desk = self.lanes[turn.lane].lock();
        let asked = desk.passed.filter(|(serial, _)| *serial == turn.serial);
        let usual = desk.quickest.unwrap_or_default() + Duration::from_micros(self.slack.max(200));
        drop(desk);
        let Some((_, mut asked)) = asked else { return };
        // The call leaves only when the answer to this is here, which may be late, too.
        for _ in 0..Self::TOLD_MOST {
            let now = self.clock.now();
            if now - asked <= usual {
                break;
            }
            asked = now;
            let _ = self.exchange(turn.lane, Want::Look, Some(turn.serial));
        }
    }
}

#[cfg(test)]
mod tests;
