//! The text of the display: lines of a snapshot that fit a terminal. Pure; every character is one column wide.

use std::time::Duration;

use super::eta;
use crate::batch::{Allowed, PauseReason, Snapshot};
use crate::cli::args::CostArgs;
use crate::cli::format::{
    countdown, counted, duration, grouped, number, short_number, time_of_day,
};
use crate::cli::style::{Emphasis, Piece, paint};

/// What a terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalLook {
    /// In columns. No line is as wide: one that is may be wrapped.
    pub(super) width: usize,
    pub(super) unicode: bool,
    pub(super) colour: bool,
}

/// The display: the bar, the prompts, the rate, the cost, and what goes wrong.
pub(super) fn screen(now: &Snapshot, cost: &CostArgs, look: TerminalLook) -> Vec<String> {
    let bar = bar(now, look);
    let width = bar.iter().map(|(_, text)| text.chars().count()).sum();
    let mut lines = vec![bar, prompts(now, look, width), rate(now)];
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
pub(super) fn pause(key: Option<usize>, why: PauseReason, wait: Duration) -> String {
    let key = key.map_or_else(String::new, |key| format!("key {key} is "));
    format!("{key}{why}, continues {}", time_of_day(wait))
}

/// The pieces that fit, in colour; of the first, as much as fits.
fn fit(pieces: &[Piece], look: TerminalLook) -> String {
    let mut room = look.width.saturating_sub(1);
    let mut line = String::new();
    for (n, (meaning, text)) in pieces.iter().enumerate() {
        let columns = text.chars().map(columns).sum::<usize>();
        if columns > room && n > 0 {
            break;
        }
        let mut kept = String::new();
        for c in text
            .chars()
            .map_while(|c| (columns_left(&mut room, c)).then_some(c))
        {
            kept.push(if look.unicode || c.is_ascii() { c } else { '?' });
        }
        line += &paint(*meaning, &kept, look.colour);
    }
    line
}

/// Whether there is room for this character, which is then taken.
fn columns_left(room: &mut usize, c: char) -> bool {
    let left = room.checked_sub(columns(c));
    *room = left.unwrap_or(0);
    left.is_some()
}

/// The columns of a character in a terminal: Chinese, Japanese, Korean and pictures take two. Messages of servers have
/// them.
fn columns(c: char) -> usize {
    let is_wide = matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f000}'..);
    1 + usize::from(is_wide)
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
    if now.answered == 0 {
        return Some("no answer yet".to_owned());
    }
    eta::to_go(now).map(|left| format!("{} left", countdown(left)))
}

fn earlier(now: &Snapshot) -> Option<String> {
    (now.before > 0).then(|| format!("{} from earlier runs", grouped(now.before)))
}

fn prompts(now: &Snapshot, look: TerminalLook, width: usize) -> Vec<Piece> {
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
    let answered = format!("  {good}{} answered", grouped(now.answered));
    let mut pieces = vec![
        (Emphasis::Good, answered),
        (failed, format!("   {bad}{} failed", grouped(now.failed))),
    ];
    if now.retried > 0 {
        let retried = grouped(now.retried);
        pieces.push((Emphasis::Plain, format!("   {retried} retried")));
    }
    pieces.extend(earlier(now).map(|earlier| (Emphasis::Minor, format!("   {earlier}"))));
    let so_far = duration(Duration::from_secs(now.elapsed.as_secs())) + " so far";
    let taken: usize = pieces.iter().map(|(_, text)| text.chars().count()).sum();
    let gap = width.saturating_sub(taken).max(so_far.len() + 3);
    pieces.push((Emphasis::Minor, format!("{so_far:>gap$}")));
    pieces
}

fn rate(now: &Snapshot) -> Vec<Piece> {
    let most = now.in_flight_limit.filter(|most| *most >= now.in_flight);
    let most = most.map_or_else(String::new, |most| format!(" of {}", grouped(most)));
    let in_flight = format!("   {}{most} in flight", grouped(now.in_flight));
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
    if let Some(latency) = now.latency {
        let latency = format!(", latency {}", duration(latency));
        pieces.push((Emphasis::Minor, latency));
    }
    if let Some(p95) = now.latency_p95 {
        pieces.push((Emphasis::Minor, format!(" (p95 {})", duration(p95))));
    }
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
    let pause = now.pause?;
    let why = match pause.why {
        PauseReason::Faults => "paused after too many faults",
        _ => "paused",
    };
    let [left, length] = [pause.left, pause.length].map(countdown);
    Some(format!("{why}, {left} of {length}"))
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

/// The cost so far, and of all runs to the end if each prompt that is left costs as much as an answered one.
fn costs(now: &Snapshot, cost: &CostArgs) -> Option<String> {
    tokens(now)?;
    let price = cost.price?;
    let spent = price.cost(now.tokens);
    let so_far = format!("{} so far", cost.money(spent));
    let Some(left) = now.left().filter(|_| now.answered > 0) else {
        return Some(so_far);
    };
    let to_come = spent * left as f64 / now.answered as f64;
    let all = price.cost(now.earlier_tokens) + spent + to_come;
    Some(format!("{so_far}, about {} in all", cost.money(all)))
}

/// Why the latest call failed, while that is news: or else, while nothing gets through, why.
fn trouble(now: &Snapshot) -> Option<Vec<Piece>> {
    let text = problems(now)?;
    Some(vec![(Emphasis::Bad, format!("  ! {text}"))])
}

fn problems(now: &Snapshot) -> Option<String> {
    /// Long enough to read it, and short enough to see that it is over.
    const NEWS: Duration = Duration::from_secs(15);
    let latest = now.failed_calls.latest()?;
    let cause = latest.to_string();
    if now.answered == 0 {
        let (count, calls) = (grouped(latest.count), counted(now.calls, "call"));
        return Some(format!("{count} of {calls}: {cause}"));
    }
    let is_news = now.since_failure.is_some_and(|since| since <= NEWS);
    (is_news || now.pause.is_some()).then_some(cause)
}

#[cfg(test)]
mod tests;
