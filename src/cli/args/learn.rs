//! The options of `learn`.

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/learn.txt"))]
pub(in crate::cli) struct LearnArgs {
    /// The port to listen on, on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "N", default_value = "8323")]
    pub(in crate::cli) port: u16,
}
