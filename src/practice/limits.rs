//! Which calls are within the limits: calls and tokens a minute for each key, and calls in flight.
//!
//! The arithmetic is the client's own [`Gcra`]: a client waits until a permit is due, a server rejects calls that
//! come earlier. Time comes in as an argument, so that `compare` uses the same limits on a simulated clock.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

#[cfg(feature = "cli")]
use super::args::change;
use crate::limiter::{Gcra, Rate};

/// What each key may do: plain data. `None` means no limit.
///
/// # Default
/// No limit; a burst of 1 for the limit that is set.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Limits {
    /// Calls a minute for each key, evenly spaced; without it, no limit
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub rpm: Option<NonZeroU32>,
    /// Calls that may come at once after a quiet time; 1 is strict
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "1"))]
    pub burst: NonZeroU32,
    /// Tokens a minute for each key; a whole minute's worth may come at once
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub tpm: Option<NonZeroU32>,
    /// Calls in flight at once, all keys together
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub max_inflight: Option<usize>,
    /// Calls worked on at once, all keys together; others queue
    ///
    /// So it is at llama.cpp or HAProxy.
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub slots: Option<NonZeroUsize>,
    /// Change the calls a minute this long after the start, as in 60s,300
    #[cfg_attr(feature = "cli", arg(long, value_name = "AFTER,N", value_parser = change, requires = "rpm"))]
    pub then: Option<(Duration, NonZeroU32)>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rpm: None,
            burst: NonZeroU32::MIN,
            tpm: None,
            max_inflight: None,
            slots: None,
            then: None,
        }
    }
}

/// Why a call is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverLimit {
    /// There are too many of `what` (requests, tokens, concurrent requests). It may come again after `wait`.
    Early { what: &'static str, wait: Duration },
    /// It has more tokens than the whole limit.
    TooLarge { limit: NonZeroU32, requested: u32 },
}

impl OverLimit {
    /// How long to wait, where waiting helps.
    pub(crate) fn wait(self) -> Option<Duration> {
        match self {
            OverLimit::Early { wait, .. } => Some(wait),
            OverLimit::TooLarge { .. } => None,
        }
    }
}

/// Lets calls in, or says which limit they exceed.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    started: Instant,
    /// Each key's number, in order of appearance: its place in `accounts`.
    keys: HashMap<String, usize>,
    /// Each key's limits.
    accounts: Vec<Vec<MinuteLimit>>,
    in_flight: usize,
    /// The latest instant at which a call has arrived.
    latest: Instant,
}

/// Requests or tokens a minute, of which `burst` may come at once.
#[derive(Debug)]
struct MinuteLimit {
    what: &'static str,
    amount: NonZeroU32,
    burst: NonZeroU32,
    gcra: Gcra,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headroom {
    pub(super) what: &'static str,
    pub(super) limit: NonZeroU32,
    pub(super) remaining: u128,
    /// How long until all of it is left.
    pub(super) whole_in: Duration,
}

impl Admission {
    pub(crate) fn new(limits: Limits, started: Instant) -> Self {
        Admission {
            limits,
            started,
            keys: HashMap::new(),
            accounts: Vec::new(),
            in_flight: 0,
            latest: started,
        }
    }

    /// The number of a key, in order of appearance.
    pub(crate) fn key(&mut self, authorization: &str) -> usize {
        let next = self.keys.len();
        let key = *self.keys.entry(authorization.to_owned()).or_insert(next);
        if key == next {
            let limit = |what, amount, burst| MinuteLimit {
                what,
                amount,
                burst,
                gcra: Gcra::new(rate(amount, burst), self.started),
            };
            let Limits { rpm, tpm, .. } = self.limits;
            let tokens = tpm.map(|tpm| limit("tokens", tpm, tpm));
            let requests = rpm.map(|rpm| limit("requests", rpm, self.limits.burst));
            let account = tokens.into_iter().chain(requests);
            self.accounts.push(account.collect());
        }
        key
    }

    /// Lets a call in, or says why not. A call that is let in has to [`leave`](Self::leave).
    pub(crate) fn admit(&mut self, key: usize, tokens: u32, now: Instant) -> Result<(), OverLimit> {
        // Threads may ask in another order than that of the arrivals: no call is early for a moment before the last one.
        let now = now.max(self.latest);
        self.latest = now;
        self.change_rate(now);
        let limits = &mut self.accounts[key];
        for limit in limits.iter() {
            limit.check(tokens, now)?;
        }
        let max_inflight = self.limits.max_inflight;
        if max_inflight.is_some_and(|max| self.in_flight >= max) {
            let what = "concurrent requests";
            let wait = Duration::from_millis(100); // a guess: it depends on how long answers take
            return Err(OverLimit::Early { what, wait });
        }
        for limit in limits {
            limit.gcra.take(now, limit.cost(tokens));
        }
        self.in_flight += 1;
        Ok(())
    }

    fn change_rate(&mut self, now: Instant) {
        let is_due = |then: &mut (Duration, NonZeroU32)| now >= self.started + then.0;
        let Some((_, rpm)) = self.limits.then.take_if(is_due) else {
            return;
        };
        self.limits.rpm = Some(rpm);
        let limits = self.accounts.iter_mut().flatten();
        for limit in limits.filter(|limit| limit.what == "requests") {
            limit.amount = rpm;
            limit.gcra.set_rate(rate(rpm, limit.burst));
        }
    }

    /// Ends a call that was let in.
    pub(crate) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// What is left of a key's limits.
    pub(super) fn left(&self, key: usize, now: Instant) -> Vec<Headroom> {
        let limits = self.accounts[key].iter();
        limits.map(|limit| limit.left(now)).collect()
    }
}

impl MinuteLimit {
    fn cost(&self, tokens: u32) -> u32 {
        if self.what == "tokens" { tokens } else { 1 }
    }

    fn check(&self, tokens: u32, now: Instant) -> Result<(), OverLimit> {
        let (what, limit) = (self.what, self.amount);
        let requested = self.cost(tokens);
        if what == "tokens" && requested > limit.get() {
            return Err(OverLimit::TooLarge { limit, requested });
        }
        let wait = self.gcra.due(requested).saturating_duration_since(now);
        match wait.is_zero() {
            true => Ok(()),
            false => Err(OverLimit::Early { what, wait }),
        }
    }

    fn left(&self, now: Instant) -> Headroom {
        let burst = self.burst.get();
        let whole_in = self.gcra.due(burst).saturating_duration_since(now);
        let interval = Duration::from_secs(60) / self.amount.get();
        let used = whole_in.as_nanos().div_ceil(interval.as_nanos().max(1));
        Headroom {
            what: self.what,
            limit: self.amount,
            remaining: u128::from(burst).saturating_sub(used),
            whole_in,
        }
    }
}

/// Exactly this rate, without a margin.
fn rate(amount: NonZeroU32, burst: NonZeroU32) -> Rate {
    Rate::per_minute(amount.get()).burst(burst.get()).exact()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn admission(limits: Limits) -> (Admission, Instant) {
        let now = Instant::now();
        (Admission::new(limits, now), now)
    }

    fn paced(rpm: u32, burst: u32) -> (Admission, Instant) {
        admission(Limits {
            rpm: NonZeroU32::new(rpm),
            burst: NonZeroU32::new(burst).unwrap(),
            ..Limits::default()
        })
    }

    fn admit(
        admission: &mut Admission,
        key: &str,
        tokens: u32,
        now: Instant,
    ) -> Result<(), OverLimit> {
        let key = admission.key(key);
        admission.admit(key, tokens, now)
    }

    fn early(what: &'static str, wait: Duration) -> Result<(), OverLimit> {
        Err(OverLimit::Early { what, wait })
    }

    #[test]
    fn a_strict_limit_admits_one_call_an_interval_and_says_when_the_next_may_come() {
        let (mut server, now) = paced(600, 1);
        let mut at = |ms| admit(&mut server, "a", 1, now + MS * ms);
        assert_eq!(at(0), Ok(()));
        assert_eq!(at(15), early("requests", MS * 85));
        assert_eq!(at(99), early("requests", MS));
        assert_eq!(at(100), Ok(()));
    }

    #[test]
    fn calls_that_arrive_together_may_be_checked_in_any_order() {
        let (mut server, now) = paced(2, 2);
        assert_eq!(admit(&mut server, "a", 1, now + MS), Ok(()));
        assert_eq!(admit(&mut server, "a", 1, now), Ok(()));
    }

    #[test]
    fn a_limit_may_change() {
        let (mut server, now) = paced(600, 1);
        server.limits.then = NonZeroU32::new(60).map(|rpm| (MS * 1000, rpm));
        let mut at = |ms| admit(&mut server, "a", 1, now + MS * ms);
        assert_eq!(at(900), Ok(()));
        assert_eq!(at(1000), Ok(()));
        assert_eq!(at(1100), early("requests", MS * 900));
        let left = server.left(0, now + MS * 1100)[0];
        assert_eq!((left.what, left.limit.get()), ("requests", 60));
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let (mut server, now) = paced(600, 1);
        assert_eq!(["a", "b", "a"].map(|key| server.key(key)), [0, 1, 0]);
        assert_eq!(admit(&mut server, "a", 1, now), Ok(()));
        assert_eq!(admit(&mut server, "b", 1, now), Ok(()));
        assert!(admit(&mut server, "a", 1, now).is_err());
    }

    #[test]
    fn tokens_run_out_and_come_back() {
        let tpm = NonZeroU32::new(6000);
        let (mut server, now) = admission(Limits {
            tpm,
            ..Limits::default()
        });
        assert_eq!(admit(&mut server, "", 5000, now), Ok(()));
        let expected = early("tokens", MS * 10_000);
        assert_eq!(admit(&mut server, "", 2000, now), expected);
        assert_eq!(admit(&mut server, "", 2000, now + MS * 10_000), Ok(()));
    }

    #[test]
    fn calls_in_flight_are_counted() {
        let max_inflight = Some(1);
        let (mut server, now) = admission(Limits {
            max_inflight,
            ..Limits::default()
        });
        assert_eq!(admit(&mut server, "a", 1, now), Ok(()));
        let over = admit(&mut server, "b", 1, now);
        assert!(matches!(
            over,
            Err(OverLimit::Early {
                what: "concurrent requests",
                ..
            })
        ));
        server.leave();
        assert_eq!(admit(&mut server, "b", 1, now), Ok(()));
    }

    #[test]
    fn the_headroom_comes_back() {
        let (mut server, now) = paced(600, 5);
        admit(&mut server, "", 1, now).unwrap();
        admit(&mut server, "", 1, now).unwrap();
        let lefts = server.left(0, now);
        let left = lefts[0];
        assert_eq!(
            (left.limit.get(), left.remaining, left.whole_in),
            (600, 3, MS * 200)
        );
        assert_eq!(lefts.len(), 1, "tokens have no limit");
    }

    #[test]
    fn a_call_larger_than_the_whole_limit_is_never_let_in() {
        let tpm = NonZeroU32::new(6000);
        let (mut server, now) = admission(Limits {
            tpm,
            ..Limits::default()
        });
        assert_eq!(admit(&mut server, "", 6000, now), Ok(()));
        let too_large = OverLimit::TooLarge {
            limit: tpm.unwrap(),
            requested: 6001,
        };
        let later = admit(&mut server, "", 6001, now + MS * 3_600_000);
        assert_eq!(later, Err(too_large));
    }
}
