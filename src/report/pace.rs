//! The audit: what the departures of one key's calls say about its pace. Pure; the calls come in order.

use std::time::{Duration, Instant};

use super::call::Call;
use super::numbers::{Busiest, Excess, Gap, Limit, Moment, Named, TooSoon};
use crate::limiter::{Rate, Turnstile};

/// A minute, in milliseconds.
pub(super) const MINUTE: u64 = 60_000;
/// Whoever is early by less than this is not: two instants in whole milliseconds are true to one.
const FORGIVEN: u64 = 2;

impl Limit {
    /// As a server keeps it: without the guard that a client adds.
    fn rate(&self) -> Rate {
        Rate::per_minute(self.calls_a_minute)
            .with_guard(Duration::ZERO)
            .with_burst(self.burst)
    }

    /// The most calls that it lets through in 60 seconds: those of the even pace, and the rest of a burst.
    fn in_a_minute(&self) -> u64 {
        u64::from(self.calls_a_minute.get()) + u64::from(self.burst.get()) - 1
    }
}

/// A record that has no name yet.
pub(super) fn nameless(record: u64) -> Named {
    Named {
        custom_id: String::new(),
        asked: String::new(),
        record,
    }
}

/// The first of the smallest gaps; none for fewer than two calls.
pub(super) fn smallest_gap(calls: &[Call]) -> Option<Gap> {
    let [from, to] = calls
        .array_windows()
        .min_by_key(|[from, to]| to.at() - from.at())?;
    let ms = to.at() - from.at();
    Some(Gap {
        ms,
        from: nameless(from.record()),
        to: nameless(to.record()),
    })
}

/// The most calls that left within so many milliseconds, the first such time; none for no calls.
pub(super) fn busiest(calls: &[Call], length: u64) -> Option<Busiest> {
    let mut first = 0;
    let windows = calls.iter().enumerate().map(|(last, call)| {
        while call.at() - calls[first].at() >= length {
            first += 1;
        }
        Busiest {
            calls: (last - first + 1) as u64,
            from: Moment(calls[first].at()),
        }
    });
    windows.reduce(|most, next| if next.calls > most.calls { next } else { most })
}

/// Holds the calls against the limit, as a server would that refuses those that come too soon: they take no turn.
pub(super) fn excess(calls: &[Call], limit: &Limit) -> Excess {
    let start = calls.first().map_or(0, Call::at);
    // Any instant will do: only what lies between two of them counts.
    let origin = Instant::now();
    let mut turnstile = Turnstile::new(limit.rate(), origin);
    let mut excess = Excess {
        most_over_in_a_minute: most_over(calls, limit),
        ..Excess::default()
    };
    for call in calls {
        let now = origin + Duration::from_millis(call.at() - start);
        let early = turnstile.due(1).saturating_duration_since(now);
        if early < Duration::from_millis(FORGIVEN) {
            turnstile.take(now, 1);
        } else {
            excess.note(call, early);
        }
    }
    excess
}

fn most_over(calls: &[Call], limit: &Limit) -> u64 {
    let most = busiest(calls, MINUTE - FORGIVEN).map_or(0, |busiest| busiest.calls);
    most.saturating_sub(limit.in_a_minute())
}

impl Excess {
    fn note(&mut self, call: &Call, early: Duration) {
        let by_ms = u64::try_from(early.as_millis()).unwrap_or(u64::MAX);
        self.too_soon += 1;
        if self.worst.as_ref().is_none_or(|worst| worst.by_ms < by_ms) {
            self.worst = Some(TooSoon {
                call: nameless(call.record()),
                by_ms,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::num::NonZeroU32;

    /// Calls that left at these instants; their records count from 1.
    fn calls(instants: impl IntoIterator<Item = u64>) -> Vec<Call> {
        (1..)
            .zip(instants)
            .map(|(record, at)| Call::new(0, at, 0, record))
            .collect()
    }

    fn limit(calls_a_minute: u32, burst: u32) -> Limit {
        let [calls_a_minute, burst] =
            [calls_a_minute, burst].map(|number| NonZeroU32::new(number).unwrap());
        Limit {
            calls_a_minute,
            burst,
        }
    }

    /// How many came too soon, the worst and by how much, and how many were over in a minute.
    fn against(
        limit: Limit,
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
    fn a_minute_slides_and_does_not_hold_the_call_that_comes_60_s_after_its_first() {
        let most = |instants: &[u64]| busiest(&calls(instants.iter().copied()), MINUTE);
        let busiest = most(&[0, 59_999, 60_000, 60_001, 119_998]).unwrap();
        assert_eq!((busiest.calls, busiest.from), (4, Moment(59_999)));
        assert_eq!(most(&[]), None);
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
            "1 ms is how true an instant is"
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
        fn whoever_waits_until_a_turn_is_due_is_never_too_soon(
            waits in prop::collection::vec(0u64..3000, 0..100), rpm in 1u32..200, burst in 1u32..5,
        ) {
            let (limit, origin) = (limit(rpm, burst), Instant::now());
            let mut turnstile = Turnstile::new(limit.rate(), origin);
            let mut now = origin;
            let instants: Vec<_> = waits.iter().map(|wait| {
                now = (now + Duration::from_millis(*wait)).max(turnstile.due(1));
                turnstile.take(now, 1);
                (now - origin).as_millis() as u64
            }).collect();
            prop_assert_eq!(against(limit, instants), (0, None, 0));
        }
    }
}
