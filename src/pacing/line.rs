//! What the runner asks of the pattern's line and schedule beyond what a limiter needs: a permit that somebody else
//! must agree to, and a call that leaves after its permit.

use std::time::Instant;

use crate::cancel::{CancelToken, WaitError};
use crate::clock::after;
use crate::limiter::{Gcra, Line, Schedule};

impl<S: Schedule> Line<S> {
    /// [`Line::take`], where somebody else must agree to each permit. `agree` is called, without the lock, when a
    /// permit is due at the front of the line; after `false` the schedule must know when to ask again.
    pub(super) fn take_if<E: From<WaitError>>(
        &self,
        want: S::Want,
        cancel: &CancelToken,
        agree: impl Fn() -> Result<bool, E>,
    ) -> Result<Option<S::Grant>, E> {
        let place = self.arrive(&mut self.state.lock(), want, self.clock.now());
        while place.wait(Some(cancel), |_, _| ())?.is_some() {
            if agree()? {
                let take = |schedule: &mut S, now| schedule.take(now, want, now - place.came);
                return Ok(Some(self.update(take)));
            }
        }
        Ok(None)
    }
}

impl Gcra {
    /// A call that was taken earlier leaves only at `at`, because a connection had to be made first: the next is due no
    /// sooner than if it had been taken then.
    pub(super) fn sent(&mut self, at: Instant) {
        let on_time = at.checked_sub(self.rate.slack()).unwrap_or(at);
        self.full_at = self.full_at.max(after(on_time, self.rate.step()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limiter::Rate;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_that_leaves_late_keeps_the_next_at_its_distance() {
        let start = Instant::now();
        let mut gcra = Gcra::new(Rate::per_second(1).exact(), start);
        gcra.take(start, 1);
        gcra.sent(start + MS * 300);
        assert_eq!(gcra.due(1), start + MS * 1300);
        gcra.take(start + MS * 1300, 1);
        gcra.sent(start + MS * 1200);
        let due = gcra.due(1);
        assert_eq!(
            due,
            start + MS * 2300,
            "one that left before changes nothing"
        );
    }
}
