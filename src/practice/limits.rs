//! What the practice server admits: calls and tokens a minute for each key, and calls at the same time.
//!
//! The arithmetic is the client's own [`Turnstile`]: a client waits until a turn is due, a server refuses until then.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::limiter::{Rate, Turnstile};

/// What each key may do: plain data. `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls a minute, evenly spaced.
    pub rpm: Option<NonZeroU32>,
    /// How many calls may come at once after a quiet time: 1 is strict.
    pub burst: NonZeroU32,
    /// Tokens a minute; a whole minute's worth may come at once.
    pub tpm: Option<NonZeroU32>,
    /// Calls being answered at the same time, whatever their keys.
    pub max_inflight: Option<usize>,
    /// So long after the start the calls a minute become these: limits change.
    pub then: Option<(Duration, NonZeroU32)>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rpm: None,
            burst: NonZeroU32::MIN,
            tpm: None,
            max_inflight: None,
            then: None,
        }
    }
}

/// What was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Requests,
    Tokens,
    Concurrency,
    /// More tokens than the whole limit.
    TooLarge {
        limit: NonZeroU32,
        requested: u32,
    },
}

impl Kind {
    /// What there was too much of.
    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Requests => "requests",
            Kind::Tokens | Kind::TooLarge { .. } => "tokens",
            Kind::Concurrency => "concurrent requests",
        }
    }
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub(super) limit: NonZeroU32,
    pub(super) remaining: u128,
    /// How long until it is whole again.
    pub(super) whole_in: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    Refused { wait: Duration, kind: Kind },
}

/// The state of all limits.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    started: Instant,
    keys: HashMap<String, usize>,
    accounts: Vec<Account>,
    in_flight: usize,
    /// When the last call arrived that was looked at.
    latest: Instant,
}

/// One key's limits.
#[derive(Debug)]
struct Account {
    requests: Option<Turnstile>,
    tokens: Option<Turnstile>,
    answered: u64,
}

impl Gate {
    pub(crate) fn new(limits: Limits, started: Instant) -> Self {
        Gate {
            limits,
            started,
            keys: HashMap::new(),
            accounts: Vec::new(),
            in_flight: 0,
            latest: started,
        }
    }

    /// Lets a call in or refuses it. Returns the key's number, in order of appearance.
    pub(crate) fn admit(
        &mut self,
        authorization: &str,
        tokens: u32,
        now: Instant,
    ) -> (usize, Admission) {
        // Of calls that arrive together any may be looked at first: none is refused for having come a moment before it.
        let now = now.max(self.latest);
        self.latest = now;
        self.change(now);
        let key = self.key(authorization);
        let admission = self.look(key, tokens, now);
        if admission == Admission::Open {
            let account = &mut self.accounts[key];
            account
                .requests
                .iter_mut()
                .for_each(|turnstile| turnstile.take(now, 1));
            account
                .tokens
                .iter_mut()
                .for_each(|turnstile| turnstile.take(now, tokens));
            self.in_flight += 1;
        }
        (key, admission)
    }

    fn change(&mut self, now: Instant) {
        let Some((_, rpm)) = self
            .limits
            .then
            .take_if(|(after, _)| now >= self.started + *after)
        else {
            return;
        };
        self.limits.rpm = Some(rpm);
        let rate = self.rate(rpm);
        self.accounts
            .iter_mut()
            .flat_map(|account| &mut account.requests)
            .for_each(|turnstile| turnstile.set_rate(rate));
    }

    fn rate(&self, rpm: NonZeroU32) -> Rate {
        Rate::per_minute(rpm)
            .with_burst(self.limits.burst)
            .with_guard(Duration::ZERO)
    }

    fn key(&mut self, authorization: &str) -> usize {
        if let Some(&key) = self.keys.get(authorization) {
            return key;
        }
        let key = self.accounts.len();
        self.keys.insert(authorization.to_owned(), key);
        let whole_minute = |tpm| {
            Rate::per_minute(tpm)
                .with_burst(tpm)
                .with_guard(Duration::ZERO)
        };
        let requests = self
            .limits
            .rpm
            .map(|rpm| Turnstile::new(self.rate(rpm), self.started));
        let tokens = self
            .limits
            .tpm
            .map(|tpm| Turnstile::new(whole_minute(tpm), self.started));
        self.accounts.push(Account {
            requests,
            tokens,
            answered: 0,
        });
        key
    }

    fn look(&self, key: usize, tokens: u32, now: Instant) -> Admission {
        let account = &self.accounts[key];
        let early = |turnstile: &Option<Turnstile>, cost| {
            let due = turnstile.as_ref()?.due(cost);
            (due > now).then(|| due - now)
        };
        if let Some(limit) = self.limits.tpm.filter(|limit| tokens > limit.get()) {
            let kind = Kind::TooLarge {
                limit,
                requested: tokens,
            };
            Admission::Refused {
                wait: Duration::ZERO,
                kind,
            }
        } else if let Some(wait) = early(&account.requests, 1) {
            Admission::Refused {
                wait,
                kind: Kind::Requests,
            }
        } else if let Some(wait) = early(&account.tokens, tokens) {
            Admission::Refused {
                wait,
                kind: Kind::Tokens,
            }
        } else if self
            .limits
            .max_inflight
            .is_some_and(|most| self.in_flight >= most)
        {
            Admission::Refused {
                wait: Duration::from_millis(100),
                kind: Kind::Concurrency,
            }
        } else {
            Admission::Open
        }
    }

    /// A call that was let in is over.
    pub(crate) fn leave(&mut self) {
        self.in_flight -= 1;
    }

    /// Counts an answer for this key, and returns how many that makes.
    pub(super) fn answered(&mut self, key: usize) -> u64 {
        self.accounts[key].answered += 1;
        self.accounts[key].answered
    }

    /// What is left of the limits on requests and on tokens, where there are any.
    pub(super) fn left(&self, key: usize, now: Instant) -> [Option<Left>; 2] {
        let account = &self.accounts[key];
        let left = |limit: Option<NonZeroU32>, burst: NonZeroU32, turnstile: &Option<Turnstile>| {
            let (limit, turnstile) = (limit?, turnstile.as_ref()?);
            let whole_in = turnstile.due(burst.get()).saturating_duration_since(now);
            let interval = Duration::from_secs(60) / limit.get();
            let used = whole_in.as_nanos().div_ceil(interval.as_nanos().max(1));
            Some(Left {
                limit,
                remaining: u128::from(burst.get()).saturating_sub(used),
                whole_in,
            })
        };
        let tpm = self.limits.tpm;
        [
            left(self.limits.rpm, self.limits.burst, &account.requests),
            left(tpm, tpm.unwrap_or(NonZeroU32::MIN), &account.tokens),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn gate(
        rpm: u32,
        burst: u32,
        tpm: Option<u32>,
        max_inflight: Option<usize>,
    ) -> (Gate, Instant) {
        let now = Instant::now();
        let (rpm, burst, tpm) = (
            NonZeroU32::new(rpm),
            NonZeroU32::new(burst).unwrap(),
            tpm.and_then(NonZeroU32::new),
        );
        (
            Gate::new(
                Limits {
                    rpm,
                    burst,
                    tpm,
                    max_inflight,
                    then: None,
                },
                now,
            ),
            now,
        )
    }

    fn refused(wait: Duration, kind: Kind) -> Admission {
        Admission::Refused { wait, kind }
    }

    #[test]
    fn a_strict_gate_admits_one_call_an_interval_and_says_when_the_next_may_come() {
        let (mut gate, now) = gate(600, 1, None, None);
        assert_eq!(gate.admit("a", 1, now), (0, Admission::Open));
        assert_eq!(
            gate.admit("a", 1, now + MS * 15).1,
            refused(MS * 85, Kind::Requests)
        );
        assert_eq!(
            gate.admit("a", 1, now + MS * 99).1,
            refused(MS, Kind::Requests)
        );
        assert_eq!(gate.admit("a", 1, now + MS * 100).1, Admission::Open);
    }

    #[test]
    fn calls_that_arrive_together_may_be_looked_at_in_any_order() {
        let (mut gate, now) = gate(2, 2, None, None);
        assert_eq!(gate.admit("a", 1, now + MS).1, Admission::Open);
        assert_eq!(gate.admit("a", 1, now).1, Admission::Open);
    }

    #[test]
    fn a_limit_may_change() {
        let (mut gate, now) = gate(600, 1, None, None);
        gate.limits.then = NonZeroU32::new(60).map(|rpm| (MS * 1000, rpm));
        assert_eq!(gate.admit("a", 1, now + MS * 900).1, Admission::Open);
        assert_eq!(gate.admit("a", 1, now + MS * 1000).1, Admission::Open);
        assert_eq!(
            gate.admit("a", 1, now + MS * 1100).1,
            refused(MS * 900, Kind::Requests)
        );
        assert_eq!(gate.left(0, now + MS * 1100)[0].unwrap().limit.get(), 60);
    }

    #[test]
    fn each_key_has_its_own_limit() {
        let (mut gate, now) = gate(600, 1, None, None);
        assert_eq!(gate.admit("a", 1, now), (0, Admission::Open));
        assert_eq!(gate.admit("b", 1, now), (1, Admission::Open));
        assert_eq!(gate.admit("a", 1, now).0, 0);
    }

    #[test]
    fn tokens_run_out_and_come_back() {
        let (mut gate, now) = gate(0, 1, Some(6000), None);
        assert_eq!(gate.admit("", 5000, now).1, Admission::Open);
        assert_eq!(
            gate.admit("", 2000, now).1,
            refused(MS * 10_000, Kind::Tokens)
        );
        assert_eq!(gate.admit("", 2000, now + MS * 10_000).1, Admission::Open);
    }

    #[test]
    fn calls_at_the_same_time_are_counted() {
        let (mut gate, now) = gate(0, 1, None, Some(1));
        assert_eq!(gate.admit("a", 1, now).1, Admission::Open);
        assert!(matches!(
            gate.admit("b", 1, now).1,
            Admission::Refused {
                kind: Kind::Concurrency,
                ..
            }
        ));
        gate.leave();
        assert_eq!(gate.admit("b", 1, now).1, Admission::Open);
    }

    #[test]
    fn what_is_left_comes_back() {
        let (mut gate, now) = gate(600, 5, None, None);
        gate.admit("", 1, now);
        gate.admit("", 1, now);
        let [requests, tokens] = gate.left(0, now);
        let Left {
            limit,
            remaining,
            whole_in,
        } = requests.unwrap();
        assert_eq!(
            (limit.get(), remaining, whole_in, tokens.is_none()),
            (600, 3, MS * 200, true)
        );
    }

    #[test]
    fn what_is_larger_than_the_whole_limit_is_never_let_in() {
        let (mut gate, now) = gate(0, 1, Some(6000), None);
        assert_eq!(gate.admit("", 6000, now).1, Admission::Open);
        let limit = NonZeroU32::new(6000).unwrap();
        let kind = Kind::TooLarge {
            limit,
            requested: 6001,
        };
        assert_eq!(
            gate.admit("", 6001, now + MS * 3_600_000).1,
            refused(Duration::ZERO, kind)
        );
    }
}
