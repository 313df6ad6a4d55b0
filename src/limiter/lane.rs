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
    /// How often a call came a little early, though the rate was kept.
    early: u32,
    tokens: Option<TokenWindow>,
    /// Finds the pace, where it is not given.
    adaptive: Option<Adaptive>,
    silence: Option<Silence>,
    /// When the turn is due that others have reserved for us.
    pub(super) reserved: Option<Instant>,
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
    /// The longest that the server took to refuse a call.
    slowest: Duration,
    /// When the call was sent that is finding out.
    probe: Option<Instant>,
}

impl Silence {
    /// The first hold is this, or two intervals, in which the server makes room for a call. It doubles with each round of
    /// refusals,
    const HOLD_FIRST: Duration = Duration::from_millis(100);
    /// up to this. From then on it is a twelfth of the time that the server has refused by now, so that what is lost when
    /// it is over stays in proportion,
    const HOLD_DOUBLED: Duration = Duration::from_millis(900);
    /// and never more than this.
    const HOLD_MOST: Duration = Duration::from_secs(60);
    /// The longest that the others wait for what becomes of it.
    const PROBE: Duration = Duration::from_secs(3);
    /// What any refusal may take on top.
    const SLACK: Duration = Duration::from_millis(50);

    /// Until when the others wait for the call that is finding out. A server that refuses does so soon: a call that has
    /// not been refused in twice the longest time that this took is being answered.
    fn probed_until(&self) -> Option<Instant> {
        let patience = self
            .slowest
            .saturating_mul(2)
            .saturating_add(Self::SLACK)
            .min(Self::PROBE);
        self.probe.map(|sent| sent + patience)
    }

    fn hold(&self, now: Instant, interval: Duration) -> Duration {
        let first = Self::HOLD_FIRST.max(interval.saturating_mul(2));
        let doubled = first
            .saturating_mul(1 << self.rounds.min(16))
            .min(Self::HOLD_DOUBLED);
        doubled.max((now - self.since) / 12).min(Self::HOLD_MOST)
    }
}

impl Lane {
    /// Each call that comes early widens the guard by one part in this many of the interval,
    const GUARD_PART: u32 = 256;
    /// so many times at most: from 1.8 % to 3.7 %.
    const EARLY_MOST: u32 = 5;

    pub(super) fn new(limits: Limits, start: Instant) -> Self {
        let (rate, adaptive) = match limits.pace {
            Tempo::Kept(rate) => (rate, None),
            Tempo::Found => (Rate::unlimited(), Some(Adaptive::new(start))),
        };
        let tokens = limits
            .tokens
            .map(|limit| TokenWindow::per_minute(limit, start));
        let turnstile = Turnstile::new(rate, start);
        Lane {
            turnstile,
            early: 0,
            tokens,
            adaptive,
            silence: None,
            reserved: None,
            holds: 0,
            retired: false,
        }
    }

    /// The earliest instant at which a call of so many tokens may pass. It may lie in the past.
    pub(super) fn due(&self, tokens: u32) -> Instant {
        let calls = self.turnstile.due(1);
        let calls = self.reserved.map_or(calls, |reserved| reserved.max(calls));
        let due = self
            .tokens
            .as_ref()
            .map_or(calls, |window| window.due(tokens).max(calls));
        self.silence
            .and_then(|silence| silence.probed_until())
            .map_or(due, |probed| due.max(probed))
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
            silence.probe.get_or_insert(now);
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

    /// A call that was sent then, when so many holds had begun, was refused, until then or without saying. Returns until
    /// when everyone is held, if this began a new hold.
    pub(super) fn refused(
        &mut self,
        now: Instant,
        sent: Instant,
        holds: u64,
        until: Option<Instant>,
    ) -> Option<Instant> {
        let new = holds == self.holds;
        if new {
            self.holds += 1;
            self.cut(now);
            until
                .into_iter()
                .for_each(|until| self.learn(until.saturating_duration_since(now)));
        }
        let until = until.or_else(|| new.then(|| self.silent(now, sent)));
        if new || self.turnstile.is_held(now) {
            until
                .into_iter()
                .for_each(|until| self.turnstile.hold_until(until));
        }
        until.filter(|_| new)
    }

    /// A refusal for less than two intervals says that the rate is right, but that the call came early: the network has
    /// more jitter than the guard allows for.
    fn learn(&mut self, wait: Duration) {
        if self.adaptive.is_none()
            && wait < self.turnstile.interval() * 2
            && self.early < Self::EARLY_MOST
        {
            self.early += 1;
            let rate = self.turnstile.rate();
            self.turnstile.set_rate(Self::widened(rate, 1));
        }
    }

    /// A rate with a guard as wide as so many early calls taught. Who wants none gets none.
    fn widened(rate: Rate, early: u32) -> Rate {
        let more = if rate.guard.is_zero() {
            Duration::ZERO
        } else {
            rate.interval / Self::GUARD_PART
        };
        rate.with_guard(rate.guard + more * early)
    }

    fn cut(&mut self, now: Instant) {
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.refused(now);
        }
    }

    /// A call that was sent then is refused without a word: until when to hold.
    fn silent(&mut self, now: Instant, sent: Instant) -> Instant {
        let first = Silence {
            since: now,
            rounds: 0,
            slowest: Duration::ZERO,
            probe: None,
        };
        let silence = self.silence.get_or_insert(first);
        silence.slowest = silence.slowest.max(now.saturating_duration_since(sent));
        // From one probe to the next: the server's latency is no reason to ask more seldom.
        let asked = silence.probe.take().unwrap_or(now);
        let until = asked + silence.hold(now, self.turnstile.interval());
        silence.rounds += 1;
        until.max(now)
    }

    pub(super) fn hold_until(&mut self, until: Instant) {
        self.holds += 1;
        self.turnstile.hold_until(until);
    }

    pub(super) fn held_until(&self) -> Instant {
        self.turnstile.held_until()
    }

    /// The server has said its limit: from now on it is kept.
    pub(super) fn keep(&mut self, rate: Rate) {
        self.adaptive = None;
        self.turnstile.set_rate(Self::widened(rate, self.early));
    }

    /// The server has said its limit of tokens.
    pub(super) fn keep_tokens(&mut self, limit: NonZeroU32, now: Instant) {
        self.tokens
            .get_or_insert_with(|| TokenWindow::per_minute(limit, now))
            .set_limit(limit);
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
        Lane::new(
            Limits {
                pace: Tempo::Kept(rate),
                tokens: None,
            },
            start,
        )
    }

    /// How long a server takes.
    #[derive(Clone, Copy, Debug)]
    struct Takes {
        to_answer: Duration,
        to_refuse: Duration,
    }

    /// Sends calls as they come due to a server that refuses until `until`, and then for ten seconds more. Returns when
    /// each was sent.
    fn outage(lane: &mut Lane, start: Instant, until: Duration, takes: Takes) -> Vec<Duration> {
        let mut under_way: Vec<(Instant, Instant, u64, bool)> = Vec::new();
        let (mut now, mut sent) = (start, Vec::new());
        while now < start + until + MS * 10_000 {
            let next = (0..under_way.len()).min_by_key(|at| under_way[*at].0);
            match next.filter(|at| under_way[*at].0 <= lane.due(1).max(now)) {
                Some(at) => {
                    let (ended, at, holds, good) = under_way.remove(at);
                    now = ended;
                    if good {
                        lane.answered(now, holds)
                    } else {
                        _ = lane.refused(now, at, holds, None)
                    }
                }
                None => {
                    now = lane.due(1).max(now);
                    let good = now - start >= until;
                    let ends = now
                        + if good {
                            takes.to_answer
                        } else {
                            takes.to_refuse
                        };
                    lane.take(now, sent.len() as u64, 1);
                    under_way.push((ends, now, lane.holds, good));
                    sent.push(now - start);
                }
            }
        }
        sent
    }

    #[test]
    fn an_outage_of_ten_seconds_costs_about_a_call_a_second_and_is_over_within_one() {
        let table = [
            (5, 5),
            (50, 50),
            (400, 400),
            (400, 5),
            (2000, 5),
            (2000, 100),
        ];
        for (to_answer, to_refuse) in table {
            let (start, end) = (Instant::now(), MS * 10_000);
            let takes = Takes {
                to_answer: MS * to_answer,
                to_refuse: MS * to_refuse,
            };
            let sent = outage(&mut lane(600, start), start, end, takes);
            let in_vain = sent.iter().filter(|at| **at < end).count();
            let at_once = to_refuse as usize / 100 + 1;
            assert!(
                in_vain <= at_once + 13,
                "{in_vain} calls in vain: {takes:?}"
            );
            let within = |from: Duration| {
                sent.iter()
                    .filter(|at| **at >= from && **at < from + MS * 5000)
                    .count()
            };
            assert!(
                within(end) + at_once > 40,
                "back within a second: {} of 50, {takes:?}",
                within(end)
            );
            assert!(
                within(end + MS * 2000) >= 49,
                "and at the full pace: {takes:?}"
            );
        }
    }

    #[test]
    fn calls_that_come_early_widen_the_guard_a_little() {
        let start = Instant::now();
        let rate = Rate::per_minute(NonZeroU32::new(600).unwrap());
        let mut lane = Lane::new(
            Limits {
                pace: Tempo::Kept(rate),
                tokens: None,
            },
            start,
        );
        let refused =
            |lane: &mut Lane, wait| lane.refused(start, start, lane.holds, Some(start + wait));
        refused(&mut lane, MS * 200);
        assert_eq!(
            lane.turnstile.rate(),
            rate,
            "longer than early: that is another matter"
        );
        refused(&mut lane, MS * 3);
        assert_eq!(
            lane.turnstile.rate().guard,
            rate.guard + rate.interval / 256
        );
        (0..100).for_each(|_| _ = refused(&mut lane, MS * 3));
        let widest = rate.guard + rate.interval / 256 * 5;
        assert_eq!(lane.turnstile.rate().guard, widest);
        lane.keep(rate);
        assert_eq!(
            lane.turnstile.rate().guard,
            widest,
            "though the server says its limit again"
        );
        lane.keep(rate.with_guard(Duration::ZERO));
        assert_eq!(
            lane.turnstile.rate().guard,
            Duration::ZERO,
            "who wants none gets none"
        );
    }

    #[test]
    fn a_long_outage_is_asked_about_less_and_less() {
        let start = Instant::now();
        let takes = Takes {
            to_answer: MS * 50,
            to_refuse: MS * 50,
        };
        let sent = outage(&mut lane(600, start), start, MS * 3_600_000, takes);
        let in_vain = sent.iter().filter(|at| **at < MS * 3_600_000).count();
        assert!(in_vain < 120, "{in_vain} calls in an hour");
        let back = sent.iter().find(|at| **at >= MS * 3_600_000).unwrap();
        assert!(*back <= MS * 3_661_000);
    }

    #[test]
    fn a_call_that_is_not_refused_as_soon_as_others_were_is_being_answered() {
        let start = Instant::now();
        let mut lane = lane(6000, start);
        lane.take(start, 0, 1);
        let held = lane.refused(start + MS * 20, start, 0, None).unwrap();
        lane.take(held, 1, 1);
        let free = held + MS * 20 * 2 + Silence::SLACK;
        assert_eq!(lane.due(1), free);
        lane.failed(0);
        assert_eq!(
            lane.due(1),
            free,
            "what an earlier call came to says nothing"
        );
        lane.take(free, 2, 1);
        assert_eq!(lane.due(1), free + MS * 10, "the others go on at the pace");
        lane.failed(1);
        assert_eq!(lane.due(1), free + MS * 10);
    }

    #[test]
    fn a_probe_of_a_server_that_is_slow_to_refuse_holds_the_others_back_for_some_seconds_at_most() {
        let start = Instant::now();
        let mut lane = lane(600, start);
        lane.take(start, 0, 1);
        let held = lane.refused(start + MS * 60_000, start, 0, None).unwrap();
        lane.take(held, 1, 1);
        assert_eq!(lane.due(1), held + Silence::PROBE);
        lane.failed(1);
        assert_eq!(lane.due(1), held + MS * 100);
    }
}
