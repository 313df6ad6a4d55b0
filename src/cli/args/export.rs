//! What can be typed after `export`.

use std::path::PathBuf;

use super::RecordedCostArgs;

use crate::batch::Price;
use crate::cli::export::{ExportFormat, ExportOrder, FailedPrompts};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/export.txt"))]
pub(in crate::cli) struct ExportArgs {
    /// The results of a run
    pub(in crate::cli) results: PathBuf,

    /// csv, jsonl, md, txt or batch [default: by FILE; md on a terminal]
    #[arg(short, long, value_name = "NAME", hide_possible_values = true)]
    pub(in crate::cli) format: Option<ExportFormat>,

    /// Where to write, whole or not at all; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(in crate::cli) output: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) options: ExportOptions,

    #[command(flatten)]
    pub(in crate::cli) costs: RecordedCostArgs,
}

/// How results are exported.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct ExportOptions {
    /// The order of the prompts: input or completion
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub(in crate::cli) order: ExportOrder,

    /// Prompts that failed: include, exclude or only
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    pub(in crate::cli) failed: FailedPrompts,

    /// Also write columns of the input: all, or --columns=a,b (csv and jsonl)
    #[arg(long, value_name = "NAMES", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub(in crate::cli) columns: Option<Vec<String>>,

    /// Make the csv safe for a spreadsheet program
    ///
    /// Writes a UTF-8 mark, and ' before cells that it would run as formulas.
    #[arg(long)]
    pub(in crate::cli) spreadsheet: bool,

    /// Write what each prompt cost, too.
    #[arg(skip)]
    pub(in crate::cli) price: Option<Price>,
}
