//! The text of the display: lines of a snapshot that fit a width. Pure; plain ASCII, so that a character is a column.

use std::time::{Duration, SystemTime};

use super::eta;
use crate::batch::{Allowed, Price, Snapshot, Why};
use crate::cli::format::{countdown, money, short_number};

/// The whole display, no line of it as wide as the terminal: one that is may be wrapped.
pub(super) fn screen(now: &Snapshot, price: Option<Price>, width: usize) -> Vec<String> {
    let room = width.saturating_sub(1);
    let lines = [
        Some(prompts(now, room)),
        Some(fit(room, &pace(now))),
        Some(fit(room, &workers(now))),
        tokens(now, price).map(|said| fit(room, &said)),
        trouble(now).map(|said| fit(room, &said)),
        waiting(now).map(|said| fit(room, &[said])),
    ];
    lines.into_iter().flatten().collect()
}

/// Everything in one line, for where there is no terminal.
pub(super) fn one_line(now: &Snapshot, price: Option<Price>) -> String {
    let [pace, ..] = pace(now);
    let cost = tokens(now, price)
        .filter(|_| price.is_some())
        .map(|[said, ..]| said);
    let trouble = trouble(now).map(|[said, ..]| said);
    let parts = [Some(counts(now)), Some(pace), cost, trouble, waiting(now)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// A pause that has just begun.
pub(super) fn pause(key: Option<usize>, why: Why, wait: Duration, until: SystemTime) -> String {
    let whose = key.map_or_else(String::new, |key| format!("key {key} is "));
    let until = jiff::Timestamp::try_from(until);
    let until = until.map_or_else(|_| String::new(), |until| format!(" until {until:.0}"));
    format!("{whose}{why}{until} ({})", countdown(wait))
}

/// The first that fits, or as much of the last as does.
fn fit(room: usize, ways: &[String]) -> String {
    let fits = ways
        .iter()
        .find(|said| said.chars().count() <= room)
        .or(ways.last());
    fits.map(|said| said.chars().take(room).collect())
        .unwrap_or_default()
}

fn prompts(now: &Snapshot, room: usize) -> String {
    let short = format!("{} answered, {} failed", now.answered, now.failed);
    let Some(total) = now.total else {
        return fit(room, &[counts(now), short]);
    };
    let done = now.before + now.answered + now.failed;
    let share = if total == 0 {
        1.0
    } else {
        (done as f64 / total as f64).min(1.0)
    };
    let percent = format!("{:3.0} %", (share * 100.0).floor());
    let least = format!("{percent} {} ok {} failed", now.answered, now.failed);
    let ways = [
        format!("{percent}  {}", counts(now)),
        format!("{percent}  {short}"),
        least,
    ];
    let text = fit(room, &ways);
    match room.saturating_sub(text.chars().count() + 1) {
        8.. => format!(
            "{} {text}",
            bar(share, (room - text.chars().count() - 1).min(42))
        ),
        _ => text,
    }
}

/// A bar of this width.
fn bar(share: f64, columns: usize) -> String {
    let inside = columns.saturating_sub(2);
    let full = ((share * inside as f64) as usize).min(inside);
    let tip = if full > 0 && full < inside { ">" } else { "" };
    format!("[{:inside$}]", "=".repeat(full - tip.len()) + tip)
}

fn counts(now: &Snapshot) -> String {
    let before = if now.before > 0 {
        format!("{} before, ", now.before)
    } else {
        String::new()
    };
    let left = now
        .left()
        .map_or_else(String::new, |left| format!(", {left} left"));
    format!(
        "{before}{} answered, {} failed{left}",
        now.answered, now.failed
    )
}

/// The rate against the limit, and the time to the end.
fn pace(now: &Snapshot) -> [String; 3] {
    let rate = now.rate;
    let (long, short) = match now.allowed {
        Allowed::Told(limit) | Allowed::Stated(limit) => (
            format!("{rate:.0} of {limit:.0} calls a minute"),
            format!("{rate:.0} of {limit:.0}/min"),
        ),
        Allowed::Found(limit) => (
            format!("{rate:.0} calls a minute, the limit is about {limit:.0}"),
            format!("{rate:.0} of about {limit:.0}/min"),
        ),
        Allowed::Unknown => (
            format!("{rate:.0} calls a minute, finding the limit"),
            format!("{rate:.0}/min, finding"),
        ),
        _ => (
            format!("{rate:.0} calls a minute"),
            format!("{rate:.0}/min"),
        ),
    };
    let to_go = eta::to_go(now).map(countdown);
    let with = |said: &str| match &to_go {
        Some(to_go) => format!("{said}, {to_go} to go"),
        None => said.to_owned(),
    };
    [with(&long), with(&short), short.clone()]
}

/// What the workers do. During a pause, no idle worker may call.
fn workers(now: &Snapshot) -> [String; 2] {
    let idle = now.workers.saturating_sub(now.in_flight);
    let unneeded = idle.saturating_sub(now.waiting);
    let what = match (now.hold, unneeded) {
        (Some(_), _) => format!("{} busy, {idle} paused", now.in_flight),
        (None, 0) => format!("{} busy, {} waiting", now.in_flight, now.waiting),
        (None, _) => format!(
            "{} busy, {} waiting, {unneeded} idle",
            now.in_flight, now.waiting
        ),
    };
    let worker = if now.workers == 1 {
        "worker"
    } else {
        "workers"
    };
    [format!("{} {worker}: {what}", now.workers), what]
}

/// The tokens and the cost of the answers that report them.
fn tokens(now: &Snapshot, price: Option<Price>) -> Option<[String; 3]> {
    let (input, output) = (now.tokens.input, now.tokens.output);
    if input + output == 0 {
        return None;
    }
    let read = format!(
        "tokens: {} in, {} out",
        short_number(input),
        short_number(output)
    );
    let Some(price) = price else {
        return Some([read.clone(), read.clone(), read]);
    };
    let cost = price.cost(now.tokens);
    let so_far = format!("cost {} so far", money(cost));
    let projected = now.left().filter(|_| now.answered > 0);
    let all = projected.map(|left| cost * (1.0 + left as f64 / now.answered as f64));
    let long = match all {
        Some(all) => format!("{so_far}, about {} in all", money(all)),
        None => so_far.clone(),
    };
    Some([format!("{read}; {long}"), long, so_far])
}

/// What goes wrong.
fn trouble(now: &Snapshot) -> Option<[String; 2]> {
    let kinds = [
        (now.refused, "rate limited", "rate limited"),
        (now.faults, "failed otherwise", "failed"),
    ];
    let there = || kinds.iter().filter(|(count, ..)| *count > 0);
    let long: Vec<_> = there()
        .map(|(count, what, _)| format!("{count} {what}"))
        .collect();
    let short: Vec<_> = there()
        .map(|(count, _, what)| format!("{count} {what}"))
        .collect();
    let calls = now.calls;
    (!long.is_empty()).then(|| {
        [
            format!("of {calls} calls: {}", long.join(", ")),
            format!("calls: {}", short.join(", ")),
        ]
    })
}

/// Why everyone waits, with a countdown.
fn waiting(now: &Snapshot) -> Option<String> {
    now.hold
        .map(|hold| format!("{}, {}", hold.why, countdown(hold.left)))
}

#[cfg(test)]
mod tests;
