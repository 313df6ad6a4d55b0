//! What a run tells people at its beginning and its end, and its exit status. The words are in the templates; here are
//! the figures, which the last event of the log has, too.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::args::CallArgs;
use super::exit::Exit;
use super::logging::{Fields, render};
use super::session::Session;
use super::setup;
use super::template;
use crate::api::Usage;
use crate::batch::{Causes, FailureCause, Resume, Stop, Summary};
use crate::outcome::CallOutcome;
use crate::pacing::RateLimit;
use crate::text::{grouped, millis, shortened};

/// How many prompts go where at which rate, and how many are on record. A worker names its queue.
pub(super) fn beginning(
    session: &Session<'_>,
    queue: Option<String>,
    count: Option<u64>,
    resume: &Resume,
) -> String {
    let answered = resume.index.answered;
    let view = json!({
        "queue": queue,
        "count": count,
        "url": session.clients[0].url(),
        "keys": session.clients.len(),
        "rpm": setup::rpm(session.calls),
        "is_adaptive": matches!(session.settings.rate, RateLimit::Adaptive),
        "is_practice": session.calls.practice,
        "answered": answered,
        "failed": resume.index.failed(),
        "is_bulk": session.is_bulk,
        "again": resume.index.retries(resume.retry_failed),
    });
    render(include_str!("summary/beginning.txt"), &view)
}

/// A label and a text at the end of a run.
pub(super) type EndLine = (&'static str, String);

/// What became of the prompts, line by line, and where the records are. The limit is that of all keys together, in calls
/// a minute.
pub(super) fn end(
    args: &CallArgs,
    limit: Option<u64>,
    summary: &Summary,
    records: &[EndLine],
) -> String {
    let (retried, unsure) = (summary.retried, summary.maybe_billed);
    let (rows, other_failed) = failed(&summary.failed_prompts);
    let half = summary.tokens.half;
    let view = json!({
        "run": figures(args, summary),
        "currency": args.cost.currency,
        "flags": summary.flags.to_string(),
        "rows": rows,
        "other_failed": other_failed,
        "tokens": summary.tokens,
        "all_tokens": in_all(summary),
        "is_half": half != [0; 4] && half == summary.tokens.by_price(),
        "calls": call_counts(summary.calls, retried, &summary.failed_calls, unsure),
        "limit": limit,
        "is_shared": args.rate.share.is_some(),
        "records": records,
    });
    render(include_str!("summary/end.txt"), &view)
}

/// The tokens of this run and of earlier ones.
fn in_all(summary: &Summary) -> Usage {
    let mut all = summary.tokens;
    all += summary.earlier_tokens;
    all
}

/// Why prompts failed, the most frequent causes first, and how many failed for others. More are in the report.
fn failed(causes: &Causes) -> (Vec<Value>, u64) {
    const CAUSES: usize = 5;
    const NAMES: usize = 2;
    // The only cause may take more than a line; several are a table.
    let message = if causes.list.len() == 1 { 200 } else { 40 };
    let mut list: Vec<&FailureCause> = causes.list.iter().collect();
    list.sort_by_key(|cause| Reverse(cause.count));
    let others = list.iter().skip(CAUSES).map(|cause| cause.count);
    let others = causes.others + others.sum::<u64>();
    let row = |cause: &&FailureCause| {
        let status = cause
            .status
            .filter(|_| cause.outcome != CallOutcome::Misfit);
        let status = status.map(|status| format!("status {status}"));
        json!({
            "count": grouped(cause.count),
            "label": status.unwrap_or_else(|| cause.label()),
            "message": shortened(&cause.message, message),
            "names": cause.first.iter().take(NAMES).collect::<Vec<_>>(),
            "has_more": cause.count > NAMES as u64,
        })
    };
    (list.iter().take(CAUSES).map(row).collect(), others)
}

/// The number of calls: how many were retries, how many failed with which status, and how many may have been billed.
pub(super) fn call_counts(all: u64, retried: u64, failed: &Causes, maybe_billed: u64) -> String {
    let view = json!({
        "all": all,
        "retried": retried,
        "kinds": failed.by_label(),
        "others": failed.others,
        "maybe_billed": maybe_billed,
    });
    template::endless(include_str!("summary/calls.txt"), &view, false)
}

/// The figures of the last event, for tools: those that are there.
pub(super) fn fields(args: &CallArgs, summary: &Summary) -> Fields {
    let Value::Object(mut figures) = figures(args, summary) else {
        return Fields::new();
    };
    figures.retain(|_, value| !value.is_null());
    figures
}

fn figures(args: &CallArgs, summary: &Summary) -> Value {
    let cost = |usage: Usage| args.cost.price.map(|price| price.cost(usage));
    json!({
        "answered": summary.answered,
        "failed": summary.failed,
        "answered_before": summary.before - summary.failed_before,
        "failed_before": summary.failed_before,
        "calls": summary.calls,
        "retried": summary.retried,
        "rate_limited": summary.rate_limited,
        "faults": summary.faults,
        "maybe_billed": summary.maybe_billed,
        "took_ms": millis(summary.elapsed),
        "paused_ms": millis(summary.paused),
        "latency_ms": summary.latency.map(millis),
        "latency_p95_ms": summary.latency_p95.map(millis),
        "calls_a_minute": summary.calls_a_minute,
        "found_a_minute": summary.found,
        "tokens_in": summary.tokens.input,
        "tokens_out": summary.tokens.output,
        "tokens_cached": summary.tokens.cached,
        "unmetered": summary.unmetered,
        "cost": cost(summary.tokens),
        "cost_in_all": cost(in_all(summary)),
        "stopped": summary.stop.is_some().then_some(true),
        "failed_calls": summary.failed_calls.list,
        "failed_prompts": summary.failed_prompts.list,
    })
}

pub(super) fn exit(summary: &Summary) -> Exit {
    match (&summary.stop, summary.failed + summary.failed_before) {
        (Some(Stop::Interrupted), _) => Exit::Interrupted,
        (Some(_), _) => Exit::Stopped,
        (None, 0) => Exit::Answered,
        (None, _) => Exit::SomeFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::super::args::{Command, CommandLine};
    use super::*;
    use crate::batch::{Flags, Snapshot};

    fn cause(count: u64, outcome: CallOutcome, status: Option<u16>, message: &str) -> FailureCause {
        let first = (1..=count.min(5)).map(|n| format!("line-{n}")).collect();
        FailureCause {
            count,
            first,
            ..FailureCause::new(outcome, status, "code", message)
        }
    }

    fn args(options: &[&str]) -> CallArgs {
        let words = ["paceline", "run", "p.txt", "-m", "gpt-9"];
        let line = CommandLine::parse_from(words.iter().chain(options));
        let Command::Run(args) = line.command else {
            unreachable!()
        };
        args.calls
    }

    fn told(list: Vec<FailureCause>, others: u64) -> Vec<String> {
        let mut summary = Summary::default();
        summary.end.calls = 1;
        summary.end.failed_prompts.list = list;
        summary.end.failed_prompts.others = others;
        let text = end(&args(&[]), None, &summary, &[]);
        let lines = text.lines().skip(1); // how many prompts there were, and how long they took
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn failed_prompts_are_told_by_cause_with_the_most_frequent_first() {
        let list = vec![
            cause(
                2,
                CallOutcome::ServerError,
                Some(500),
                "The server had an error",
            ),
            cause(16, CallOutcome::Connection, None, "broken by the server"),
        ];
        let expected = [
            "  failed   16  connection  broken by the server     line-1, line-2, …",
            "            2  status 500  The server had an error  line-1, line-2",
        ];
        assert_eq!(told(list, 0), expected);
        assert_eq!(told(Vec::new(), 0), [""; 0]);
    }

    #[test]
    fn a_table_of_failed_prompts_has_five_causes_and_says_how_many_have_others() {
        let message = "x".repeat(300);
        let row = |n| cause(n, CallOutcome::Rejected, Some(400), &message);
        let lines = told((1..=7).map(row).collect(), 10);
        assert_eq!(lines.len(), 6);
        assert!(lines.iter().all(|line| line.chars().count() < 100));
        assert_eq!(lines[5], "           13 for other reasons");
    }

    #[test]
    fn the_end_of_a_run_has_every_figure_and_leaves_zeros_out() {
        let last = Snapshot {
            before: 50,
            flags: Flags {
                empty: 3,
                ..Flags::default()
            },
            earlier_tokens: Usage {
                input: 10,
                ..Usage::default()
            },
            answered: 1_991,
            failed: 9,
            calls: 2_187,
            retried: 187,
            maybe_billed: 2,
            elapsed: Duration::from_secs(204),
            paused: Duration::from_millis(9_900),
            latency: Some(Duration::from_millis(600)),
            latency_p95: Some(Duration::from_millis(1_300)),
            calls_a_minute: Some(2_221.4),
            unmetered: 1,
            tokens: Usage {
                input: 41_725,
                cached: 800,
                output: 207_685,
                ..Usage::default()
            },
            ..Snapshot::default()
        };
        let mut all = Summary {
            end: last,
            found: Some(2_400.2),
            ..Summary::default()
        };
        let refused = cause(23, CallOutcome::RateLimited, Some(429), "slow");
        all.end.failed_calls.list = vec![refused];
        let records = [
            ("results", "r.jsonl (3 MB)".to_owned()),
            ("next", "x".to_owned()),
        ];
        let args = args(&["--price", "0.15,0.6", "--share", "f"]);
        let expected = "\
2,000 prompts in 3 min 24 s: 1,991 answered (3 empty: see finish_reason), 9 failed
  in all   2,041 answered, 9 failed, 41,735 tokens in (800 cached), 207,685 out, $0.131, with earlier runs
  calls    2,187, 187 of them retries: 23 x 429 (2 may have been billed)
  rate     2,221 of 3,000 calls a minute, shared with other processes (the limit is about 2,400), paused for 9 s; latency 600 ms, p95 1.3 s
  cost     $0.131: 41,725 tokens in (800 cached), 207,685 out, without 1 answer that reported no tokens
  results  r.jsonl (3 MB)
  next     x";
        assert_eq!(end(&args, Some(3_000), &all, &records), expected);
        let mut good = Summary::default();
        (good.end.answered, good.end.calls) = (1, 1);
        good.end.elapsed = Duration::from_millis(812);
        let said = end(&args, None, &good, &[]);
        assert_eq!(
            said,
            "1 prompt in 812 ms: 1 answered\n  cost     $0: 0 tokens in, 0 out"
        );
        let none = end(&args, None, &Summary::default(), &records[..1]);
        assert_eq!(
            none,
            "there was nothing left to send\n  results  r.jsonl (3 MB)"
        );
    }
}
