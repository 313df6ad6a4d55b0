//! The options of `compare`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use super::values::up_to;
use crate::practice::Latency;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/compare.txt"))]
pub(in crate::cli) struct CompareArgs {
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

    /// Also write a page that draws the waves
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,

    /// Also write a picture of the first waves, for a document
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) svg: Option<PathBuf>,
}
