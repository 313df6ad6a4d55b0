//! What a run tells people at its beginning and its end, and its exit status.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

use super::args::CallArgs;
use super::exit::Exit;
use super::format::{counted, duration, grouped, number, shortened};
use super::logging::Fields;
use super::setup::Setup;
use super::style::{Emphasis, Text};
use crate::api::Usage;
use crate::batch::{Causes, Flags, Resume, Stop, Summary};
use crate::outcome::CallOutcome;

/// How many prompts go where at which rate, and how many are on record.
pub(super) fn beginning(setup: &Setup, count: Option<u64>, resume: &Resume) -> String {
    let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
    let mut lines = vec![format!("{count} {}", setup.describe())];
    lines.extend(on_record(resume));
    lines.join("\n")
}

fn on_record(resume: &Resume) -> Option<String> {
    let answered = resume.index.answered();
    let failed = resume.index.len() - answered;
    let again = match (failed, resume.index.retries(resume.retry_failed)) {
        (0, _) => "",
        (_, true) => ", which run again",
        (_, false) => "; --retry-failed runs those again",
    };
    (!resume.index.is_empty()).then(|| {
        format!(
            "on record already: {} answered, {} failed{again}",
            grouped(answered as u64),
            grouped(failed as u64)
        )
    })
}

/// What became of the prompts, line by line. Zeros are left out: a good run has three or four lines.
pub(super) fn outcome(args: &CallArgs, setup: &Setup, summary: &Summary) -> Text {
    if summary.calls == 0 && summary.stop.is_none() {
        return "there was nothing left to send".into();
    }
    let mut text = prompts(summary);
    let mut lines = failed(summary);
    lines.extend(in_all(args, summary).map(|text| line("in all", text)));
    lines.extend(calls(summary).map(|text| line("calls", text)));
    lines.extend(rate(args, setup, summary).map(|text| line("rate", text)));
    lines.extend(cost(args, summary).map(|text| line("cost", text)));
    lines.iter().for_each(|line| text.add_line(line));
    text
}

/// A line of the summary; without a label, it continues the line above.
pub(super) fn line(label: &str, text: impl Display) -> String {
    format!("  {label:<8} {text}")
}

fn prompts(summary: &Summary) -> Text {
    let took = duration(summary.took);
    let count = summary.answered + summary.failed;
    if count == 0 {
        return format!("no prompt was finished in {took}").into();
    }
    let mut text = Text::from(format!("{} in {took}: ", counted(count, "prompt")));
    if summary.answered > 0 {
        let answered = format!("{} answered", grouped(summary.answered));
        text.add(Emphasis::Good, answered);
    }
    if summary.flags != Flags::default() {
        let flags = format!(" ({}: see finish_reason)", summary.flags);
        text.add(Emphasis::Plain, flags);
    }
    if summary.failed > 0 {
        let comma = if summary.answered > 0 { ", " } else { "" };
        let failed = format!("{comma}{} failed", grouped(summary.failed));
        text.add(Emphasis::Bad, failed);
    }
    text
}

/// Why prompts failed: how many, the cause, the latest message and the first names.
fn failed(summary: &Summary) -> Vec<String> {
    /// More causes are in the report.
    const CAUSES: usize = 5;
    const MESSAGE: usize = 40;
    const NAMES: usize = 2;
    let mut causes: Vec<_> = summary.failed_prompts.list.iter().collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    let rest: u64 = causes.iter().skip(CAUSES).map(|cause| cause.count).sum();
    let rest = rest + summary.failed_prompts.others;
    causes.truncate(CAUSES);
    let rows: Vec<_> = causes
        .iter()
        .map(|cause| {
            let label = match cause.status {
                Some(status) if cause.outcome != CallOutcome::Misfit => format!("status {status}"),
                _ => cause.label(),
            };
            let more = if cause.count > NAMES as u64 {
                ", …"
            } else {
                ""
            };
            let names: Vec<_> = cause.first.iter().take(NAMES).map(String::as_str).collect();
            let names = names.join(", ") + more;
            [
                grouped(cause.count),
                label,
                shortened(&cause.message, MESSAGE),
                names,
            ]
        })
        .collect();
    let widest = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let [counts, labels, messages] = [0, 1, 2].map(widest);
    let mut lines = Vec::new();
    for [count, label, message, names] in &rows {
        let heading = if lines.is_empty() { "failed" } else { "" };
        let row = format!("{count:>counts$}  {label:<labels$}  {message:<messages$}  {names}");
        lines.push(line(heading, row));
    }
    if rest > 0 {
        lines.push(line("", format!("{} for other reasons", grouped(rest))));
    }
    lines
}

/// Together with earlier runs: their prompts, tokens and cost.
fn in_all(args: &CallArgs, summary: &Summary) -> Option<String> {
    let before = &summary.before;
    let answered = grouped(before.answered + summary.answered);
    let failed = grouped(before.failed + summary.failed);
    let usage = all_tokens(summary);
    let cost = args.cost.of(usage).map(|cost| format!(", {cost}"));
    let spent = match usage == summary.tokens {
        true => String::new(),
        false => format!(", {}{}", tokens(usage), cost.unwrap_or_default()),
    };
    (before.answered + before.failed > 0 || !spent.is_empty())
        .then(|| format!("{answered} answered, {failed} failed{spent}, with earlier runs"))
}

/// The tokens of this run and of earlier ones.
fn all_tokens(summary: &Summary) -> Usage {
    let mut usage = summary.tokens;
    usage += summary.earlier_tokens;
    usage
}

/// `1,000 tokens in (800 cached), 50 out`.
fn tokens(usage: Usage) -> String {
    let [input, cached, output] = [usage.input, usage.cached, usage.output].map(grouped);
    let cached = match usage.cached {
        0 => String::new(),
        _ => format!(" ({cached} cached)"),
    };
    format!("{input} tokens in{cached}, {output} out")
}

/// The calls, if some of them were not answered.
fn calls(summary: &Summary) -> Option<String> {
    let failed = &summary.failed_calls;
    let billed = summary.maybe_billed;
    (failed.total() > 0).then(|| call_counts(summary.calls, summary.retried, failed, billed))
}

/// The number of calls: how many were retries, how many failed with which status, and how many may have been billed.
pub(super) fn call_counts(all: u64, retried: u64, failed: &Causes, maybe_billed: u64) -> String {
    const KINDS: usize = 4;
    let kinds = failed.by_label();
    let shown: u64 = kinds.iter().take(KINDS).map(|(_, count)| count).sum();
    let others = failed.total() - shown;
    let mut parts: Vec<_> = kinds
        .iter()
        .take(KINDS)
        .map(|(label, count)| format!("{} x {label}", grouped(*count)))
        .collect();
    if others > 0 {
        parts.push(format!("{} others", grouped(others)));
    }
    let retries = match retried {
        0 => String::new(),
        retried => format!(", {} of them retries", grouped(retried)),
    };
    let billed = match maybe_billed {
        0 => String::new(),
        calls => format!(" ({} may have been billed)", grouped(calls)),
    };
    let colon = if parts.is_empty() { "" } else { ": " };
    format!(
        "{}{retries}{colon}{}{billed}",
        grouped(all),
        parts.join(", ")
    )
}

/// The rate that was kept. A run of a moment has none worth telling.
fn rate(args: &CallArgs, setup: &Setup, summary: &Summary) -> Option<String> {
    const MOMENT: Duration = Duration::from_secs(1);
    let rate = summary.calls_a_minute.filter(|_| summary.answered > 0)?;
    let limit = setup.rpm.map_or_else(String::new, |rpm| {
        let all_keys = u64::from(rpm.get()) * setup.clients.len() as u64;
        format!(" of {}", grouped(all_keys))
    });
    let found = summary.found.map_or_else(String::new, |found| {
        format!(" (the limit is about {found:.0})")
    });
    let shared = match args.rate.share {
        Some(_) => ", shared with other processes",
        None => "",
    };
    let paused = match summary.paused {
        paused if paused < MOMENT => String::new(),
        paused => format!(
            ", paused for {}",
            duration(Duration::from_secs(paused.as_secs()))
        ),
    };
    let latency = summary.latency.zip(summary.latency_p95);
    let latency = latency.map_or_else(String::new, |(median, p95)| {
        format!("; latency {}, p95 {}", duration(median), duration(p95))
    });
    let rate = number(rate.round());
    Some(format!(
        "{rate}{limit} calls a minute{shared}{found}{paused}{latency}"
    ))
}

/// The cost of the calls that report their tokens.
fn cost(args: &CallArgs, summary: &Summary) -> Option<String> {
    let cost = args.cost.of(summary.tokens)?;
    let unmetered = match summary.unmetered {
        0 => String::new(),
        answers => {
            let answers = counted(answers, "answer");
            format!(", without {answers} that reported no tokens")
        }
    };
    Some(format!("{cost}: {}{unmetered}", tokens(summary.tokens)))
}

/// The same for tools, as fields of the last event, with the causes of failed calls and of failed prompts.
pub(super) fn fields(args: &CallArgs, summary: &Summary) -> Fields {
    let cost = |usage: Usage| args.cost.price.map(|price| price.cost(usage));
    let fields = json!({
        "answered": summary.answered,
        "failed": summary.failed,
        "calls": summary.calls,
        "rate_limited": summary.rate_limited,
        "faults": summary.faults,
        "maybe_billed": summary.maybe_billed,
        "took_ms": summary.took.as_millis() as u64,
        "tokens_in": summary.tokens.input,
        "tokens_out": summary.tokens.output,
        "tokens_cached": summary.tokens.cached,
        "cost": cost(summary.tokens),
        "cost_in_all": cost(all_tokens(summary)),
        "stopped": summary.stop.is_some().then_some(true),
        "failed_calls": summary.failed_calls.list,
        "failed_prompts": summary.failed_prompts.list,
    });
    let fields = fields.as_object().cloned().unwrap_or_default();
    let there = fields.into_iter().filter(|(_, value)| !value.is_null());
    there.collect()
}

pub(super) fn exit(summary: &Summary) -> Exit {
    match (&summary.stop, summary.failed + summary.before.failed) {
        (Some(Stop::Interrupted), _) => Exit::Interrupted,
        (Some(_), _) => Exit::Stopped,
        (None, 0) => Exit::Answered,
        (None, _) => Exit::SomeFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::FailureCause;
    use crate::outcome::CallOutcome;

    fn cause(count: u64, outcome: CallOutcome, status: Option<u16>, message: &str) -> FailureCause {
        let first = (1..=count.min(5)).map(|n| format!("line-{n}")).collect();
        FailureCause {
            count,
            first,
            ..FailureCause::new(outcome, status, "code", message)
        }
    }

    fn told(list: Vec<FailureCause>, others: u64) -> Vec<String> {
        let mut summary = Summary::default();
        summary.failed_prompts.list = list;
        summary.failed_prompts.others = others;
        failed(&summary)
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
}
