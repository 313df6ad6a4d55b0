//! Takes in records one by one, and at the end makes a report of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroU32;

use super::audit::{self, MINUTE, unnamed};
use super::call::{CallFate, CallSummary};
use super::charts::Charts;
use super::numbers::{
    AuditedLimit, CallCounts, KeyReport, LatencySummary, Moment, Percentiles, PromptCounts,
    RankedPrompt, Report, RunSpan, SentWith, TimeSpent, TokenCounts,
};
use super::pauses::{self, Pauses};
use crate::batch::{Causes, FailureCause, Flag};
use crate::cli::fields::RecordFields;
use crate::cli::format::millis;
use crate::cli::output::keep_last;
use crate::journal::RecordAttempt;
use crate::outcome::CallOutcome;

/// Prompts in the lists of the slowest and the most retried.
const RANKED: usize = 10;

/// What was taken in so far: 24 bytes a call and 16 bytes a record.
#[derive(Debug, Default)]
pub(super) struct ReportBuilder {
    calls: Vec<CallSummary>,
    /// The line of the prompt, and its record.
    records: Vec<(u64, RecordEnd)>,
    /// Without counts until the last record of each prompt is known.
    causes: Causes,
    /// What the last prompt was sent with, as it was written, and read.
    settings: String,
    sent_with: SentWith,
    /// The limit that the records name; `None` inside if some name none.
    limit: Option<Option<AuditedLimit>>,
    counts: CallCounts,
    keys: BTreeMap<u16, KeyTally>,
    tokens: TokenCounts,
    slowest: Vec<RankedPrompt>,
    most_retried: Vec<RankedPrompt>,
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
    /// The place of its cause in the list, if it is there.
    Failed(Option<u8>),
}

/// What is summed up for a key.
#[derive(Debug, Default)]
struct KeyTally {
    times: TimeSpent,
    /// Pauses of a length that the server gave.
    pauses: Vec<(u64, u64)>,
}

impl ReportBuilder {
    /// Takes in a record, by its line in the results and the line of its prompt.
    pub(super) fn add(
        &mut self,
        record: u64,
        prompt: u64,
        fields: &RecordFields<'_, RecordAttempt>,
    ) {
        let first = self.calls.len();
        for attempt in &fields.attempts {
            self.add_call(CallSummary::of(attempt, record), attempt);
        }
        if let Some(tokens) = fields.tokens() {
            self.tokens.usage += tokens;
            self.tokens.stated_by += 1;
            self.tokens.without_answer += fields.tokens_without_answer(tokens);
        }
        if let Some(settings) = fields.settings.filter(|new| new.get() != self.settings) {
            self.note_settings(settings.get());
        }
        self.rank(first, prompt, record);
        self.add_end(record, prompt, fields);
    }

    /// Of several limits, as of a run that went on faster, the pace must keep the fastest.
    fn note_settings(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
        self.sent_with = serde_json::from_str(settings).unwrap_or_default();
        let new = self.sent_with.limit();
        self.limit = Some(match self.limit {
            None => new,
            Some(old) => old.zip(new).map(|(old, new)| old.max(new)),
        });
    }

    fn add_call(&mut self, call: CallSummary, attempt: &RecordAttempt) {
        self.calls.push(call);
        self.counts.total += 1;
        self.counts.retries += u64::from(attempt.n > 1);
        self.counts.maybe_billed += u64::from(attempt.billed.is_some());
        if attempt.outcome != CallOutcome::Answered {
            let cause = FailureCause::new(attempt.outcome, attempt.status, "", "");
            self.counts.failed.count("", cause);
        }
        let key = self.keys.entry(call.key).or_default();
        key.times.add(&TimeSpent::of(attempt));
        if let (CallFate::RateLimited, Some(wait)) = (call.end, attempt.retry_after) {
            let from = call.ended_at();
            key.pauses.push((from, from.saturating_add(millis(wait))));
        }
    }

    /// Ranks a prompt by its calls, which are the last ones, from `first` on.
    fn rank(&mut self, first: usize, line: u64, record: u64) {
        let calls = &self.calls[first..];
        let begin = calls.iter().map(|call| call.at).min();
        let end = calls.iter().map(CallSummary::ended_at).max();
        let Some((begin, end)) = begin.zip(end) else {
            return;
        };
        let ranked = RankedPrompt {
            prompt: unnamed(record),
            line,
            took_ms: end - begin,
            retries: calls.len() as u64 - 1,
        };
        if ranked.retries > 0 {
            offer(&mut self.most_retried, &ranked, |ranked| ranked.retries);
        }
        offer(&mut self.slowest, &ranked, |ranked| ranked.took_ms);
    }

    fn add_end(&mut self, record: u64, prompt: u64, fields: &RecordFields<'_, RecordAttempt>) {
        let record = u32::try_from(record).unwrap_or(u32::MAX);
        let end = match &fields.text {
            Some(text) => PromptEnd::Answered(Flag::of(text, fields.finish_reason.as_deref())),
            // The list is short: a place fits a byte.
            None => PromptEnd::Failed(self.causes.place(fields.cause()).map(|place| place as u8)),
        };
        self.records.push((prompt, RecordEnd { record, end }));
    }

    /// Makes the report: there are no more records.
    pub(super) fn finish(mut self, given: Option<AuditedLimit>) -> Report {
        let limit = given.or(self.limit.flatten());
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
        let pauses: Vec<_> = pauses.into_values().collect();
        Report {
            sent_with: self.sent_with,
            prompts,
            calls: self.counts,
            tokens: self.tokens,
            cost: None,
            cost_without_answer: None,
            span: span(&self.calls),
            limit,
            limit_is_recorded: given.is_none() && limit.is_some(),
            keys,
            times,
            latency: LatencySummary {
                answered: Percentiles::of(&answered),
                all: Percentiles::of(&all),
            },
            slowest: self.slowest,
            most_retried: self.most_retried,
            torn_bytes: 0,
            charts: Charts::draw(&self.calls, &pauses, latency, limit),
        }
    }

    /// What became of the prompts, by the last record of each. The records are not needed any more.
    fn prompts(&mut self) -> PromptCounts {
        let mut records = mem::take(&mut self.records);
        let all = records.len();
        keep_last(&mut records);
        let mut counts = PromptCounts {
            superseded: (all - records.len()) as u64,
            causes: mem::take(&mut self.causes),
            ..PromptCounts::default()
        };
        counts.first_records = vec![Vec::new(); counts.causes.list.len()];
        records.iter().for_each(|(_, last)| counts.add(*last));
        counts.sort_causes();
        counts
    }

    /// The pauses of each key. The calls are sorted by key.
    fn pauses(&mut self) -> BTreeMap<u16, Pauses> {
        let mut pauses = BTreeMap::new();
        for calls in self.calls.chunk_by(|one, next| one.key == next.key) {
            let key = calls[0].key;
            if let Some(tally) = self.keys.get_mut(&key) {
                let mut spans = mem::take(&mut tally.pauses);
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
                    .filter(|call| call.end == CallFate::RateLimited)
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

impl SentWith {
    fn limit(&self) -> Option<AuditedLimit> {
        Some(AuditedLimit {
            calls_a_minute: self.rpm?,
            burst: self.burst.unwrap_or(NonZeroU32::MIN),
        })
    }
}

impl PromptCounts {
    fn add(&mut self, last: RecordEnd) {
        match last.end {
            PromptEnd::Answered(flag) => {
                self.answered += 1;
                if let Some(flag) = flag {
                    self.flags.count(flag);
                }
            }
            PromptEnd::Failed(place) => {
                self.failed += 1;
                self.add_failure(place.map(usize::from), last.record.into());
            }
        }
    }

    fn add_failure(&mut self, place: Option<usize>, record: u64) {
        let Some(place) = place else {
            self.causes.others += 1;
            return;
        };
        self.causes.list[place].count += 1;
        if self.first_records[place].len() < Causes::IDS {
            self.first_records[place].push(record);
        }
    }

    /// The most frequent cause first; without those whose prompts were all run again.
    fn sort_causes(&mut self) {
        let causes = mem::take(&mut self.causes.list).into_iter();
        let mut both: Vec<_> = causes.zip(mem::take(&mut self.first_records)).collect();
        both.retain(|(cause, _)| cause.count > 0);
        both.sort_by_key(|(cause, _)| Reverse(cause.count));
        (self.causes.list, self.first_records) = both.into_iter().unzip();
    }
}

fn is_answer(call: &CallSummary) -> bool {
    call.end == CallFate::Answered
}

/// Puts a prompt into a list of those with the most of something, the most first; of equals the one that came first.
/// Each prompt is in the list once.
fn offer(list: &mut Vec<RankedPrompt>, new: &RankedPrompt, of: impl Fn(&RankedPrompt) -> u64) {
    let amount = of(new);
    if list.len() == RANKED && of(&list[RANKED - 1]) >= amount {
        return;
    }
    if let Some(old) = list.iter().position(|ranked| ranked.line == new.line) {
        if of(&list[old]) >= amount {
            return;
        }
        list.remove(old);
    }
    let place = list.partition_point(|ranked| of(ranked) >= amount);
    list.insert(place, new.clone());
    list.truncate(RANKED);
}

/// From the first call to the last. The calls are sorted by departure.
fn span(calls: &[CallSummary]) -> Option<RunSpan> {
    let (first, last) = (calls.first()?.at, calls.last()?.at);
    let until = calls.iter().map(CallSummary::ended_at).max()?;
    let minutes = (last - first) as f64 / MINUTE as f64;
    Some(RunSpan {
        first: Moment(first),
        last: Moment(last),
        took_ms: until - first,
        calls_a_minute: (last > first).then(|| (calls.len() - 1) as f64 / minutes),
        busiest_minute: audit::busiest(calls, MINUTE)?,
    })
}

impl Percentiles {
    /// Of durations in order, in milliseconds; none of nothing.
    pub(super) fn of(took: &[u32]) -> Option<Self> {
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
            queued_ms: millis(attempt.queued),
            paced_ms: millis(attempt.paced),
            paused_ms: 0,
            took_ms: millis(attempt.took),
            backoff_ms: attempt.backoff.map_or(0, millis),
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
            let ranked = RankedPrompt {
                prompt: unnamed(record),
                line: prompt,
                took_ms: amount,
                retries: 0,
            };
            offer(&mut list, &ranked, |ranked| ranked.took_ms);
        }
        let found: Vec<_> = list
            .iter()
            .map(|r| (r.line, r.took_ms, r.prompt.record))
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
    fn beyond_two_dozen_causes_all_others_are_one() {
        let mut builder = ReportBuilder::default();
        for n in 1..=2_000 {
            let record =
                format!(r#"{{"id":"pl_1","custom_id":"a","error":{{"code":"{n}","message":""}}}}"#);
            builder.add(n, n, &serde_json::from_str(&record).unwrap());
        }
        let prompts = builder.finish(None).prompts;
        let causes = prompts.causes;
        assert_eq!(
            (prompts.failed, causes.list.len(), causes.others),
            (2_000, 24, 1_976)
        );
    }
}
