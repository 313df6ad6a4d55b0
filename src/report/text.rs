//! The report as text for a terminal of 80 columns: every figure with its unit, and nothing that a terminal would obey.

use std::fmt::{Display, Formatter, Result};

use super::numbers::{
    Example, Excess, Failure, KeyPace, Latency, Limit, Named, Report, Span, Times, Tokens,
};
use crate::batch::Flags;

const WIDTH: usize = 80;

impl Display for Report {
    /// Ends without a line feed. A file without records is said to have none.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.prompts.answered + self.prompts.failed == 0 {
            return f.write_str("no records yet");
        }
        let mut lines = Vec::new();
        self.prompts(&mut lines);
        self.calls(&mut lines);
        if let Some(span) = &self.span {
            when(span, &mut lines);
            self.keys
                .iter()
                .for_each(|key| pace(key, self.limit, &mut lines));
            self.times(&mut lines);
            self.latency(&mut lines);
            self.extremes(&mut lines);
        }
        let lines: Vec<_> = lines
            .iter()
            .map(|line| cut(&harmless(line), WIDTH))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

// ---- The sections ---------------------------------------------------------------------------------------------------

impl Report {
    fn prompts(&self, lines: &mut Vec<String>) {
        let prompts = &self.prompts;
        lines.push("Prompts".to_owned());
        lines.push(row(
            "answered",
            format!("{}{}", prompts.answered, flags(prompts.flags)),
        ));
        lines.push(row("failed", prompts.failed));
        lines.extend(few(&prompts.failures, "reasons", failure));
        if prompts.superseded > 0 {
            lines.push(row(
                "superseded",
                format!(
                    "{} of prompts that were run again",
                    counted(prompts.superseded, "record")
                ),
            ));
        }
    }

    fn calls(&self, lines: &mut Vec<String>) {
        let calls = &self.calls;
        lines.extend([String::new(), "Calls".to_owned()]);
        lines.push(row("made", counted(calls.total, "call")));
        lines.push(row("retries", counted(calls.retries, "call")));
        lines.push(row("status 429", counted(calls.status_429, "call")));
        let share = |count: u64| count as f64 * 100.0 / calls.total as f64;
        lines.extend(few(&calls.outcomes, "outcomes", |ended| {
            row(
                &ended.outcome,
                format!("{} ({:.1} %)", ended.count, share(ended.count)),
            )
        }));
        lines.extend(tokens(&self.tokens));
    }

    fn times(&self, lines: &mut Vec<String>) {
        let names = ["queued", "paced", "held", "backing off", "server"];
        lines.extend([String::new(), columns("Where the time went", names)]);
        if self.keys.len() > 1 {
            lines.extend(
                self.keys
                    .iter()
                    .map(|key| spent(&format!("key {}", key.key), &key.times, 1)),
            );
        }
        lines.push(spent("all calls", &self.times, 1));
        lines.push(spent("a call", &self.times, self.calls.total.max(1)));
        lines.push(
            "  paced: waiting for a turn; held: the part of it that the server ordered".to_owned(),
        );
    }

    fn latency(&self, lines: &mut Vec<String>) {
        lines.extend([
            String::new(),
            columns("Latency", ["p50", "p95", "p99", "longest"]),
        ]);
        let row = |name, latency: Option<Latency>| latency.map(|latency| took(name, &latency));
        lines.extend(row("answered", self.latency.answered));
        lines.extend(row("all calls", self.latency.all));
    }

    fn extremes(&self, lines: &mut Vec<String>) {
        lines.extend([String::new(), "Slowest prompts".to_owned()]);
        lines.extend(
            self.slowest
                .iter()
                .take(3)
                .map(|slow| row(&duration(slow.took_ms), &slow.prompt)),
        );
        if !self.most_retried.is_empty() {
            lines.extend([String::new(), "Most retried prompts".to_owned()]);
        }
        let retries = |retries| {
            if retries == 1 {
                "1 retry".to_owned()
            } else {
                format!("{retries} retries")
            }
        };
        lines.extend(
            self.most_retried
                .iter()
                .take(3)
                .map(|most| row(&retries(most.retries), &most.prompt)),
        );
    }
}

fn when(span: &Span, lines: &mut Vec<String>) {
    let Span {
        first,
        last,
        calls_a_minute,
        busiest_minute,
    } = span;
    lines.extend([String::new(), "Time".to_owned()]);
    lines.push(row("first call", first));
    lines.push(row(
        "last call",
        format!("{last}, {} later", duration(last.0 - first.0)),
    ));
    lines.extend(calls_a_minute.map(|rate| row("on average", format!("{rate:.1} calls a minute"))));
    let busiest = counted(busiest_minute.calls, "call");
    lines.push(row(
        "busiest 60 s",
        format!("{busiest}, from {}", busiest_minute.from),
    ));
}

fn pace(pace: &KeyPace, limit: Option<Limit>, lines: &mut Vec<String>) {
    lines.extend([String::new(), format!("Pace of key {}", pace.key)]);
    lines.push(row("calls", pace.calls));
    let gap = pace.smallest_gap.as_ref();
    lines.extend(gap.map(|gap| {
        row(
            "smallest gap",
            format!("{} ms, from {} to {}", gap.ms, gap.from, gap.to),
        )
    }));
    lines.push(row(
        "most in any 60 s",
        counted(pace.busiest_minute.calls, "call"),
    ));
    if let Some((limit, excess)) = limit.zip(pace.excess.as_ref()) {
        let Limit {
            calls_a_minute,
            burst,
        } = limit;
        lines.push(row(
            "limit",
            format!("{calls_a_minute} calls a minute, burst {burst}"),
        ));
        lines.push(row("too soon", too_soon(excess)));
        lines.push(row(
            "over in any 60 s",
            counted(excess.most_over_in_a_minute, "call"),
        ));
    }
}

// ---- A line ---------------------------------------------------------------------------------------------------------

fn row(label: &str, value: impl Display) -> String {
    format!("  {:<17} {value}", cut(label, 17))
}

/// Numbers below each other, under a heading or after a label.
fn columns<const N: usize>(label: &str, cells: [&str; N]) -> String {
    let cells = cells.map(|cell| format!("{cell:>11}"));
    format!("{label:<20}{}", cells.join(" "))
}

fn spent(label: &str, times: &Times, shared_by: u64) -> String {
    let Times {
        queued_ms,
        paced_ms,
        held_ms,
        took_ms,
        backoff_ms,
    } = *times;
    let cells =
        [queued_ms, paced_ms, held_ms, backoff_ms, took_ms].map(|ms| duration(ms / shared_by));
    columns(&format!("  {label}"), cells.each_ref().map(String::as_str))
}

fn took(label: &str, latency: &Latency) -> String {
    let Latency {
        p50_ms,
        p95_ms,
        p99_ms,
        longest_ms,
    } = *latency;
    let cells = [p50_ms, p95_ms, p99_ms, longest_ms].map(duration);
    columns(&format!("  {label}"), cells.each_ref().map(String::as_str))
}

fn flags(flags: Flags) -> String {
    if flags == Flags::default() {
        String::new()
    } else {
        format!(" ({flags}: see finish_reason)")
    }
}

fn failure(failure: &Failure) -> String {
    let Failure {
        code,
        count,
        examples,
    } = failure;
    let example = examples
        .first()
        .map_or(String::new(), |Example { prompt, message }| {
            format!(", such as {prompt}: {}", one_line(message))
        });
    row("", format!("{count} {}{example}", cut(code, 30)))
}

fn tokens(tokens: &Tokens) -> Option<String> {
    let Tokens {
        input,
        output,
        stated_by,
    } = *tokens;
    let by = counted(stated_by, "response");
    (stated_by > 0).then(|| {
        row(
            "tokens",
            format!("{input} read, {output} written (in {by})"),
        )
    })
}

fn too_soon(excess: &Excess) -> String {
    let count = counted(excess.too_soon, "call");
    let worst = excess.worst.as_ref();
    worst.map_or(count.clone(), |worst| {
        format!(
            "{count}; the soonest is {}, {} ms early",
            worst.call, worst.by_ms
        )
    })
}

/// The first ten of a list, and how many more there are.
fn few<T>(list: &[T], noun: &str, line: impl Fn(&T) -> String) -> Vec<String> {
    const MOST: usize = 10;
    let mut lines: Vec<_> = list.iter().take(MOST).map(line).collect();
    if list.len() > MOST {
        lines.push(row(
            "",
            format!("and {} other {noun}: see --json", list.len() - MOST),
        ));
    }
    lines
}

// ---- A figure -------------------------------------------------------------------------------------------------------

impl Display for Named {
    /// The name, short enough for a line.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&cut(&one_line(&self.custom_id), 24))
    }
}

/// `1 call`, `2 calls`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// As people say it, to three figures or so.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms as f64 / 1000.0;
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..9_995 => format!("{seconds:.2} s"),
        9_995..60_000 => format!("{seconds:.1} s"),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        3_600_000..360_000_000 => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// A server's words, in one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without characters that a terminal would obey.
fn harmless(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    kept.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let table = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_234, "1.23 s"),
            (9_999, "10.0 s"),
            (59_940, "59.9 s"),
            (59_999, "60.0 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
            (360_000_000, "100 h"),
        ];
        for (ms, expected) in table {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters_and_obeyed_by_nobody() {
        assert_eq!(cut(&"é".repeat(9), 5), "éééé…");
        assert_eq!(one_line(" a\n\tb "), "a b");
        assert_eq!(harmless("\u{1b}[31mc\u{9b}"), "\u{fffd}[31mc\u{fffd}");
    }
}
