//! The retry budget: a broken server is not hammered.
//!
//! Retries that faults cause are at most a tenth of the calls, and a small reserve, for the whole batch together: the
//! client-wide budget of Google's *Site Reliability Engineering* ("Handling Overload"). Whoever would overdraw it makes
//! everyone slow down; and when it has been overdrawn for a while, the batch stops.

use std::time::{Duration, Instant};

/// Calls pay in, retries draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// In retries.
    balance: f64,
    /// Since when it has not recovered from having nothing to draw.
    overdrawn: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            balance: Self::RESERVE,
            overdrawn: None,
        }
    }
}

impl Budget {
    /// What there is at the beginning.
    const RESERVE: f64 = 10.0;
    /// What each call pays in.
    const PART: f64 = 0.1;
    /// More than this is not saved up: a quiet day buys no storm.
    const MOST: f64 = 100.0;
    /// Overdrawn, it is so until this is there again.
    const RECOVERED: f64 = 5.0;
    /// Overdrawn for so long, the server counts as broken.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A call is made.
    pub(super) fn pay_in(&mut self) {
        self.balance = (self.balance + Self::PART).min(Self::MOST);
        if self.balance >= Self::RECOVERED {
            self.overdrawn = None;
        }
    }

    /// A call failed through a fault and wants to be made again. False: it may, but everyone must slow down.
    pub(super) fn draw(&mut self, now: Instant) -> bool {
        if self.balance >= 1.0 {
            self.balance -= 1.0;
        } else {
            self.overdrawn.get_or_insert(now);
        }
        self.overdrawn.is_none()
    }

    /// Whether it has been overdrawn for so long that the batch should stop.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.overdrawn
            .is_some_and(|since| now.saturating_duration_since(since) >= Self::PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_retries_than_a_tenth_of_the_calls_and_the_reserve_overdraw_it() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        let every = |budget: &mut Budget, n: u32, calls: u32| {
            (0..calls)
                .filter(|call| {
                    budget.pay_in();
                    call % n == 0 && !budget.draw(now)
                })
                .count()
        };
        assert_eq!(every(&mut budget, 10, 10_000), 0);
        let too_many = every(&mut budget, 5, 200);
        assert!(
            (15..25).contains(&too_many),
            "{too_many} of 40 retries, after the reserve"
        );
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let (mut budget, now) = (Budget::default(), Instant::now());
        (0..1_000_000).for_each(|_| budget.pay_in());
        assert_eq!((0..1000).filter(|_| budget.draw(now)).count(), 100);
    }

    #[test]
    fn it_is_exhausted_when_it_has_been_overdrawn_for_a_minute() {
        let (mut budget, start) = (Budget::default(), Instant::now());
        while budget.draw(start) {}
        assert!(!budget.is_exhausted(start + Duration::from_secs(59)));
        assert!(budget.is_exhausted(start + Duration::from_secs(60)));
        (0..60).for_each(|_| budget.pay_in());
        assert!(budget.draw(start + Duration::from_secs(61)));
        assert!(
            !budget.is_exhausted(start + Duration::from_secs(61)),
            "it has recovered"
        );
    }
}
