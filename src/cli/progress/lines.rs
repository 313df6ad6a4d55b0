//! The text of the display: lines of a snapshot that fit a terminal. Pure; every character is one column wide.

use std::time::{Duration, SystemTime};

use console::Style;

use super::eta;
use crate::batch::{Allowed, Price, Snapshot, Why};
use crate::cli::format::{countdown, counted, duration, grouped, money, number, short_number};

/// What a terminal can show.
#[derive(Clone, Copy, Debug)]
pub(super) struct TerminalLook {
    /// In columns. No line is as wide: one that is may be wrapped.
    pub(super) width: usize,
    pub(super) unicode: bool,
    pub(super) colour: bool,
}

/// A piece of a line, with what it means.
type Piece = (Meaning, String);

#[derive(Clone, Copy)]
enum Meaning {
    Good,
    Bad,
    Paused,
    Plain,
    Minor,
}

/// The display: the bar, the prompts, the rate, the cost, and what goes wrong.
pub(super) fn screen(now: &Snapshot, price: Option<Price>, look: TerminalLook) -> Vec<String> {
    let lines = [
        Some(vec![bar_line(now, look)]),
        Some(prompts(now, look)),
        Some(rate(now)),
        cost(now, price),
        trouble(now),
    ];
    lines
        .into_iter()
        .flatten()
        .map(|ways| fit(&ways, look))
        .collect()
}

/// Everything in one line, for where there is no terminal.
pub(super) fn one_line(now: &Snapshot, price: Option<Price>) -> String {
    let left = now
        .left()
        .map_or_else(String::new, |left| format!(", {} left", grouped(left)));
    let mut parts = vec![
        format!(
            "{}{} answered, {} failed{left}",
            earlier(now).map_or_else(String::new, |earlier| earlier + ", "),
            grouped(now.answered),
            grouped(now.failed)
        ),
        allowed_rate(now),
    ];
    parts.extend(time_left(now));
    parts.extend(price.and(tokens(now)));
    parts.extend(price.and_then(|price| costs(now, price)));
    parts.extend(problems(now));
    parts.extend(pause_left(now));
    parts.join("; ")
}

/// A pause that has just begun.
pub(super) fn pause(key: Option<usize>, why: Why, wait: Duration, until: SystemTime) -> String {
    let key = key.map_or_else(String::new, |key| format!("key {key} is "));
    let until = jiff::Timestamp::try_from(until)
        .map_or_else(|_| String::new(), |until| format!(" until {until:.0}"));
    format!("{key}{why}{until} ({})", countdown(wait))
}

/// The first way that fits, or as much of the last as does, in colour.
fn fit(ways: &[Vec<Piece>], look: TerminalLook) -> String {
    let room = look.width.saturating_sub(1);
    let columns = |way: &&Vec<Piece>| {
        way.iter()
            .map(|(_, text)| text.chars().count())
            .sum::<usize>()
    };
    let way = ways.iter().find(|way| columns(way) <= room).or(ways.last());
    let mut left = room;
    let mut line = String::new();
    for (meaning, text) in way.into_iter().flatten() {
        let text: String = text.chars().take(left).collect();
        left -= text.chars().count();
        line += &paint(*meaning, &text, look.colour);
    }
    line
}

fn paint(meaning: Meaning, text: &str, colour: bool) -> String {
    let style = Style::new().force_styling(colour);
    let style = match meaning {
        Meaning::Good => style.green(),
        Meaning::Bad => style.red(),
        Meaning::Paused => style.yellow(),
        Meaning::Plain => return text.to_owned(),
        Meaning::Minor => style.dim(),
    };
    style.apply_to(text).to_string()
}

/// The bar takes the room that the numbers leave, up to 40 columns: wider ones show no more.
fn bar_line(now: &Snapshot, look: TerminalLook) -> Vec<Piece> {
    let done = now.before + now.answered + now.failed;
    let Some(total) = now.total else {
        return vec![(
            Meaning::Plain,
            format!("{} finished", counted(done, "prompt")),
        )];
    };
    let share = done as f64 / total.max(1) as f64;
    let share = if total == 0 { 1.0 } else { share.min(1.0) };
    let percent = (share * 100.0).floor();
    let count = format!("{percent:3.0} %  {} of {}", grouped(done), grouped(total));
    let time = time_left(now).map_or_else(String::new, |time| format!("  {time}"));
    let room = look.width.saturating_sub(1);
    let bar = room.saturating_sub(count.len() + time.len() + 1).min(40);
    let [full, rest] = if look.unicode {
        ["━", "─"]
    } else {
        ["=", "-"]
    };
    let columns = if bar < 8 { 0 } else { bar };
    let filled = (share * columns as f64) as usize;
    let meaning = match now.hold {
        Some(_) => Meaning::Paused,
        None => Meaning::Good,
    };
    vec![
        (meaning, full.repeat(filled)),
        (Meaning::Minor, rest.repeat(columns - filled)),
        (Meaning::Plain, format!(" {count}{time}")),
    ]
}

/// The time to the end. While nothing gets through, it is unknown, and said to be.
fn time_left(now: &Snapshot) -> Option<String> {
    let nothing_gets_through = now.answered == 0 && now.refused.max(now.faults).max(now.failed) > 0;
    if nothing_gets_through {
        return Some("no answer yet".to_owned());
    }
    eta::to_go(now).map(|left| format!("{} left", countdown(left)))
}

fn earlier(now: &Snapshot) -> Option<String> {
    (now.before > 0).then(|| format!("{} from earlier runs", grouped(now.before)))
}

fn prompts(now: &Snapshot, look: TerminalLook) -> Vec<Vec<Piece>> {
    let [good, bad] = if look.unicode {
        ["✓ ", "✗ "]
    } else {
        ["", ""]
    };
    let failed = match now.failed {
        0 => Meaning::Minor,
        _ => Meaning::Bad,
    };
    let short = vec![
        (
            Meaning::Good,
            format!("  {good}{} answered", grouped(now.answered)),
        ),
        (failed, format!("   {bad}{} failed", grouped(now.failed))),
    ];
    let retried = now
        .refused
        .saturating_add(now.faults)
        .saturating_sub(now.failed);
    let mut long = short.clone();
    if retried > 0 {
        long.push((Meaning::Plain, format!("   {} retried", grouped(retried))));
    }
    let mut longest = long.clone();
    if let Some(earlier) = earlier(now) {
        longest.push((Meaning::Minor, format!("   {earlier}")));
    }
    longest.push((
        Meaning::Minor,
        format!("   {} so far", duration(whole_seconds(now.elapsed))),
    ));
    vec![longest, long, short]
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}

fn rate(now: &Snapshot) -> Vec<Vec<Piece>> {
    let in_flight = format!("{} in flight", grouped(now.in_flight));
    if let Some(paused) = pause_left(now) {
        let waiting = format!("   {in_flight}, {} waiting", grouped(now.waiting));
        let short = vec![(Meaning::Paused, format!("  rate   {paused}"))];
        return vec![
            [short.clone(), vec![(Meaning::Minor, waiting)]].concat(),
            short,
        ];
    }
    let latency = now.latency.map_or_else(String::new, |latency| {
        format!(", latency {}", duration(latency))
    });
    let short = vec![(Meaning::Plain, format!("  rate   {}", allowed_rate(now)))];
    let minor = vec![(Meaning::Minor, format!("   {in_flight}{latency}"))];
    vec![[short.clone(), minor].concat(), short]
}

/// The rate of the last seconds, against the limit.
fn allowed_rate(now: &Snapshot) -> String {
    let rate = number(now.rate.round());
    match now.allowed {
        Allowed::Told(limit) | Allowed::Stated(limit) => {
            format!("{rate} of {} calls a minute", number(limit.round()))
        }
        Allowed::Found(limit) => {
            format!("{rate} of about {} calls a minute", number(limit.round()))
        }
        Allowed::Unknown => format!("{rate} calls a minute, finding the limit"),
        _ => format!("{rate} calls a minute"),
    }
}

/// Why everyone waits, with a countdown.
fn pause_left(now: &Snapshot) -> Option<String> {
    let hold = now.hold?;
    Some(format!("{}, {}", hold.why, countdown(hold.left)))
}

fn cost(now: &Snapshot, price: Option<Price>) -> Option<Vec<Vec<Piece>>> {
    let tokens = tokens(now)?;
    let Some(cost) = price.and_then(|price| costs(now, price)) else {
        return Some(vec![vec![(Meaning::Plain, format!("  used   {tokens}"))]]);
    };
    let short = vec![(Meaning::Plain, format!("  cost   {cost}"))];
    let minor = vec![(Meaning::Minor, format!("   {tokens}"))];
    Some(vec![[short.clone(), minor].concat(), short])
}

fn tokens(now: &Snapshot) -> Option<String> {
    let (input, output) = (now.tokens.input, now.tokens.output);
    (input + output > 0).then(|| {
        format!(
            "{} tokens in, {} out",
            short_number(input),
            short_number(output)
        )
    })
}

/// The cost so far, and of the whole input if the rest costs as much for each prompt.
fn costs(now: &Snapshot, price: Price) -> Option<String> {
    tokens(now)?;
    let cost = price.cost(now.tokens);
    let so_far = format!("{} so far", money(cost));
    Some(match now.left().filter(|_| now.answered > 0) {
        None => so_far,
        Some(left) => {
            let all = cost * (1.0 + left as f64 / now.answered as f64);
            format!("{so_far}, about {} in all", money(all))
        }
    })
}

fn trouble(now: &Snapshot) -> Option<Vec<Vec<Piece>>> {
    let problems = problems(now)?;
    let long = format!("  ! {problems} of {}", counted(now.calls, "call"));
    let short = format!("  ! {problems}");
    let line = |text| vec![(Meaning::Bad, text)];
    Some(vec![line(long), line(short)])
}

fn problems(now: &Snapshot) -> Option<String> {
    let kinds = [(now.refused, "rate limited (429)"), (now.faults, "failed")];
    let problems: Vec<_> = kinds
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{} {kind}", grouped(*count)))
        .collect();
    (!problems.is_empty()).then(|| problems.join(", "))
}

#[cfg(test)]
mod tests;
