//! What can be typed after `report`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::RecordedCostArgs;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/report.txt"))]
pub(in crate::cli) struct ReportArgs {
    /// The results of a run, which may still be going on
    pub(in crate::cli) results: PathBuf,

    /// Check each key's pace against N calls a minute [default: as recorded]
    ///
    /// The calls are evenly spaced, but for --burst. Records name the limit that run was given with --rpm.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) rpm: Option<NonZeroU32>,

    /// How many calls the limit lets through at once
    #[arg(long, value_name = "N", default_value = "1", requires = "rpm")]
    pub(in crate::cli) burst: NonZeroU32,

    /// Write a page with charts; - is standard output
    ///
    /// One HTML file, which needs nothing else.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(in crate::cli) html: Option<PathBuf>,

    /// Write the numbers as one JSON object; times are in milliseconds
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) costs: RecordedCostArgs,
}
