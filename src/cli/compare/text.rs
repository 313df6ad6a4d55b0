//! The comparison as text for a terminal of 80 columns: a table, and below it what to notice.

use std::fmt::{Display, Formatter, Result};
use std::time::Duration;

use super::{StrategyComparison, StrategyResult};
use crate::cli::format::{counted, duration, grouped};

const WIDTH: usize = 80;

/// The retries after which a usual retry loop gives up.
const USUAL_RETRIES: usize = 5;

/// What stands above the columns.
pub(super) const HEAD: [&str; 7] = [
    "strategy",
    "time",
    "x pool",
    "calls",
    "429s",
    "wave",
    "worst prompt",
];

impl Display for StrategyComparison {
    /// Ends without a line feed.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write_row(f, &HEAD.map(str::to_owned))?;
        for result in &self.results {
            write_row(f, &self.cells(result))?;
        }
        for remark in self.remarks() {
            write!(f, "\n{}", wrapped(&remark))?;
        }
        Ok(())
    }
}

fn write_row(f: &mut Formatter<'_>, cells: &[String; 7]) -> Result {
    let [name, time, times, calls, limited, wave, worst] = cells;
    writeln!(
        f,
        "{name:<23}{time:>11}{times:>8}{calls:>8}{limited:>8}{wave:>7}{worst:>14}"
    )
}

impl StrategyComparison {
    /// A row of the table.
    pub(super) fn cells(&self, result: &StrategyResult) -> [String; 7] {
        [
            result.name.clone(),
            duration(result.time),
            format!("{:.1}", self.times_the_pool(result)),
            grouped(result.calls.len() as u64),
            grouped(result.rate_limited() as u64),
            result.largest_wave().to_string(),
            result.most_for_a_prompt().to_string(),
        ]
    }

    /// What to notice, made from the figures alone.
    pub(super) fn remarks(&self) -> Vec<String> {
        let [.., sleepers, backoff, jitter, pool] = &self.results[..] else {
            return Vec::new();
        };
        let remarks = [
            Some(self.about_pool(pool)),
            Some(self.about_sleep(sleepers)),
            self.about_worst(),
            about_jitter(backoff, jitter),
        ];
        remarks.into_iter().flatten().collect()
    }

    fn about_pool(&self, pool: &StrategyResult) -> String {
        let best = self.scenario.last_call_at_best();
        let last = pool.calls.last().map_or(Duration::ZERO, |call| call.at);
        let limited = match pool.rate_limited() {
            0 => "never got a 429".to_owned(),
            count => format!("got {} on the way", counted(count as u64, "429")),
        };
        let slow = match last > best.mul_f64(1.05) + Duration::from_secs(1) {
            true => format!(
                " With answers this slow, {} workers cannot use the whole limit.",
                self.scenario.workers
            ),
            false => String::new(),
        };
        format!(
            "The limit accepts the last of {} prompts after {}; the paced pool sent it after {}, and {limited}.{slow}",
            self.scenario.prompts,
            duration(best),
            duration(last),
        )
    }

    fn about_sleep(&self, sleepers: &StrategyResult) -> String {
        let scenario = &self.scenario;
        let each = sleepers.time.as_secs_f64() / f64::from(scenario.prompts.get());
        let is_the_articles =
            [scenario.prompts, scenario.rpm, scenario.burst].map(|n| n.get()) == [200, 10, 1];
        let article = match is_the_articles {
            true => format!(
                " The article behind this story says 6 times, of \"nearly two hours\" and \"about 20 minutes\": here \
                 they are {} and {}.",
                duration(sleepers.time),
                duration(self.pool().time),
            ),
            false => String::new(),
        };
        format!(
            "The 30 s sleep gets an answer every {each:.1} s, and takes {:.1} times as long as the pool.{article}",
            self.times_the_pool(sleepers)
        )
    }

    /// The strategy with the most 429s, and what they do to a retry loop that gives up.
    fn about_worst(&self) -> Option<String> {
        let worst = self
            .results
            .iter()
            .max_by_key(|result| result.rate_limited())
            .filter(|worst| worst.rate_limited() > 0)?;
        let share = worst.rate_limited() as f64 * 100.0 / worst.calls.len() as f64;
        Some(format!(
            "\"{}\" gets the most 429s: {share:.0} % of its calls, up to {} together where the limit accepts {}. {} \
             of the {} prompts got more than {USUAL_RETRIES}, where many a retry loop gives up.",
            worst.name,
            worst.largest_wave(),
            self.scenario.allowed_in_a_wave(),
            worst.prompts_with_more_than(USUAL_RETRIES),
            self.scenario.prompts,
        ))
    }
}

fn about_jitter(backoff: &StrategyResult, jitter: &StrategyResult) -> Option<String> {
    (backoff.rate_limited() > 0).then(|| {
        format!(
            "Jitter turns waves of up to {} calls into {}, and {} 429s into {}.",
            backoff.largest_wave(),
            jitter.largest_wave(),
            grouped(backoff.rate_limited() as u64),
            grouped(jitter.rate_limited() as u64),
        )
    })
}

/// Broken into lines at spaces.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            lines.push('\n');
            width = 0;
        } else if width > 0 {
            lines.push(' ');
            width += 1;
        }
        lines.push_str(word);
        width += length;
    }
    lines
}
