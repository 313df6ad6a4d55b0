//! Which worker did what, for runs small enough to draw each call. The records do not name the worker: a prompt is given
//! to the first lane that is free when it begins, so there are as many lanes as there were workers at work at once.

use super::flow::Doing;
use super::holds::Held;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    Refused,
    Faulty,
}

/// A call as its worker knew it: milliseconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Try {
    pub(super) n: u32,
    pub(super) key: u64,
    /// When it came to stand in line for its turn.
    pub(super) asked: u64,
    pub(super) at: u64,
    pub(super) end: u64,
    /// When its backoff was over.
    pub(super) again: u64,
    pub(super) ended: Ended,
}

/// A stretch of a worker's time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) doing: Doing,
    /// The line of the results, and the number of the call.
    pub(super) record: u64,
    pub(super) n: u32,
}

/// A prompt with its worker, from its first wait to its last end.
#[derive(Debug)]
struct Stay {
    record: u64,
    from: u64,
    until: u64,
    tries: Vec<Try>,
}

/// Takes in prompts as long as their calls are few enough to be drawn.
#[derive(Debug, Default)]
pub(super) struct Stays {
    list: Vec<Stay>,
    calls: usize,
}

impl Stays {
    /// More calls than this are not told apart on a screen.
    const MOST_CALLS: usize = 4_000;
    const MOST_LANES: usize = 64;

    pub(super) fn enter(&mut self, record: u64, tries: impl ExactSizeIterator<Item = Try>) {
        self.calls = self.calls.saturating_add(tries.len());
        if self.calls > Self::MOST_CALLS {
            self.list = Vec::new();
            return;
        }
        let tries: Vec<_> = tries.collect();
        let from = tries.iter().map(|call| call.asked).min();
        let until = tries.iter().map(|call| call.again).max();
        if let Some((from, until)) = from.zip(until) {
            self.list.push(Stay {
                record,
                from,
                until,
                tries,
            });
        }
    }

    /// Lane by lane what was done; none if there are too many calls or lanes.
    pub(super) fn into_lanes<'a>(
        mut self,
        held: impl Fn(u64) -> &'a Held,
    ) -> Option<Vec<Vec<Piece>>> {
        if self.calls > Self::MOST_CALLS {
            return None;
        }
        self.list.sort_by_key(|stay| (stay.from, stay.record));
        // Instants are cut to whole milliseconds, so a stay may seem to begin before the last one is over.
        const CUT: u64 = 2;
        let (mut lanes, mut free_at): (Vec<Vec<Piece>>, Vec<u64>) = Default::default();
        for stay in &self.list {
            let lane = free_at
                .iter()
                .position(|free| *free <= stay.from.saturating_add(CUT));
            let lane = lane.unwrap_or_else(|| {
                lanes.push(Vec::new());
                free_at.push(0);
                lanes.len() - 1
            });
            if lanes.len() > Self::MOST_LANES {
                return None;
            }
            free_at[lane] = stay.until;
            stay.tries
                .iter()
                .for_each(|call| lanes[lane].extend(pieces(stay.record, call, held(call.key))));
        }
        Some(lanes)
    }
}

/// What one call is made of, without what took no time; a wait for a turn first as a whole, and its holds upon it.
fn pieces(record: u64, call: &Try, held: &Held) -> Vec<Piece> {
    let piece = |(from, until): (u64, u64), doing| Piece {
        from,
        until,
        doing,
        record,
        n: call.n,
    };
    let wait = piece((call.asked, call.at), Doing::Paced);
    let holds = held
        .within(call.asked, call.at)
        .map(|span| piece(span, Doing::Held));
    let flight = piece((call.at, call.end.max(call.at + 1)), Doing::of(call.ended));
    let backoff = piece((call.end, call.again), Doing::BackingOff);
    let all = std::iter::once(wait).chain(holds).chain([flight, backoff]);
    all.filter(|piece| piece.from < piece.until).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(asked: u64, at: u64, end: u64) -> Try {
        Try {
            n: 1,
            key: 0,
            asked,
            at,
            end,
            again: end,
            ended: Ended::Answered,
        }
    }

    fn lanes(calls: impl IntoIterator<Item = Try>) -> Option<Vec<Vec<Piece>>> {
        let mut stays = Stays::default();
        (1..)
            .zip(calls)
            .for_each(|(record, call)| stays.enter(record, [call].into_iter()));
        let free = Held::default();
        stays.into_lanes(|_| &free)
    }

    #[test]
    fn prompts_that_overlap_have_lanes_of_their_own_and_a_free_lane_is_taken_again() {
        let lanes = lanes([call(0, 10, 50), call(100, 110, 150), call(5, 20, 99)]).unwrap();
        let records: Vec<Vec<_>> = lanes
            .iter()
            .map(|lane| {
                lane.iter()
                    .filter(|piece| piece.doing == Doing::InFlight)
                    .map(|piece| piece.record)
                    .collect()
            })
            .collect();
        assert_eq!(records, [vec![1, 2], vec![3]]);
    }

    #[test]
    fn too_many_calls_or_lanes_are_not_drawn_one_by_one() {
        assert_eq!(
            lanes((0..4_001).map(|n| call(n * 10, n * 10, n * 10 + 5))),
            None
        );
        assert_eq!(lanes((0..65).map(|n| call(n, 100, 200))), None);
        assert_eq!(lanes((0..64).map(|n| call(n, 100, 200))).unwrap().len(), 64);
    }
}
