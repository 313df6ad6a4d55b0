//! The text of the display: lines of a snapshot that fit a terminal. Pure; every character is one column wide.

use std::time::{Duration, SystemTime};

use super::eta;
use crate::batch::{Allowed, PauseReason, Snapshot};
use crate::cli::args::CostArgs;
use crate::cli::format::{countdown, counted, duration, grouped, number, short_number};
use crate::cli::style::{Emphasis, paint};

/// What a terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalLook {
    /// In columns. No line is as wide: one that is may be wrapped.
    pub(super) width: usize,
    pub(super) unicode: bool,
    pub(super) colour: bool,
}

/// A piece of a line, with its emphasis. Pieces at the end of a line are left out if they do not fit.
type Piece = (Emphasis, String);

/// The display: the bar, the prompts, the rate, the cost, and what goes wrong.
pub(super) fn screen(now: &Snapshot, cost: &CostArgs, look: TerminalLook) -> Vec<String> {
    let mut lines = vec![bar(now, look), prompts(now, look), rate(now)];
    lines.extend(spent(now, cost));
    lines.extend(trouble(now));
    lines.iter().map(|line| fit(line, look)).collect()
}

/// Everything in one line, for where there is no terminal.
pub(super) fn one_line(now: &Snapshot, cost: &CostArgs) -> String {
    let counts = format!(
        "{} answered, {} failed",
        grouped(now.answered),
        grouped(now.failed)
    );
    let left = now.left().map(|left| format!("{} left", grouped(left)));
    let prompts = [earlier(now), Some(counts), left];
    let parts = [
        Some(prompts.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        Some(allowed_rate(now)),
        time_left(now),
        cost.price.and(tokens(now)),
        costs(now, cost),
        problems(now),
        pause_left(now),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A pause that has just begun.
pub(super) fn pause(
    key: Option<usize>,
    why: PauseReason,
    wait: Duration,
    until: SystemTime,
) -> String {
    let key = key.map_or_else(String::new, |key| format!("key {key} is "));
    let until = jiff::Timestamp::try_from(until)
        .map_or_else(|_| String::new(), |until| format!(" until {until:.0}"));
    format!("{key}{why}{until} ({})", countdown(wait))
}

/// The pieces that fit, in colour; of the first, as much as fits.
fn fit(pieces: &[Piece], look: TerminalLook) -> String {
    let mut room = look.width.saturating_sub(1);
    let mut line = String::new();
    for (n, (meaning, text)) in pieces.iter().enumerate() {
        let columns = text.chars().count();
        if columns > room && n > 0 {
            break;
        }
        let text: String = text.chars().take(room).collect();
        line += &paint(*meaning, &text, look.colour);
        room = room.saturating_sub(columns);
    }
    line
}

/// The bar takes the room that the numbers leave, from 8 columns, where it begins to show something, up to 40.
fn bar(now: &Snapshot, look: TerminalLook) -> Vec<Piece> {
    let done = now.before + now.answered + now.failed;
    let Some(total) = now.total else {
        let finished = format!("{} finished", counted(done, "prompt"));
        return vec![(Emphasis::Plain, finished)];
    };
    let share = if total == 0 {
        1.0
    } else {
        (done as f64 / total as f64).min(1.0)
    };
    let percent = (share * 100.0).floor();
    let count = format!(" {percent:3.0} %  {} of {}", grouped(done), grouped(total));
    let time = time_left(now).map_or_else(String::new, |time| format!("  {time}"));
    let room = look.width.saturating_sub(count.len() + time.len() + 1);
    let columns = if room < 8 { 0 } else { room.min(40) };
    let filled = (share * columns as f64) as usize;
    let [full, rest] = if look.unicode {
        ["━", "─"]
    } else {
        ["=", "-"]
    };
    let meaning = if now.pause.is_some() {
        Emphasis::Paused
    } else {
        Emphasis::Good
    };
    vec![
        (meaning, full.repeat(filled)),
        (Emphasis::Minor, rest.repeat(columns - filled)),
        (Emphasis::Plain, count),
        (Emphasis::Plain, time),
    ]
}

/// The time to the end. While nothing gets through, there is no answer to go by.
fn time_left(now: &Snapshot) -> Option<String> {
    if now.answered == 0 && now.rate_limited.max(now.faults).max(now.failed) > 0 {
        return Some("no answer yet".to_owned());
    }
    eta::to_go(now).map(|left| format!("{} left", countdown(left)))
}

fn earlier(now: &Snapshot) -> Option<String> {
    (now.before > 0).then(|| format!("{} from earlier runs", grouped(now.before)))
}

fn prompts(now: &Snapshot, look: TerminalLook) -> Vec<Piece> {
    let [good, bad] = if look.unicode {
        ["✓ ", "✗ "]
    } else {
        ["", ""]
    };
    let failed = if now.failed > 0 {
        Emphasis::Bad
    } else {
        Emphasis::Minor
    };
    let mut pieces = vec![
        (
            Emphasis::Good,
            format!("  {good}{} answered", grouped(now.answered)),
        ),
        (failed, format!("   {bad}{} failed", grouped(now.failed))),
    ];
    let errors = now.rate_limited.saturating_add(now.faults);
    let retried = errors.saturating_sub(now.failed);
    if retried > 0 {
        pieces.push((Emphasis::Plain, format!("   {} retried", grouped(retried))));
    }
    pieces.extend(earlier(now).map(|earlier| (Emphasis::Minor, format!("   {earlier}"))));
    let so_far = duration(Duration::from_secs(now.elapsed.as_secs()));
    pieces.push((Emphasis::Minor, format!("   {so_far} so far")));
    pieces
}

fn rate(now: &Snapshot) -> Vec<Piece> {
    let in_flight = format!("   {} in flight", grouped(now.in_flight));
    if let Some(paused) = pause_left(now) {
        let waiting = format!("{in_flight}, {} waiting", grouped(now.waiting));
        return vec![
            (Emphasis::Paused, format!("  rate   {paused}")),
            (Emphasis::Minor, waiting),
        ];
    }
    let mut pieces = vec![
        (Emphasis::Plain, format!("  rate   {}", allowed_rate(now))),
        (Emphasis::Minor, in_flight),
    ];
    let latency = now
        .latency
        .map(|latency| format!(", latency {}", duration(latency)));
    pieces.extend(latency.map(|latency| (Emphasis::Minor, latency)));
    pieces
}

/// The rate of the last seconds, against the limit.
fn allowed_rate(now: &Snapshot) -> String {
    let rate = number(now.rate.round());
    let limit = match now.allowed {
        Allowed::Fixed(limit) | Allowed::Stated(limit) => format!(" of {}", number(limit.round())),
        Allowed::Found(limit) => format!(" of about {}", number(limit.round())),
        Allowed::Unknown => return format!("{rate} calls a minute, finding the limit"),
        _ => String::new(),
    };
    format!("{rate}{limit} calls a minute")
}

/// Why everyone waits, with a countdown.
fn pause_left(now: &Snapshot) -> Option<String> {
    let hold = now.pause?;
    Some(format!("{}, {}", hold.why, countdown(hold.left)))
}

fn spent(now: &Snapshot, cost: &CostArgs) -> Option<Vec<Piece>> {
    let tokens = tokens(now)?;
    Some(match costs(now, cost) {
        None => vec![(Emphasis::Plain, format!("  used   {tokens}"))],
        Some(cost) => vec![
            (Emphasis::Plain, format!("  cost   {cost}")),
            (Emphasis::Minor, format!("   {tokens}")),
        ],
    })
}

fn tokens(now: &Snapshot) -> Option<String> {
    let [input, output] = [now.tokens.input, now.tokens.output].map(short_number);
    (now.tokens.input + now.tokens.output > 0).then(|| format!("{input} tokens in, {output} out"))
}

/// The cost so far, and of the whole input if each prompt that is left costs as much as an answered one.
fn costs(now: &Snapshot, cost: &CostArgs) -> Option<String> {
    tokens(now)?;
    let spent = cost.price?.cost(now.tokens);
    let so_far = format!("{} so far", cost.money(spent));
    let Some(left) = now.left().filter(|_| now.answered > 0) else {
        return Some(so_far);
    };
    let all = spent * (1.0 + left as f64 / now.answered as f64);
    Some(format!("{so_far}, about {} in all", cost.money(all)))
}

fn trouble(now: &Snapshot) -> Option<Vec<Piece>> {
    let calls = counted(now.calls, "call");
    Some(vec![
        (Emphasis::Bad, format!("  ! {}", problems(now)?)),
        (Emphasis::Bad, format!(" of {calls}")),
    ])
}

fn problems(now: &Snapshot) -> Option<String> {
    let kinds = [
        (now.rate_limited, "rate limited (429)"),
        (now.faults, "failed"),
    ];
    let there = kinds.iter().filter(|(count, _)| *count > 0);
    let problems: Vec<_> = there
        .map(|(count, kind)| format!("{} {kind}", grouped(*count)))
        .collect();
    (!problems.is_empty()).then(|| problems.join(", "))
}

#[cfg(test)]
mod tests;
