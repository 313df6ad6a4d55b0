//! What the workers did over time, in slices of one width: of constant size, however long the run.

use std::collections::BTreeMap;

use super::holds::Held;
use super::lanes::Ended;

/// What a worker does at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Waits for an answer that comes.
    InFlight,
    /// Waits for a call that fails otherwise than by a refusal.
    Faulty,
    /// Waits for a refusal.
    Refused,
    /// Between a failure and the next attempt.
    BackingOff,
    /// Waits for a turn that the server put off.
    Held,
    /// Waits for a turn.
    Paced,
}

impl Doing {
    pub(super) const ALL: [Doing; 6] = [
        Doing::InFlight,
        Doing::Faulty,
        Doing::Refused,
        Doing::BackingOff,
        Doing::Held,
        Doing::Paced,
    ];

    pub(super) fn of(ended: Ended) -> Self {
        match ended {
            Ended::Answered => Doing::InFlight,
            Ended::Refused => Doing::Refused,
            Ended::Faulty => Doing::Faulty,
        }
    }
}

/// Worker-milliseconds by what was done.
type Work = [u64; Doing::ALL.len()];

/// A stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    /// Milliseconds since 1970.
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) work: Work,
}

impl Slice {
    /// How many workers did so, on average.
    pub(super) fn workers(&self, doing: Doing) -> f64 {
        self.work[doing as usize] as f64 / (self.until - self.from) as f64
    }
}

/// Takes in what was done. Slices are a power of two of milliseconds wide, and double when there would be too many.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// By the number of the slice since 1970.
    slices: BTreeMap<u64, Work>,
    /// A slice is 2 to this power of milliseconds wide.
    power: u32,
}

impl Flow {
    const MOST: u64 = 400;

    pub(super) fn note(&mut self, from: u64, until: u64, doing: Doing) {
        self.spread(from, until, |work, from, until| {
            work[doing as usize] += until - from
        });
    }

    /// A wait for a turn, part of which may lie within holds.
    pub(super) fn note_wait(&mut self, from: u64, until: u64, held: &Held) {
        self.spread(from, until, |work, from, until| {
            let ordered = held.between(from, until);
            work[Doing::Held as usize] += ordered;
            work[Doing::Paced as usize] += until - from - ordered;
        });
    }

    fn spread(&mut self, from: u64, until: u64, add: impl Fn(&mut Work, u64, u64)) {
        if from >= until {
            return;
        }
        self.make_room(from, until - 1);
        let power = self.power;
        for number in from >> power..=(until - 1) >> power {
            let (begin, end) = (number << power, (number + 1) << power);
            add(
                self.slices.entry(number).or_default(),
                from.max(begin),
                until.min(end),
            );
        }
    }

    /// Doubles the width until these instants fit in.
    fn make_room(&mut self, from: u64, last: u64) {
        let first_known = self
            .slices
            .first_key_value()
            .map_or(u64::MAX, |(number, _)| *number);
        let last_known = self
            .slices
            .last_key_value()
            .map_or(0, |(number, _)| *number);
        let is_wide = |doublings: u32| {
            let power = self.power + doublings;
            let first = (from >> power).min(first_known >> doublings);
            ((last >> power).max(last_known >> doublings)) - first < Self::MOST
        };
        let Some(doublings) = (0..60 - self.power).find(|doublings| is_wide(*doublings)) else {
            return;
        };
        if doublings > 0 {
            self.power += doublings;
            for (number, work) in std::mem::take(&mut self.slices) {
                let sum = self.slices.entry(number >> doublings).or_default();
                sum.iter_mut()
                    .zip(work)
                    .for_each(|(sum, more)| *sum += more);
            }
        }
    }

    /// All slices from the first to the last, also those in which nothing was done.
    pub(super) fn slices(&self) -> Vec<Slice> {
        let ends = self
            .slices
            .first_key_value()
            .zip(self.slices.last_key_value());
        let Some(((first, _), (last, _))) = ends else {
            return Vec::new();
        };
        let slice = |number: u64| Slice {
            from: number << self.power,
            until: (number + 1) << self.power,
            work: self.slices.get(&number).copied().unwrap_or_default(),
        };
        (*first..=*last).map(slice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::holds::Holds;

    fn total(flow: &Flow, doing: Doing) -> u64 {
        flow.slices()
            .iter()
            .map(|slice| slice.work[doing as usize])
            .sum()
    }

    #[test]
    fn however_long_the_run_slices_are_few_and_no_millisecond_is_lost() {
        let mut flow = Flow::default();
        for n in (0..50_000u64).rev() {
            flow.note(
                5_000_000 + n * 977,
                5_000_000 + n * 977 + 1234,
                Doing::InFlight,
            );
        }
        assert_eq!(total(&flow, Doing::InFlight), 50_000 * 1234);
        let slices = flow.slices();
        assert!((200..=400).contains(&slices.len()), "{}", slices.len());
        let middle = slices[slices.len() / 2].workers(Doing::InFlight);
        assert!((middle - 1234.0 / 977.0).abs() < 0.01, "{middle}");
    }

    #[test]
    fn a_wait_is_held_where_it_lies_within_a_hold() {
        let (mut flow, mut holds) = (Flow::default(), Holds::default());
        holds.push(1_500, 1_700);
        flow.note_wait(1_000, 2_000, &holds.finish());
        assert_eq!(
            (total(&flow, Doing::Held), total(&flow, Doing::Paced)),
            (200, 800)
        );
    }

    #[test]
    fn instants_beyond_all_measure_take_no_more_room() {
        let mut flow = Flow::default();
        flow.note(0, 10, Doing::Faulty);
        flow.note(1 << 46, (1 << 47) - 1, Doing::InFlight);
        flow.note(7, 7, Doing::Refused);
        assert!(flow.slices().len() <= 400);
        assert!(Flow::default().slices().is_empty());
    }
}
