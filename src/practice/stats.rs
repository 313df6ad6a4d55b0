//! What the practice server has seen: counts, and the gaps between calls.
//!
//! The gaps and the densest windows are those of the last 100,000 arrivals.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::faults::InjectedFault;

/// What the server has seen since its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServerStats {
    /// Calls of an API, and calls that got a scripted reply.
    pub arrivals: u64,
    /// Calls answered with a 200, good or bad.
    pub answered: u64,
    /// Calls whose answer was sent whole and in the API's format. They are paid for, whether or not anybody reads them.
    pub good: u64,
    /// Calls over a limit, and scripted 429s.
    pub rate_limited: u64,
    /// Calls of a key that has no credit left.
    pub no_money: u64,
    /// Injected faults, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Most calls in flight at the same time.
    pub most_in_flight: u64,
    /// Calls a minute, from the first to the last.
    pub calls_a_minute: f64,
    /// Gaps between one arrival and the next, in milliseconds: `min`, `p50`, `p99` and `max`.
    pub gaps: BTreeMap<&'static str, f64>,
    /// Most arrivals in any 50 ms.
    pub most_in_50ms: usize,
    /// Batches made at the batch endpoints, and their rows.
    pub batches: [u64; 2],
    /// Of each key, in order of appearance: its `arrivals`, those within the limits (`admitted`), and those over a limit
    /// and scripted 429s (`rate_limited`).
    pub keys: Vec<BTreeMap<&'static str, u64>>,
}

/// A call and what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CallSeen {
    /// When it arrived, from the server's start.
    pub(super) at: Duration,
    pub(super) key: usize,
    pub(super) status: u16,
    pub(super) is_rate_limited: bool,
    pub(super) is_out_of_credit: bool,
    pub(super) fault: Option<InjectedFault>,
}

/// Counts calls, and keeps the last arrivals.
#[derive(Debug, Default)]
pub(super) struct StatsKeeper {
    pub(super) counts: ServerStats,
    calls: VecDeque<CallSeen>,
}

impl StatsKeeper {
    const MAX_KEPT: usize = 100_000;

    /// Counts a call when it is known what becomes of it.
    pub(super) fn count(&mut self, call: CallSeen) {
        let counts = &mut self.counts;
        if counts.keys.len() <= call.key {
            let names = ["arrivals", "admitted", "rate_limited"];
            let unseen = names.map(|name| (name, 0)).into();
            counts.keys.resize(call.key + 1, unseen);
        }
        let admission = ["admitted", "rate_limited"][usize::from(call.is_rate_limited)];
        for name in ["arrivals", admission] {
            *counts.keys[call.key].entry(name).or_default() += 1;
        }
        let spoils = |fault: InjectedFault| fault != InjectedFault::Empty;
        counts.arrivals += 1;
        counts.rate_limited += u64::from(call.is_rate_limited);
        counts.answered += u64::from(call.status == 200);
        counts.good += u64::from(call.status == 200 && !call.fault.is_some_and(spoils));
        counts.no_money += u64::from(call.is_out_of_credit);
        if let Some(fault) = call.fault {
            *counts.faults.entry(fault.name()).or_default() += 1;
        }
        if self.calls.len() == Self::MAX_KEPT {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
    }

    pub(super) fn stats(&self) -> ServerStats {
        let mut all: Vec<_> = self.calls.iter().map(|call| call.at).collect();
        all.sort_unstable();
        ServerStats {
            calls_a_minute: calls_a_minute(&all),
            most_in_50ms: most_within(&all, Duration::from_millis(50)),
            gaps: gaps(&all),
            ..self.counts.clone()
        }
    }

    /// The statistics as JSON; with the arrivals as `[ms since the start, status, key]` if asked for.
    pub(super) fn page(&self, with_arrivals: bool) -> Value {
        let mut page = json!(self.stats());
        if with_arrivals {
            let ms = |call: &CallSeen| call.at.as_secs_f64() * 1e3;
            let row = |call: &CallSeen| json!([ms(call), call.status, call.key]);
            page["arrival_list"] = self.calls.iter().map(row).collect();
        }
        page
    }
}

fn calls_a_minute(times: &[Duration]) -> f64 {
    match times {
        [first, .., last] if first < last => {
            (times.len() - 1) as f64 * 60.0 / (*last - *first).as_secs_f64()
        }
        _ => 0.0,
    }
}

/// The most of the sorted times that lie in a window shorter than this.
fn most_within(times: &[Duration], window: Duration) -> usize {
    let mut first = 0;
    let counts = times.iter().enumerate().map(|(last, time)| {
        while *time - times[first] >= window {
            first += 1;
        }
        last + 1 - first
    });
    counts.max().unwrap_or(0)
}

/// The gaps between sorted times, in milliseconds.
fn gaps(times: &[Duration]) -> BTreeMap<&'static str, f64> {
    let between = |pair: &[Duration]| (pair[1] - pair[0]).as_secs_f64() * 1e3;
    let mut gaps: Vec<_> = times.windows(2).map(between).collect();
    gaps.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (gaps.len() as f64 * part) as usize;
        gaps.get(place).or(gaps.last()).copied().unwrap_or_default()
    };
    let parts = [("min", 0.0), ("p50", 0.5), ("p99", 0.99), ("max", 1.0)];
    parts.map(|(name, part)| (name, at(part))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn windows_and_gaps_are_counted() {
        let times: Vec<_> = [0, 10, 20, 49, 50, 1000].map(|ms| MS * ms).to_vec();
        assert_eq!(most_within(&times, MS * 50), 4);
        assert_eq!(most_within(&times, MS * 51), 5);
        assert_eq!(most_within(&[], MS), 0);
        let values = |times| ["min", "p50", "p99", "max"].map(|name| gaps(times)[name]);
        assert_eq!(values(&times), [1.0, 10.0, 950.0, 950.0]);
        assert_eq!(values(&times[..1]), [0.0; 4]);
        assert_eq!(calls_a_minute(&times), 300.0);
    }

    #[test]
    fn calls_are_counted_by_what_became_of_them() {
        let mut keeper = StatsKeeper::default();
        let call = |key, status| CallSeen {
            at: MS * u32::from(status),
            key,
            status,
            ..CallSeen::default()
        };
        let faulty = |status, fault| CallSeen {
            fault: Some(fault),
            ..call(0, status)
        };
        let limited = CallSeen {
            is_rate_limited: true,
            ..call(1, 429)
        };
        let unpaid = CallSeen {
            is_out_of_credit: true,
            ..call(1, 400)
        };
        let truncated = faulty(200, InjectedFault::Truncated);
        let empty = faulty(200, InjectedFault::Empty);
        let failed = faulty(500, InjectedFault::Status(500));
        for call in [call(0, 200), limited, failed, unpaid, truncated, empty] {
            keeper.counts.most_in_flight = 1;
            keeper.count(call);
        }
        let stats = keeper.stats();
        assert_eq!(
            (stats.arrivals, stats.rate_limited, stats.no_money),
            (6, 1, 1)
        );
        assert_eq!(
            (stats.answered, stats.good),
            (3, 2),
            "an empty answer is one, half an answer is none"
        );
        assert_eq!(stats.faults.get("error_500"), Some(&1));
        let key = [("arrivals", 2), ("admitted", 1), ("rate_limited", 1)];
        assert_eq!(stats.keys[1], key.into());
        assert_eq!(stats.most_in_flight, 1);
        let page = keeper.page(true);
        assert_eq!(page["arrival_list"][1], json!([429.0, 429, 1]));
    }
}
