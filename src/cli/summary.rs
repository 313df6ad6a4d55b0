//! What a run tells people at its beginning and its end, and its exit status.

use std::fmt::Display;
use std::time::Duration;

use log::kv::Value;

use super::args::CallArgs;
use super::exit::Exit;
use super::format::{counted, duration, grouped, number};
use super::setup::Setup;
use crate::batch::{Flags, Resume, Stop, Summary};

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
pub(super) fn outcome(args: &CallArgs, setup: &Setup, summary: &Summary) -> Vec<String> {
    if summary.calls == 0 && summary.stop.is_none() {
        return vec!["there was nothing left to send".to_owned()];
    }
    let mut lines = vec![prompts(summary)];
    lines.extend(in_all(summary).map(|text| line("in all", text)));
    lines.extend(calls(summary).map(|text| line("calls", text)));
    lines.extend(rate(args, setup, summary).map(|text| line("rate", text)));
    lines.extend(cost(args, summary).map(|text| line("cost", text)));
    lines
}

/// A line of the summary; without a label, it continues the line above.
pub(super) fn line(label: &str, text: impl Display) -> String {
    format!("  {label:<8} {text}")
}

fn prompts(summary: &Summary) -> String {
    let flags = match summary.flags {
        flags if flags == Flags::default() => String::new(),
        flags => format!(" ({flags}: see finish_reason)"),
    };
    let prompts = counted(summary.answered + summary.failed, "prompt");
    let mut parts = vec![format!("{} answered{flags}", grouped(summary.answered))];
    if summary.failed > 0 {
        parts.push(format!("{} failed", grouped(summary.failed)));
    }
    format!(
        "{prompts} in {}: {}",
        duration(summary.took),
        parts.join(", ")
    )
}

/// Together with earlier runs.
fn in_all(summary: &Summary) -> Option<String> {
    let before = &summary.before;
    let answered = grouped(before.answered + summary.answered);
    let failed = grouped(before.failed + summary.failed);
    (before.answered + before.failed > 0)
        .then(|| format!("{answered} answered, {failed} failed, with earlier runs"))
}

/// The calls, if some of them were not answered.
fn calls(summary: &Summary) -> Option<String> {
    let kinds = [
        (summary.rate_limited, "rate limited (429)"),
        (summary.faults, "failed otherwise"),
    ];
    let there = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<_> = there
        .map(|(count, kind)| format!("{} {kind}", grouped(*count)))
        .collect();
    let billed = match summary.maybe_billed {
        0 => String::new(),
        calls => format!(" ({} may have been billed)", grouped(calls)),
    };
    (!kinds.is_empty()).then(|| format!("{}: {}{billed}", grouped(summary.calls), kinds.join(", ")))
}

/// The rate that was kept. A run of a moment has none worth telling, unless a rate was asked for.
fn rate(args: &CallArgs, setup: &Setup, summary: &Summary) -> Option<String> {
    const MOMENT: Duration = Duration::from_secs(1);
    let rate = summary
        .calls_a_minute
        .filter(|_| setup.rpm.is_some() || summary.took >= MOMENT)?;
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
    let rate = number(rate.round());
    Some(format!("{rate}{limit} calls a minute{shared}{found}"))
}

/// The cost of the answers that report their tokens.
fn cost(args: &CallArgs, summary: &Summary) -> Option<String> {
    let price = args.cost.price?;
    let cost = args.cost.money(price.cost(summary.tokens));
    let [input, output] = [summary.tokens.input, summary.tokens.output].map(grouped);
    let unmetered = match summary.unmetered {
        0 => String::new(),
        answers => {
            let answers = counted(answers, "answer");
            format!(", without {answers} that reported no tokens")
        }
    };
    Some(format!(
        "{cost}: {input} tokens in, {output} out, at {price} a million{unmetered}"
    ))
}

/// The same for tools, as fields of the last event.
pub(super) fn fields(args: &CallArgs, summary: &Summary) -> Vec<(&'static str, Value<'static>)> {
    let mut fields = vec![
        ("answered", summary.answered.into()),
        ("failed", summary.failed.into()),
        ("calls", summary.calls.into()),
        ("rate_limited", summary.rate_limited.into()),
        ("faults", summary.faults.into()),
        ("maybe_billed", summary.maybe_billed.into()),
        ("took_ms", (summary.took.as_millis() as u64).into()),
        ("tokens_in", summary.tokens.input.into()),
        ("tokens_out", summary.tokens.output.into()),
    ];
    if let Some(price) = args.cost.price {
        fields.push(("cost", price.cost(summary.tokens).into()));
    }
    if summary.stop.is_some() {
        fields.push(("stopped", true.into()));
    }
    fields
}

pub(super) fn exit(summary: &Summary) -> Exit {
    match (&summary.stop, summary.failed + summary.before.failed) {
        (Some(Stop::Interrupted), _) => Exit::Interrupted,
        (Some(_), _) => Exit::Stopped,
        (None, 0) => Exit::Answered,
        (None, _) => Exit::SomeFailed,
    }
}
