//! Takes in records, and at the end says what they come to.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::call::Call;
use super::flow::{Doing, Flow};
use super::holds::{Held, Holds};
use super::lanes::{Ended, Stays, Try};
use super::last::{End, Lasts};
use super::latency::Histogram;
use super::numbers::{
    Calls, KeyPace, Latencies, Limit, Moment, Outcome, Report, Retried, Slow, Span, Times, Tokens,
};
use super::pace::{self, MINUTE, nameless};
use super::pictures::{self, Pictures};
use super::row::Row;
use super::top::{Place, Top};
use super::words::Words;
use crate::batch::Flag;
use crate::journal::Attempt;
use crate::outcome::CallOutcome;

/// What has been taken in so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lasts: Lasts,
    calls: Vec<Call>,
    /// By key.
    holds: BTreeMap<u64, Holds>,
    /// By key, without what was held.
    times: BTreeMap<u64, Times>,
    counts: Calls,
    outcomes: (Words, BTreeMap<u16, u64>),
    codes: Words,
    tokens: Tokens,
    answered: Histogram,
    all: Histogram,
    slowest: Top,
    most_retried: Top,
    flow: Flow,
    stays: Stays,
}

impl Ledger {
    /// Takes in a record, by its line in the results and the line of its prompt.
    pub(super) fn enter(&mut self, record: u64, prompt: u64, row: &Row<'_>) {
        row.attempts
            .iter()
            .for_each(|attempt| self.call(record, attempt));
        row.tokens()
            .into_iter()
            .for_each(|tokens| self.tokens.add(&tokens));
        self.rank(record, prompt, &row.attempts);
        self.stays.enter(record, row.attempts.iter().map(try_of));
        let end = self.end(row);
        self.lasts.push(prompt, record, end);
    }

    fn call(&mut self, record: u64, attempt: &Attempt) {
        let (at, took) = (since_1970(attempt.started_at), ms(attempt.took));
        let call =
            Call::new(attempt.key, at, ms(attempt.paced), record).refused(was_refused(attempt));
        self.calls.push(call);
        self.times
            .entry(call.key())
            .or_default()
            .add(&Times::of(attempt));
        if let Some(ordered) = attempt.retry_after.filter(|_| was_refused(attempt)) {
            let from = at.saturating_add(took);
            self.holds
                .entry(call.key())
                .or_default()
                .push(from, from.saturating_add(ms(ordered)));
        }
        let try_ = try_of(attempt);
        self.flow.note(try_.at, try_.end, Doing::of(try_.ended));
        self.flow.note(try_.end, try_.again, Doing::BackingOff);
        self.all.note(took);
        if attempt.outcome == CallOutcome::Answered {
            self.answered.note(took);
        }
        self.count(attempt);
    }

    fn count(&mut self, attempt: &Attempt) {
        self.counts.total += 1;
        self.counts.retries += u64::from(attempt.n > 1);
        self.counts.status_429 += u64::from(attempt.status == Some(429));
        let (words, counts) = &mut self.outcomes;
        *counts
            .entry(words.number(attempt.outcome.name()))
            .or_default() += 1;
    }

    fn rank(&mut self, record: u64, prompt: u64, attempts: &[Attempt]) {
        let first = attempts
            .iter()
            .map(|attempt| since_1970(attempt.started_at))
            .min();
        let end =
            |attempt: &Attempt| since_1970(attempt.started_at).saturating_add(ms(attempt.took));
        let Some((first, end)) = first.zip(attempts.iter().map(end).max()) else {
            return;
        };
        self.slowest.offer(Place {
            amount: end - first,
            prompt,
            record,
        });
        if attempts.len() > 1 {
            self.most_retried.offer(Place {
                amount: attempts.len() as u64 - 1,
                prompt,
                record,
            });
        }
    }

    fn end(&mut self, row: &Row<'_>) -> End {
        match &row.text {
            Some(text) => End::Answered(Flag::of(text, row.finish_reason.as_deref())),
            None => {
                let code = row.error.as_ref().map_or("unknown", |fault| &fault.code);
                End::Failed(self.codes.number(code))
            }
        }
    }

    /// There are no more records.
    pub(super) fn finish(mut self, limit: Option<Limit>) -> Report {
        Call::sort_by_key(&mut self.calls);
        let holds = std::mem::take(&mut self.holds);
        let held = holds
            .into_iter()
            .map(|(key, holds)| (key, holds.finish()))
            .collect();
        let keys = self.keys(limit, &held);
        Call::sort_by_departure(&mut self.calls);
        let mut times = Times::default();
        keys.iter().for_each(|key| times.add(&key.times));
        let pictures = self.pictures(&held);
        let (words, counts) = self.outcomes;
        let outcomes = words.by_count(counts, |count| *count).into_iter();
        self.counts.outcomes = outcomes
            .map(|(outcome, count)| Outcome { outcome, count })
            .collect();
        let slow = |place: Place| Slow {
            prompt: nameless(place.record),
            took_ms: place.amount,
        };
        let retried = |place: Place| Retried {
            prompt: nameless(place.record),
            retries: place.amount,
        };
        Report {
            prompts: self.lasts.finish(self.codes),
            calls: self.counts,
            tokens: self.tokens,
            span: span(&self.calls),
            limit,
            keys,
            times,
            latency: Latencies {
                answered: self.answered.latency(),
                all: self.all.latency(),
            },
            slowest: self.slowest.into_places().into_iter().map(slow).collect(),
            most_retried: self
                .most_retried
                .into_places()
                .into_iter()
                .map(retried)
                .collect(),
            torn_bytes: 0,
            pictures,
        }
    }

    /// The calls are sorted by departure.
    fn pictures(&mut self, held: &BTreeMap<u64, Held>) -> Pictures {
        let free = Held::default();
        let of = |key: u64| held.get(&key).unwrap_or(&free);
        for call in &self.calls {
            self.flow.note_wait(call.asked(), call.at(), of(call.key()));
        }
        let latency = if self.answered.latency().is_some() {
            &self.answered
        } else {
            &self.all
        };
        Pictures {
            flow: self.flow.slices(),
            lanes: std::mem::take(&mut self.stays).into_lanes(of),
            rates: pictures::rates(&self.calls),
            latency: latency.steps(),
        }
    }

    /// The pace of each key. The calls are sorted by it.
    fn keys(&mut self, limit: Option<Limit>, held_by_key: &BTreeMap<u64, Held>) -> Vec<KeyPace> {
        let by_key = self.calls.chunk_by(|one, next| one.key() == next.key());
        let pace = |calls: &[Call]| {
            let (key, busiest_minute) = (calls.first()?.key(), pace::busiest(calls, MINUTE)?);
            let mut times = self.times.remove(&key).unwrap_or_default();
            let held = |held: &Held| {
                calls
                    .iter()
                    .map(|call| held.between(call.asked(), call.at()))
                    .sum()
            };
            times.held_ms = held_by_key.get(&key).map_or(0, held);
            let smallest_gap = pace::smallest_gap(calls);
            let excess = limit.map(|limit| pace::excess(calls, &limit));
            Some(KeyPace {
                key,
                calls: calls.len() as u64,
                smallest_gap,
                busiest_minute,
                excess,
                times,
            })
        };
        by_key.filter_map(pace).collect()
    }
}

/// What a worker did for an attempt.
fn try_of(attempt: &Attempt) -> Try {
    let at = since_1970(attempt.started_at).min(Call::LATEST);
    let end = at.saturating_add(ms(attempt.took)).min(Call::LATEST);
    let again = end
        .saturating_add(attempt.backoff.map_or(0, ms))
        .min(Call::LATEST);
    let ended = match () {
        () if attempt.outcome == CallOutcome::Answered => Ended::Answered,
        () if was_refused(attempt) => Ended::Refused,
        () => Ended::Faulty,
    };
    let (key, asked) = (attempt.key as u64, at.saturating_sub(ms(attempt.paced)));
    Try {
        n: attempt.n,
        key,
        asked,
        at,
        end,
        again,
        ended,
    }
}

/// The calls are sorted by departure.
fn span(calls: &[Call]) -> Option<Span> {
    let (first, last) = (calls.first()?.at(), calls.last()?.at());
    let minutes = (last - first) as f64 / MINUTE as f64;
    let calls_a_minute = (last > first).then(|| (calls.len() - 1) as f64 / minutes);
    let busiest_minute = pace::busiest(calls, MINUTE)?;
    Some(Span {
        first: Moment(first),
        last: Moment(last),
        calls_a_minute,
        busiest_minute,
    })
}

/// Whether the server has said that we come too fast, or that it has too much to do.
fn was_refused(attempt: &Attempt) -> bool {
    attempt.outcome == CallOutcome::RateLimited || matches!(attempt.status, Some(429 | 503 | 529))
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, ms)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Times {
    fn of(attempt: &Attempt) -> Self {
        Times {
            queued_ms: ms(attempt.queued),
            paced_ms: ms(attempt.paced),
            held_ms: 0,
            took_ms: ms(attempt.took),
            backoff_ms: attempt.backoff.map_or(0, ms),
        }
    }

    fn add(&mut self, other: &Times) {
        let Times {
            queued_ms,
            paced_ms,
            held_ms,
            took_ms,
            backoff_ms,
        } = *other;
        self.queued_ms = self.queued_ms.saturating_add(queued_ms);
        self.paced_ms = self.paced_ms.saturating_add(paced_ms);
        self.held_ms = self.held_ms.saturating_add(held_ms);
        self.took_ms = self.took_ms.saturating_add(took_ms);
        self.backoff_ms = self.backoff_ms.saturating_add(backoff_ms);
    }
}

impl Tokens {
    fn add(&mut self, other: &Tokens) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.stated_by += other.stated_by;
    }
}
