//! `paceline practice`: serves until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use super::args::PracticeArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::tell;
use super::setup::cannot_start;
use crate::practice::{Server, ServerOptions};

pub(super) fn serve(args: &PracticeArgs) -> Result<Exit, CommandError> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let limit = match args.options.limits.rpm {
        Some(rpm) => format!("{rpm} calls a minute for each key"),
        None => "no limit".to_owned(),
    };
    let options = args.options.clone();
    let server = Server::start_with(ServerOptions { addr, ..options }).map_err(|error| {
        cannot_start(error).help("choose another port with --port; 0 is one that is free")
    })?;
    let url = server.base_url();
    tell(format!(
        "practice server at {url} ({limit}); it counts what it sees: /stats"
    ));
    tell(format!(
        "try: paceline run prompts.txt -m any --base-url {url}"
    ));
    server.join();
    Ok(Exit::Answered)
}
