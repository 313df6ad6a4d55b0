//! A pace that a batch keeps, whoever grants the turns: the trait, a turn, and why there is none.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Instant;

use super::{Rate, RateLimiter};
use crate::cancel::{CancelToken, Cancelled};

/// Grants turns, and hears what came of them.
///
/// [`RateLimiter`] is the one inside a process. Bring your own when turns are granted elsewhere: by a gateway of yours, by
/// a budget. Only [`take`](Pace::take) must be written; the rest is news, which goes to the pace that this one wraps, if
/// it does ([`inner`](Pace::inner)), and otherwise nowhere.
///
/// A lane is one key at one server, numbered from 0.
///
/// ```
/// use paceline::limiter::{NoTurn, Pace, Turn};
/// use paceline::{CancelToken, Clock, clock::SystemClock};
/// use std::time::{Duration, Instant};
///
/// /// One call a second on the second, whoever is in line.
/// #[derive(Debug)]
/// struct OnTheSecond(Instant);
///
/// impl Pace for OnTheSecond {
///     fn take(&self, _tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn> {
///         let seconds = self.0.elapsed().as_secs() + 1;
///         cancel.sleep_until(self.0 + Duration::from_secs(seconds))?;
///         Ok(Turn::new(SystemClock.now(), 0))
///     }
/// }
/// # let cancel = CancelToken::default();
/// # cancel.cancel();
/// # assert_eq!(OnTheSecond(Instant::now()).take(1, &cancel).unwrap_err(), NoTurn::Cancelled);
/// ```
pub trait Pace: Send + Sync + fmt::Debug {
    /// Waits for a turn for a call that is thought to cost so many tokens (0: nobody counts them), and takes it. The
    /// token's clock is the pace's.
    ///
    /// # Errors
    /// [`NoTurn`]
    fn take(&self, tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn>;

    /// The call was sent at `turn` and refused for coming too fast, until `until` or without saying. Returns until when
    /// others are held, if this began a new hold. Without an `inner` nobody is: the call itself waits until then, and one
    /// that was not told until when comes back for another turn at once.
    fn refused(&self, turn: Turn, until: Option<Instant>) -> Option<Instant> {
        self.inner()?.refused(turn, until)
    }

    /// How many threads are waiting for a turn: while any are, a batch hires no more workers.
    fn waiting(&self) -> usize {
        self.inner().map_or(0, Pace::waiting)
    }

    /// The pace that this one wraps: news that it does not handle itself are passed on to that one. None, the default: it
    /// stands alone, and leaves such news aside.
    fn inner(&self) -> Option<&dyn Pace> {
        None
    }

    /// The call leaves only now.
    fn departed(&self, turn: Turn) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.departed(turn));
    }

    /// The call was answered.
    fn answered(&self, turn: Turn) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.answered(turn));
    }

    /// The call failed, but not for coming too fast.
    fn failed(&self, turn: Turn) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.failed(turn));
    }

    /// The call has cost so many tokens, whatever was thought: none, if it was not counted.
    fn correct(&self, turn: Turn, tokens: u32) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.correct(turn, tokens));
    }

    /// The server has said at which rate this lane may go.
    fn keep(&self, lane: usize, rate: Rate) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.keep(lane, rate));
    }

    /// The server has said how many tokens a minute this lane may use.
    fn keep_tokens(&self, lane: usize, limit: NonZeroU32) {
        self.inner()
            .into_iter()
            .for_each(|inner| inner.keep_tokens(lane, limit));
    }

    /// The key of this lane is of no use any more. Returns how many lanes are left: with none the batch stops.
    fn retire(&self, lane: usize) -> usize {
        self.inner().map_or(0, |inner| inner.retire(lane))
    }

    /// Calls a minute that the server is thought to allow in this lane, if that had to be found out and was.
    fn found(&self, lane: usize) -> Option<f64> {
        self.inner()?.found(lane)
    }
}

/// A turn that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// When it was granted.
    pub at: Instant,
    /// In which lane, from 0.
    pub lane: usize,
    pub(super) ticket: u64,
    /// How many holds had begun by then: tells a late refusal from a new one.
    pub(super) holds: u64,
    /// Its number among those of all processes.
    pub(super) serial: u64,
}

impl Turn {
    /// A turn granted at `at` in this lane, by a [`Pace`] of your own.
    #[must_use]
    pub fn new(at: Instant, lane: usize) -> Self {
        Turn {
            at,
            lane,
            ticket: 0,
            holds: 0,
            serial: 0,
        }
    }
}

/// No turn was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoTurn {
    /// The wait was called off.
    Cancelled,
    /// Every lane is retired.
    Retired,
    /// Turns are granted elsewhere, and nobody there can be asked any more: why.
    Lost(String),
}

impl fmt::Display for NoTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoTurn::Cancelled => f.write_str("the wait for a turn was called off"),
            NoTurn::Retired => f.write_str("every lane is retired"),
            NoTurn::Lost(why) => write!(f, "there are no turns to be had: {why}"),
        }
    }
}

impl std::error::Error for NoTurn {}

impl From<Cancelled> for NoTurn {
    fn from(_: Cancelled) -> Self {
        NoTurn::Cancelled
    }
}

impl Pace for RateLimiter {
    fn take(&self, tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        self.wait_for(tokens, cancel)
    }

    fn refused(&self, turn: Turn, until: Option<Instant>) -> Option<Instant> {
        RateLimiter::refused(self, turn, until)
    }

    fn waiting(&self) -> usize {
        RateLimiter::waiting(self)
    }

    fn departed(&self, turn: Turn) {
        RateLimiter::departed(self, turn);
    }

    fn answered(&self, turn: Turn) {
        RateLimiter::answered(self, turn);
    }

    fn failed(&self, turn: Turn) {
        RateLimiter::failed(self, turn);
    }

    fn correct(&self, turn: Turn, tokens: u32) {
        RateLimiter::correct(self, turn, tokens);
    }

    fn keep(&self, lane: usize, rate: Rate) {
        RateLimiter::keep(self, lane, rate);
    }

    fn keep_tokens(&self, lane: usize, limit: NonZeroU32) {
        RateLimiter::keep_tokens(self, lane, limit);
    }

    fn retire(&self, lane: usize) -> usize {
        RateLimiter::retire(self, lane)
    }

    fn found(&self, lane: usize) -> Option<f64> {
        RateLimiter::found(self, lane)
    }
}
