//! What the practice server has seen: counts, and the gaps between the calls as they arrived.
//!
//! Of the arrivals only the last 100,000 are kept: the gaps and the densest windows are theirs.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::faults::Fault;

/// What the server has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Calls of the API.
    pub arrivals: u64,
    /// Calls answered with a 200, good or bad.
    pub answered: u64,
    /// Those of them whose answer was good: whole, and what the API promises. It is paid for, whoever reads it.
    pub good: u64,
    /// Calls refused for coming too fast.
    pub refused: u64,
    /// Calls refused for want of money.
    pub no_money: u64,
    /// Deliberate faults, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// The most calls that were in work at the same time.
    pub most_in_flight: u64,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// Calls a minute, from the first to the last.
    pub calls_a_minute: f64,
    /// Between one arrival and the next.
    pub gaps: Gaps,
    /// Between one admitted call and the next.
    pub admitted_gaps: Gaps,
    /// The most arrivals in any 50 ms.
    pub most_in_50ms: usize,
    /// The most arrivals in any 60 s.
    pub most_in_60s: usize,
    /// Each key, in order of appearance.
    pub keys: Vec<KeyStats>,
}

/// One key's share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyStats {
    /// Its calls.
    pub arrivals: u64,
    /// Those of them that were admitted.
    pub admitted: u64,
    /// Those that were refused for coming too fast.
    pub refused: u64,
}

/// Gaps in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Gaps {
    /// The smallest.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// All but one in a hundred are smaller.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Duration,
    status: u16,
    key: usize,
    admitted: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) admitted: bool,
    /// Whether the key had money for it.
    pub(super) is_paid: bool,
    pub(super) fault: Option<Fault>,
}

/// The book that the server keeps.
#[derive(Debug)]
pub(super) struct Ledger {
    started: Instant,
    in_flight: u64,
    counts: Stats,
    arrivals: VecDeque<Arrival>,
}

impl Ledger {
    const KEPT: usize = 100_000;

    pub(super) fn new(started: Instant) -> Self {
        Ledger {
            started,
            in_flight: 0,
            counts: Stats::default(),
            arrivals: VecDeque::new(),
        }
    }

    /// A call has been let in.
    pub(super) fn entered(&mut self) {
        self.in_flight += 1;
        self.counts.most_in_flight = self.counts.most_in_flight.max(self.in_flight);
    }

    /// A call is over.
    pub(super) fn note(&mut self, arrived: Instant, key: usize, outcome: Outcome) {
        let Outcome {
            status,
            admitted,
            is_paid,
            fault,
        } = outcome;
        let counts = &mut self.counts;
        counts
            .keys
            .resize(counts.keys.len().max(key + 1), KeyStats::default());
        self.in_flight -= u64::from(admitted);
        counts.arrivals += 1;
        counts.keys[key].arrivals += 1;
        counts.keys[key].admitted += u64::from(admitted);
        counts.keys[key].refused += u64::from(!admitted);
        counts.refused += u64::from(!admitted);
        counts.answered += u64::from(status == 200);
        counts.good += u64::from(status == 200 && !fault.is_some_and(Fault::spoils));
        counts.no_money += u64::from(!is_paid);
        if let Some(fault) = fault {
            *counts.faults.entry(fault.name()).or_default() += 1;
        }
        if self.arrivals.len() == Self::KEPT {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(Arrival {
            at: arrived - self.started,
            status,
            key,
            admitted,
        });
    }

    pub(super) fn stats(&self, now: Instant) -> Stats {
        let mut all: Vec<_> = self.arrivals.iter().map(|arrival| arrival.at).collect();
        all.sort_unstable();
        let mut admitted: Vec<_> = self
            .arrivals
            .iter()
            .filter(|arrival| arrival.admitted)
            .map(|a| a.at)
            .collect();
        admitted.sort_unstable();
        Stats {
            uptime_s: (now - self.started).as_secs_f64(),
            calls_a_minute: calls_a_minute(&all),
            most_in_50ms: most_within(&all, Duration::from_millis(50)),
            most_in_60s: most_within(&all, Duration::from_secs(60)),
            gaps: gaps(&all),
            admitted_gaps: gaps(&admitted),
            ..self.counts.clone()
        }
    }

    /// The statistics as a page; with the arrivals as `[ms since the start, status, key]` if asked for.
    pub(super) fn page(&self, now: Instant, with_arrivals: bool) -> Value {
        let mut page = json!(self.stats(now));
        if with_arrivals {
            let row = |a: &Arrival| json!([a.at.as_secs_f64() * 1e3, a.status, a.key]);
            page["arrival_list"] = self.arrivals.iter().map(row).collect();
        }
        page
    }
}

fn calls_a_minute(times: &[Duration]) -> f64 {
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return 0.0;
    };
    let span = (*last - *first).as_secs_f64();
    if span > 0.0 {
        (times.len() - 1) as f64 * 60.0 / span
    } else {
        0.0
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

fn gaps(times: &[Duration]) -> Gaps {
    let mut gaps: Vec<_> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64() * 1e3)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let rank = |part: f64| {
        gaps.get(((gaps.len() as f64 * part) as usize).min(gaps.len().saturating_sub(1)))
    };
    let at = |part| rank(part).copied().unwrap_or_default();
    Gaps {
        min: at(0.0),
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
    }
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
        assert_eq!(
            gaps(&times),
            Gaps {
                min: 1.0,
                p50: 10.0,
                p99: 950.0,
                max: 950.0
            }
        );
        assert_eq!(gaps(&times[..1]), Gaps::default());
        assert_eq!(calls_a_minute(&times), 300.0);
    }

    #[test]
    fn calls_are_counted_by_what_became_of_them() {
        let started = Instant::now();
        let mut ledger = Ledger::new(started);
        for (n, (key, status, admitted, is_paid, fault)) in [
            (0, 200, true, true, None),
            (1, 429, false, true, None),
            (0, 500, true, true, Some(Fault::Status(500))),
            (1, 400, true, false, None),
            (0, 200, true, true, Some(Fault::Truncated)),
            (0, 200, true, true, Some(Fault::Empty)),
        ]
        .into_iter()
        .enumerate()
        {
            if admitted {
                ledger.entered();
            }
            let outcome = Outcome {
                status,
                admitted,
                is_paid,
                fault,
            };
            ledger.note(started + MS * n as u32, key, outcome);
        }
        let stats = ledger.stats(started + MS * 500);
        assert_eq!((stats.arrivals, stats.refused, stats.no_money), (6, 1, 1));
        assert_eq!(
            (stats.answered, stats.good),
            (3, 2),
            "an empty answer is one, half an answer is none"
        );
        assert_eq!(stats.faults.get("error_500"), Some(&1));
        assert_eq!(
            stats.keys[1],
            KeyStats {
                arrivals: 2,
                admitted: 1,
                refused: 1
            }
        );
        assert_eq!((stats.most_in_flight, stats.uptime_s), (1, 0.5));
        assert_eq!(
            ledger.page(started, true)["arrival_list"][1],
            json!([1.0, 429, 1])
        );
    }
}
