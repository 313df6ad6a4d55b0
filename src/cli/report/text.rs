//! The report as text for a terminal of 80 columns: every figure with its unit, and no control characters.

use std::fmt::{Display, Formatter, Result};

use super::numbers::{
    AuditedLimit, CallCounts, Excess, FailureReason, KeyReport, Percentiles, PromptCounts,
    RecordRef, Report, RunSpan, TimeSpent, TokenCounts,
};
use crate::batch::Flags;
use crate::cli::format::{counted, grouped, milliseconds, number, shortened};

const WIDTH: usize = 80;
/// Columns of a label.
const LABEL: usize = 17;
const NOTE_ON_TIMES: &str =
    "  paced: waiting for a permit; paused: the part of it due to rate limited calls";
/// Rows of a list, before it refers to the JSON.
const LISTED: usize = 10;

impl Display for Report {
    /// Ends without a line feed. A file without records has a line that says so.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.prompts.answered + self.prompts.failed == 0 {
            return f.write_str("no records yet");
        }
        let mut sections = vec![prompts(&self.prompts), calls(&self.calls, &self.tokens)];
        if let Some(span) = &self.span {
            sections.push(time(span));
            sections.extend(self.keys.iter().map(|key| pace(key, self.limit)));
            sections.push(self.times());
            sections.push(self.latency());
            sections.push(self.slowest());
            sections.push(self.most_retried());
        }
        sections.retain(|section| !section.is_empty());
        let sections: Vec<_> = sections.iter().map(|lines| lines.join("\n")).collect();
        f.write_str(&sections.join("\n\n"))
    }
}

/// The lines of a section; none if there is nothing to say.
type Section = Vec<String>;

fn prompts(prompts: &PromptCounts) -> Section {
    let mut lines = vec!["Prompts".to_owned()];
    let answered = grouped(prompts.answered);
    lines.push(row(
        "answered",
        format!("{answered}{}", flags(prompts.flags)),
    ));
    lines.push(row("failed", grouped(prompts.failed)));
    lines.extend(first_few(&prompts.failures, "reasons", failure));
    if prompts.superseded > 0 {
        let records = counted(prompts.superseded, "record");
        lines.push(row(
            "superseded",
            format!("{records} of prompts that were run again"),
        ));
    }
    lines
}

fn calls(calls: &CallCounts, tokens: &TokenCounts) -> Section {
    let mut lines = vec!["Calls".to_owned()];
    lines.push(row("made", counted(calls.total, "call")));
    lines.push(row("retries", counted(calls.retries, "call")));
    lines.push(row("status 429", counted(calls.status_429, "call")));
    lines.extend(first_few(&calls.outcomes, "outcomes", |ended| {
        let share = ended.count as f64 * 100.0 / calls.total as f64;
        row(
            ended.outcome.name(),
            format!("{} ({share:.1} %)", grouped(ended.count)),
        )
    }));
    if tokens.stated_by > 0 {
        let (input, output) = (grouped(tokens.input), grouped(tokens.output));
        let by = counted(tokens.stated_by, "response");
        lines.push(row(
            "tokens",
            format!("{input} in, {output} out (stated by {by})"),
        ));
    }
    lines
}

fn time(span: &RunSpan) -> Section {
    let length = milliseconds(span.last.0 - span.first.0);
    let busiest = counted(span.busiest_minute.calls, "call");
    let mut lines = vec!["Time".to_owned()];
    lines.push(row("first call", span.first));
    lines.push(row("last call", format!("{}, {length} later", span.last)));
    if let Some(rate) = span.calls_a_minute {
        lines.push(row(
            "on average",
            format!("{} calls a minute", number(rate)),
        ));
    }
    lines.push(row(
        "busiest 60 s",
        format!("{busiest}, from {}", span.busiest_minute.from),
    ));
    lines
}

fn pace(key: &KeyReport, limit: Option<AuditedLimit>) -> Section {
    let mut lines = vec![format!("Pace of key {}", key.key)];
    lines.push(row("calls", grouped(key.calls)));
    if key.rate_limited > 0 {
        let paused = milliseconds(key.paused_ms);
        let rate_limited = counted(key.rate_limited, "call");
        lines.push(row(
            "rate limited",
            format!("{rate_limited}; the key was paused for {paused}"),
        ));
    }
    if let Some(gap) = &key.smallest_gap {
        let length = milliseconds(gap.ms);
        lines.push(row(
            "smallest gap",
            format!("{length}, from {} to {}", gap.from, gap.to),
        ));
    }
    lines.push(row(
        "most in any 60 s",
        counted(key.busiest_minute.calls, "call"),
    ));
    if let Some((limit, excess)) = limit.zip(key.excess.as_ref()) {
        let rate = counted(limit.calls_a_minute.get().into(), "call");
        lines.push(row(
            "limit",
            format!("{rate} a minute, burst {}", limit.burst),
        ));
        lines.push(row("too soon", too_soon(excess)));
        lines.push(row(
            "over in any 60 s",
            counted(excess.most_over_in_a_minute, "call"),
        ));
    }
    lines
}

impl Report {
    fn times(&self) -> Section {
        let head = ["queued", "paced", "paused", "backing off", "server"];
        let mut lines = vec![columns("Where the time went", head.map(str::to_owned))];
        if self.keys.len() > 1 {
            let keys = self.keys.iter();
            lines.extend(keys.map(|key| spent(&format!("key {}", key.key), &key.times, 1)));
        }
        lines.push(spent("all calls", &self.times, 1));
        lines.push(spent("a call", &self.times, self.calls.total.max(1)));
        lines.push(NOTE_ON_TIMES.to_owned());
        lines
    }

    fn latency(&self) -> Section {
        let head = ["p50", "p95", "p99", "longest"].map(str::to_owned);
        let mut lines = vec![columns("Latency", head)];
        let row =
            |label, latency: Option<Percentiles>| latency.map(|took| latency_row(label, took));
        lines.extend(row("answered", self.latency.answered));
        lines.extend(row("all calls", self.latency.all));
        lines
    }

    fn slowest(&self) -> Section {
        let mut lines = vec!["Slowest prompts".to_owned()];
        let slowest = self.slowest.iter().take(3);
        lines.extend(slowest.map(|slow| row(&milliseconds(slow.took_ms), &slow.prompt)));
        lines
    }

    fn most_retried(&self) -> Section {
        if self.most_retried.is_empty() {
            return Vec::new();
        }
        let mut lines = vec!["Most retried prompts".to_owned()];
        let most = self.most_retried.iter().take(3);
        lines.extend(most.map(|most| row(&counted(most.retries, "retry"), &most.prompt)));
        lines
    }
}

// ---- A line ---------------------------------------------------------------------------------------------------------

/// A label and a value. The width is that of the terminal, whatever a record says.
fn row(label: &str, value: impl Display) -> String {
    let label = shortened(label, LABEL);
    let value = shortened(&value.to_string(), WIDTH - LABEL - 3);
    format!("  {label:<LABEL$} {value}")
}

/// A label and figures below each other.
fn columns<const N: usize>(label: &str, cells: [String; N]) -> String {
    let cells = cells.map(|cell| format!("{cell:>11}"));
    let line = format!("{label:<20}{}", cells.join(" "));
    line.chars().take(WIDTH).collect()
}

fn spent(label: &str, times: &TimeSpent, shared_by: u64) -> String {
    let cells = [
        times.queued_ms,
        times.paced_ms,
        times.paused_ms,
        times.backoff_ms,
        times.took_ms,
    ];
    columns(
        &format!("  {label}"),
        cells.map(|ms| milliseconds(ms / shared_by)),
    )
}

fn latency_row(label: &str, took: Percentiles) -> String {
    let cells = [took.p50_ms, took.p95_ms, took.p99_ms, took.longest_ms];
    columns(&format!("  {label}"), cells.map(milliseconds))
}

fn flags(flags: Flags) -> String {
    if flags == Flags::default() {
        String::new()
    } else {
        format!(" ({flags}: see finish_reason)")
    }
}

fn failure(reason: &FailureReason) -> String {
    let mut text = format!("{} {}", grouped(reason.count), shortened(&reason.code, 30));
    if let Some(example) = reason.examples.first() {
        text += &format!(", such as {}: {}", example.prompt, example.message);
    }
    row("", text)
}

fn too_soon(excess: &Excess) -> String {
    let mut text = counted(excess.too_soon, "call");
    if let Some(worst) = &excess.worst {
        let early = milliseconds(worst.by_ms);
        text += &format!("; the soonest is {}, {early} early", worst.call);
    }
    text
}

/// The first rows of a list, and how many more there are.
fn first_few<T>(list: &[T], noun: &str, line: impl Fn(&T) -> String) -> Section {
    let mut lines: Vec<_> = list.iter().take(LISTED).map(line).collect();
    if list.len() > LISTED {
        let more = list.len() - LISTED;
        lines.push(row("", format!("and {more} other {noun}: see --json")));
    }
    lines
}

impl Display for RecordRef {
    /// The name, short enough for a line.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&shortened(&self.custom_id, 24))
    }
}
