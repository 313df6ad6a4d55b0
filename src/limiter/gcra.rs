//! The pure decision: when may the next call go, and until when is everyone paused? `now` comes in as an argument.

use std::time::{Duration, Instant};

use crate::clock::after;

/// How often calls may be made: plain data.
///
/// Calls go one interval apart, plus a small margin: a call that leaves exactly on time arrives a little early or late,
/// and a strict server refuses one whose gap the network has shortened. The margin is 1/56 of the interval (1.8 %),
/// at most 25 ms; for intervals under 70 ms it is 1.25 ms, but never more than 1/40 of the interval.
///
/// ```
/// use paceline::Rate;
/// use std::time::Duration;
///
/// const RATE: Rate = Rate::per_minute(500); // 0 would not compile
/// assert_eq!(RATE.interval(), Duration::from_millis(120));
/// let strict = RATE.burst(1).exact();
/// let patient = Rate::every(Duration::from_secs(2)).margin(Duration::from_millis(50));
/// # let _ = (strict, patient);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub(crate) interval: Duration,
    pub(crate) burst: u32,
    pub(crate) margin: Duration,
}

impl Rate {
    /// Calls a second.
    ///
    /// # Panics
    /// If `calls` is 0; in a `const`, at compile time.
    #[must_use]
    pub const fn per_second(calls: u32) -> Self {
        Rate::per(calls, Duration::from_secs(1))
    }

    /// Calls a minute.
    ///
    /// # Panics
    /// If `calls` is 0; in a `const`, at compile time.
    #[must_use]
    pub const fn per_minute(calls: u32) -> Self {
        Rate::per(calls, Duration::from_secs(60))
    }

    /// `calls` in each `time`, evenly spaced.
    ///
    /// # Panics
    /// If `calls` is 0; in a `const`, at compile time.
    #[must_use]
    pub const fn per(calls: u32, time: Duration) -> Self {
        match time.checked_div(calls) {
            Some(interval) => Rate::every(interval),
            None => panic!("a rate of no calls: to let none through, pause the limiter"),
        }
    }

    /// One call each `interval`. With [`Duration::ZERO`] this is [`unlimited`](Rate::unlimited).
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Rate {
            interval,
            burst: 1,
            margin: Rate::usual_margin(interval),
        }
    }

    /// No limit. A limiter at this rate can still be paused, and lets calls go on 50 ms apart and then ever closer
    /// after a pause.
    #[must_use]
    pub const fn unlimited() -> Self {
        Rate::every(Duration::ZERO)
    }

    /// Lets this many calls go at once after a quiet time, for a server that allows it. The default, 1, is an even
    /// spacing.
    ///
    /// # Panics
    /// If `calls` is 0; in a `const`, at compile time.
    ///
    /// ```
    /// use paceline::{Rate, RateLimiter, clock::SimClock};
    ///
    /// let clock = SimClock::new();
    /// let rate = Rate::per_second(1).burst(3).exact();
    /// let limiter = RateLimiter::builder().rate(rate).clock(clock.clone()).build();
    /// (0..5).for_each(|_| drop(limiter.acquire()));
    /// assert_eq!(clock.elapsed().as_secs(), 2); // three at once, then one a second
    /// ```
    #[must_use]
    pub const fn burst(self, burst: u32) -> Self {
        assert!(burst > 0, "a burst of no calls lets nothing through");
        Rate { burst, ..self }
    }

    /// Sets the margin that is added to each interval.
    #[must_use]
    pub const fn margin(self, margin: Duration) -> Self {
        Rate { margin, ..self }
    }

    /// Without a margin: exactly the interval. For a limit that is your own.
    #[must_use]
    pub const fn exact(self) -> Self {
        self.margin(Duration::ZERO)
    }

    /// The time from one call to the next, without the margin. Zero if there is no limit.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The values were found by measuring refusals at a strict nginx and at the practice server: 1 of 600 calls a
    /// minute was refused with 1.6 %, none with 1.8 %. Network jitter neither grows nor shrinks with the interval.
    const fn usual_margin(interval: Duration) -> Duration {
        let nanos = match interval.as_nanos() {
            nanos @ ..50_000_000 => nanos / 40,
            50_000_000..70_000_000 => 1_250_000,
            nanos @ ..1_400_000_000 => nanos / 56,
            _ => 25_000_000,
        };
        Duration::from_nanos(nanos as u64)
    }

    /// The time from one call to the next as the limiter spaces them.
    pub(crate) const fn step(&self) -> Duration {
        self.interval.saturating_add(self.margin)
    }

    /// How late a call may be without delaying the next, so that the everyday lateness of a timer (150 us) does not
    /// add up. At least half of the margin remains between the two.
    pub(crate) fn slack(&self) -> Duration {
        let timer = Duration::from_micros(150).min(self.margin / 2);
        timer.max(self.margin / 8)
    }
}

/// Decides when a call may go: the generic cell rate algorithm (GCRA, the "virtual scheduling" of ATM networks), with
/// one stored instant.
///
/// It knows neither clocks nor threads. A client asks when a call is due and waits for it; a server asks and refuses.
#[derive(Clone, Debug)]
pub(crate) struct Gcra {
    pub(crate) rate: Rate,
    /// When the whole burst will be available again: GCRA's theoretical arrival time.
    pub(crate) full_at: Instant,
    /// The end of the present pause, or of the last one: no call may go before.
    pub(crate) paused_until: Instant,
    /// After a pause at an unlimited rate: the gap between calls, which shrinks with each.
    restart_gap: Duration,
}

impl Gcra {
    /// After a pause, calls without a rate start this far apart, so that they do not all hit the server at once.
    /// 20 calls a second is what most APIs allow on their smallest plan.
    const RESTART_GAP: Duration = Duration::from_millis(50);

    /// A limit whose first call is due at `start`.
    pub(crate) fn new(rate: Rate, start: Instant) -> Self {
        Gcra {
            rate,
            full_at: start,
            paused_until: start,
            restart_gap: Duration::ZERO,
        }
    }

    /// The earliest instant at which a call that costs `cost` may go. It may lie in the past.
    ///
    /// A call that costs more than the burst may go when the burst is whole; the next calls make up for it.
    pub(crate) fn due(&self, cost: u32) -> Instant {
        let spaced = self.spaced(cost).unwrap_or(self.paused_until);
        spaced.max(self.paused_until)
    }

    /// When the rate alone lets a call go; `None` if that is before all time.
    fn spaced(&self, cost: u32) -> Option<Instant> {
        let spare = self.rate.burst.saturating_sub(cost);
        self.full_at
            .checked_sub(self.rate.step().saturating_mul(spare))
    }

    /// Takes a call that costs `cost` at `now`.
    pub(crate) fn take(&mut self, now: Instant, cost: u32) {
        let step = self.rate.step().max(self.restart_gap);
        let on_time = now.checked_sub(self.rate.slack()).unwrap_or(now);
        self.full_at = after(self.full_at.max(on_time), step.saturating_mul(cost));
        self.restart_gap = self.restart_gap * 9 / 10;
    }

    /// Changes the rate. The next call is due as it was, those after it at the new rate.
    pub(crate) fn set_rate(&mut self, rate: Rate) {
        let next = self.spaced(1);
        self.rate = rate;
        let rest = rate.step().saturating_mul(rate.burst - 1);
        self.full_at = next.map_or(self.full_at, |next| after(next, rest));
    }

    /// Lets no call go before `until`; afterwards calls go one interval apart, without a burst. A pause that ends
    /// before the present one changes nothing.
    pub(crate) fn pause_until(&mut self, until: Instant) {
        if until <= self.paused_until {
            return;
        }
        self.paused_until = until;
        let burst = self.rate.step().saturating_mul(self.rate.burst - 1);
        self.full_at = self.full_at.max(after(until, burst));
        if self.rate.interval.is_zero() {
            self.restart_gap = Self::RESTART_GAP;
        }
    }

    /// Whether the limit is as good as new: not paused, and the whole burst available.
    pub(crate) fn is_full(&self, now: Instant) -> bool {
        now >= self.full_at && now >= self.paused_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_is_between_one_and_a_half_and_three_percent_and_at_most_25_milliseconds() {
        let margin = |interval| Rate::every(interval).margin;
        for (interval_us, margin_us) in [
            (1_000, 25),
            (20_000, 500),
            (60_000, 1_250),
            (112_000, 2_000),
        ] {
            assert_eq!(
                margin(Duration::from_micros(interval_us)).as_micros(),
                margin_us
            );
        }
        assert_eq!(margin(Duration::from_secs(60)), Duration::from_millis(25));
        assert_eq!(margin(Duration::MAX), Duration::from_millis(25));
        assert_eq!(margin(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn absurd_rates_do_not_overflow() {
        let start = Instant::now();
        let mut gcra = Gcra::new(Rate::every(Duration::MAX).burst(u32::MAX), start);
        gcra.take(start, u32::MAX);
        gcra.pause_until(start + Duration::from_secs(1));
        assert!(gcra.due(u32::MAX) > start);
    }
}
