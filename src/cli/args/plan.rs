//! What can be typed after `plan`: whatever `run` takes, so that a run can be planned by changing one word.

use std::path::PathBuf;

use clap::Arg;

use super::Run;
use crate::practice::Latency;

/// What `run` takes and a plan does not depend on: taken, too, and not shown.
const BESIDE_THE_POINT: &[&str] = &[
    "out_dir",
    "sync",
    "halt",
    "ca_cert",
    "temperature",
    "max_wait",
    "base_delay",
    "max_delay",
    "jitter",
    "timeout",
    "max_retries",
    "keep",
    "progress",
    "log_format",
    "max_cost",
];

#[derive(Debug, clap::Args)]
#[command(
    mut_args(leave_out),
    after_help = "\
The options of run mean the same here; those that change no plan are taken, too, and not listed. The batch \
is run on a simulated clock, by the code that runs it in earnest; of more than 2,000 prompts a sample is \
run, and the rest extended from its steady part.

Exit status: 0 planned, 2 bad usage or input."
)]
pub(in crate::cli) struct Plan {
    #[command(flatten)]
    pub(in crate::cli) run: Box<Run>,

    /// How long a call takes [default: lognormal:2s,0.5]
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA. The default is no more than a guess.
    #[arg(long, value_name = "TIME", help_heading = "The forecast")]
    pub(in crate::cli) latency: Option<Latency>,

    /// The results of an earlier run, to expect the same
    ///
    /// The same latencies, tokens and failures.
    #[arg(
        long,
        value_name = "RESULTS",
        conflicts_with = "latency",
        help_heading = "The forecast"
    )]
    pub(in crate::cli) from: Option<PathBuf>,
}

fn leave_out(arg: Arg) -> Arg {
    let beside = BESIDE_THE_POINT.contains(&arg.get_id().as_str());
    if beside { arg.hide(true) } else { arg }
}
