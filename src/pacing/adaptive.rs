//! The adaptive rate, for a limit that the server does not state: start low, grow, cut after a 429.
//!
//! This is congestion control, as in TCP and in the *adaptive* retry mode of the AWS SDKs. Until the first 429 each
//! success raises the rate, so that it doubles about every second. A 429 cuts the rate. It then follows a cubic curve:
//! fast at first, flat near the rate that was limited, and faster again to test whether the limit is higher now. Each test
//! ends in a 429, so once the limit is known the rate first stays just below it for a while. Pure: `now` is an argument.

use std::time::{Duration, Instant};

/// The rate in calls per second, as it follows from successes and 429s.
#[derive(Clone, Debug)]
pub(super) struct AdaptiveRate {
    phase: Phase,
    /// When the phase began.
    began: Instant,
    /// Seconds until the rate is back at the limit.
    recovery: f64,
    /// Smoothed latency of the answers, in seconds.
    latency: f64,
    /// Since when successes are counted: since the last cut that had [`SAMPLE`](AdaptiveRate::SAMPLE) of them.
    counted_from: Instant,
    /// Successes since then, and the instants of the first and the last one.
    successes: u32,
    first_success: Instant,
    last_success: Instant,
    meter: SuccessRate,
    /// Successes between cuts, and the seconds that they took; older ones count less.
    let_through: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No 429 so far.
    Finding { rate: f64 },
    /// From `start`, the rate after the cut, back to `limit`, the rate that the server probably allows, and beyond.
    Cubic { start: f64, limit: f64 },
}

impl AdaptiveRate {
    /// The first rate, in calls per second.
    const START: f64 = 5.0;
    /// The lowest rate: one call per minute notices that the server works again. Some free plans allow three per minute.
    const FLOOR: f64 = 1.0 / 60.0;
    /// A 429 cuts the rate to this part.
    const CUT: f64 = 0.8;
    /// Time until the rate is back at the limit, in seconds; at low rates, in calls. Each return ends in 429s, which
    /// should be few among the calls.
    const RECOVERY: f64 = 10.0;
    /// The same while the limit is hardly known, but not less than 5 latencies: a 429 must be heard before the next growth.
    const RECOVERY_FIRST: f64 = 2.5;
    /// The cut once two estimates of the limit agree within 15 %. A strict limit is used to 86 instead of 81 % (simulated).
    const CUT_KNOWN: f64 = 0.93;
    /// With answers as quick as this, in seconds, a 429 is heard before much more is sent: the rate may grow faster.
    const QUICK: f64 = 0.04;
    /// For how many recoveries the rate stays just below a known limit. With more, a limit that doubles is used to less
    /// than 90 % in the two minutes after that (simulated).
    const HOLD: f64 = 2.5;
    /// The part of a known limit that is used meanwhile, so that the server's burst fills again.
    const PART: f64 = 0.98;
    /// See [`RECOVERY`](AdaptiveRate::RECOVERY).
    const RECOVERY_CALLS: f64 = 20.0;
    /// Fewer successes than this say little about the limit.
    const SAMPLE: u32 = 10;
    /// A rate that gets here without a 429 has no limit. Unit: calls per second.
    const CEILING: f64 = 1000.0;

    /// The rate at the start.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        let phase = Phase::Finding { rate: Self::START };
        AdaptiveRate {
            phase,
            began: now,
            recovery: Self::RECOVERY_FIRST,
            latency: Self::QUICK,
            counted_from: now,
            successes: 0,
            first_success: now,
            last_success: now,
            meter: SuccessRate::new(now, SuccessRate::SECOND),
            let_through: (0.0, 0.0),
        }
    }

    /// The rate after 429s at another rate, of which the server let this one through, in calls per second. It allows more:
    /// each 429 began a pause.
    #[must_use]
    pub(super) fn from(rate: f64, now: Instant) -> Self {
        let limit = (2.0 * rate).max(Self::FLOOR);
        let start = (limit * Self::CUT).max(Self::FLOOR);
        AdaptiveRate {
            phase: Phase::Cubic { start, limit },
            meter: SuccessRate::new(now, SuccessRate::period(limit)),
            let_through: (rate, 1.0),
            ..AdaptiveRate::new(now)
        }
    }

    /// The interval between permits at `now`. Zero: the server has no limit.
    #[must_use]
    pub(super) fn interval(&self, now: Instant) -> Duration {
        match (self.phase, self.rate(now)) {
            (Phase::Finding { .. }, Self::CEILING..) => Duration::ZERO,
            (_, rate) => Duration::from_secs_f64(1.0 / rate),
        }
    }

    /// The rate that the server was found to allow, in calls per second; `None` before the first successes and 429.
    #[must_use]
    pub(super) fn found(&self) -> Option<f64> {
        let (successes, seconds) = self.let_through;
        (successes > 0.0 && seconds > 0.0).then(|| successes / seconds)
    }

    /// A call was answered, after this latency.
    pub(super) fn succeeded(&mut self, now: Instant, latency: Duration) {
        self.latency += (latency.as_secs_f64() - self.latency) / 4.0;
        if self.successes == 0 {
            self.first_success = now;
        }
        self.last_success = now;
        self.successes += 1;
        self.meter.count(now);
        let gain = self.gain();
        if let Phase::Finding { rate } = &mut self.phase {
            *rate = (*rate + gain).min(Self::CEILING);
        }
    }

    /// Growth of the rate with each success, before the first 429: by a factor of e in a second, or up to four times as
    /// fast.
    fn gain(&self) -> f64 {
        match self.phase {
            Phase::Finding { .. } => (Self::QUICK / self.latency.max(0.001)).clamp(1.0, 4.0),
            Phase::Cubic { .. } => 1.0,
        }
    }

    /// A round of calls was answered 429. One cut, however many calls there were.
    pub(super) fn rate_limited(&mut self, now: Instant) {
        let rate = self.rate(now);
        let limit = self.allowed(now, rate).max(Self::FLOOR);
        if let Phase::Cubic { limit: before, .. } = self.phase
            && limit != before
        {
            // The next recovery takes longer if this limit agrees with the last one.
            let agrees = (limit / before - 1.0).abs() < 0.15;
            let longer = (self.recovery * 2.0).min(Self::RECOVERY);
            self.recovery = if agrees { longer } else { Self::RECOVERY_FIRST };
        }
        let is_known = self.recovery > Self::RECOVERY_FIRST;
        let cut = if is_known { Self::CUT_KNOWN } else { Self::CUT };
        let start = (rate.min(limit) * cut).max(Self::FLOOR);
        if self.has_sample() || matches!(self.phase, Phase::Finding { .. }) {
            self.restart_count(now, limit);
        }
        self.phase = Phase::Cubic { start, limit };
        self.began = now;
    }

    /// Adds the counted successes to the average, and starts to count again.
    fn restart_count(&mut self, now: Instant, limit: f64) {
        let (successes, seconds) = self.let_through;
        let since = (now - self.counted_from).as_secs_f64();
        self.let_through = (
            successes / 2.0 + f64::from(self.successes),
            seconds / 2.0 + since,
        );
        self.successes = 0;
        self.counted_from = now;
        self.meter = SuccessRate::new(now, SuccessRate::period(limit));
    }

    /// Whether enough successes have been counted.
    fn has_sample(&self) -> bool {
        self.successes >= Self::SAMPLE
    }

    /// Successes per second in this count. A short pause before them counts, because what the server saved up in it was
    /// used; a long one does not, because most of it was not.
    fn mean(&self) -> f64 {
        const SHORT: Duration = Duration::from_secs(2);
        let pause = (self.first_success - self.counted_from).min(SHORT);
        let span = (self.last_success - self.first_success + pause).as_secs_f64();
        f64::from(self.successes) / span.max(0.1)
    }

    /// Estimates the rate that the server allows, in calls per second.
    ///
    /// Without enough successes the earlier estimate stays, a little lower if there were some: a server that answers only
    /// 429 for a while has the same limit afterwards. At a known limit, if hardly a call went beyond it, the server has no
    /// burst to use up, and the last rate is its limit. With a burst it is the mean, because the burst is as empty as after
    /// the last 429. A rate far beyond it shows that the limit may have risen, and one below it that it was estimated too high:
    /// half way to the mean. While it is not known, it is less than the best second, which may have used up a burst, and more
    /// than the mean, which includes the time of growth. The weights are those with the fewest 429s (simulated).
    fn allowed(&self, now: Instant, rate: f64) -> f64 {
        let best = self.meter.rate(now);
        let limit = match self.phase {
            Phase::Finding { .. } => (best / 1.5).max(rate / 2.5),
            Phase::Cubic { limit, .. } if !self.has_sample() => {
                match self.last_success > self.began {
                    true => return limit * Self::CUT,
                    false => return limit,
                }
            }
            Phase::Cubic { limit, .. } if self.is_known() && rate < 2.0 * limit => {
                let grown = self.recoveries(now, limit) - 1.0 - Self::HOLD;
                let beyond = grown * self.recovery(limit) * (rate - limit) / 4.0;
                match rate / limit {
                    ..1.0 => f64::midpoint(rate, self.mean()),
                    _ if (0.0..2.0).contains(&beyond) => rate,
                    ..1.5 => self.mean(),
                    _ => self.mean().max(rate / 1.5),
                }
            }
            Phase::Cubic { .. } => 0.485 * rate + 0.25 * (self.mean() + best),
        };
        limit.min(rate)
    }

    /// Whether estimates of the limit agree.
    fn is_known(&self) -> bool {
        self.recovery >= Self::RECOVERY
    }

    /// Seconds until the rate is back at this limit.
    fn recovery(&self, limit: f64) -> f64 {
        let heard = (5.0 * self.latency).min(Self::RECOVERY);
        self.recovery.max(heard).max(Self::RECOVERY_CALLS / limit)
    }

    /// The time since the last cut, in recoveries.
    fn recoveries(&self, now: Instant, limit: f64) -> f64 {
        (now - self.began).as_secs_f64() / self.recovery(limit)
    }

    fn rate(&self, now: Instant) -> f64 {
        // A rate far above that of the calls really sent says nothing about the limit.
        let sent = 2.0 * self.gain() * self.meter.rate(now);
        let rate = match self.phase {
            Phase::Finding { rate } => rate.min(sent.max(Self::START)),
            Phase::Cubic { start, limit } => {
                let passed = self.recoveries(now, limit);
                let rate = match self.is_known() {
                    true => {
                        let limit = limit * Self::PART;
                        let held = (passed - 1.0).clamp(0.0, Self::HOLD);
                        cubic(start.min(limit), limit, passed - held)
                    }
                    false => cubic(start, limit, passed),
                };
                rate.min(sent.max(Self::START).max(limit))
            }
        };
        rate.max(Self::FLOOR)
    }
}

/// Rises from `start` to `limit` in the time of one recovery, is flat there, and then rises again.
fn cubic(start: f64, limit: f64, recoveries: f64) -> f64 {
    let x = recoveries - 1.0;
    let reach = if x < 0.0 {
        limit - start
    } else {
        limit * (1.0 - AdaptiveRate::CUT)
    };
    limit + reach * x.powi(3)
}

/// Successes per second over the last few seconds; over longer periods where calls are few.
#[derive(Clone, Debug)]
struct SuccessRate {
    began: Instant,
    period: Duration,
    /// Successes in the present period and in the ones before it.
    counts: [u32; SuccessRate::KEPT],
    /// The number of the present period.
    present: u64,
}

impl SuccessRate {
    const KEPT: usize = 4;
    const SECOND: Duration = Duration::from_secs(1);

    fn new(began: Instant, period: Duration) -> Self {
        SuccessRate {
            began,
            period,
            counts: [0; Self::KEPT],
            present: 0,
        }
    }

    /// A period with a few calls in it at this rate.
    fn period(rate: f64) -> Duration {
        Duration::from_secs_f64((4.0 / rate).max(1.0))
    }

    fn count(&mut self, now: Instant) {
        let period = self.number(now);
        for gone in self.present + 1..=period.min(self.present + Self::KEPT as u64) {
            self.counts[gone as usize % Self::KEPT] = 0;
        }
        self.present = self.present.max(period);
        self.counts[self.present as usize % Self::KEPT] += 1;
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began)
            .div_duration_f64(self.period) as u64
    }

    /// The rate of the best period kept: with latency, the successes of a growing rate come late.
    fn rate(&self, now: Instant) -> f64 {
        let age = self.number(now).saturating_sub(self.present);
        let best = self.counts.iter().copied().max().unwrap_or(0);
        if age >= Self::KEPT as u64 {
            0.0
        } else {
            f64::from(best) / self.period.as_secs_f64()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limiter::{Gcra, Rate};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);

    /// A server whose limit changes, and a client that finds it, in simulated time.
    struct Trial {
        client: AdaptiveRate,
        server: Gcra,
        latency: Duration,
        /// Latencies lie evenly between so many times less and more.
        spread: f64,
        random: SmallRng,
        /// How long a 429 takes: most servers are quick with it.
        refusal: Duration,
        now: Instant,
        paused_until: Instant,
        /// How long a 429 pauses everyone.
        pause: Duration,
        /// A 429 to a call that was sent in an earlier round is ignored.
        round: u32,
        /// For each call in flight: when it ends, whether it succeeds, and the round in which it was sent.
        in_flight: VecDeque<(Instant, bool, u32)>,
    }

    /// Calls accepted after the first half minute, and all calls answered 429.
    #[derive(Debug, Default)]
    struct Came {
        let_in: u32,
        refused: u32,
    }

    fn strict(rpm: u32, burst: u32, now: Instant) -> Gcra {
        let rate = Rate::per_minute(rpm).exact();
        let mut server = Gcra::new(rate.burst(burst), now);
        (0..burst).for_each(|_| server.take(now, 1));
        server
    }

    impl Trial {
        fn new(latency: Duration) -> Self {
            let now = Instant::now();
            Trial {
                client: AdaptiveRate::new(now),
                server: strict(600, 1, now),
                latency,
                spread: 1.0,
                random: SmallRng::seed_from_u64(0),
                refusal: latency,
                now,
                paused_until: now,
                pause: MS * 1000,
                round: 0,
                in_flight: VecDeque::new(),
            }
        }

        /// Runs for `time` at this limit, and returns the counts.
        fn pass(&mut self, time: Duration, rpm: u32, burst: u32) -> Came {
            self.server = strict(rpm, burst, self.now);
            let warm = self.now + Duration::from_secs(30);
            let end = self.now + time;
            let mut came = Came::default();
            while self.now < end {
                self.hear();
                let good = self.send();
                came.let_in += u32::from(good && self.now >= warm);
                came.refused += u32::from(!good);
                self.now = (self.now + self.client.interval(self.now)).max(self.paused_until);
            }
            came
        }

        fn send(&mut self) -> bool {
            let good = self.server.due(1) <= self.now;
            if good {
                self.server.take(self.now, 1);
            }
            let part = self.spread.powf(self.random.random_range(-1.0..=1.0));
            let took = match good {
                true => self.latency.mul_f64(part),
                false => self.refusal,
            };
            let ends = self.now + took;
            let at = self.in_flight.partition_point(|(other, ..)| *other <= ends);
            self.in_flight.insert(at, (ends, good, self.round));
            good
        }

        fn hear(&mut self) {
            while let Some((_, good, round)) =
                self.in_flight.pop_front_if(|(at, ..)| *at <= self.now)
            {
                if good {
                    self.client.succeeded(self.now, self.latency);
                } else if round == self.round {
                    self.client.rate_limited(self.now);
                    self.round += 1;
                    self.paused_until = self.now + self.pause;
                }
            }
        }
    }

    #[test]
    fn a_rate_that_is_not_used_does_not_grow() {
        let start = Instant::now();
        let mut rate = AdaptiveRate::new(start);
        (1..300u32).for_each(|n| rate.succeeded(start + MS * 1000 * n, MS * 1000));
        let interval = rate.interval(start + MS * 300_000);
        assert_eq!(interval, Duration::from_secs_f64(1.0 / AdaptiveRate::START));
    }

    #[test]
    fn a_limit_that_is_not_stated_is_found_and_followed_when_it_changes() {
        for (latency, refused_most) in [(MS * 50, 0.05), (MS * 400, 0.05), (MS * 2000, 0.1)] {
            let mut trial = Trial::new(latency);
            let came = [600, 300, 600].map(|rpm| (rpm, trial.pass(MS * 120_000, rpm, 20)));
            for (rpm, came) in &came {
                let used = f64::from(came.let_in) / (f64::from(*rpm) * 1.5);
                assert!(used >= 0.9, "{latency:?}, {rpm} a minute: {used} used");
            }
            let refused: u32 = came.iter().map(|(_, came)| came.refused).sum();
            assert!(
                f64::from(refused) <= refused_most * 3000.0,
                "{latency:?}: {refused} refused"
            );
            let found = trial.client.found().unwrap();
            assert!((8.0..=11.5).contains(&found), "found {found} a second");
        }
    }

    #[test]
    fn a_limit_that_is_not_stated_costs_a_429_in_200_calls_or_less() {
        let refused = (0..100).map(|n| {
            let mut trial = Trial {
                pause: MS * 200,
                refusal: MS,
                spread: 2.0,
                random: SmallRng::seed_from_u64(n),
                ..Trial::new(MS * 400)
            };
            trial.pass(MS * 200_000, 600, 20).refused
        });
        let refused: Vec<_> = refused.collect();
        let good = refused.iter().filter(|refused| **refused <= 10).count();
        assert!(good >= 85, "{good} of 100: {refused:?}");
    }

    #[test]
    fn a_limit_that_falls_is_found_although_each_pause_is_short() {
        for pause in [MS * 100, MS * 250, MS * 500] {
            let mut trial = Trial {
                pause,
                ..Trial::new(MS * 400)
            };
            trial.pass(MS * 90_000, 600, 20);
            let came = trial.pass(MS * 90_000, 300, 20);
            assert!(
                came.let_in >= 270 && came.refused <= 22,
                "{pause:?}: {came:?}"
            );
        }
    }

    #[test]
    fn a_limit_of_a_few_calls_a_minute_is_found_too() {
        for (rpm, burst) in [(3, 1), (5, 5), (20, 1)] {
            let mut trial = Trial {
                pause: MS * 60_000 / rpm / 2,
                ..Trial::new(MS * 2000)
            };
            trial.pass(MS * 600_000, rpm, burst);
            let came = trial.pass(MS * 3_600_000, rpm, burst);
            let possible = f64::from(rpm) * 60.0;
            let used = f64::from(came.let_in) / possible;
            assert!(
                used >= 0.85 && f64::from(came.refused) <= 0.07 * possible,
                "{rpm}: {used}, {came:?}"
            );
            let found = trial.client.found().unwrap();
            let truth = f64::from(rpm) / 60.0;
            assert!(
                (0.8 * truth..=1.1 * truth).contains(&found),
                "{rpm}: found {found} a second"
            );
        }
    }

    #[test]
    fn a_strict_limit_is_used_well_too() {
        let mut trial = Trial::new(MS * 400);
        let came = trial.pass(MS * 300_000, 600, 1);
        assert!(
            came.let_in >= 2700 * 85 / 100 && came.refused <= 90,
            "{came:?}"
        );
    }

    #[test]
    fn a_server_that_accepts_no_call_has_no_limit_to_find() {
        let start = Instant::now();
        let mut client = AdaptiveRate::new(start);
        client.rate_limited(start + MS * 500);
        assert_eq!(client.found(), None);
        (1..=10).for_each(|n| client.succeeded(start + MS * 1_000 * n, MS));
        client.rate_limited(start + MS * 11_000);
        assert!(
            client
                .found()
                .is_some_and(|found| (0.5..=1.5).contains(&found)),
            "{:?}",
            client.found()
        );
    }

    #[test]
    fn a_server_that_never_answers_429_is_not_slowed_down_for_long() {
        let start = Instant::now();
        let mut client = AdaptiveRate::new(start);
        let mut now = start;
        while !client.interval(now).is_zero() {
            now += client.interval(now);
            client.succeeded(now, MS);
        }
        assert!(now - start < MS * 2_000, "{:?}", now - start);
        client.rate_limited(now);
        assert!(!client.interval(now).is_zero(), "until it does");
    }

    #[test]
    fn after_an_outage_the_rate_is_back_in_seconds_and_it_is_never_zero() {
        let mut trial = Trial::new(MS * 100);
        trial.pass(MS * 60_000, 600, 20);
        let outage = trial.pass(MS * 60_000, 1, 1);
        assert!(trial.client.interval(trial.now) <= MS * 10_000, "the floor");
        assert!(
            outage.refused <= 65,
            "little more than one call per pause of a second: {outage:?}"
        );
        let after = trial.pass(MS * 60_000, 600, 20);
        assert!(after.let_in >= 270, "{after:?}");
    }
}
