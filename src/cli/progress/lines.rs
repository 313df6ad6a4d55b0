//! The text of the display: lines of a snapshot that fit a terminal. Pure. The words are in the templates; here are the
//! figures that they show.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use serde_json::{Value, json};

use super::eta;
use crate::batch::{Allowed, PauseReason, Snapshot};
use crate::cli::args::CostArgs;
use crate::cli::template::{self, TextLook, folded};
use crate::text::{countdown, counted, duration, grouped, number, short_number, time_of_day};

/// The display: the bar, the prompts, the rate, the cost, and what goes wrong. `streamed` is the rate at which tokens come,
/// in tokens a second, if answers are streams.
pub(super) fn screen(
    now: &Snapshot,
    cost: &CostArgs,
    streamed: Option<f64>,
    look: TextLook,
) -> Vec<String> {
    let mut view = view(now, cost, streamed);
    view["width"] = look.width.into();
    view["unicode"] = look.unicode.into();
    let mut text = render(include_str!("screen.txt"), &view, look.colour);
    if !look.unicode {
        text = text.replace('━', "=").replace('─', "-");
        text = text.replace(|c: char| !c.is_ascii(), "?");
    }
    text.lines()
        .flat_map(|line| fitting(line, look.width))
        .collect()
}

/// Everything in one line, for where there is no terminal.
pub(super) fn one_line(now: &Snapshot, cost: &CostArgs, streamed: Option<f64>) -> String {
    render(include_str!("line.txt"), &view(now, cost, streamed), false)
}

fn render(template: &str, view: &Value, colour: bool) -> String {
    let look = TextLook {
        colour,
        ..TextLook::ENDLESS
    };
    // None that tests have not found.
    template::text(template, view, look).unwrap_or_else(|error| error.to_string())
}

/// What the templates show.
fn view(now: &Snapshot, cost: &CostArgs, streamed: Option<f64>) -> Value {
    let most_in_flight = now.in_flight_limit.filter(|most| *most >= now.in_flight);
    json!({
        "before": now.before,
        "done": now.before + now.answered + now.failed,
        "total": now.total,
        "left": now.left(),
        "answered": now.answered,
        "failed": now.failed,
        "retried": now.retried,
        "elapsed": duration(Duration::from_secs(now.elapsed.as_secs())),
        "time_left": time_left(now),
        "rate": allowed_rate(now),
        "paused": pause_left(now),
        "in_flight": now.in_flight,
        "most_in_flight": most_in_flight,
        "waiting": now.waiting,
        "latency": now.latency.map(duration),
        "latency_p95": now.latency_p95.map(duration),
        "tokens": tokens(now),
        "streamed": streamed.map(|rate| format!("{} tokens a second", number(rate))),
        "has_price": cost.price.is_some(),
        "cost": costs(now, cost),
        "trouble": problems(now),
    })
}

/// A pause that has just begun.
pub(super) fn pause(key: Option<usize>, why: PauseReason, wait: Duration) -> String {
    let key = key.map_or_else(String::new, |key| format!("key {key} is "));
    format!("{key}{why}, continues {}", time_of_day(wait))
}

/// The pieces of a line that fit. The first one may take a few lines: a server's sentence does.
fn fitting(line: &str, width: usize) -> Vec<String> {
    /// Enough for the sentences of most servers on a narrow terminal.
    const MOST_LINES: usize = 3;
    let room = width.saturating_sub(1);
    let mut fitting = String::new();
    for piece in line.split('\t') {
        if !fitting.is_empty() && measure_text_width(&fitting) + measure_text_width(piece) > room {
            break;
        }
        fitting += piece;
    }
    let folded = folded(&fitting, width.max(2), 2);
    let lines = folded.lines().take(MOST_LINES);
    lines
        .map(|line| truncate_str(line, room, "").into())
        .collect()
}

/// The time to the end. While nothing gets through, there is no answer to go by.
fn time_left(now: &Snapshot) -> Option<String> {
    if now.answered == 0 {
        return Some("no answer yet".to_owned());
    }
    eta::to_go(now).map(|left| format!("{} left", countdown(left)))
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
