//! The audit: what the departures of one key's calls say about its pace. Pure; the calls come in order of departure.

use std::time::{Duration, Instant};

use super::call::CallSummary;
use super::numbers::{
    AuditedLimit, BusiestMinute, Excess, KeyReport, RecordRef, SmallestGap, TooSoon,
};
use super::pauses;
use crate::cli::statistics::busiest;
use crate::limiter::{Gcra, Rate};
use crate::text::millis;

/// A minute, in milliseconds.
pub(super) const MINUTE: u64 = 60_000;
/// A call that is less than this early is on time: a gap between two instants in whole milliseconds is true to 1 ms.
const TOLERANCE_MS: u64 = 2;

impl AuditedLimit {
    /// As a server keeps it: without the margin that a client adds.
    fn rate(&self) -> Rate {
        Rate::per_minute(self.calls_a_minute.get())
            .exact()
            .burst(self.burst.get())
    }

    /// The most calls that it lets through in 60 seconds: those of the even pace, and the rest of a burst.
    fn in_a_minute(&self) -> u64 {
        u64::from(self.calls_a_minute.get()) + u64::from(self.burst.get()) - 1
    }
}

impl KeyReport {
    /// Adds what the key's calls say together. They come in order of departure.
    pub(super) fn audit(&mut self, calls: &[CallSummary], limit: Option<&AuditedLimit>) {
        self.pauses.merge(pauses::silent(calls));
        let paused = |from, until| self.pauses.length_within(from, until);
        let waits = calls.iter().map(|call| paused(call.asked(), call.at));
        self.times.paused_ms = waits.sum();
        if let (Some(first), Some(last)) = (calls.first(), calls.last()) {
            self.paused_ms = paused(first.at, last.ended_at());
        }
        self.smallest_gap = smallest_gap(calls);
        self.busiest_minute = BusiestMinute::of(calls);
        self.excess = limit.map(|limit| excess(calls, limit));
    }
}

/// The first of the smallest gaps; none for fewer than two calls.
fn smallest_gap(calls: &[CallSummary]) -> Option<SmallestGap> {
    let gaps = calls.array_windows();
    let [from, to] = gaps.min_by_key(|[from, to]| to.at - from.at)?;
    Some(SmallestGap {
        ms: to.at - from.at,
        from: RecordRef::of(from.record),
        to: RecordRef::of(to.record),
    })
}

impl BusiestMinute {
    /// Of calls in order of departure.
    pub(super) fn of(calls: &[CallSummary]) -> Self {
        let busiest = busiest(calls, MINUTE, |call| call.at);
        BusiestMinute {
            calls: busiest.len() as u64,
            from: busiest.first().map_or(0, |call| call.at),
        }
    }
}

/// Judges the calls as a server with this limit does that refuses those that come too soon: these do not count.
fn excess(calls: &[CallSummary], limit: &AuditedLimit) -> Excess {
    let start = calls.first().map_or(0, |call| call.at);
    // Only differences between instants count, so the first one does not matter.
    let origin = Instant::now();
    let mut decider = Gcra::new(limit.rate(), origin);
    let most = busiest(calls, MINUTE - TOLERANCE_MS, |call| call.at).len() as u64;
    let mut excess = Excess {
        most_over_in_a_minute: most.saturating_sub(limit.in_a_minute()),
        ..Excess::default()
    };
    for call in calls {
        let now = origin + Duration::from_millis(call.at - start);
        let early = decider.due(1).saturating_duration_since(now);
        if early < Duration::from_millis(TOLERANCE_MS) {
            decider.take(now, 1);
            continue;
        }
        let by_ms = millis(early);
        excess.too_soon += 1;
        if excess
            .worst
            .as_ref()
            .is_none_or(|worst| worst.by_ms < by_ms)
        {
            let call = RecordRef::of(call.record);
            excess.worst = Some(TooSoon { call, by_ms });
        }
    }
    excess
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::call::call_at;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    /// Calls that left at these instants; their records count from 1.
    fn calls(instants: impl IntoIterator<Item = u64>) -> Vec<CallSummary> {
        (1..)
            .zip(instants)
            .map(|(record, at)| CallSummary {
                record,
                ..call_at(at)
            })
            .collect()
    }

    fn limit(calls_a_minute: u32, burst: u32) -> AuditedLimit {
        let [calls_a_minute, burst] =
            [calls_a_minute, burst].map(|number| NonZeroU32::new(number).unwrap());
        AuditedLimit {
            calls_a_minute,
            burst,
        }
    }

    /// How many came too soon, the worst and by how much, and how many were over in a minute.
    fn against(
        limit: AuditedLimit,
        instants: impl IntoIterator<Item = u64>,
    ) -> (u64, Option<(u64, u64)>, u64) {
        let Excess {
            too_soon,
            worst,
            most_over_in_a_minute,
        } = excess(&calls(instants), &limit);
        (
            too_soon,
            worst.map(|worst| (worst.call.record, worst.by_ms)),
            most_over_in_a_minute,
        )
    }

    #[test]
    fn the_smallest_gap_is_between_two_calls_that_are_named() {
        let gap = smallest_gap(&calls([0, 100, 160, 260, 320])).unwrap();
        assert_eq!(
            (gap.ms, gap.from.record, gap.to.record),
            (60, 2, 3),
            "the first of two"
        );
        assert_eq!(smallest_gap(&calls([5])), None);
    }

    #[test]
    fn a_limit_that_is_kept_exactly_is_kept() {
        assert_eq!(
            against(limit(600, 1), (0..2000).map(|n| n * 100)),
            (0, None, 0)
        );
        let sevenths = (0..50).map(|n| n * 60_000 / 7);
        assert_eq!(
            against(limit(7, 1), sevenths),
            (0, None, 0),
            "instants are whole milliseconds"
        );
    }

    #[test]
    fn one_gap_too_short_is_one_call_too_soon() {
        assert_eq!(
            against(limit(600, 1), [0, 100, 150, 200, 300]),
            (1, Some((3, 50)), 0)
        );
        assert_eq!(
            against(limit(600, 1), [0, 99, 200, 299]),
            (0, None, 0),
            "instants are true to 1 ms"
        );
        assert_eq!(against(limit(600, 1), [0, 98, 200]), (1, Some((2, 2)), 0));
    }

    #[test]
    fn being_a_little_early_each_time_adds_up() {
        let (too_soon, ..) = against(limit(600, 1), (0..100).map(|n| n * 99));
        assert!(too_soon > 30, "{too_soon}");
    }

    #[test]
    fn twice_the_pace_is_every_second_call() {
        assert_eq!(
            against(limit(60, 1), (0..240).map(|n| n * 500)),
            (120, Some((2, 500)), 60)
        );
    }

    #[test]
    fn a_burst_is_allowed_and_no_more_than_that() {
        let burst = [0, 0, 0, 1000, 2000];
        assert_eq!(against(limit(60, 3), burst), (0, None, 0));
        assert_eq!(against(limit(60, 2), burst), (1, Some((3, 1000)), 0));
        let quiet_then_burst = [0, 10_000, 10_000, 10_000, 10_000];
        assert_eq!(
            against(limit(60, 3), quiet_then_burst),
            (1, Some((5, 1000)), 0)
        );
    }

    proptest! {
        #[test]
        fn where_no_call_comes_too_soon_no_minute_has_too_many(
            gaps in prop::collection::vec(0u64..4000, 0..200), rpm in 1u32..200, burst in 1u32..5,
        ) {
            let instants = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) });
            let (too_soon, worst, over) = against(limit(rpm, burst), instants);
            prop_assert!(too_soon > 0 || over == 0);
            prop_assert_eq!(too_soon > 0, worst.is_some());
        }

        #[test]
        fn a_client_that_waits_until_a_permit_is_due_is_never_too_soon(
            waits in prop::collection::vec(0u64..3000, 0..100), rpm in 1u32..200, burst in 1u32..5,
        ) {
            let (limit, origin) = (limit(rpm, burst), Instant::now());
            let mut decider = Gcra::new(limit.rate(), origin);
            let mut now = origin;
            let instants: Vec<_> = waits.iter().map(|wait| {
                now = (now + Duration::from_millis(*wait)).max(decider.due(1));
                decider.take(now, 1);
                (now - origin).as_millis() as u64
            }).collect();
            prop_assert_eq!(against(limit, instants), (0, None, 0));
        }
    }
}
