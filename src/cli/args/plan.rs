//! The options of `plan`: those of `run`, so that changing one word of the command plans it, and a few of its own.

use std::path::PathBuf;

use clap::Arg;

use super::RunArgs;
use crate::practice::Latency;

/// Options of `run` that change no plan. They are accepted and not listed.
const IRRELEVANT: &str = "base_delay ca_cert halt header header_env jitter keep log_format max_cost max_delay \
                          max_wait out_dir poll progress sync temperature";

#[derive(Debug, clap::Args)]
#[command(
    mut_args(hide_irrelevant),
    after_help = include_str!("help/plan.txt")
)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,

    /// How long a call takes [default: lognormal:2s,0.5]
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA. The default is a guess.
    #[arg(long, value_name = "TIME", help_heading = "The forecast")]
    pub(in crate::cli) latency: Option<Latency>,

    /// Expect the latencies, tokens and failures of an earlier run
    #[arg(
        long,
        value_name = "RESULTS",
        conflicts_with = "latency",
        help_heading = "The forecast"
    )]
    pub(in crate::cli) from: Option<PathBuf>,
}

fn hide_irrelevant(arg: Arg) -> Arg {
    let is_irrelevant = IRRELEVANT.split(' ').any(|name| arg.get_id() == name);
    arg.hide(is_irrelevant)
}
