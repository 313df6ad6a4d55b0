//! The options of `learn`.

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It serves until Ctrl-C, on this machine only, and needs no network. Each change on the \
page runs real \
threads of this library on a simulated clock, against the limit of the practice server.

Examples:
  paceline learn
  paceline learn --port 0")]
pub(in crate::cli) struct LearnArgs {
    /// The port to listen on, on 127.0.0.1; 0 picks a free one
    #[arg(long, value_name = "N", default_value = "8323")]
    pub(in crate::cli) port: u16,
}
