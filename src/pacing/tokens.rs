//! The token limit of a key: a call costs tokens, and the calls of any minute may not cost more than the limit.
//!
//! Two rules apply together. The first spreads calls out: after a call of `c` tokens the next one waits until `c` tokens
//! are available again, which is GCRA with a cost. The second keeps a list of the calls of the last minute: no call may
//! bring their sum above the limit, which GCRA alone exceeds by the cost of one call. If the second rule delayed a call,
//! the first one lets the next calls catch up, or part of the limit would be wasted.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Decides when a call of a given cost may leave.
///
/// A call that costs more than the limit leaves when nothing was spent in the last minute. The next calls wait until the
/// excess is made up for.
#[derive(Clone, Debug)]
pub(super) struct TokenWindow {
    limit: NonZeroU32,
    /// When all spent tokens are available again, by GCRA.
    whole_at: Instant,
    /// The calls of the last minute, oldest first.
    spent: VecDeque<Spent>,
    /// The sum of their costs.
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
    /// A minute, plus a margin for the jitter of the network.
    const SPAN: Duration = Duration::from_millis(60_050);
    /// Calls may catch up with this much delay.
    const SLACK: Duration = Duration::from_secs(20);

    /// A window of `limit` tokens per minute. The first call may leave at `start`.
    #[must_use]
    pub(super) fn per_minute(limit: NonZeroU32, start: Instant) -> Self {
        TokenWindow {
            limit,
            whole_at: start,
            spent: VecDeque::new(),
            sum: 0,
        }
    }

    /// Changes the limit. Past calls keep their cost.
    pub(super) fn set_limit(&mut self, limit: NonZeroU32) {
        self.limit = limit;
    }

    /// The earliest instant at which a call of this cost may leave. It may lie in the past.
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

    /// A call of this cost leaves at `now`. Its `ticket` is for [`correct`](TokenWindow::correct); tickets ascend.
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

    /// Corrects the estimated cost of a call: to 0, if the server did not count it.
    pub(super) fn correct(&mut self, ticket: u64, cost: u32) {
        let Ok(index) = self
            .spent
            .binary_search_by_key(&ticket, |spent| spent.ticket)
        else {
            return;
        };
        let estimated = std::mem::replace(&mut self.spent[index].cost, cost);
        self.sum = self.sum - u64::from(estimated) + u64::from(cost);
        if cost >= estimated {
            self.whole_at += self.time_for(cost - estimated);
        } else {
            let sooner = self.whole_at.checked_sub(self.time_for(estimated - cost));
            self.whole_at = sooner.unwrap_or(self.whole_at);
        }
    }

    /// How long it takes until this many tokens are available again.
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

    /// Sends calls of these costs as soon as they may leave; returns when each left.
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
    fn a_call_waits_until_the_tokens_of_the_last_one_are_available_again() {
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
    fn calls_that_fill_the_limit_exactly_need_no_free_minute() {
        let start = Instant::now();
        let mut window = window(6000, start);
        window.take(start, 0, 3000);
        assert_eq!(window.due(3000), start + SECOND * 30);
        assert_eq!(window.due(3001), start + TokenWindow::SPAN);
    }

    #[test]
    fn no_minute_exceeds_the_limit_and_hardly_any_of_it_is_wasted() {
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
    fn a_call_larger_than_the_limit_leaves_after_a_free_minute_and_delays_the_next() {
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
    fn a_correction_returns_or_takes_the_difference_to_the_estimate() {
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
        assert_eq!(window.due(6000), start, "as if the call had not been made");
        window.correct(99, 1);
        assert_eq!(window.due(6000), start, "an unknown ticket changes nothing");
    }

    #[test]
    fn a_quiet_time_allows_no_more_than_the_slack() {
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
