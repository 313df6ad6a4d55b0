//! The pure decision: when is the next turn due, and until when is everyone held? `now` comes in as an argument.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How often turns may be taken: plain data.
///
/// # Default
/// [`Rate::unlimited`]: no pace of its own, but it can still be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From one turn to the next, as the server allows it. Zero: no limit.
    pub interval: Duration,
    /// How many turns the server lets through at once after a quiet time. 1 is a strict, even pace.
    pub burst: NonZeroU32,
    /// Added to every interval: calls that leave exactly on time arrive with jitter, and a strict server refuses
    /// the one whose gap the network shortened.
    pub guard: Duration,
}

impl Rate {
    /// The guard is one part in this many of the interval: 1.8 %.
    const GUARD_PART: u32 = 56;
    /// No more guard than this is needed: arrival jitter does not grow with the interval.
    const GUARD_MAX: Duration = Duration::from_millis(25);
    /// Nor does it shrink with it: so much is wanted,
    const GUARD_MIN: Duration = Duration::from_micros(1250);
    /// as long as it is no more than one part in this many: 2.5 %.
    const GUARD_MOST_PART: u32 = 40;
    /// A timer's everyday lateness.
    const EVERYDAY: Duration = Duration::from_micros(150);

    /// So many turns a minute, evenly spaced, with the usual guard: see [`spaced`](Rate::spaced).
    #[must_use]
    pub fn per_minute(turns: NonZeroU32) -> Self {
        Rate::spaced(Duration::from_secs(60) / turns.get())
    }

    /// One turn after the other at this interval, with the usual guard: 1/56 of the interval (1.8 %), but no more than 25 ms,
    /// and for short intervals up to 1/40, so that it is 1.25 ms where it can be.
    #[must_use]
    pub fn spaced(interval: Duration) -> Self {
        let least = Self::GUARD_MIN.min(interval / Self::GUARD_MOST_PART);
        let guard = (interval / Self::GUARD_PART).clamp(least, Self::GUARD_MAX.max(least));
        Rate {
            interval,
            burst: NonZeroU32::MIN,
            guard,
        }
    }

    /// One turn after the other at exactly this interval, without a guard.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Rate {
            interval,
            burst: NonZeroU32::MIN,
            guard: Duration::ZERO,
        }
    }

    /// No pace of its own.
    #[must_use]
    pub fn unlimited() -> Self {
        Rate::every(Duration::ZERO)
    }

    /// Lets `turns` pass at once after a quiet time.
    #[must_use]
    pub fn with_burst(self, turns: NonZeroU32) -> Self {
        Rate {
            burst: turns,
            ..self
        }
    }

    /// Sets the guard: zero for exactly the interval.
    #[must_use]
    pub fn with_guard(self, guard: Duration) -> Self {
        Rate { guard, ..self }
    }

    /// From one turn to the next as the turnstile spaces them.
    pub(super) fn step(&self) -> Duration {
        self.interval + self.guard
    }

    /// So late a turn may be without putting off the next, so that the timer's everyday error does not add up. What is left
    /// of the guard is still between the two: at least half, where there is enough of it most.
    pub(super) fn excused(&self) -> Duration {
        (self.guard / 8).max(Self::EVERYDAY.min(self.guard / 2))
    }
}

impl Default for Rate {
    fn default() -> Self {
        Rate::unlimited()
    }
}

/// The pure decision: when a turn is due. GCRA, the "virtual scheduling" of ATM networks, with one stored instant.
///
/// It knows neither clocks nor threads: `now` comes in. A client asks [`due`](Turnstile::due) and waits for it, a
/// server asks and refuses.
#[derive(Clone, Debug)]
pub struct Turnstile {
    rate: Rate,
    /// When the allowance will be whole again: GCRA's theoretical arrival time.
    full_at: Instant,
    /// Nobody passes before this.
    held_until: Instant,
    /// While an unlimited turnstile finds its feet after a hold: the gap it keeps, shrinking turn by turn.
    restart_gap: Duration,
}

impl Turnstile {
    /// After a hold, a turnstile with no rate of its own starts this far apart, so that no herd runs into the server.
    const RESTART_GAP: Duration = Duration::from_millis(50);

    /// A turnstile whose first turn is due at `start`.
    #[must_use]
    pub fn new(rate: Rate, start: Instant) -> Self {
        Turnstile {
            rate,
            full_at: start,
            held_until: start,
            restart_gap: Duration::ZERO,
        }
    }

    /// The earliest instant at which a call of this `cost` may pass. It may lie in the past.
    ///
    /// A call that costs more than the whole allowance passes when the allowance is full; the next ones wait it off.
    #[must_use]
    pub fn due(&self, cost: u32) -> Instant {
        let spare = self.rate.burst.get().saturating_sub(cost);
        let paced = self
            .full_at
            .checked_sub(self.rate.step() * spare)
            .unwrap_or(self.held_until);
        paced.max(self.held_until)
    }

    /// Takes a turn of this `cost` at `now`. Taken late, it does not make the next one come sooner after it than the
    /// interval and at least half of the guard (but for the burst).
    pub fn take(&mut self, now: Instant, cost: u32) {
        let step = self.rate.step().max(self.restart_gap);
        self.full_at = self.full_at.max(self.excused(now)) + step * cost;
        self.restart_gap = self.restart_gap * 9 / 10;
    }

    /// A call whose turn was taken earlier left at `at`: the next is due no sooner than if the turn had been taken then.
    pub fn departed(&mut self, at: Instant) {
        self.full_at = self.full_at.max(self.excused(at) + self.rate.step());
    }

    /// As if it had been a little earlier.
    fn excused(&self, at: Instant) -> Instant {
        at.checked_sub(self.rate.excused()).unwrap_or(at)
    }

    /// From one turn to the next, as the server allows it.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.rate.interval
    }

    /// The rate, with its guard.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The rate may change while the turnstile is in use: the next turn is due as it was, those after it as the new rate
    /// says.
    pub fn set_rate(&mut self, rate: Rate) {
        self.rate = rate;
    }

    /// Whether a hold is in force.
    #[must_use]
    pub fn is_held(&self, now: Instant) -> bool {
        now < self.held_until
    }

    /// Until when it is held, or was.
    #[must_use]
    pub fn held_until(&self) -> Instant {
        self.held_until
    }

    /// Lets nobody pass before `until`; after it, turns come one step apart, with no burst.
    pub fn hold_until(&mut self, until: Instant) {
        if until <= self.held_until {
            return;
        }
        self.held_until = until;
        self.full_at = self
            .full_at
            .max(until + self.rate.step() * (self.rate.burst.get() - 1));
        if self.rate.interval.is_zero() {
            self.restart_gap = Self::RESTART_GAP;
        }
    }
}
