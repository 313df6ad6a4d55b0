//! The text of the display: lines of a snapshot that fit a terminal. Pure. The words are in the templates; here are the
//! figures that they show.

use std::time::Duration;

use console::{measure_text_width, truncate_str};
use serde_json::{Value, json};

use super::eta;
use crate::batch::{Allowed, PauseReason, Price, Snapshot};
use crate::cli::args::CostArgs;
use crate::cli::template::{self, TextLook, folded};
use crate::text::{countdown, counted, duration, grouped, time_of_day};

const SCREEN: &str = concat!(include_str!("figures.txt"), include_str!("screen.txt"));
const LINE: &str = concat!(include_str!("figures.txt"), include_str!("line.txt"));

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
    let mut text = template::endless(SCREEN, &view, look.colour);
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
    template::endless(LINE, &view(now, cost, streamed), false)
}

/// What the templates show.
fn view(now: &Snapshot, cost: &CostArgs, streamed: Option<f64>) -> Value {
    let (limit, is_found) = match now.allowed {
        Allowed::Fixed(limit) | Allowed::Stated(limit) => (Some(limit), false),
        Allowed::Found(limit) => (Some(limit), true),
        Allowed::Any | Allowed::Unknown => (None, false),
    };
    let pause = now.pause.map(|pause| {
        let is_of_faults = pause.why == PauseReason::Faults;
        let [left, length] = [pause.left, pause.length].map(countdown);
        json!({"left": left, "length": length, "is_of_faults": is_of_faults})
    });
    json!({
        "before": now.before,
        "done": now.before + now.answered + now.failed,
        "total": now.total,
        "left": now.left(),
        "answered": now.answered,
        "failed": now.failed,
        "retried": now.retried,
        "elapsed": duration(Duration::from_secs(now.elapsed.as_secs())),
        "to_go": eta::to_go(now).map(countdown),
        "calls_a_minute": now.rate.round(),
        "limit": limit.map(f64::round),
        "is_found": is_found,
        "is_finding": now.allowed == Allowed::Unknown,
        "pause": pause,
        "in_flight": now.in_flight,
        "most_in_flight": now.in_flight_limit.filter(|most| *most >= now.in_flight),
        "waiting": now.waiting,
        "latency": now.latency.map(duration),
        "latency_p95": now.latency_p95.map(duration),
        "used": now.tokens,
        "tokens_a_second": streamed,
        "spent": cost.price.map(|price| price.cost(now.tokens)),
        "cost_in_all": cost.price.and_then(|price| cost_in_all(now, price)),
        "currency": cost.currency,
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

/// The cost of all runs to the end, if each prompt that is left costs as much as an answered one.
fn cost_in_all(now: &Snapshot, price: Price) -> Option<f64> {
    let left = now.left().filter(|_| now.answered > 0)?;
    let spent = price.cost(now.tokens);
    let to_come = spent * left as f64 / now.answered as f64;
    Some(price.cost(now.earlier_tokens) + spent + to_come)
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
