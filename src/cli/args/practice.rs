//! The options of `practice`.

use crate::practice::ServerOptions;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/practice.txt"))]
pub(in crate::cli) struct PracticeArgs {
    /// The port to listen on, on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "N", default_value = "8321")]
    pub(in crate::cli) port: u16,

    #[command(flatten)]
    pub(in crate::cli) options: ServerOptions,
}
