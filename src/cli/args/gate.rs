//! The options of `gate`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::run::{RateArgs, ServerArgs, WatchArgs};
use super::values::duration;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/gate.txt"))]
pub(in crate::cli) struct GateArgs {
    /// The port to listen on, on 127.0.0.1; 0 picks a free one
    #[arg(
        long,
        value_name = "N",
        default_value = "8322",
        conflicts_with = "listen"
    )]
    pub(in crate::cli) port: u16,

    /// Listen on this address instead, as in 0.0.0.0:8322
    ///
    /// Other machines can then use your key: they must send the token.
    #[arg(long, value_name = "ADDR:PORT", requires = "token_env")]
    pub(in crate::cli) listen: Option<SocketAddr>,

    /// The variable that holds a token, which clients must send
    ///
    /// They send it as `x-paceline-token`, or where their API key goes.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) token_env: Option<String>,

    /// Use the built-in practice server as the API: no key, no network
    #[arg(long, conflicts_with_all = ["base_url", "key_env", "ca_cert", "share"])]
    pub(in crate::cli) practice: bool,

    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,

    #[command(flatten)]
    pub(in crate::cli) rate: RateArgs,

    /// The longest that a call may take; then it gets a 503
    ///
    /// Its wait counts.
    #[arg(long, value_name = "DUR", help_heading = "The rate", default_value = "10m", value_parser = duration)]
    pub(in crate::cli) max_wait: Duration,

    /// The most calls that wait; another gets a 503
    #[arg(
        long,
        value_name = "N",
        help_heading = "The rate",
        default_value = "1000"
    )]
    pub(in crate::cli) max_waiting: usize,

    /// The most connections at once
    #[arg(long, value_name = "N", default_value = "2000")]
    pub(in crate::cli) max_connections: usize,

    /// Retries after a 5xx, or if the call did not arrive
    #[arg(long, value_name = "N", default_value = "2")]
    pub(in crate::cli) max_retries: u32,

    /// Record each call in this file, for paceline report
    #[arg(long, value_name = "FILE", help_heading = "What you see")]
    pub(in crate::cli) record: Option<PathBuf>,

    /// Record requests and answers as well
    #[arg(long, help_heading = "What you see", requires = "record")]
    pub(in crate::cli) record_bodies: bool,

    #[command(flatten)]
    pub(in crate::cli) watch: WatchArgs,
}
