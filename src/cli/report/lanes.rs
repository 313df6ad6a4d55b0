//! The calls of each worker, for runs small enough to draw each call.
//!
//! The records do not name workers: a prompt is given to the first lane that is free when it begins, so there are as
//! many lanes as there were workers at work at once.

use super::call::CallSummary;

/// More calls than this are not told apart on a screen.
const MOST_CALLS: usize = 4_000;
/// The same for lanes.
const MOST_LANES: usize = 64;
/// Instants are cut to whole milliseconds, so a prompt may seem to begin this long before the last one is over.
const CUT_MS: u64 = 2;

/// The calls of each lane; nothing if there are too many calls or lanes.
pub(super) fn lanes(calls: &[CallSummary]) -> Vec<Vec<CallSummary>> {
    if calls.len() > MOST_CALLS {
        return Vec::new();
    }
    let mut calls = calls.to_vec();
    calls.sort_unstable_by_key(|call| (call.record, call.at));
    let prompts = calls.chunk_by(|one, next| one.record == next.record);
    let mut prompts: Vec<_> = prompts.collect();
    prompts.sort_by_key(|calls| calls[0].asked());
    let mut lanes: Vec<Vec<CallSummary>> = Vec::new();
    for calls in prompts {
        let begin = calls[0].asked().saturating_add(CUT_MS);
        let is_free = |lane: &Vec<CallSummary>| match lane.last() {
            Some(last) => last.ended_at().max(last.at + 1) <= begin,
            None => true,
        };
        match lanes.iter_mut().find(|lane| is_free(lane)) {
            Some(lane) => lane.extend(calls),
            None => lanes.push(calls.to_vec()),
        }
    }
    if lanes.len() > MOST_LANES {
        lanes.clear();
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::call::call_at;

    fn call(record: u32, asked: u64, at: u64, end: u64) -> CallSummary {
        CallSummary {
            record,
            paced_ms: (at - asked) as u32,
            took_ms: (end - at) as u32,
            ..call_at(at)
        }
    }

    #[test]
    fn prompts_that_overlap_have_lanes_of_their_own_and_a_free_lane_is_taken_again() {
        let lanes = lanes(&[
            call(1, 0, 10, 50),
            call(2, 100, 110, 150),
            call(3, 5, 20, 99),
        ]);
        let records =
            |lane: &Vec<CallSummary>| lane.iter().map(|bar| bar.record).collect::<Vec<_>>();
        assert_eq!(
            lanes.iter().map(records).collect::<Vec<_>>(),
            [vec![1, 2], vec![3]]
        );
    }

    #[test]
    fn too_many_calls_or_lanes_are_not_drawn_one_by_one() {
        let many: Vec<_> = (0..4_001)
            .map(|n| call(n, 0, u64::from(n) * 10, u64::from(n) * 10 + 5))
            .collect();
        assert!(lanes(&many).is_empty());
        let wide = |count| (0..count).map(|n| call(n, 0, 100, 200)).collect::<Vec<_>>();
        assert!(lanes(&wide(65)).is_empty());
        assert_eq!(lanes(&wide(64)).len(), 64);
    }
}
