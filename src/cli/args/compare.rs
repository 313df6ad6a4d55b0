//! What can be typed after `compare`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use crate::practice::Latency;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is sent and nothing is waited for: the strategies run with real threads on a simulated clock, \
against the limit of the practice server. The same options give the same table.

x pool: how many times as long as the paced pool; wave: the most calls that reached the server within \
a tenth of a second, the first call of each thread aside; worst prompt: how often the prompt was refused that was refused most.

Exit status: 0 done, 2 bad usage, 3 the output cannot be written.")]
pub(in crate::cli) struct Compare {
    /// How many prompts there are to answer, at most 10000
    #[arg(long, value_name = "N", default_value = "200", value_parser = at_most::<10_000, NonZeroU32>)]
    pub(in crate::cli) prompts: NonZeroU32,

    /// Calls a minute that the server allows
    #[arg(long, value_name = "N", default_value = "10")]
    pub(in crate::cli) rpm: NonZeroU32,

    /// Calls that the server lets through at once
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) burst: NonZeroU32,

    /// How long an answer takes
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(in crate::cli) latency: Latency,

    /// How many threads each strategy has, at most 256
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = at_most::<256, NonZeroUsize>)]
    pub(in crate::cli) workers: NonZeroUsize,

    /// For everything that is left to chance
    #[arg(long, value_name = "N", default_value = "0")]
    pub(in crate::cli) seed: u64,

    /// Write a page with the waves drawn as well
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,
}

/// A number of at least 1: beyond the most, a comparison would take minutes.
fn at_most<const MOST: u32, N: TryFrom<NonZeroU32>>(text: &str) -> Result<N, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number: &NonZeroU32| number.get() <= MOST);
    number
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("give a number from 1 to {MOST}"))
}
