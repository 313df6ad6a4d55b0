//! The retry budget, which keeps a batch from hammering a broken server.
//!
//! Retries after faults may be a tenth of all calls of the batch, plus a small reserve: the client-wide budget of
//! Google's *Site Reliability Engineering* ("Handling Overload"). A retry that overdraws the budget slows everyone down.
//! A budget that stays overdrawn stops the batch.

use std::time::{Duration, Instant};

/// Each call pays in; each retry draws.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Unit: retries.
    balance: f64,
    /// Since when it is overdrawn; `None` once it has recovered.
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
    /// Balance at the start, so that the first few faults slow nobody down.
    const RESERVE: f64 = 10.0;
    /// Each call pays in this much: retries may be a tenth of the calls.
    const PART: f64 = 0.1;
    /// Largest balance, so that a day without faults does not allow a storm of retries.
    const MOST: f64 = 100.0;
    /// An overdrawn budget has recovered at this balance.
    const RECOVERED: f64 = 5.0;
    /// A budget overdrawn for this long means that the server is broken.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A call is about to leave.
    pub(super) fn pay_in(&mut self) {
        self.balance = (self.balance + Self::PART).min(Self::MOST);
        if self.balance >= Self::RECOVERED {
            self.overdrawn = None;
        }
    }

    /// A call failed with a fault and is to be retried. Returns false if everyone must slow down.
    pub(super) fn draw(&mut self, now: Instant) -> bool {
        if self.balance >= 1.0 {
            self.balance -= 1.0;
        } else {
            self.overdrawn.get_or_insert(now);
        }
        self.overdrawn.is_none()
    }

    /// Whether the batch should stop, because the budget has been overdrawn for [`PATIENCE`](Budget::PATIENCE).
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        self.overdrawn
            .is_some_and(|since| now.saturating_duration_since(since) >= Self::PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_beyond_the_reserve_and_a_tenth_of_the_calls_overdraw_it() {
        let mut budget = Budget::default();
        let now = Instant::now();
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
    fn the_balance_is_bounded() {
        let mut budget = Budget::default();
        let now = Instant::now();
        (0..1_000_000).for_each(|_| budget.pay_in());
        assert_eq!((0..1000).filter(|_| budget.draw(now)).count(), 100);
    }

    #[test]
    fn it_is_exhausted_when_it_has_been_overdrawn_for_a_minute() {
        let mut budget = Budget::default();
        let start = Instant::now();
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
