//! `paceline compare`: the usual ways to live with a rate limit, side by side: the same prompts, the same server, the
//! same seed, in simulated time.
//!
//! A sleep of five seconds, of thirty, a backoff, a backoff with jitter, and the paced pool. All run with the library's
//! own [`pool`](crate::pool) and [`Retry`](crate::Retry) against the practice server's own limit. They differ in their
//! figures alone, and the paced pool also takes a permit of a [`RateLimiter`](crate::RateLimiter) for each call. Threads
//! on a [`SimClock`](crate::clock::SimClock) do the same each time, so the same options give the same table.

mod result;
mod strategy;
mod view;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use super::args::{CompareArgs, Scenario};
use super::error::{CommandError, print};
use super::exit::Exit;
use super::output;
use super::template::TextLook;

pub(super) use result::ServedCall;
use result::{StrategyResult, WAVE};
pub(super) use strategy::Strategy;

pub(super) fn run(args: &CompareArgs) -> Result<Exit, CommandError> {
    let comparison = StrategyComparison::run(args.scenario);
    let html = args.html.as_deref();
    // The table comes first: it is there even if the page cannot be written.
    if !html.is_some_and(output::is_dash) {
        let text = comparison.to_text(TextLook::of_stdout())?;
        print(format!("{text}\n"))?;
    }
    let write =
        |path: &Path, text: String| output::write_out(path, |to| to.write_all(text.as_bytes()));
    if let Some(path) = html {
        write(path, comparison.to_html()?)?;
    }
    if let Some(path) = &args.svg {
        write(path, comparison.to_svg()?)?;
    }
    Ok(Exit::Answered)
}

impl Scenario {
    /// From one call to the next, as the server allows it.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_secs(60) / self.rpm.get()
    }

    /// When the limit accepts the last prompt at the earliest.
    pub(super) fn last_call_at_best(&self) -> Duration {
        self.interval() * self.prompts.get().saturating_sub(self.burst.get())
    }

    /// How many calls the server accepts within a [`WAVE`], at most.
    fn allowed_in_a_wave(&self) -> u64 {
        let after_the_first = (WAVE.as_nanos() - 1) / self.interval().as_nanos().max(1);
        u64::from(self.burst.get()) + after_the_first as u64
    }
}

/// The results of all strategies.
#[derive(Clone, Debug)]
struct StrategyComparison {
    scenario: Scenario,
    /// In the order of the story; the paced pool comes last.
    results: Vec<StrategyResult>,
}

impl StrategyComparison {
    /// Runs each strategy until every prompt is answered.
    fn run(scenario: Scenario) -> Self {
        let strategies = Strategy::all(&scenario);
        let results = strategies
            .iter()
            .map(|strategy| strategy.run(&scenario))
            .collect();
        StrategyComparison { scenario, results }
    }
}
