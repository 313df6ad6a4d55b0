//! Takes in records one by one, and at the end makes a report of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::audit::{self, MINUTE, unnamed};
use super::call::{CallEnd, CallSummary, ms};
use super::fields::RecordFields;
use super::numbers::{
    AuditedLimit, CallCounts, FailedExample, FailureReason, KeyReport, LatencySummary, Moment,
    OutcomeCount, Percentiles, PromptCounts, RecordRef, Report, RetriedPrompt, RunSpan, SlowPrompt,
    TimeSpent, TokenCounts,
};
use super::pauses::{self, Pauses};
use super::timeline::Timeline;
use crate::batch::Flag;
use crate::cli::output::keep_last;
use crate::journal::RecordAttempt;
use crate::outcome::CallOutcome;

/// Different codes of failures that are told apart. A server may put anything into a code.
const MOST_CODES: usize = 1_000;
/// What all further codes are counted as.
const OTHER_CODES: &str = "(others)";
/// Prompts shown for each reason to fail.
const EXAMPLES: usize = 3;
/// Prompts in the lists of the slowest and the most retried.
const RANKED: usize = 10;

/// What was taken in so far: 24 bytes a call and 16 bytes a record.
#[derive(Debug, Default)]
pub(super) struct ReportBuilder {
    calls: Vec<CallSummary>,
    /// The line of the prompt, and its record.
    records: Vec<(u64, RecordEnd)>,
    /// The codes of failures, numbered: a million records that failed take 16 bytes each, too.
    codes: BTreeMap<String, u16>,
    counts: CallCounts,
    outcomes: BTreeMap<CallOutcome, u64>,
    keys: BTreeMap<u16, KeyTally>,
    tokens: TokenCounts,
    slowest: Vec<Ranked>,
    most_retried: Vec<Ranked>,
}

/// What became of a prompt.
#[derive(Clone, Copy, Debug)]
struct RecordEnd {
    /// The line of the results.
    record: u32,
    end: PromptEnd,
}

#[derive(Clone, Copy, Debug)]
enum PromptEnd {
    Answered(Option<Flag>),
    /// The number of its code.
    Failed(u16),
}

/// What is summed up for a key.
#[derive(Debug, Default)]
struct KeyTally {
    times: TimeSpent,
    /// Pauses of a length that the server gave.
    pauses: Vec<(u64, u64)>,
}

/// A prompt with much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ranked {
    amount: u64,
    /// The line of the prompt.
    prompt: u64,
    /// The line of the results.
    record: u64,
}

impl ReportBuilder {
    /// Takes in a record, by its line in the results and the line of its prompt.
    pub(super) fn add(&mut self, record: u64, prompt: u64, fields: &RecordFields<'_>) {
        let first = self.calls.len();
        for attempt in &fields.attempts {
            self.add_call(CallSummary::of(attempt, record), attempt);
        }
        if let Some(tokens) = fields.tokens() {
            self.tokens.input = self.tokens.input.saturating_add(tokens.input.into());
            self.tokens.output = self.tokens.output.saturating_add(tokens.output.into());
            self.tokens.stated_by += 1;
        }
        self.rank(first, prompt, record);
        self.add_end(record, prompt, fields);
    }

    fn add_call(&mut self, call: CallSummary, attempt: &RecordAttempt) {
        self.calls.push(call);
        self.counts.total += 1;
        self.counts.retries += u64::from(attempt.n > 1);
        self.counts.status_429 += u64::from(attempt.status == Some(429));
        *self.outcomes.entry(attempt.outcome).or_default() += 1;
        let key = self.keys.entry(call.key).or_default();
        key.times.add(&TimeSpent::of(attempt));
        if let (CallEnd::RateLimited, Some(wait)) = (call.end, attempt.retry_after) {
            let from = call.ended_at();
            key.pauses.push((from, from.saturating_add(ms(wait))));
        }
    }

    /// Ranks a prompt by its calls, which are the last ones, from `first` on.
    fn rank(&mut self, first: usize, prompt: u64, record: u64) {
        let calls = &self.calls[first..];
        let begin = calls.iter().map(|call| call.at).min();
        let end = calls.iter().map(CallSummary::ended_at).max();
        let Some((begin, end)) = begin.zip(end) else {
            return;
        };
        let retries = calls.len() as u64 - 1;
        let ranked = |amount| Ranked {
            amount,
            prompt,
            record,
        };
        offer(&mut self.slowest, ranked(end - begin));
        if retries > 0 {
            offer(&mut self.most_retried, ranked(retries));
        }
    }

    fn add_end(&mut self, record: u64, prompt: u64, fields: &RecordFields<'_>) {
        let record = u32::try_from(record).unwrap_or(u32::MAX);
        let end = match &fields.text {
            Some(text) => PromptEnd::Answered(Flag::of(text, fields.finish_reason.as_deref())),
            None => {
                let code = fields.error.as_ref().map_or("unknown", |error| &error.code);
                PromptEnd::Failed(self.code_number(code))
            }
        };
        self.records.push((prompt, RecordEnd { record, end }));
    }

    fn code_number(&mut self, code: &str) -> u16 {
        if let Some(number) = self.codes.get(code) {
            return *number;
        }
        let next = self.codes.len();
        let code = if next < MOST_CODES { code } else { OTHER_CODES };
        *self.codes.entry(code.to_owned()).or_insert(next as u16)
    }

    /// Makes the report: there are no more records.
    pub(super) fn finish(mut self, limit: Option<AuditedLimit>) -> Report {
        let prompts = self.prompts();
        self.calls
            .sort_unstable_by_key(|call| (call.key, call.at, call.record));
        let pauses = self.pauses();
        let keys = self.keys(limit, &pauses);
        let mut times = TimeSpent::default();
        keys.iter().for_each(|key| times.add(&key.times));
        self.calls
            .sort_unstable_by_key(|call| (call.at, call.record));
        let [all, answered] = [|_: &CallSummary| true, is_answer].map(|wanted| self.took(wanted));
        let latency = if answered.is_empty() { &all } else { &answered };
        let timeline = Timeline::new(&self.calls, pauses.values(), latency);
        let slow = |prompt, took_ms| SlowPrompt { prompt, took_ms };
        let retried = |prompt, retries| RetriedPrompt { prompt, retries };
        Report {
            prompts,
            tokens: self.tokens,
            span: span(&self.calls),
            limit,
            keys,
            times,
            latency: LatencySummary {
                answered: Percentiles::of(&answered),
                all: Percentiles::of(&all),
            },
            slowest: ranked(&self.slowest, slow),
            most_retried: ranked(&self.most_retried, retried),
            torn_bytes: 0,
            calls: self.counts(),
            timeline,
        }
    }

    fn counts(self) -> CallCounts {
        let outcomes = self.outcomes.into_iter();
        let mut outcomes: Vec<_> = outcomes
            .map(|(outcome, count)| OutcomeCount { outcome, count })
            .collect();
        outcomes.sort_by_key(|ended| Reverse(ended.count));
        CallCounts {
            outcomes,
            ..self.counts
        }
    }

    /// What became of the prompts, by the last record of each. The records are not needed any more.
    fn prompts(&mut self) -> PromptCounts {
        let mut records = std::mem::take(&mut self.records);
        let all = records.len();
        keep_last(&mut records);
        let mut counts = PromptCounts {
            superseded: (all - records.len()) as u64,
            ..PromptCounts::default()
        };
        let mut reasons = self.reasons();
        for (_, last) in records {
            match last.end {
                PromptEnd::Answered(flag) => {
                    counts.answered += 1;
                    if let Some(flag) = flag {
                        counts.flags.count(flag);
                    }
                }
                PromptEnd::Failed(code) => {
                    counts.failed += 1;
                    reasons[usize::from(code)].add(last.record);
                }
            }
        }
        reasons.retain(|reason| reason.count > 0);
        reasons.sort_by(|one, other| (other.count, &one.code).cmp(&(one.count, &other.code)));
        counts.failures = reasons;
        counts
    }

    /// The codes by their numbers, without prompts.
    fn reasons(&mut self) -> Vec<FailureReason> {
        let codes = std::mem::take(&mut self.codes);
        let mut codes: Vec<_> = codes
            .into_iter()
            .map(|(code, number)| (number, code))
            .collect();
        codes.sort_unstable();
        let reason = |(_, code)| FailureReason {
            code,
            count: 0,
            examples: Vec::new(),
        };
        codes.into_iter().map(reason).collect()
    }

    /// The pauses of each key. The calls are sorted by key.
    fn pauses(&mut self) -> BTreeMap<u16, Pauses> {
        let mut pauses = BTreeMap::new();
        for calls in self.calls.chunk_by(|one, next| one.key == next.key) {
            let key = calls[0].key;
            if let Some(tally) = self.keys.get_mut(&key) {
                let mut spans = std::mem::take(&mut tally.pauses);
                spans.extend(pauses::silent(calls));
                pauses.insert(key, Pauses::new(spans));
            }
        }
        pauses
    }

    /// The pace of each key. The calls are sorted by key.
    fn keys(&self, limit: Option<AuditedLimit>, pauses: &BTreeMap<u16, Pauses>) -> Vec<KeyReport> {
        let keys = self.calls.chunk_by(|one, next| one.key == next.key);
        keys.filter_map(|calls| {
            let (first, last) = (calls.first()?, calls.last()?);
            let pauses = pauses.get(&first.key)?;
            let mut times = self.keys.get(&first.key)?.times;
            let waits = calls
                .iter()
                .map(|call| pauses.length_within(call.asked(), call.at));
            times.paused_ms = waits.sum();
            Some(KeyReport {
                key: first.key.into(),
                calls: calls.len() as u64,
                rate_limited: calls
                    .iter()
                    .filter(|call| call.end == CallEnd::RateLimited)
                    .count() as u64,
                paused_ms: pauses.length_within(first.at, last.ended_at()),
                smallest_gap: audit::smallest_gap(calls),
                busiest_minute: audit::busiest(calls, MINUTE)?,
                excess: limit.map(|limit| audit::excess(calls, &limit)),
                times,
            })
        })
        .collect()
    }

    /// How long calls took, in order.
    fn took(&self, is_wanted: impl Fn(&CallSummary) -> bool) -> Vec<u32> {
        let calls = self.calls.iter().filter(|call| is_wanted(call));
        let mut took: Vec<_> = calls.map(|call| call.took_ms).collect();
        took.sort_unstable();
        took
    }
}

impl FailureReason {
    fn add(&mut self, record: u32) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            let prompt = unnamed(record.into());
            self.examples.push(FailedExample {
                prompt,
                message: String::new(),
            });
        }
    }
}

fn is_answer(call: &CallSummary) -> bool {
    call.end == CallEnd::Answered
}

/// Puts a prompt into a list of those with the most, the most first; of equals the one that came first. Each prompt is
/// in the list once.
fn offer(list: &mut Vec<Ranked>, new: Ranked) {
    if list.len() == RANKED && list[RANKED - 1].amount >= new.amount {
        return;
    }
    if let Some(old) = list.iter().position(|ranked| ranked.prompt == new.prompt) {
        if list[old].amount >= new.amount {
            return;
        }
        list.remove(old);
    }
    let place = list.partition_point(|ranked| ranked.amount >= new.amount);
    list.insert(place, new);
    list.truncate(RANKED);
}

/// A list as the report has it.
fn ranked<T>(list: &[Ranked], entry: impl Fn(RecordRef, u64) -> T) -> Vec<T> {
    let entries = list.iter();
    entries
        .map(|ranked| entry(unnamed(ranked.record), ranked.amount))
        .collect()
}

/// From the first call to the last. The calls are sorted by departure.
fn span(calls: &[CallSummary]) -> Option<RunSpan> {
    let (first, last) = (calls.first()?.at, calls.last()?.at);
    let minutes = (last - first) as f64 / MINUTE as f64;
    Some(RunSpan {
        first: Moment(first),
        last: Moment(last),
        calls_a_minute: (last > first).then(|| (calls.len() - 1) as f64 / minutes),
        busiest_minute: audit::busiest(calls, MINUTE)?,
    })
}

impl Percentiles {
    /// Of durations in order, in milliseconds; none of nothing.
    fn of(took: &[u32]) -> Option<Self> {
        let percentile = |percent: usize| {
            let rank = (took.len() * percent).div_ceil(100);
            Some(u64::from(*took.get(rank.checked_sub(1)?)?))
        };
        Some(Percentiles {
            p50_ms: percentile(50)?,
            p95_ms: percentile(95)?,
            p99_ms: percentile(99)?,
            longest_ms: percentile(100)?,
        })
    }
}

impl TimeSpent {
    fn of(attempt: &RecordAttempt) -> Self {
        TimeSpent {
            queued_ms: ms(attempt.queued),
            paced_ms: ms(attempt.paced),
            paused_ms: 0,
            took_ms: ms(attempt.took),
            backoff_ms: attempt.backoff.map_or(0, ms),
        }
    }

    fn add(&mut self, other: &TimeSpent) {
        self.queued_ms = self.queued_ms.saturating_add(other.queued_ms);
        self.paced_ms = self.paced_ms.saturating_add(other.paced_ms);
        self.paused_ms = self.paused_ms.saturating_add(other.paused_ms);
        self.took_ms = self.took_ms.saturating_add(other.took_ms);
        self.backoff_ms = self.backoff_ms.saturating_add(other.backoff_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_has_one_place_and_of_equals_the_first_comes_first() {
        let amounts = [
            (1, 5),
            (2, 9),
            (1, 7),
            (3, 7),
            (4, 1),
            (5, 8),
            (2, 3),
            (6, 7),
        ];
        let more = (7..20).map(|prompt| (prompt, 6));
        let mut list = Vec::new();
        for (record, (prompt, amount)) in (1..).zip(amounts.into_iter().chain(more)) {
            offer(
                &mut list,
                Ranked {
                    amount,
                    prompt,
                    record,
                },
            );
        }
        let found: Vec<_> = list
            .iter()
            .map(|r| (r.prompt, r.amount, r.record))
            .collect();
        let expected = [
            (2, 9, 2),
            (5, 8, 6),
            (1, 7, 3),
            (3, 7, 4),
            (6, 7, 8),
            (7, 6, 9),
        ];
        assert_eq!(found[..6], expected);
        assert_eq!(found.len(), 10);
    }

    #[test]
    fn a_percentile_is_the_least_that_this_part_does_not_exceed() {
        let of = |took: &[u32]| {
            Percentiles::of(took).map(|p| [p.p50_ms, p.p95_ms, p.p99_ms, p.longest_ms])
        };
        assert_eq!(of(&(1..=100).collect::<Vec<_>>()), Some([50, 95, 99, 100]));
        assert_eq!(of(&[7]), Some([7; 4]));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[120_001; 3]), Some([120_001; 4]));
    }

    #[test]
    fn beyond_a_thousand_codes_all_others_are_one() {
        let mut builder = ReportBuilder::default();
        for n in 1..=2_000 {
            let record =
                format!(r#"{{"id":"pl_1","custom_id":"a","error":{{"code":"{n}","message":""}}}}"#);
            builder.add(n, n, &serde_json::from_str(&record).unwrap());
        }
        let failures = builder.finish(None).prompts.failures;
        assert_eq!((failures.len(), failures[0].count), (1_001, 1_000));
        assert_eq!(failures[0].code, OTHER_CODES);
    }
}
