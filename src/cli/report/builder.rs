//! Takes in records one by one, and at the end makes a report of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU32;

use super::audit::MINUTE;
use super::call::{CallFate, CallSummary};
use super::charts::Charts;
use super::numbers::{
    AuditedLimit, BusiestMinute, KeyReport, LatencySummary, Percentiles, PromptCounts,
    RankedPrompt, RecordRef, Report, RunSpan, SentWith, TimeSpent, TokenCounts,
};
use crate::batch::{Causes, FailureCause, Flag};
use crate::cli::fields::RecordFields;
use crate::cli::output::keep_last;
use crate::journal::RecordAttempt;
use crate::outcome::CallOutcome;
use crate::text::millis;

/// Prompts in the lists of the slowest and the most retried.
const RANKED: usize = 10;

/// What was taken in so far: 24 bytes a call and 16 bytes a record.
#[derive(Debug, Default)]
pub(super) struct ReportBuilder {
    /// What is known already. The causes have no counts until the last record of each prompt is known.
    report: Report,
    keys: BTreeMap<u16, KeyReport>,
    calls: Vec<CallSummary>,
    /// How late calls left, in microseconds; of those on record.
    lateness: Vec<u32>,
    /// The line of each prompt, and what became of it.
    records: Vec<(u64, PromptEnd)>,
    /// What the last prompt was sent with, as it was written.
    settings: String,
    /// The limits that the records name; `None` is in it if some name none.
    limits: BTreeSet<Option<AuditedLimit>>,
}

#[derive(Clone, Copy, Debug)]
enum PromptEnd {
    Answered(Option<Flag>),
    Failed {
        /// The line of the results.
        record: u32,
        /// The place of its cause in the list, if it is there.
        cause: Option<u8>,
    },
}

impl ReportBuilder {
    /// Takes in a record, by its line in the results and the line of its prompt.
    pub(super) fn add(
        &mut self,
        record: u64,
        prompt: u64,
        fields: &RecordFields<'_, RecordAttempt>,
    ) {
        let record = u32::try_from(record).unwrap_or(u32::MAX);
        let first = self.calls.len();
        for attempt in &fields.attempts {
            match attempt.batch {
                Some(_) => self.report.calls.batch_rows += 1, // the provider called when it liked
                None => self.add_call(CallSummary::of(attempt, record), attempt),
            }
        }
        self.report.tokens.add(fields);
        if let Some(settings) = fields.settings.filter(|new| new.get() != self.settings) {
            self.note_settings(settings.get());
        }
        self.rank(first, prompt, record);
        let causes = &mut self.report.prompts.causes;
        let end = match &fields.text {
            Some(text) => PromptEnd::Answered(Flag::of(text, fields.finish_reason.as_deref())),
            // The list is short: a place fits a byte.
            None => PromptEnd::Failed {
                record,
                cause: causes.place(fields.cause()).map(|place| place as u8),
            },
        };
        self.records.push((prompt, end));
    }

    fn note_settings(&mut self, settings: &str) {
        settings.clone_into(&mut self.settings);
        let sent_with: SentWith = serde_json::from_str(settings).unwrap_or_default();
        let limit = sent_with.rpm.map(|calls_a_minute| AuditedLimit {
            calls_a_minute,
            burst: sent_with.burst.unwrap_or(NonZeroU32::MIN),
        });
        self.limits.insert(limit);
        self.report.sent_with = sent_with;
    }

    fn add_call(&mut self, call: CallSummary, attempt: &RecordAttempt) {
        let counts = &mut self.report.calls;
        counts.total += 1;
        counts.retries += u64::from(attempt.n > 1);
        counts.maybe_billed += u64::from(attempt.billed.is_some());
        if attempt.outcome != CallOutcome::Answered {
            let cause = FailureCause::new(attempt.outcome, attempt.status, "", "");
            counts.failed.count("", cause);
        }
        self.report.times.add(attempt);
        let late = attempt.late_ms.filter(|late| *late > 0.0);
        self.lateness
            .extend(late.map(|late| (late * 1e3).round() as u32));
        let key = self.keys.entry(call.key).or_default();
        key.key = call.key.into();
        key.calls += 1;
        key.times.add(attempt);
        if call.end == CallFate::RateLimited {
            key.rate_limited += 1;
            let pause = attempt.retry_after.map(|wait| {
                let from = call.ended_at();
                (from, from.saturating_add(millis(wait)))
            });
            key.pauses.spans.extend(pause);
        }
        self.calls.push(call);
    }

    /// Ranks a prompt by its calls, which are the last ones, from `first` on.
    fn rank(&mut self, first: usize, line: u64, record: u32) {
        let calls = &self.calls[first..];
        let begin = calls.iter().map(|call| call.at).min();
        let end = calls.iter().map(CallSummary::ended_at).max();
        let Some((begin, end)) = begin.zip(end) else {
            return;
        };
        let ranked = RankedPrompt {
            prompt: RecordRef::of(record),
            line,
            took_ms: end - begin,
            retries: calls.len() as u64 - 1,
        };
        offer(&mut self.report.slowest, &ranked, |ranked| ranked.took_ms);
        if ranked.retries > 0 {
            let list = &mut self.report.most_retried;
            offer(list, &ranked, |ranked| ranked.retries);
        }
    }

    /// Makes the report: there are no more records.
    pub(super) fn finish(mut self, given: Option<AuditedLimit>) -> Report {
        self.lateness.sort_unstable();
        let ms = |micros| f64::from(micros) / 1e3;
        self.report.lateness = Percentiles::of(&self.lateness, ms);
        let (mut report, mut calls) = (self.report, self.calls);
        // Of several limits, as of a run that went on faster, the pace must keep the fastest.
        let is_stated = !self.limits.contains(&None);
        let recorded = self.limits.pop_last().flatten().filter(|_| is_stated);
        report.limit = given.or(recorded);
        report.limit_is_recorded = given.is_none() && report.limit.is_some();
        report.prompts.count(self.records);
        calls.sort_unstable_by_key(|call| (call.key, call.at, call.record));
        report.keys = self.keys.into_values().collect();
        let of_keys = calls.chunk_by(|one, next| one.key == next.key);
        for (key, calls) in report.keys.iter_mut().zip(of_keys) {
            key.audit(calls, report.limit.as_ref());
            report.times.paused_ms = report.times.paused_ms.saturating_add(key.times.paused_ms);
        }
        calls.sort_unstable_by_key(|call| (call.at, call.record));
        report.span = span(&calls);
        let all = took(calls.iter());
        let answered = took(calls.iter().filter(|call| call.end == CallFate::Answered));
        report.latency = LatencySummary {
            answered: Percentiles::of(&answered, u64::from),
            all: Percentiles::of(&all, u64::from),
        };
        let latency = if answered.is_empty() { all } else { answered };
        report.charts = Charts::draw(&calls, &report, &latency);
        report
    }
}

impl PromptCounts {
    /// Counts prompts by the last record of each; leaves out causes whose prompts were all run again.
    fn count(&mut self, mut records: Vec<(u64, PromptEnd)>) {
        let all = records.len();
        keep_last(&mut records);
        self.superseded = (all - records.len()) as u64;
        for (_, end) in records {
            match end {
                PromptEnd::Failed { record, cause } => self.count_failed(record, cause),
                PromptEnd::Answered(flag) => {
                    self.answered += 1;
                    if let Some(flag) = flag {
                        self.flags.count(flag);
                    }
                }
            }
        }
        self.causes.list.retain(|cause| cause.count > 0);
        self.causes.list.sort_by_key(|cause| Reverse(cause.count));
    }

    fn count_failed(&mut self, record: u32, cause: Option<u8>) {
        self.failed += 1;
        let Some(cause) = cause else {
            self.causes.others += 1;
            return;
        };
        let cause = &mut self.causes.list[usize::from(cause)];
        cause.count += 1;
        if cause.first.len() < Causes::IDS {
            cause.first.push(record.to_string()); // its name is looked up later
        }
    }
}

impl TokenCounts {
    fn add(&mut self, fields: &RecordFields<'_, RecordAttempt>) {
        if let Some(tokens) = fields.tokens() {
            self.usage += tokens;
            self.stated_by += 1;
            self.without_answer += fields.tokens_without_answer(tokens);
        }
    }
}

impl TimeSpent {
    fn add(&mut self, attempt: &RecordAttempt) {
        for (sum, time) in [
            (&mut self.queued_ms, attempt.queued),
            (&mut self.paced_ms, attempt.paced),
            (&mut self.took_ms, attempt.took),
            (&mut self.backoff_ms, attempt.backoff.unwrap_or_default()),
        ] {
            *sum = sum.saturating_add(millis(time));
        }
    }
}

/// How long calls took, in order.
fn took<'c>(calls: impl Iterator<Item = &'c CallSummary>) -> Vec<u32> {
    let mut took: Vec<_> = calls.map(|call| call.took_ms).collect();
    took.sort_unstable();
    took
}

/// Puts a prompt into a list of those with the most of something, the most first; of equals the one that came first.
/// Each prompt is in the list once.
fn offer(list: &mut Vec<RankedPrompt>, new: &RankedPrompt, of: impl Fn(&RankedPrompt) -> u64) {
    if list.get(RANKED - 1).is_some_and(|last| of(last) >= of(new)) {
        return;
    }
    list.push(new.clone());
    list.sort_by_key(|ranked| Reverse(of(ranked)));
    let mut lines = HashSet::new();
    list.retain(|ranked| lines.insert(ranked.line));
    list.truncate(RANKED);
}

/// From the first call to the last. The calls are sorted by departure.
fn span(calls: &[CallSummary]) -> Option<RunSpan> {
    let (first, last) = (calls.first()?.at, calls.last()?.at);
    let until = calls.iter().map(CallSummary::ended_at).max()?;
    let minutes = (last - first) as f64 / MINUTE as f64;
    Some(RunSpan {
        first,
        last,
        took_ms: until - first,
        calls_a_minute: (last > first).then(|| (calls.len() - 1) as f64 / minutes),
        busiest_minute: BusiestMinute::of(calls),
    })
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
                prompt: RecordRef::of(record),
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
