//! When a key was held, by what the refusals said; and how much of a wait that was.

/// The holds of one key, as they are told: in any order, and overlapping.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// From and until, in milliseconds.
    spans: Vec<(u64, u64)>,
}

impl Holds {
    /// Before the list grows, what overlaps makes room.
    pub(super) fn push(&mut self, from: u64, until: u64) {
        if self.spans.len() == self.spans.capacity() {
            self.merge();
            self.spans.reserve(self.spans.len().max(256));
        }
        self.spans.push((from, until));
    }

    /// Sorts them, and makes one of those that overlap.
    fn merge(&mut self) {
        self.spans.sort_unstable();
        self.spans.dedup_by(|later, earlier| {
            let overlaps = later.0 <= earlier.1;
            if overlaps {
                earlier.1 = earlier.1.max(later.1);
            }
            overlaps
        });
    }

    /// There are no more.
    pub(super) fn finish(mut self) -> Held {
        self.merge();
        let mut total = 0;
        for (from, until) in &mut self.spans {
            total += *until - *from;
            *until = total;
        }
        Held { spans: self.spans }
    }
}

/// How long a key had been held by any instant.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// When each hold began, in order, and how long all holds up to its end were.
    spans: Vec<(u64, u64)>,
}

impl Held {
    /// How much of the time between these two instants was held.
    pub(super) fn between(&self, from: u64, until: u64) -> u64 {
        self.by(until).saturating_sub(self.by(from))
    }

    /// The parts of the time between these two instants that were held, in order.
    pub(super) fn within(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self
            .spans
            .partition_point(|(begin, _)| *begin <= from)
            .saturating_sub(1);
        let spans = self
            .spans
            .iter()
            .enumerate()
            .skip(first)
            .take_while(move |(_, span)| span.0 < until);
        let whole = spans.map(|(place, (begin, total))| {
            let before = place.checked_sub(1).map_or(0, |last| self.spans[last].1);
            (*begin, begin + (total - before))
        });
        whole
            .map(move |(begin, end)| (begin.max(from), end.min(until)))
            .filter(|(begin, end)| begin < end)
    }

    fn by(&self, instant: u64) -> u64 {
        let begun = self.spans.partition_point(|(from, _)| *from <= instant);
        let Some((from, total)) = begun.checked_sub(1).map(|last| self.spans[last]) else {
            return 0;
        };
        let before = begun.checked_sub(2).map_or(0, |last| self.spans[last].1);
        before + (instant - from).min(total - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(spans: &[(u64, u64)]) -> Held {
        let mut holds = Holds::default();
        spans
            .iter()
            .for_each(|(from, until)| holds.push(*from, *until));
        holds.finish()
    }

    #[test]
    fn a_wait_is_held_as_far_as_it_lies_within_a_hold() {
        let held = held(&[(100, 200), (300, 400)]);
        let table = [
            (0, 100, 0),
            (0, 150, 50),
            (120, 180, 60),
            (150, 350, 100),
            (0, 999, 200),
            (400, 500, 0),
        ];
        for (from, until, expected) in table {
            assert_eq!(held.between(from, until), expected, "{from} to {until}");
            let parts = held.within(from, until).map(|(from, until)| until - from);
            assert_eq!(parts.sum::<u64>(), expected, "{from} to {until}");
        }
    }

    #[test]
    fn holds_that_overlap_are_one_and_take_no_more_room() {
        let mut holds = Holds::default();
        (0..10_000).for_each(|n| holds.push(n, n + 100));
        assert!(holds.spans.capacity() <= 512, "{}", holds.spans.capacity());
        assert_eq!(holds.finish().between(0, 20_000), 10_099);
    }

    proptest! {
        #[test]
        fn it_is_as_long_as_a_count_of_the_milliseconds(
            spans in prop::collection::vec((0u64..100, 0u64..30), 0..12), from in 0u64..150, length in 0u64..50,
        ) {
            let spans: Vec<_> = spans.iter().map(|(from, length)| (*from, from + length)).collect();
            let is_held = |ms: &u64| spans.iter().any(|(from, until)| (*from..*until).contains(ms));
            let counted = (from..from + length).filter(is_held).count() as u64;
            let held = held(&spans);
            prop_assert_eq!(held.between(from, from + length), counted);
            let parts = held.within(from, from + length).map(|(from, until)| until - from);
            prop_assert_eq!(parts.sum::<u64>(), counted);
        }
    }
}
