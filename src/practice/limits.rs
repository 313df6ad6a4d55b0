//! What the practice server admits: calls and tokens a minute for each key, and calls at the same time.
//!
//! The arithmetic is the client's own [`Turnstile`]: a client waits until a turn is due, a server refuses until then.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::wire::Reply;
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
        Limits { rpm: None, burst: NonZeroU32::MIN, tpm: None, max_inflight: None, then: None }
    }
}

/// What was too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Requests,
    Tokens,
    Concurrency,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Refused { wait: Duration, kind: Kind },
}

/// The state of all limits.
#[derive(Debug)]
pub(super) struct Gate {
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
    pub(super) fn new(limits: Limits, started: Instant) -> Self {
        Gate { limits, started, keys: HashMap::new(), accounts: Vec::new(), in_flight: 0, latest: started }
    }

    /// Lets a call in or refuses it. Returns the key's number, in order of appearance.
    pub(super) fn admit(&mut self, authorization: &str, tokens: u32, now: Instant) -> (usize, Admission) {
        // Of calls that arrive together any may be looked at first: none is refused for having come a moment before it.
        let now = now.max(self.latest);
        self.latest = now;
        self.change(now);
        let key = self.key(authorization);
        let admission = self.look(key, tokens, now);
        if admission == Admission::Open {
            let account = &mut self.accounts[key];
            account.requests.iter_mut().for_each(|turnstile| turnstile.take(now, 1));
            account.tokens.iter_mut().for_each(|turnstile| turnstile.take(now, tokens));
            self.in_flight += 1;
        }
        (key, admission)
    }

    fn change(&mut self, now: Instant) {
        let Some((_, rpm)) = self.limits.then.take_if(|(after, _)| now >= self.started + *after) else {
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
        Rate::per_minute(rpm).with_burst(self.limits.burst).with_guard(Duration::ZERO)
    }

    fn key(&mut self, authorization: &str) -> usize {
        if let Some(&key) = self.keys.get(authorization) {
            return key;
        }
        let key = self.accounts.len();
        self.keys.insert(authorization.to_owned(), key);
        let whole_minute = |tpm| Rate::per_minute(tpm).with_burst(tpm).with_guard(Duration::ZERO);
        let requests = self.limits.rpm.map(|rpm| Turnstile::new(self.rate(rpm), self.started));
        let tokens = self.limits.tpm.map(|tpm| Turnstile::new(whole_minute(tpm), self.started));
        self.accounts.push(Account { requests, tokens, answered: 0 });
        key
    }

    fn look(&self, key: usize, tokens: u32, now: Instant) -> Admission {
        let account = &self.accounts[key];
        let early = |turnstile: &Option<Turnstile>, cost| {
            let due = turnstile.as_ref()?.due(cost);
            (due > now).then(|| due - now)
        };
        if let Some(wait) = early(&account.requests, 1) {
            Admission::Refused { wait, kind: Kind::Requests }
        } else if let Some(wait) = early(&account.tokens, tokens) {
            Admission::Refused { wait, kind: Kind::Tokens }
        } else if self.limits.max_inflight.is_some_and(|most| self.in_flight >= most) {
            Admission::Refused { wait: Duration::from_millis(100), kind: Kind::Concurrency }
        } else {
            Admission::Open
        }
    }

    /// A call that was let in is over.
    pub(super) fn left(&mut self) {
        self.in_flight -= 1;
    }

    /// Counts an answer for this key, and returns how many that makes.
    pub(super) fn answered(&mut self, key: usize) -> u64 {
        self.accounts[key].answered += 1;
        self.accounts[key].answered
    }

    /// The `x-ratelimit-*` headers as OpenAI sends them.
    pub(super) fn headers(&self, key: usize, now: Instant) -> Vec<(&'static str, String)> {
        let names = [
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
        ];
        let account = &self.accounts[key];
        let limits = [
            (self.limits.rpm, self.limits.burst, &account.requests),
            (self.limits.tpm, self.limits.tpm.unwrap_or(NonZeroU32::MIN), &account.tokens),
        ];
        let mut headers = Vec::new();
        for ([limit, remaining, reset], (per_minute, burst, turnstile)) in names.into_iter().zip(limits) {
            let (Some(per_minute), Some(turnstile)) = (per_minute, turnstile) else { continue };
            let until_full = turnstile.due(burst.get()).saturating_duration_since(now);
            let interval = Duration::from_secs(60) / per_minute.get();
            let used = until_full.as_nanos().div_ceil(interval.as_nanos().max(1));
            headers.push((limit, per_minute.to_string()));
            headers.push((remaining, u128::from(burst.get()).saturating_sub(used).to_string()));
            headers.push((reset, spell(until_full)));
        }
        headers
    }
}

/// The answer to a call that came too soon.
pub(super) fn refusal(wait: Duration, kind: Kind, hints: bool) -> Reply {
    let (what, kind) = match kind {
        Kind::Requests => ("requests", "requests"),
        Kind::Tokens => ("tokens", "tokens"),
        Kind::Concurrency => ("concurrent requests", "requests"),
    };
    let advice = if hints { format!(" Please try again in {}.", spell(wait)) } else { String::new() };
    let message = format!("Rate limit reached for {what} on the practice server.{advice}");
    let mut reply = Reply::error(429, kind, &message, Some("rate_limit_exceeded"));
    if hints {
        reply.header("retry-after", wait.as_secs_f64().ceil().to_string());
        reply.header("retry-after-ms", wait_ms(wait).to_string());
    }
    reply
}

/// Rounded up: who comes back then is not early.
fn wait_ms(wait: Duration) -> u128 {
    wait.as_micros().div_ceil(1000)
}

/// A duration as OpenAI spells it: `85ms`, `1.5s`, `6m0s`.
fn spell(duration: Duration) -> String {
    match wait_ms(duration) {
        ms @ 0..1000 => format!("{ms}ms"),
        ms @ 1000..60_000 => format!("{}s", ms as f64 / 1000.0),
        ms => format!("{}m{}s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn gate(rpm: u32, burst: u32, tpm: Option<u32>, max_inflight: Option<usize>) -> (Gate, Instant) {
        let now = Instant::now();
        let (rpm, burst, tpm) =
            (NonZeroU32::new(rpm), NonZeroU32::new(burst).unwrap(), tpm.and_then(NonZeroU32::new));
        (Gate::new(Limits { rpm, burst, tpm, max_inflight, then: None }, now), now)
    }

    fn refused(wait: Duration, kind: Kind) -> Admission {
        Admission::Refused { wait, kind }
    }

    #[test]
    fn a_strict_gate_admits_one_call_an_interval_and_says_when_the_next_may_come() {
        let (mut gate, now) = gate(600, 1, None, None);
        assert_eq!(gate.admit("a", 1, now), (0, Admission::Open));
        assert_eq!(gate.admit("a", 1, now + MS * 15).1, refused(MS * 85, Kind::Requests));
        assert_eq!(gate.admit("a", 1, now + MS * 99).1, refused(MS, Kind::Requests));
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
        assert_eq!(gate.admit("a", 1, now + MS * 1100).1, refused(MS * 900, Kind::Requests));
        assert_eq!(gate.headers(0, now + MS * 1100)[0].1, "60");
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
        assert_eq!(gate.admit("", 2000, now).1, refused(MS * 10_000, Kind::Tokens));
        assert_eq!(gate.admit("", 2000, now + MS * 10_000).1, Admission::Open);
    }

    #[test]
    fn calls_at_the_same_time_are_counted() {
        let (mut gate, now) = gate(0, 1, None, Some(1));
        assert_eq!(gate.admit("a", 1, now).1, Admission::Open);
        assert!(matches!(gate.admit("b", 1, now).1, Admission::Refused { kind: Kind::Concurrency, .. }));
        gate.left();
        assert_eq!(gate.admit("b", 1, now).1, Admission::Open);
    }

    #[test]
    fn the_headers_say_limit_rest_and_reset() {
        let (mut gate, now) = gate(600, 5, None, None);
        gate.admit("", 1, now);
        gate.admit("", 1, now);
        let values: Vec<_> = gate.headers(0, now).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["600", "3", "200ms"]);
    }

    #[test]
    fn durations_are_spelled_as_openai_does() {
        let table = [(0, "0ms"), (85, "85ms"), (1000, "1s"), (1500, "1.5s"), (360_000, "6m0s")];
        for (ms, expected) in table {
            assert_eq!(spell(MS * ms), expected);
        }
        assert_eq!(spell(Duration::from_micros(10)), "1ms");
    }
}
