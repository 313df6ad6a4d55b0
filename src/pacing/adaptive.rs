//! A pace for a limit that nobody states: start gently, grow, cut on refusal.
//!
//! Congestion control, as TCP does it and as the *adaptive* retry mode of AWS's SDKs does. Until the first refusal each
//! success makes the pace faster, so that it doubles about every second. A refusal cuts it; it comes back along a cubic
//! curve, fast at first, flat near the pace at which it was refused, and then faster again to see whether there is more
//! to be had. Pure: `now` comes in.

use std::time::{Duration, Instant};

/// The pace, in calls a second, as it follows from successes and refusals.
#[derive(Clone, Debug)]
pub(super) struct AdaptiveRate {
    phase: Phase,
    /// When the phase began.
    began: Instant,
    /// Since when successes are counted: usually the last cut, but so many are needed to tell anything.
    counted_from: Instant,
    /// Successes since then, and when the first and the last of them came.
    successes: u32,
    first_success: Instant,
    last_success: Instant,
    meter: Meter,
    /// Successes, and the seconds they took, from one cut to the next; what is long ago counts less.
    let_through: (f64, f64),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Never refused so far.
    Finding { rate: f64 },
    /// From `start`, the pace after the cut, back to `limit`, the pace that the server is thought to allow, and on.
    Cubic { start: f64, limit: f64 },
}

impl AdaptiveRate {
    /// The pace at the beginning, in calls a second.
    const START: f64 = 5.0;
    /// It is never slower than this: one call a minute finds out that the server is well again. Free of charge, some let
    /// three a minute through.
    const FLOOR: f64 = 1.0 / 60.0;
    /// What a refusal leaves of it.
    const CUT: f64 = 0.8;
    /// How long it takes to come back, in seconds, and in calls where they are few: each time it has come back it asks
    /// for too much, and the refusals are to be few among the calls.
    const RECOVERY: f64 = 10.0;
    /// See [`RECOVERY`](AdaptiveRate::RECOVERY).
    const RECOVERY_CALLS: f64 = 20.0;
    /// So many successes say something about the limit.
    const SAMPLE: u32 = 10;
    /// Who has come to this without a refusal has found that there is no limit.
    const CEILING: f64 = 1000.0;

    /// The gentle start.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        let phase = Phase::Finding { rate: Self::START };
        AdaptiveRate {
            phase,
            began: now,
            counted_from: now,
            successes: 0,
            first_success: now,
            last_success: now,
            meter: Meter::new(now, Meter::SECOND),
            let_through: (0.0, 0.0),
        }
    }

    /// From one turn to the next, at the pace of `now`. Zero: there is no limit to be found.
    #[must_use]
    pub(super) fn interval(&self, now: Instant) -> Duration {
        match (self.phase, self.rate(now)) {
            (Phase::Finding { .. }, Self::CEILING..) => Duration::ZERO,
            (_, rate) => Duration::from_secs_f64(1.0 / rate),
        }
    }

    /// What the server was found to let through, in calls a second; none before it has both let calls through and refused.
    #[must_use]
    pub(super) fn found(&self) -> Option<f64> {
        let (successes, seconds) = self.let_through;
        (successes > 0.0 && seconds > 0.0).then(|| successes / seconds)
    }

    fn limit(&self) -> Option<f64> {
        match self.phase {
            Phase::Finding { .. } => None,
            Phase::Cubic { limit, .. } => Some(limit),
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self, now: Instant) {
        if self.successes == 0 {
            self.first_success = now;
        }
        self.last_success = now;
        self.successes += 1;
        self.meter.count(now);
        if let Phase::Finding { rate } = &mut self.phase {
            *rate = (*rate + 1.0).min(Self::CEILING);
        }
    }

    /// A round of calls was refused: one cut, however many they were.
    pub(super) fn refused(&mut self, now: Instant) {
        let rate = self.rate(now);
        let limit = self.allowed(now, rate).max(Self::FLOOR);
        let start = (rate.min(limit) * Self::CUT).max(Self::FLOOR);
        if self.tells() || matches!(self.phase, Phase::Finding { .. }) {
            self.count_anew(now, limit);
        }
        (self.phase, self.began) = (Phase::Cubic { start, limit }, now);
    }

    /// What was counted has been made use of.
    fn count_anew(&mut self, now: Instant, limit: f64) {
        let (successes, seconds) = self.let_through;
        let since = (now - self.counted_from).as_secs_f64();
        self.let_through = (
            successes / 2.0 + f64::from(self.successes),
            seconds / 2.0 + since,
        );
        (self.successes, self.counted_from, self.meter) =
            (0, now, Meter::new(now, Meter::period(limit)));
    }

    /// Whether there have been enough successes to go by.
    fn tells(&self) -> bool {
        self.successes >= Self::SAMPLE
    }

    /// Successes a second, as they are counted.
    fn mean(&self) -> f64 {
        let span = (self.last_success - self.first_success).as_secs_f64();
        f64::from(self.successes - 1) / span.max(0.1)
    }

    /// What the server allows, as far as can be told, in calls a second: less than the best second, because an allowance
    /// may have been used up, and more than the mean of all, because it took a while to get there. Where there is too
    /// little to go by, what was thought before still holds: a server that refuses everything for a while has the same
    /// limit after it.
    fn allowed(&self, now: Instant, rate: f64) -> f64 {
        match self.phase {
            Phase::Finding { .. } => self.meter.rate(now).max(rate / 2.0).min(rate),
            Phase::Cubic { limit, .. } if !self.tells() => limit,
            Phase::Cubic { .. } => ((self.mean() + self.meter.rate(now)) / 2.0).min(rate),
        }
    }

    fn rate(&self, now: Instant) -> f64 {
        let rate = match self.phase {
            Phase::Finding { rate } => rate,
            Phase::Cubic { start, limit } => cubic(start, limit, (now - self.began).as_secs_f64()),
        };
        // Growing further than what is really sent would find out nothing.
        rate.min(
            (2.0 * self.meter.rate(now)).max(Self::START.max(self.limit().unwrap_or_default())),
        )
        .max(Self::FLOOR)
    }
}

/// From `start` to `limit` in the time of recovery, flat there, and on as it came.
fn cubic(start: f64, limit: f64, seconds: f64) -> f64 {
    let recovery = AdaptiveRate::RECOVERY.max(AdaptiveRate::RECOVERY_CALLS / limit);
    let x = seconds / recovery - 1.0;
    let reach = if x < 0.0 {
        limit - start
    } else {
        limit * (1.0 - AdaptiveRate::CUT)
    };
    limit + reach * x.powi(3)
}

/// Successes a second, over the last few seconds; over longer periods where calls are few.
#[derive(Clone, Debug)]
struct Meter {
    began: Instant,
    period: Duration,
    /// Successes in the present period and in those before it.
    counts: [u32; Meter::KEPT],
    /// The number of the present period.
    present: u64,
}

impl Meter {
    const KEPT: usize = 4;
    const SECOND: Duration = Duration::from_secs(1);

    fn new(began: Instant, period: Duration) -> Self {
        Meter {
            began,
            period,
            counts: [0; Self::KEPT],
            present: 0,
        }
    }

    /// One that has a few calls in it at this pace.
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

    /// The best of the periods kept: latency makes the successes of a growing pace come late.
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
    use std::collections::VecDeque;

    const MS: Duration = Duration::from_millis(1);

    /// A server whose limit changes, and a client that finds it, in simulated time.
    struct Trial {
        client: AdaptiveRate,
        server: Gcra,
        latency: Duration,
        now: Instant,
        held_until: Instant,
        /// How long a refusal holds everyone.
        hold: Duration,
        /// Refusals of calls that were sent in an earlier round are no news.
        round: u32,
        /// When each call under way is answered, whether well, and in which round it was sent.
        under_way: VecDeque<(Instant, bool, u32)>,
    }

    /// What some time came to: the calls let in after the first half minute, and those refused in all of it.
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
            let (client, server) = (AdaptiveRate::new(now), strict(600, 1, now));
            let (round, under_way) = (0, VecDeque::new());
            Trial {
                client,
                server,
                latency,
                now,
                held_until: now,
                hold: MS * 1000,
                round,
                under_way,
            }
        }

        /// Lets the time pass at this limit; returns what it came to.
        fn pass(&mut self, time: Duration, rpm: u32, burst: u32) -> Came {
            self.server = strict(rpm, burst, self.now);
            let (warm, end) = (self.now + Duration::from_secs(30), self.now + time);
            let mut came = Came::default();
            while self.now < end {
                self.hear();
                let good = self.send();
                came.let_in += u32::from(good && self.now >= warm);
                came.refused += u32::from(!good);
                self.now = (self.now + self.client.interval(self.now)).max(self.held_until);
            }
            came
        }

        fn send(&mut self) -> bool {
            let good = self.server.due(1) <= self.now;
            if good {
                self.server.take(self.now, 1);
            }
            self.under_way
                .push_back((self.now + self.latency, good, self.round));
            good
        }

        fn hear(&mut self) {
            while let Some((_, good, round)) =
                self.under_way.pop_front_if(|(at, ..)| *at <= self.now)
            {
                if good {
                    self.client.succeeded(self.now);
                } else if round == self.round {
                    self.client.refused(self.now);
                    self.round += 1;
                    self.held_until = self.now + self.hold;
                }
            }
        }
    }

    #[test]
    fn a_limit_that_nobody_states_is_found_and_followed_when_it_changes() {
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
    fn a_limit_that_falls_is_found_though_each_round_of_refusals_is_short() {
        for hold in [MS * 100, MS * 250, MS * 500] {
            let mut trial = Trial {
                hold,
                ..Trial::new(MS * 400)
            };
            trial.pass(MS * 90_000, 600, 20);
            let came = trial.pass(MS * 90_000, 300, 20);
            assert!(
                came.let_in >= 270 && came.refused <= 22,
                "{hold:?}: {came:?}"
            );
        }
    }

    #[test]
    fn a_limit_of_a_few_calls_a_minute_is_found_too() {
        for (rpm, burst) in [(3, 1), (5, 5), (20, 1)] {
            let mut trial = Trial {
                hold: MS * 60_000 / rpm / 2,
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
            let (found, truth) = (trial.client.found().unwrap(), f64::from(rpm) / 60.0);
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
            came.let_in >= 2700 * 80 / 100 && came.refused <= 90,
            "{came:?}"
        );
    }

    #[test]
    fn who_lets_nothing_through_has_no_limit_to_be_found() {
        let start = Instant::now();
        let mut client = AdaptiveRate::new(start);
        client.refused(start + MS * 500);
        assert_eq!(client.found(), None);
        (1..=10).for_each(|n| client.succeeded(start + MS * 1_000 * n));
        client.refused(start + MS * 11_000);
        assert!(
            client
                .found()
                .is_some_and(|found| (0.5..=1.5).contains(&found)),
            "{:?}",
            client.found()
        );
    }

    #[test]
    fn a_server_that_never_refuses_is_not_slowed_down_for_long() {
        let start = Instant::now();
        let (mut client, mut now) = (AdaptiveRate::new(start), start);
        while !client.interval(now).is_zero() {
            now += client.interval(now);
            client.succeeded(now);
        }
        assert!(now - start < MS * 20_000, "{:?}", now - start);
        client.refused(now);
        assert!(!client.interval(now).is_zero(), "until it does");
    }

    #[test]
    fn after_an_outage_the_pace_is_back_in_seconds_and_it_never_stands_still() {
        let mut trial = Trial::new(MS * 100);
        trial.pass(MS * 60_000, 600, 20);
        let outage = trial.pass(MS * 60_000, 1, 1);
        assert!(trial.client.interval(trial.now) <= MS * 10_000, "the floor");
        assert!(
            outage.refused <= 65,
            "little more than one a hold of a second: {outage:?}"
        );
        let after = trial.pass(MS * 60_000, 600, 20);
        assert!(after.let_in >= 270, "{after:?}");
    }
}
