//! The runner's rate limiting: several keys, token limits, and rates that the server does not state.
//!
//! The decisions are pure: `now` is an argument. [`KeyLimiter`] puts them behind the same fair line as
//! [`RateLimiter`](crate::RateLimiter). A batch needs one method to take a permit and one to report the outcome:
//! [`CallLimiter`], which you can implement yourself.

mod adaptive;
mod concurrency;
mod in_flight;
mod key_state;
mod tokens;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::cancel::{CancelToken, WaitError};
use crate::clock::Clock;
use crate::limiter::{Line, Rate, Schedule};

use adaptive::AdaptiveRate;
#[cfg(feature = "cli")]
pub(crate) use concurrency::{Concurrency, Departure};
pub(crate) use in_flight::{InFlight, InFlightPlace};
pub(crate) use key_state::KeyState;
use tokens::TokenWindow;

/// The rate of calls: plain data.
///
/// # Default
/// [`RateLimit::Fixed`] at [`Rate::unlimited`]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RateLimit {
    /// This rate.
    Fixed(Rate),
    /// As fast as the server allows. The rate starts low and grows until the server answers 429.
    Adaptive,
}

impl Default for RateLimit {
    fn default() -> Self {
        RateLimit::Fixed(Rate::unlimited())
    }
}

/// The limits of one key: plain data.
///
/// # Default
/// No limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// The rate of calls.
    pub rate: RateLimit,
    /// Tokens in any minute; `None` is no limit.
    pub tokens: Option<NonZeroU32>,
}

/// Grants permits for calls, and gets a report of each outcome.
///
/// [`KeyLimiter`] limits one process. Implement the trait where something else decides: a gateway, or a budget. A key is
/// one API key at one server, numbered from 0.
///
/// ```
/// use paceline::pacing::{CallLimiter, KeyPermit, NoKeyPermit};
/// use paceline::{CancelToken, Clock, clock::SystemClock};
/// use std::time::{Duration, Instant};
///
/// /// One call at the start of each second.
/// #[derive(Debug)]
/// struct OnTheSecond(Instant);
///
/// impl CallLimiter for OnTheSecond {
///     fn acquire(&self, _tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
///         let seconds = self.0.elapsed().as_secs() + 1;
///         cancel.sleep_until(self.0 + Duration::from_secs(seconds))?;
///         Ok(KeyPermit::new(SystemClock.now(), 0))
///     }
/// }
/// # let cancel = CancelToken::default();
/// # cancel.cancel();
/// # assert_eq!(OnTheSecond(Instant::now()).acquire(1, &cancel).unwrap_err(), NoKeyPermit::Cancelled);
/// ```
pub trait CallLimiter: Send + Sync + fmt::Debug {
    /// Waits for a permit for a call of about `tokens` tokens (0 if there is no token limit), and takes it.
    ///
    /// # Errors
    /// [`NoKeyPermit`] if there will be no permit.
    fn acquire(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit>;

    /// The same, but lets everybody who waits with [`acquire`](CallLimiter::acquire) go first. The default makes no
    /// difference.
    ///
    /// # Errors
    /// As `acquire`.
    fn acquire_behind(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        self.acquire(tokens, cancel)
    }

    /// The call leaves only now, because a connection had to be made first. The next permit is then an interval after
    /// this instant, as the server sees it. The default does nothing.
    fn sent(&self, permit: &KeyPermit) {
        let _ = permit;
    }

    /// Reports the outcome of the call. The default does nothing: it begins no pause and retires no key.
    fn report(&self, permit: &KeyPermit, report: &CallReport) -> Reaction {
        let _ = (permit, report);
        Reaction {
            keys_left: 1,
            ..Reaction::default()
        }
    }

    /// Number of threads that wait for a permit. While it is not 0, a batch adds no workers.
    fn waiting(&self) -> usize {
        0
    }

    /// Calls per minute that this key was found to allow; `None` if the rate was given, or is not known yet.
    fn found(&self, key: usize) -> Option<f64> {
        let _ = key;
        None
    }
}

/// The right to make one call with one key.
#[derive(Debug)]
#[must_use = "a permit is for one call"]
pub struct KeyPermit {
    granted_at: Instant,
    /// When it was due.
    due: Instant,
    key: usize,
    /// Serial number, by which the tokens of the call are corrected later.
    ticket: u64,
    /// How many pauses of its key had begun when it was granted. This tells a late 429 from a new one.
    pauses: u64,
}

impl KeyPermit {
    /// A permit for this key, for your own [`CallLimiter`].
    pub fn new(granted_at: Instant, key: usize) -> Self {
        KeyPermit {
            granted_at,
            due: granted_at,
            key,
            ticket: 0,
            pauses: 0,
        }
    }

    /// When it was granted.
    #[must_use]
    pub fn granted_at(&self) -> Instant {
        self.granted_at
    }

    /// When it was due; not before the call asked for it.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// The key that the call must use, from 0.
    #[must_use]
    pub fn key(&self) -> usize {
        self.key
    }
}

/// The outcome of a call, as reported to the limiter: plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallReport {
    /// How the call ended.
    pub outcome: PermitOutcome,
    /// The tokens that it used; `None` if not known: the estimate stays.
    pub tokens: Option<u32>,
    /// The rate that the server states for this key.
    pub stated: Option<Rate>,
    /// The tokens per minute that the server states for this key.
    pub stated_tokens: Option<NonZeroU32>,
}

/// A report of this outcome alone.
impl From<PermitOutcome> for CallReport {
    fn from(outcome: PermitOutcome) -> Self {
        CallReport {
            outcome,
            tokens: None,
            stated: None,
            stated_tokens: None,
        }
    }
}

/// How a call ended, as far as the limiter needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PermitOutcome {
    /// The server answered.
    Answered,
    /// The server answered 429, and perhaps said until when to wait.
    RateLimited(Option<Instant>),
    /// The call failed, but was not rate limited.
    Failed,
    /// The server accepts no calls with this key: it is retired.
    Fatal,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Reaction {
    /// The end of the pause that the report began, if it began one.
    pub paused_until: Option<Instant>,
    /// Number of keys that are not retired.
    pub keys_left: usize,
}

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoKeyPermit {
    /// The token ended first.
    #[error("the wait for a permit was cancelled")]
    Cancelled,
    /// Every key is retired.
    #[error("no key is left")]
    NoKeyLeft,
    /// What grants the permits cannot be reached, with the reason.
    #[error("{0}")]
    Unreachable(String),
}

impl From<WaitError> for NoKeyPermit {
    fn from(_: WaitError) -> Self {
        NoKeyPermit::Cancelled
    }
}

/// Grants permits in order of arrival. The caller at the front gets the key that is free first.
///
/// ```
/// use paceline::pacing::{CallLimiter, KeyLimiter, KeyLimits, RateLimit};
/// use paceline::{CancelToken, Rate, clock::SimClock};
///
/// let clock = SimClock::new();
/// let limits = KeyLimits { rate: RateLimit::Fixed(Rate::per_second(1).exact()), tokens: None };
/// let limiter = KeyLimiter::new(clock.clone(), [limits, limits]);
/// let cancel = CancelToken::on(clock.clone());
/// let keys: Vec<_> = (0..4).map(|_| limiter.acquire(0, &cancel).unwrap().key()).collect();
/// assert_eq!((keys, clock.elapsed().as_secs()), (vec![0, 1, 0, 1], 1));
/// ```
#[derive(Debug)]
pub struct KeyLimiter {
    line: Line<Keys>,
}

impl KeyLimiter {
    /// A limiter on this clock, with one key for each of the `limits`.
    #[must_use]
    pub fn new(
        clock: impl Into<Arc<dyn Clock>>,
        limits: impl IntoIterator<Item = KeyLimits>,
    ) -> Self {
        let clock = clock.into();
        let start = clock.now();
        let keys = limits
            .into_iter()
            .map(|limits| KeyState::new(limits, start));
        let keys = Keys {
            keys: keys.collect(),
            next_ticket: 0,
        };
        KeyLimiter {
            line: Line::new(clock, keys),
        }
    }

    /// Waits in line for a permit that somebody else must agree to: `agree` is called, without the lock, when one of this key
    /// is due at the front of the line; after `false` the key's state must know when to ask again.
    pub(crate) fn acquire_if(
        &self,
        want: KeyWant,
        cancel: &CancelToken,
        agree: impl Fn(usize) -> Result<bool, NoKeyPermit>,
    ) -> Result<KeyPermit, NoKeyPermit> {
        let line = &self.line;
        let place = line.arrive(&mut line.state.lock(), want, line.clock.now());
        while place.wait(Some(cancel), |_, _| ())?.is_some() {
            let Some((key, _)) = line.look(|keys, _| keys.first(want.tokens)) else {
                break;
            };
            if agree(key)? {
                let grant = |keys: &mut Keys, now| keys.grant(key, now, want, now - place.came);
                return Ok(line.update(grant));
            }
        }
        Err(NoKeyPermit::NoKeyLeft)
    }

    /// Changes the state of this key. A pause also binds the thread that is already asleep at the front.
    ///
    /// # Panics
    /// If the key does not exist.
    pub(crate) fn update_key<T>(&self, key: usize, change: impl FnOnce(&mut KeyState) -> T) -> T {
        self.line.update(|keys, _| change(&mut keys.keys[key]))
    }
}

impl CallLimiter for KeyLimiter {
    fn acquire(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let goes_last = false;
        let want = KeyWant { tokens, goes_last };
        let permit = self.line.take(want, Some(cancel))?;
        permit.ok_or(NoKeyPermit::NoKeyLeft)
    }

    fn acquire_behind(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let goes_last = true;
        let want = KeyWant { tokens, goes_last };
        let permit = self.line.take(want, Some(cancel))?;
        permit.ok_or(NoKeyPermit::NoKeyLeft)
    }

    fn sent(&self, permit: &KeyPermit) {
        self.line
            .update(|keys, now| keys.keys[permit.key].sent(now, permit.due));
    }

    fn report(&self, permit: &KeyPermit, report: &CallReport) -> Reaction {
        self.line
            .update(|keys, now| keys.report(now, permit, report))
    }

    fn waiting(&self) -> usize {
        self.line.waiting()
    }

    fn found(&self, key: usize) -> Option<f64> {
        self.line.look(|keys, _| keys.keys[key].found())
    }
}

/// All keys behind one line.
#[derive(Debug)]
struct Keys {
    keys: Vec<KeyState>,
    next_ticket: u64,
}

impl Keys {
    /// The key that is free first for a call of `tokens` tokens, and when. `None` if all keys are retired.
    fn first(&self, tokens: u32) -> Option<(usize, Instant)> {
        let open = self.keys.iter().enumerate().filter(|(_, key)| !key.retired);
        open.map(|(number, key)| (number, key.due(tokens)))
            .min_by_key(|(_, due)| *due)
    }

    fn grant(&mut self, key: usize, now: Instant, want: KeyWant, waited: Duration) -> KeyPermit {
        let tokens = want.tokens;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let due = match waited.is_zero() {
            true => now,
            false => self.keys[key].due(tokens),
        };
        self.keys[key].take(now, ticket, tokens);
        KeyPermit {
            granted_at: now,
            due,
            key,
            ticket,
            pauses: self.keys[key].pauses,
        }
    }

    fn report(&mut self, now: Instant, permit: &KeyPermit, report: &CallReport) -> Reaction {
        Reaction {
            paused_until: self.keys[permit.key].report(now, permit, report),
            keys_left: self.keys.iter().filter(|key| !key.retired).count(),
        }
    }
}

/// What a caller wants a key's permit for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyWant {
    pub(crate) tokens: u32,
    /// Behind all others, or else in order of arrival.
    pub(crate) goes_last: bool,
}

impl Schedule for Keys {
    type Want = KeyWant;
    type Grant = KeyPermit;

    fn due(&self, want: KeyWant) -> Option<Instant> {
        self.first(want.tokens).map(|(_, due)| due)
    }

    fn goes_last(want: KeyWant) -> bool {
        want.goes_last
    }

    fn take(&mut self, now: Instant, want: KeyWant, waited: Duration) -> KeyPermit {
        let first = self.first(want.tokens).map_or(0, |(key, _)| key);
        self.grant(first, now, want, waited)
    }
}

#[cfg(test)]
mod tests;
