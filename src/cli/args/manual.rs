//! The options of `completions` and `manual`.

use std::path::PathBuf;

use clap_complete::Shell;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/completions.txt"))]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell to write them for
    pub(in crate::cli) shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/manual.txt"))]
pub(in crate::cli) struct ManualArgs {
    /// Write a page for each command here [default: one, to standard output]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
