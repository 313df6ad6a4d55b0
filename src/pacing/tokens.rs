//! The same decision for limits in tokens: a turn has a cost, and at most so much may be spent in any minute.
//!
//! Two rules at once. Turns are spread out: after a call of `c` tokens the next waits until so many have come back,
//! which is GCRA with a cost. And the book of the last minute is kept: no call passes that would bring the minute that
//! ends with it above the limit, which GCRA alone would allow by the cost of one call. Where the second rule made a
//! call wait, the first lets the next ones catch up, or the limit would not be used.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// When is there room for a call of so many tokens?
///
/// A call that costs more than the whole limit passes when nothing has been spent for a minute, and the next ones wait
/// it off.
#[derive(Clone, Debug)]
pub(super) struct TokenWindow {
    limit: NonZeroU32,
    /// What was spent so far, as far as GCRA remembers it: when all of it will have come back.
    whole_at: Instant,
    /// What was spent in the last minute, oldest first.
    spent: VecDeque<Spent>,
    /// The sum of that.
    sum: u64,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    ticket: u64,
    at: Instant,
    cost: u32,
}

impl TokenWindow {
    const MINUTE: Duration = Duration::from_secs(60);
    /// A minute, and a guard against the jitter with which calls arrive.
    const SPAN: Duration = Duration::from_millis(60_050);
    /// How much waiting may be caught up with.
    const SLACK: Duration = Duration::from_secs(20);

    /// So many tokens in any minute, the first of them at once.
    #[must_use]
    pub(super) fn per_minute(limit: NonZeroU32, start: Instant) -> Self {
        TokenWindow {
            limit,
            whole_at: start,
            spent: VecDeque::new(),
            sum: 0,
        }
    }

    /// The limit may change while the window is in use.
    pub(super) fn set_limit(&mut self, limit: NonZeroU32) {
        self.limit = limit;
    }

    /// The earliest instant at which a call of this cost may pass. It may lie in the past.
    #[must_use]
    pub(super) fn due(&self, cost: u32) -> Instant {
        let mut sum = self.sum;
        let mut room_at = self.whole_at;
        for spent in &self.spent {
            if sum == 0 || sum + u64::from(cost) <= u64::from(self.limit.get()) {
                break;
            }
            sum -= u64::from(spent.cost);
            room_at = room_at.max(spent.at + Self::SPAN);
        }
        room_at
    }

    /// A call of this cost passes at `now`. The `ticket` names it for [`correct`](TokenWindow::correct); tickets ascend.
    pub(super) fn take(&mut self, now: Instant, ticket: u64, cost: u32) {
        while let Some(oldest) = self
            .spent
            .front()
            .filter(|spent| now >= spent.at + Self::SPAN)
        {
            self.sum -= u64::from(oldest.cost);
            self.spent.pop_front();
        }
        self.spent.push_back(Spent {
            ticket,
            at: now,
            cost,
        });
        self.sum += u64::from(cost);
        let caught_up = now.checked_sub(Self::SLACK).unwrap_or(now);
        self.whole_at = self.whole_at.max(caught_up) + self.time_for(cost);
    }

    /// The call cost something else than was thought: nothing, if it failed before it was counted.
    pub(super) fn correct(&mut self, ticket: u64, cost: u32) {
        let Ok(place) = self
            .spent
            .binary_search_by_key(&ticket, |spent| spent.ticket)
        else {
            return;
        };
        let thought = std::mem::replace(&mut self.spent[place].cost, cost);
        self.sum = self.sum - u64::from(thought) + u64::from(cost);
        if cost >= thought {
            self.whole_at += self.time_for(cost - thought);
        } else {
            let sooner = self.whole_at.checked_sub(self.time_for(thought - cost));
            self.whole_at = sooner.unwrap_or(self.whole_at);
        }
    }

    /// How long it takes until so many tokens have come back.
    fn time_for(&self, tokens: u32) -> Duration {
        Self::MINUTE.mul_f64(f64::from(tokens) / f64::from(self.limit.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn window(limit: u32, start: Instant) -> TokenWindow {
        TokenWindow::per_minute(NonZeroU32::new(limit).unwrap(), start)
    }

    /// Passes calls of these costs as soon as they may; returns when each passed.
    fn pass(
        window: &mut TokenWindow,
        start: Instant,
        costs: impl IntoIterator<Item = u32>,
    ) -> Vec<(Duration, u32)> {
        let mut now = start;
        let mut take = |(ticket, cost)| {
            now = now.max(window.due(cost));
            window.take(now, ticket, cost);
            (now - start, cost)
        };
        (0..).zip(costs).map(&mut take).collect()
    }

    #[test]
    fn a_call_waits_until_what_the_last_one_cost_has_come_back() {
        let start = Instant::now();
        let passed = pass(&mut window(6000, start), start, [1000, 500, 100, 1]);
        assert_eq!(
            passed
                .iter()
                .map(|(at, _)| at.as_secs())
                .collect::<Vec<_>>(),
            [0, 10, 15, 16]
        );
    }

    #[test]
    fn no_minute_is_above_the_limit_and_hardly_anything_of_it_is_wasted() {
        let start = Instant::now();
        let cost = |n: u32| {
            10.0 * 500f64.powf(f64::from(n.wrapping_mul(2_654_435_761)) / f64::from(u32::MAX))
        };
        let costs = (0..2000).map(|n| cost(n) as u32); // from 10 to 5,000
        let passed = pass(&mut window(60_000, start), start, costs);
        for (first, (begin, _)) in passed.iter().enumerate() {
            let minute = passed[first..]
                .iter()
                .take_while(|(at, _)| *at < *begin + SECOND * 60);
            let spent: u32 = minute.map(|(_, cost)| cost).sum();
            assert!(spent <= 60_000, "{spent} in the minute from {begin:?}");
        }
        let total: u64 = passed.iter().map(|(_, cost)| u64::from(*cost)).sum();
        let used = total as f64 / (passed.last().unwrap().0.as_secs_f64() * 1000.0);
        assert!(used >= 0.97, "{used}");
    }

    #[test]
    fn a_call_larger_than_the_limit_passes_when_nothing_has_been_spent_and_is_waited_off() {
        let start = Instant::now();
        let passed = pass(&mut window(6000, start), start, [600, 12_000, 600, 600]);
        let seconds: Vec<_> = passed.iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(
            seconds,
            [0, 60, 160, 166],
            "its two minutes, but for the slack"
        );
    }

    #[test]
    fn a_correction_gives_back_or_takes_what_the_estimate_was_off_by() {
        let start = Instant::now();
        let mut window = window(6000, start);
        window.take(start, 7, 3000);
        assert_eq!(window.due(100), start + SECOND * 30);
        window.correct(7, 1000);
        assert_eq!(window.due(100), start + SECOND * 10);
        window.correct(7, 5950);
        assert_eq!(
            window.due(100),
            start + TokenWindow::SPAN,
            "no room for 100 more in this minute"
        );
        window.correct(7, 0);
        assert_eq!(window.due(6000), start, "as if it had never been");
        window.correct(99, 1);
        assert_eq!(
            window.due(6000),
            start,
            "what is not on the book is not corrected"
        );
    }

    #[test]
    fn a_quiet_time_buys_no_more_than_the_slack() {
        let start = Instant::now();
        let mut window = window(6000, start);
        let later = start + SECOND * 3600;
        for ticket in 0..20 {
            assert!(window.due(100) <= later);
            window.take(later, ticket, 100);
        }
        assert_eq!(window.due(100), later);
        window.take(later, 20, 100);
        assert_eq!(window.due(100), later + SECOND);
    }
}
