//! One key at one server, with its rate, its pauses and its token limit. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use super::{
    AdaptiveRate, CallReport, KeyLimits, KeyPermit, PermitOutcome, RateLimit, TokenWindow,
};
use crate::clock::after;
use crate::limiter::{Gcra, Rate};

/// When the next call with this key is due, and what changes when calls are answered or rate limited.
#[derive(Debug)]
pub(crate) struct KeyState {
    gcra: Gcra,
    /// How often a call came slightly early although the rate was kept.
    early: u32,
    /// How late the latest calls left, on average.
    lateness: Duration,
    tokens: Option<TokenWindow>,
    /// The rate in the settings, or the one that the server states.
    limit: Option<Rate>,
    doubts: Doubts,
    /// Finds the rate if it is neither given nor stated, or if 429s contradict it.
    adaptive: Option<AdaptiveRate>,
    outage: Option<SilentOutage>,
    /// When the permit that is reserved with other processes is due.
    pub(crate) reserved: Option<Instant>,
    /// How many pauses have begun.
    pub(super) pauses: u64,
    /// The server accepts no calls with this key.
    pub(super) retired: bool,
}

/// The 429s that a given or stated rate should have prevented.
#[derive(Clone, Copy, Debug, Default)]
struct Doubts {
    /// When the first of them came, their number, and the answers since then.
    since: Option<Instant>,
    refusals: u32,
    answers: u32,
    /// Answers since the last of them.
    recent: u32,
}

impl Doubts {
    /// This many 429s contradict a rate,
    const ENOUGH: u32 = 3;
    /// if at most this many answers come between them: 5 % of the calls are refused. Fewer 429s may be another program's.
    const RARE: u32 = 20;

    fn answered(&mut self) {
        self.answers += 1;
        self.recent += 1;
    }

    /// Counts a 429. Returns the rate that the server let through since the first, in calls per second, once the 429s
    /// contradict the limit. An outage is one 429, however long it takes: there are no answers in between.
    fn refused(&mut self, now: Instant) -> Option<f64> {
        if self.since.is_none() || self.recent > Self::RARE {
            *self = Doubts::default();
        } else if self.recent == 0 {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        self.refusals += 1;
        self.recent = 0;
        let seconds = (now - since).as_secs_f64().max(0.1);
        (self.refusals >= Self::ENOUGH).then(|| f64::from(self.answers) / seconds)
    }
}

/// The server answers 429. After each pause one call probes, and the others wait for its outcome. The server may not say
/// until when to pause.
#[derive(Clone, Copy, Debug)]
struct SilentOutage {
    since: Instant,
    /// Rounds of 429s so far.
    rounds: u32,
    /// The longest that the server took to answer 429.
    slowest: Duration,
    /// When the probing call was sent.
    probe: Option<Instant>,
}

impl SilentOutage {
    /// The shortest pause, if two intervals are shorter; the server makes room for a call in that time.
    const PAUSE_FIRST: Duration = Duration::from_millis(100);
    /// Pauses double up to this. From then on a pause is 1/12 of the outage so far, so that the time lost at its end stays
    /// in proportion: an outage of 10 s costs at most 18 calls and is noticed within 1 s (measured).
    const PAUSE_DOUBLED: Duration = Duration::from_millis(900);
    /// The longest pause.
    const PAUSE_MOST: Duration = Duration::from_secs(60);
    /// The longest that the others wait for a probe: longer than most answers take.
    const PROBE: Duration = Duration::from_secs(3);
    /// A 429 may take this much longer on a busy machine.
    const SLACK: Duration = Duration::from_millis(50);

    /// Until when the others wait for the probe. Servers answer 429 quickly: a call without a 429 in twice the longest time
    /// that one took is being answered.
    fn probed_until(&self) -> Option<Instant> {
        let patience = self.slowest.saturating_mul(2).saturating_add(Self::SLACK);
        self.probe.map(|sent| sent + patience.min(Self::PROBE))
    }

    fn pause(&self, now: Instant, interval: Duration) -> Duration {
        let first = Self::PAUSE_FIRST.max(interval.saturating_mul(2));
        let doubled = first
            .saturating_mul(1 << self.rounds.min(16))
            .min(Self::PAUSE_DOUBLED);
        doubled.max((now - self.since) / 12).min(Self::PAUSE_MOST)
    }
}

impl KeyState {
    /// Each call that comes early widens the margin by 1/256 of the interval (0.4 %),
    const MARGIN_PART: u32 = 256;
    /// at most this often: from 1.8 % to 3.7 %. Wider margins waste more than the 429s cost.
    const EARLY_MOST: u32 = 5;
    /// The margin is this many times the mean lateness, between 0.6 % and the usual 1.8 %: calls that leave late show that
    /// this machine is busy, and calls may be as late on their way. In quiet the mean is 0.2 to 0.3 ms (measured), so that
    /// the margin is the narrowest, and a single late call does not change that.
    const LATENESSES: u32 = 2;
    /// The number of calls after which a lateness counts for a third: the margin is narrow after 2 s at 600 calls a minute.
    const MEMORY: u32 = 16;

    pub(crate) fn new(limits: KeyLimits, start: Instant) -> Self {
        let (rate, adaptive) = match limits.rate {
            RateLimit::Fixed(rate) => (rate, None),
            RateLimit::Adaptive => (Rate::unlimited(), Some(AdaptiveRate::new(start))),
        };
        KeyState {
            gcra: Gcra::new(rate, start),
            early: 0,
            lateness: rate.margin / Self::LATENESSES,
            tokens: limits
                .tokens
                .map(|limit| TokenWindow::per_minute(limit, start)),
            limit: adaptive.is_none().then_some(rate),
            doubts: Doubts::default(),
            adaptive,
            outage: None,
            reserved: None,
            pauses: 0,
            retired: false,
        }
    }

    /// The earliest instant at which a call of `tokens` tokens may leave. It may lie in the past.
    pub(crate) fn due(&self, tokens: u32) -> Instant {
        let window = self.tokens.as_ref().map(|window| window.due(tokens));
        let probed = self.outage.and_then(|outage| outage.probed_until());
        let others = self.reserved.into_iter().chain(window).chain(probed);
        others.fold(self.gcra.due(1), Instant::max)
    }

    /// A call takes a permit.
    pub(crate) fn take(&mut self, now: Instant, ticket: u64, tokens: u32) {
        if let Some(adaptive) = &self.adaptive {
            let least = self.limit.map_or(Duration::ZERO, |limit| limit.interval());
            let interval = adaptive.interval(now).max(least);
            self.gcra.set_rate(Rate::every(interval).exact());
        }
        self.gcra.take(now, 1);
        if let Some(window) = &mut self.tokens {
            window.take(now, ticket, tokens);
        }
        if let Some(outage) = &mut self.outage {
            outage.probe.get_or_insert(now);
        }
    }

    /// Gives the rate the margin that the calls so far call for.
    fn set_margin(&mut self) {
        let (Some(rate), None) = (self.limit, &self.adaptive) else {
            return;
        };
        let rate = self.with_margin(rate);
        if rate != self.gcra.rate {
            self.gcra.set_rate(rate);
        }
    }

    /// A call whose permit was due at `due` leaves only now, after its connection was made.
    pub(crate) fn sent(&mut self, now: Instant, due: Instant) {
        let late = now.saturating_duration_since(due);
        let most = self.limit.map_or(Duration::ZERO, |rate| rate.margin);
        self.lateness = (self.lateness * (Self::MEMORY - 1) + late.min(most)) / Self::MEMORY;
        // The next call is due no sooner than if this one had taken its permit now.
        let rate = self.gcra.rate;
        let on_time = now.checked_sub(rate.slack()).unwrap_or(now);
        self.gcra.full_at = self.gcra.full_at.max(after(on_time, rate.step()));
        self.set_margin();
    }

    /// The outcome of a call. Returns the end of the pause that this begins, if it does.
    pub(super) fn report(
        &mut self,
        now: Instant,
        permit: &KeyPermit,
        report: &CallReport,
    ) -> Option<Instant> {
        if let Some(rate) = report.stated {
            self.state_rate(rate);
        }
        if let Some(limit) = report.stated_tokens {
            let window = || TokenWindow::per_minute(limit, now);
            self.tokens.get_or_insert_with(window).set_limit(limit);
        }
        if let (Some(tokens), Some(window)) = (report.tokens, &mut self.tokens) {
            window.correct(permit.ticket, tokens);
        }
        let (sent, pauses) = (permit.granted_at, permit.pauses);
        match report.outcome {
            PermitOutcome::Answered => self.answered(now, sent, pauses),
            PermitOutcome::Failed => self.failed(pauses),
            PermitOutcome::RateLimited(until) => {
                return self.rate_limited(now, sent, pauses, until);
            }
            PermitOutcome::Fatal => self.retired = true,
        }
        None
    }

    /// A call that was sent at `sent` was answered.
    fn answered(&mut self, now: Instant, sent: Instant, pauses: u64) {
        if pauses == self.pauses {
            self.doubts.answered(); // not by a call from before an outage
        }
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.succeeded(now, now - sent);
        }
        self.failed(pauses);
    }

    /// A call failed, but was not rate limited: an outage is over.
    fn failed(&mut self, pauses: u64) {
        if pauses == self.pauses {
            self.outage = None;
        }
    }

    /// A call that was sent at `sent`, when `pauses` had begun, was answered 429. Returns the end of the pause that this
    /// begins, if it does.
    fn rate_limited(
        &mut self,
        now: Instant,
        sent: Instant,
        pauses: u64,
        until: Option<Instant>,
    ) -> Option<Instant> {
        if pauses != self.pauses {
            // Another call sent before the same pause may have got a longer wait.
            if let Some(until) = until.filter(|_| now < self.gcra.paused_until) {
                self.gcra.pause_until(until);
            }
            return None;
        }
        let wait = until.map(|until| until.saturating_duration_since(now));
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.rate_limited(now);
        } else if !self.learn(wait) {
            let found = self.doubts.refused(now);
            self.adaptive = found.map(|rate| AdaptiveRate::from(rate, now));
        }
        let until = self.next_probe(now, sent, until);
        self.pause_until(until);
        Some(until)
    }

    /// Learns from the wait that the server asks for. A wait of less than two intervals means that the rate is right, but
    /// the call came early: the network has more jitter than the margin covers. False if that explains nothing.
    fn learn(&mut self, wait: Option<Duration>) -> bool {
        let interval = self.gcra.rate.interval();
        let is_early = wait.is_some_and(|wait| wait < interval * 2);
        if !is_early || self.early >= Self::EARLY_MOST {
            return false;
        }
        self.early += 1;
        self.set_margin();
        true
    }

    /// The rate with a margin that early calls have widened, or else punctual ones narrowed. An exact rate stays exact.
    fn with_margin(&self, rate: Rate) -> Rate {
        match (self.early, rate.margin) {
            (_, Duration::ZERO) => rate,
            (0, margin) => {
                let least = margin / 3;
                rate.margin((self.lateness * Self::LATENESSES).clamp(least, margin))
            }
            (early, margin) => rate.margin(margin + rate.interval() / Self::MARGIN_PART * early),
        }
    }

    /// The end of the pause after a 429, for a call that was sent at `sent`: the time that the server orders, if it does.
    fn next_probe(&mut self, now: Instant, sent: Instant, ordered: Option<Instant>) -> Instant {
        let outage = self.outage.get_or_insert(SilentOutage {
            since: now,
            rounds: 0,
            slowest: Duration::ZERO,
            probe: None,
        });
        outage.slowest = outage.slowest.max(now.saturating_duration_since(sent));
        // The pause counts from the last probe: a slow server is no reason to probe less often.
        let probed = outage.probe.take().unwrap_or(now);
        let until = probed + outage.pause(now, self.gcra.rate.interval());
        outage.rounds += 1;
        ordered.unwrap_or(until.max(now))
    }

    pub(crate) fn pause_until(&mut self, until: Instant) {
        self.pauses += 1;
        self.gcra.pause_until(until);
    }

    pub(crate) fn paused_until(&self) -> Instant {
        self.gcra.paused_until
    }

    /// The server has stated its rate limit, which replaces any other rate, unless 429s contradict it.
    fn state_rate(&mut self, rate: Rate) {
        if self.limit != Some(rate) {
            self.doubts = Doubts::default();
        } else if self.adaptive.is_some() {
            return;
        }
        if self.limit != Some(rate) {
            self.lateness = rate.margin / Self::LATENESSES;
        }
        self.limit = Some(rate);
        self.adaptive = None;
        self.gcra.set_rate(self.with_margin(rate));
    }

    /// Calls per minute that the key was found to allow; `None` if the rate was given and holds, or is not known yet.
    pub(super) fn found(&self) -> Option<f64> {
        Some(self.adaptive.as_ref()?.found()? * 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn key(rpm: u32, start: Instant) -> KeyState {
        fixed(Rate::per_minute(rpm).exact(), start)
    }

    fn fixed(rate: Rate, start: Instant) -> KeyState {
        let rate = RateLimit::Fixed(rate);
        KeyState::new(KeyLimits { rate, tokens: None }, start)
    }

    /// How long a server takes.
    #[derive(Clone, Copy, Debug)]
    struct Takes {
        to_answer: Duration,
        to_limit: Duration,
    }

    /// Sends calls when they are due to a server that answers 429 until `until`, and for ten seconds more. Returns when each
    /// was sent.
    fn outage(key: &mut KeyState, start: Instant, until: Duration, takes: Takes) -> Vec<Duration> {
        let mut under_way: Vec<(Instant, Instant, u64, bool)> = Vec::new();
        let mut now = start;
        let mut sent = Vec::new();
        while now < start + until + MS * 10_000 {
            let next = (0..under_way.len()).min_by_key(|at| under_way[*at].0);
            match next.filter(|at| under_way[*at].0 <= key.due(1).max(now)) {
                Some(at) => {
                    let (ended, at, pauses, good) = under_way.remove(at);
                    now = ended;
                    match good {
                        true => key.answered(now, at, pauses),
                        false => _ = key.rate_limited(now, at, pauses, None),
                    }
                }
                None => {
                    now = key.due(1).max(now);
                    let good = now - start >= until;
                    let ends = now
                        + if good {
                            takes.to_answer
                        } else {
                            takes.to_limit
                        };
                    key.take(now, sent.len() as u64, 1);
                    under_way.push((ends, now, key.pauses, good));
                    sent.push(now - start);
                }
            }
        }
        sent
    }

    #[test]
    fn an_outage_of_ten_seconds_costs_a_call_a_second_and_its_end_is_noticed_within_a_second() {
        let table = [
            (5, 5),
            (50, 50),
            (400, 400),
            (400, 5),
            (2000, 5),
            (2000, 100),
        ];
        for (to_answer, to_limit) in table {
            let start = Instant::now();
            let end = MS * 10_000;
            let takes = Takes {
                to_answer: MS * to_answer,
                to_limit: MS * to_limit,
            };
            let sent = outage(&mut key(600, start), start, end, takes);
            let in_vain = sent.iter().filter(|at| **at < end).count();
            let at_once = to_limit as usize / 100 + 1;
            assert!(
                in_vain <= at_once + 13,
                "{in_vain} calls too many: {takes:?}"
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
                "and at the full rate: {takes:?}"
            );
        }
    }

    #[test]
    fn a_call_that_leaves_late_keeps_the_next_at_its_distance() {
        let start = Instant::now();
        let mut key = key(60, start);
        key.take(start, 0, 1);
        key.sent(start + MS * 300, start);
        assert_eq!(key.due(1), start + MS * 1300);
        key.take(start + MS * 1300, 1, 1);
        key.sent(start + MS * 1200, start + MS * 1300);
        let due = key.due(1);
        assert_eq!(
            due,
            start + MS * 2300,
            "one that left before changes nothing"
        );
    }

    #[test]
    fn calls_that_leave_on_time_narrow_the_margin_until_one_comes_early() {
        let start = Instant::now();
        let rate = Rate::per_minute(600);
        let mut key = fixed(rate, start);
        let margin = |key: &KeyState| key.gcra.rate.margin;
        let sent = |key: &mut KeyState, late| {
            (0..1000).for_each(|_| key.sent(start + late, start));
        };
        assert_eq!(margin(&key), rate.margin);
        (0..40).for_each(|_| key.sent(start + MS / 10, start));
        assert_eq!(margin(&key), rate.margin / 3, "after 4 s");
        key.sent(start + MS * 5, start);
        assert_eq!(margin(&key), rate.margin / 3, "one late call");
        sent(&mut key, MS / 2);
        assert!(margin(&key).abs_diff(MS) < MS / 100, "busy");
        sent(&mut key, MS * 5);
        assert!(margin(&key) <= rate.margin, "never wider than usual");
        assert!(margin(&key) * 100 > rate.margin * 99);
        key.rate_limited(start, start, 0, Some(start + MS * 3));
        sent(&mut key, MS / 10);
        assert_eq!(margin(&key), rate.margin + rate.interval() / 256);
        let mut exact = fixed(rate.exact(), start);
        sent(&mut exact, MS / 10);
        assert_eq!(exact.gcra.rate, rate.exact());
    }

    #[test]
    fn calls_that_come_early_widen_the_margin_a_little() {
        let start = Instant::now();
        let rate = Rate::per_minute(600);
        let mut key = fixed(rate, start);
        let limited = |key: &mut KeyState, wait| {
            key.rate_limited(start, start, key.pauses, Some(start + wait))
        };
        limited(&mut key, MS * 200);
        assert_eq!(
            key.gcra.rate, rate,
            "a long wait says nothing about the margin"
        );
        limited(&mut key, MS * 3);
        assert_eq!(key.gcra.rate.margin, rate.margin + rate.interval() / 256);
        (0..100).for_each(|_| _ = limited(&mut key, MS * 3));
        let widest = rate.margin + rate.interval() / 256 * 5;
        assert_eq!(key.gcra.rate.margin, widest);
        key.state_rate(rate);
        assert_eq!(
            key.gcra.rate.margin, widest,
            "although the server states its limit again"
        );
        key.state_rate(rate.margin(Duration::ZERO));
        assert_eq!(
            key.gcra.rate.margin,
            Duration::ZERO,
            "an exact rate stays exact"
        );
    }

    /// Sends calls when they are due, for two minutes, to a server that takes this many a minute and states when to come
    /// back, in whole seconds. Returns how many were answered and refused in the second minute.
    fn at_a_lower_limit(key: &mut KeyState, rpm: u32, burst: u32, start: Instant) -> (u32, u32) {
        let mut server = Gcra::new(Rate::per_minute(rpm).exact().burst(burst), start);
        let (mut now, mut answered, mut refused) = (start, 0, 0);
        for ticket in 0.. {
            now = key.due(1).max(now);
            if now > start + MS * 120_000 {
                break;
            }
            key.take(now, ticket, 1);
            let is_counted = now > start + MS * 60_000;
            let pauses = key.pauses;
            if server.due(1) <= now {
                server.take(now, 1);
                key.answered(now, now, pauses);
                answered += u32::from(is_counted);
            } else {
                let seconds = (server.due(1) - now).as_secs_f64().ceil();
                let until = now + Duration::from_secs_f64(seconds);
                key.rate_limited(now, now, pauses, Some(until));
                refused += u32::from(is_counted);
            }
        }
        (answered, refused)
    }

    #[test]
    fn a_rate_that_429s_contradict_gives_way_to_the_one_that_is_found() {
        for (rpm, burst) in [(300, 1), (300, 5), (300, 20), (60, 10)] {
            let start = Instant::now();
            let mut told = key(600, start);
            let (answered, refused) = at_a_lower_limit(&mut told, rpm, burst, start);
            assert!(
                answered * 100 >= rpm * 75 && refused * 10 <= answered,
                "{rpm} a minute, burst {burst}: {answered} answered, {refused} refused"
            );
            let found = told.found().unwrap() / f64::from(rpm);
            assert!((0.7..1.2).contains(&found), "{rpm}, burst {burst}: {found}");
        }
    }

    #[test]
    fn the_rate_that_contradicted_429s_let_through_is_that_of_the_answers() {
        let start = Instant::now();
        let mut doubts = Doubts::default();
        let found: Vec<_> = (0..4u32)
            .map(|n| {
                (0..10).for_each(|_| doubts.answered());
                doubts.refused(start + MS * 5000 * n)
            })
            .collect();
        assert_eq!(found, [None, None, Some(2.0), Some(2.0)]);
    }

    #[test]
    fn a_statement_is_believed_again_only_when_it_changes() {
        let start = Instant::now();
        let a_day = Rate::per_minute(14_400);
        let mut key = KeyState::new(
            KeyLimits {
                rate: RateLimit::Adaptive,
                tokens: None,
            },
            start,
        );
        key.state_rate(a_day);
        at_a_lower_limit(&mut key, 60, 10, start);
        key.state_rate(a_day);
        assert!(key.found().is_some_and(|found| found < 80.0));
        key.state_rate(Rate::per_minute(30));
        assert_eq!((key.found(), key.gcra.rate.interval()), (None, MS * 2000));
    }

    #[test]
    fn an_outage_and_rare_429s_contradict_no_rate() {
        let start = Instant::now();
        let mut key = key(600, start);
        for n in 0..1000u32 {
            let now = start + MS * 100 * n;
            let pauses = key.pauses - u64::from((100..150).contains(&n) && n % 2 == 1);
            match n {
                100..150 if n % 2 == 1 => key.answered(now, now, pauses), // sent before the outage
                100..150 => _ = key.rate_limited(now, now, pauses, None),
                _ if n % 30 == 0 => _ = key.rate_limited(now, now, pauses, None),
                _ => key.answered(now, now, pauses),
            }
        }
        assert!(key.adaptive.is_none());
    }

    #[test]
    fn a_long_outage_is_probed_less_and_less_often() {
        let start = Instant::now();
        let takes = Takes {
            to_answer: MS * 50,
            to_limit: MS * 50,
        };
        let sent = outage(&mut key(600, start), start, MS * 3_600_000, takes);
        let in_vain = sent.iter().filter(|at| **at < MS * 3_600_000).count();
        assert!(in_vain < 120, "{in_vain} calls in an hour");
        let back = sent.iter().find(|at| **at >= MS * 3_600_000).unwrap();
        assert!(*back <= MS * 3_661_000);
    }

    #[test]
    fn a_probe_without_a_429_in_twice_the_usual_time_is_being_answered() {
        let start = Instant::now();
        let mut key = key(6000, start);
        key.take(start, 0, 1);
        let paused = key.rate_limited(start + MS * 20, start, 0, None).unwrap();
        key.take(paused, 1, 1);
        let free = paused + MS * 20 * 2 + SilentOutage::SLACK;
        assert_eq!(key.due(1), free);
        key.failed(0);
        assert_eq!(
            key.due(1),
            free,
            "the outcome of an earlier call says nothing"
        );
        key.take(free, 2, 1);
        assert_eq!(key.due(1), free + MS * 10, "the others go on at the rate");
        key.failed(1);
        assert_eq!(key.due(1), free + MS * 10);
    }

    #[test]
    fn a_probe_of_a_server_with_slow_429s_delays_the_others_for_seconds_at_most() {
        let start = Instant::now();
        let mut key = key(600, start);
        key.take(start, 0, 1);
        let paused = key
            .rate_limited(start + MS * 60_000, start, 0, None)
            .unwrap();
        key.take(paused, 1, 1);
        assert_eq!(key.due(1), paused + SilentOutage::PROBE);
        key.failed(1);
        assert_eq!(key.due(1), paused + MS * 100);
    }

    /// Makes calls at an adaptive rate to a server that does not state its limit. Returns the 429s, and the time in parts of
    /// the ideal one.
    fn unstated(calls: u32, rpm: u32, burst: u32, latency: Duration) -> (u32, f64) {
        let start = Instant::now();
        let rate = RateLimit::Adaptive;
        let mut key = KeyState::new(KeyLimits { rate, tokens: None }, start);
        let mut server = Gcra::new(Rate::per_minute(rpm).exact().burst(burst), start);
        let mut under_way: Vec<(Instant, Instant, u64, bool)> = Vec::new();
        let (mut now, mut answered, mut limited) = (start, 0, 0);
        while answered < calls {
            let due = key.due(1).max(now);
            let next = (0..under_way.len()).min_by_key(|at| under_way[*at].0);
            if let Some(next) = next.filter(|at| under_way[*at].0 <= due) {
                let (ended, sent, pauses, good) = under_way.remove(next);
                now = ended;
                match good {
                    true => key.answered(now, sent, pauses),
                    false => _ = key.rate_limited(now, sent, pauses, None),
                }
                answered += u32::from(good);
                limited += u32::from(!good);
                continue;
            }
            now = due;
            let good = server.due(1) <= now;
            if good {
                server.take(now, 1);
            }
            key.take(now, 0, 1);
            let takes = if good { latency } else { MS };
            under_way.push((now + takes, now, key.pauses, good));
        }
        let ideal = f64::from(calls - burst) * 60.0 / f64::from(rpm) + latency.as_secs_f64();
        (limited, (now - start).as_secs_f64() / ideal)
    }

    #[test]
    fn a_limit_that_is_not_stated_costs_ten_429s_in_2000_calls_and_little_time() {
        for latency in [50, 300, 400, 600, 800] {
            let (limited, time) = unstated(2000, 600, 20, MS * latency);
            assert!(
                limited <= 10 && time <= 1.06,
                "{latency} ms: {limited} 429s, {time}"
            );
        }
        for (rpm, burst) in [(600, 1), (600, 5), (600, 40), (3000, 50)] {
            let (limited, time) = unstated(2000, rpm, burst, MS * 400);
            assert!(
                limited <= 12 && time <= 1.1,
                "{rpm}, burst {burst}: {limited} 429s, {time}"
            );
        }
    }
}
