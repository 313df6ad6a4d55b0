//! One lane of the line: one key at one server, with its own pace, its own holds and its own end. Pure: `now` comes in.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::adaptive::Adaptive;
use super::tokens::TokenWindow;
use super::turnstile::{Rate, Turnstile};

/// How fast calls may go: plain data.
///
/// # Default
/// [`Tempo::Kept`] at no rate at all: as fast as turns are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tempo {
    /// At this rate.
    Kept(Rate),
    /// As fast as the server lets us, which is found out by growing gently until it refuses: see [`Adaptive`].
    Found,
}

impl Default for Tempo {
    fn default() -> Self {
        Tempo::Kept(Rate::unlimited())
    }
}

/// What may pass through one lane: plain data.
///
/// # Default
/// Anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many calls.
    pub pace: Tempo,
    /// How many tokens in any minute.
    pub tokens: Option<NonZeroU32>,
}

/// When the next turn is due in a lane, and what becomes of it when calls are answered or refused.
#[derive(Debug)]
pub(super) struct Lane {
    turnstile: Turnstile,
    tokens: Option<TokenWindow>,
    /// Finds the pace, where it is not given.
    adaptive: Option<Adaptive>,
    silence: Option<Silence>,
    /// How many holds have begun.
    pub(super) holds: u64,
    /// Nobody passes any more.
    pub(super) retired: bool,
}

/// The server refuses, and does not say until when. After each hold one call is sent to find out, and the others wait
/// for what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Silence {
    since: Instant,
    /// Rounds of refusals so far.
    rounds: u32,
    /// The call that is finding out.
    probe: Option<u64>,
    /// Until then the others wait for it.
    probed_until: Instant,
}

impl Silence {
    /// The first hold is this, or two intervals, in which the server makes room for a call. It doubles with each round of
    /// refusals,
    const HOLD_FIRST: Duration = Duration::from_millis(100);
    /// up to this. From then on it is a tenth of the time that the server has refused by now, so that what is lost when
    /// it is over stays in proportion,
    const HOLD_DOUBLED: Duration = Duration::from_millis(950);
    /// and never more than this.
    const HOLD_MOST: Duration = Duration::from_secs(60);
    /// A refusal comes at once. A call that has not been refused by now is being answered.
    const PROBE: Duration = Duration::from_secs(3);

    fn hold(&self, now: Instant, interval: Duration) -> Duration {
        let first = Self::HOLD_FIRST.max(interval.saturating_mul(2));
        let doubled = first.saturating_mul(1 << self.rounds.min(16)).min(Self::HOLD_DOUBLED);
        doubled.max((now - self.since) / 10).min(Self::HOLD_MOST)
    }
}

impl Lane {
    pub(super) fn new(limits: Limits, start: Instant) -> Self {
        let (rate, adaptive) = match limits.pace {
            Tempo::Kept(rate) => (rate, None),
            Tempo::Found => (Rate::unlimited(), Some(Adaptive::new(start))),
        };
        let tokens = limits.tokens.map(|limit| TokenWindow::per_minute(limit, start));
        let turnstile = Turnstile::new(rate, start);
        Lane { turnstile, tokens, adaptive, silence: None, holds: 0, retired: false }
    }

    /// The earliest instant at which a call of so many tokens may pass. It may lie in the past.
    pub(super) fn due(&self, tokens: u32) -> Instant {
        let calls = self.turnstile.due(1);
        let due = self.tokens.as_ref().map_or(calls, |window| window.due(tokens).max(calls));
        match self.silence {
            Some(Silence { probe: Some(_), probed_until, .. }) => due.max(probed_until),
            _ => due,
        }
    }

    /// A call passes.
    pub(super) fn take(&mut self, now: Instant, ticket: u64, tokens: u32) {
        if let Some(adaptive) = &self.adaptive {
            self.turnstile.set_rate(Rate::every(adaptive.interval(now)));
        }
        self.turnstile.take(now, 1);
        if let Some(window) = &mut self.tokens {
            window.take(now, ticket, tokens);
        }
        if let Some(silence) = &mut self.silence {
            (silence.probe, silence.probed_until) = (Some(ticket), now + Silence::PROBE);
        }
    }

    pub(super) fn departed(&mut self, now: Instant) {
        self.turnstile.departed(now);
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, now: Instant, holds: u64) {
        if holds == self.holds {
            self.silence = None;
        }
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.succeeded(now);
        }
    }

    /// A call failed for a reason that has nothing to do with the pace: it was let in, at any rate.
    pub(super) fn failed(&mut self, holds: u64) {
        if holds == self.holds {
            self.silence = None;
        }
    }

    /// A call that was sent when so many holds had begun was refused, until then or without saying. Returns until when
    /// everyone is held, if this began a new hold.
    pub(super) fn refused(&mut self, now: Instant, holds: u64, until: Option<Instant>) -> Option<Instant> {
        let new = holds == self.holds;
        if new {
            self.holds += 1;
            self.cut(now);
        }
        let until = until.or_else(|| new.then(|| self.silent(now)));
        if new || self.turnstile.is_held(now) {
            until.into_iter().for_each(|until| self.turnstile.hold_until(until));
        }
        until.filter(|_| new)
    }

    fn cut(&mut self, now: Instant) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.refused(now);
        }
    }

    /// Refused without a word: until when to hold.
    fn silent(&mut self, now: Instant) -> Instant {
        let first = Silence { since: now, rounds: 0, probe: None, probed_until: now };
        let silence = self.silence.get_or_insert(first);
        // From one probe to the next: the server's latency is no reason to ask more seldom.
        let asked = silence.probe.map_or(now, |_| silence.probed_until - Silence::PROBE);
        let until = asked + silence.hold(now, self.turnstile.interval());
        (silence.probe, silence.rounds) = (None, silence.rounds + 1);
        until.max(now)
    }

    pub(super) fn hold_until(&mut self, until: Instant) {
        self.holds += 1;
        self.turnstile.hold_until(until);
    }

    /// The server has said its limit: from now on it is kept.
    pub(super) fn keep(&mut self, rate: Rate) {
        self.adaptive = None;
        self.turnstile.set_rate(rate);
    }

    /// The server has said its limit of tokens.
    pub(super) fn keep_tokens(&mut self, limit: NonZeroU32, now: Instant) {
        self.tokens.get_or_insert_with(|| TokenWindow::per_minute(limit, now)).set_limit(limit);
    }

    pub(super) fn correct(&mut self, ticket: u64, tokens: u32) {
        if let Some(window) = &mut self.tokens {
            window.correct(ticket, tokens);
        }
    }

    /// Calls a minute that the server is thought to allow, if that had to be found out.
    pub(super) fn found(&self) -> Option<f64> {
        Some(self.adaptive.as_ref()?.found()? * 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lane(rpm: u32, start: Instant) -> Lane {
        let rate = Rate::per_minute(NonZeroU32::new(rpm).unwrap()).with_guard(Duration::ZERO);
        Lane::new(Limits { pace: Tempo::Kept(rate), tokens: None }, start)
    }

    /// Sends calls as they come due to a server that refuses until `until`, each answer after `latency`, and then for ten
    /// seconds more. Returns when each was sent.
    fn outage(lane: &mut Lane, start: Instant, until: Duration, latency: Duration) -> Vec<Duration> {
        let mut under_way: std::collections::VecDeque<(Instant, u64, bool)> = Default::default();
        let (mut now, mut sent) = (start, Vec::new());
        while now < start + until + MS * 10_000 {
            let next_answer = under_way.front().map(|(at, ..)| *at);
            match next_answer.filter(|at| *at <= lane.due(1).max(now)) {
                Some(at) => {
                    now = at;
                    let (_, holds, good) = under_way.pop_front().unwrap();
                    if good { lane.answered(now, holds) } else { _ = lane.refused(now, holds, None) }
                }
                None => {
                    now = lane.due(1).max(now);
                    lane.take(now, sent.len() as u64, 1);
                    under_way.push_back((now + latency, lane.holds, now - start >= until));
                    sent.push(now - start);
                }
            }
        }
        sent
    }

    #[test]
    fn an_outage_of_ten_seconds_costs_about_a_call_a_second_and_is_over_within_one() {
        for latency in [MS * 5, MS * 50, MS * 400] {
            let start = Instant::now();
            let sent = outage(&mut lane(600, start), start, MS * 10_000, latency);
            let in_vain = sent.iter().filter(|at| **at < MS * 10_000).count();
            let at_once = latency.as_millis() as usize / 100 + 1;
            assert!(in_vain <= at_once + 13, "{in_vain} calls in vain at {latency:?}");
            let back = sent.iter().find(|at| **at >= MS * 10_000).unwrap();
            assert!(*back <= MS * 11_000, "back at {back:?}");
            let after =
                sent.iter().filter(|at| **at >= *back + latency && **at < *back + latency + MS * 5000);
            assert!(after.count() >= 49, "and at the full pace");
        }
    }

    #[test]
    fn a_long_outage_is_asked_about_less_and_less() {
        let start = Instant::now();
        let sent = outage(&mut lane(600, start), start, MS * 3_600_000, MS * 50);
        let in_vain = sent.iter().filter(|at| **at < MS * 3_600_000).count();
        assert!(in_vain < 120, "{in_vain} calls in an hour");
        let back = sent.iter().find(|at| **at >= MS * 3_600_000).unwrap();
        assert!(*back <= MS * 3_661_000);
    }

    #[test]
    fn a_probe_that_is_not_heard_of_does_not_hold_the_others_back_for_ever() {
        let start = Instant::now();
        let mut lane = lane(600, start);
        lane.take(start, 0, 1);
        let held = lane.refused(start, 0, None).unwrap();
        lane.take(held, 1, 1);
        assert_eq!(lane.due(1), held + Silence::PROBE);
        lane.failed(0);
        assert_eq!(lane.due(1), held + Silence::PROBE, "what an earlier call came to says nothing");
        lane.failed(1);
        assert_eq!(lane.due(1), held + MS * 100);
    }
}
