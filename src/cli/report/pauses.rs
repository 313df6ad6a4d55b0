//! When a key was paused, by what its rate limited calls said; and how much of a wait that was.
//!
//! A pause begins at the end of a call that was rate limited. If the server said how long to wait, it lasts that long.
//! If not, it lasts until the next call of the key leaves, if that call had to wait for it.

use super::call::CallSummary;

/// The pauses of one key, in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses {
    /// From and until. Since the last [`merge`](Pauses::merge) they are in order, and apart from each other.
    pub(super) spans: Vec<(u64, u64)>,
}

impl Pauses {
    /// Adds pauses, and makes one of those that overlap.
    pub(super) fn merge(&mut self, more: impl IntoIterator<Item = (u64, u64)>) {
        self.spans.extend(more);
        self.spans.sort_unstable();
        self.spans.dedup_by(|later, earlier| {
            let overlaps = later.0 <= earlier.1;
            if overlaps {
                earlier.1 = earlier.1.max(later.1);
            }
            overlaps
        });
    }

    /// The parts of the time between two instants that were paused, in order.
    pub(super) fn within(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.spans.partition_point(|(_, end)| *end <= from);
        let spans = self.spans[first..].iter();
        let spans = spans.take_while(move |(begin, _)| *begin < until);
        spans.map(move |(begin, end)| (*begin.max(&from), *end.min(&until)))
    }

    /// How much of the time between two instants was paused.
    pub(super) fn length_within(&self, from: u64, until: u64) -> u64 {
        self.within(from, until)
            .map(|(from, until)| until - from)
            .sum()
    }
}

/// The pauses after calls that were rate limited in silence. The calls are those of one key, in order of departure.
pub(super) fn silent(calls: &[CallSummary]) -> impl Iterator<Item = (u64, u64)> {
    let ends = calls.iter().filter(|call| call.is_silent);
    ends.map(CallSummary::ended_at).filter_map(|end| {
        let next = calls[calls.partition_point(|call| call.at <= end)..].first()?;
        let from = next.asked().max(end);
        (from < next.at).then_some((from, next.at))
    })
}

/// Makes one band of pauses that are less than `gap` apart, so that few are left to draw. A band that was paused for less
/// than half of its time is left out: it would look as if it had been paused throughout.
pub(super) fn coarse(spans: impl Iterator<Item = (u64, u64)>, gap: u64) -> Vec<(u64, u64)> {
    let mut bands: Vec<(u64, u64, u64)> = Vec::new();
    for (from, until) in spans {
        match bands.last_mut() {
            Some((_, end, paused)) if from < *end + gap => {
                *end = until;
                *paused += until - from;
            }
            _ => bands.push((from, until, until - from)),
        }
    }
    bands.retain(|(from, until, paused)| paused * 2 >= until - from);
    bands
        .iter()
        .map(|(from, until, _)| (*from, *until))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::call::call_at;
    use proptest::prelude::*;

    fn pauses(spans: Vec<(u64, u64)>) -> Pauses {
        let mut pauses = Pauses::default();
        pauses.merge(spans);
        pauses
    }

    #[test]
    fn a_wait_was_paused_as_far_as_it_lies_within_a_pause() {
        let pauses = pauses(vec![(300, 400), (100, 200)]);
        let table = [
            (0, 100, 0),
            (0, 150, 50),
            (120, 180, 60),
            (150, 350, 100),
            (0, 999, 200),
            (400, 500, 0),
        ];
        for (from, until, expected) in table {
            assert_eq!(
                pauses.length_within(from, until),
                expected,
                "{from} to {until}"
            );
        }
    }

    #[test]
    fn a_silent_pause_lasts_until_the_next_call_that_had_to_wait() {
        let waited = |at, paced_ms| CallSummary {
            paced_ms,
            ..call_at(at)
        };
        let limited = |at, took_ms| CallSummary {
            took_ms,
            is_silent: true,
            ..call_at(at)
        };
        let after = |took_ms| {
            let calls = [
                limited(0, took_ms),
                waited(500, 450),
                waited(900, 0),
                waited(2_000, 50),
            ];
            silent(&calls).collect::<Vec<_>>()
        };
        assert_eq!(after(100), [(100, 500)]);
        assert_eq!(after(600), [], "the call at 900 did not wait");
        assert_eq!(
            after(1_000),
            [(1_950, 2_000)],
            "nobody was there to wait before"
        );
        assert_eq!(after(3_000), []);
    }

    #[test]
    fn pauses_that_are_near_are_drawn_as_one() {
        let spans = [(0, 10), (15, 20), (40, 50)];
        assert_eq!(coarse(spans.into_iter(), 10), [(0, 20), (40, 50)]);
        let now_and_then = (0..100).map(|n| (n * 10, n * 10 + 2));
        assert_eq!(coarse(now_and_then, 10), []);
    }

    proptest! {
        #[test]
        fn it_is_as_long_as_a_count_of_the_milliseconds(
            spans in prop::collection::vec((0u64..100, 0u64..30), 0..12), from in 0u64..150, length in 0u64..50,
        ) {
            let spans: Vec<_> = spans.iter().map(|(from, length)| (*from, from + length)).collect();
            let is_paused = |ms: &u64| spans.iter().any(|(from, until)| (*from..*until).contains(ms));
            let counted = (from..from + length).filter(is_paused).count() as u64;
            prop_assert_eq!(pauses(spans).length_within(from, from + length), counted);
        }
    }
}
