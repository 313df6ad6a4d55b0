//! The options of `compare`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::values::up_to;
use crate::practice::Latency;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/compare.txt"))]
pub(in crate::cli) struct CompareArgs {
    #[command(flatten)]
    pub(in crate::cli) scenario: Scenario,

    /// Also write a page that draws the waves
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,

    /// Also write a picture of the first waves, for a document
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
}

/// What the strategies are to do, and against which server. The page of `learn` runs single strategies.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub(in crate::cli) struct Scenario {
    /// The number of prompts, at most 10000
    #[arg(long, value_name = "N", default_value = "200", value_parser = up_to::<10_000, NonZeroU32>)]
    pub(in crate::cli) prompts: NonZeroU32,

    /// Calls a minute that the server allows
    #[arg(long, value_name = "N", default_value = "10")]
    pub(in crate::cli) rpm: NonZeroU32,

    /// Calls that the server accepts at once
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) burst: NonZeroU32,

    /// How long an answer takes
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA.
    #[arg(long, value_name = "TIME", default_value = "2s")]
    pub(in crate::cli) latency: Latency,

    /// The number of threads of each strategy, at most 256
    #[arg(short, long, value_name = "N", default_value = "10", value_parser = up_to::<256, NonZeroUsize>)]
    pub(in crate::cli) workers: NonZeroUsize,

    /// The seed of everything random
    #[arg(long, value_name = "N", default_value = "0")]
    pub(in crate::cli) seed: u64,

    /// How long a 429 takes.
    #[arg(skip)]
    pub(in crate::cli) refusal: Duration,

    /// The part of the accepted calls, from 0 to 1, that fail with a 503.
    #[arg(skip)]
    pub(in crate::cli) faults: f64,

    /// After this many calls a strategy is cancelled.
    #[arg(skip = usize::MAX)]
    pub(in crate::cli) most_calls: usize,
}
