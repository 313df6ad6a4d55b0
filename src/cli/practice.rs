//! `paceline practice`: serves until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use super::args::PracticeArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::tell;
use super::setup::cannot_start;
use crate::practice::{Faults, Limits, Server, ServerOptions};

pub(super) fn serve(args: &PracticeArgs) -> Result<Exit, CommandError> {
    let server = Server::start_with(options(args)).map_err(cannot_start)?;
    let limit = match args.limits.rpm {
        Some(rpm) => format!("{rpm} calls a minute for each key"),
        None => "no limit".to_owned(),
    };
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

fn options(args: &PracticeArgs) -> ServerOptions {
    let (limits, behaviour) = (&args.limits, &args.behaviour);
    ServerOptions {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        limits: Limits {
            rpm: limits.rpm,
            burst: limits.burst,
            tpm: limits.tpm,
            max_inflight: limits.max_inflight,
            slots: limits.slots,
            then: limits.then,
        },
        latency: behaviour.latency,
        faults: Faults {
            error_500: behaviour.error_500,
            error_503: behaviour.error_503,
            error_529: behaviour.error_529,
            reset: behaviour.reset,
            truncated: behaviour.truncated,
            stalled: behaviour.stalled,
            bad_json: behaviour.bad_json,
            empty: behaviour.empty,
            wrong_json: behaviour.wrong_json,
            wrong_again: behaviour.wrong_again,
            hang: behaviour.hang,
            no_flex: behaviour.no_flex,
            batch_expired: behaviour.batch_expired,
            batch_failed: behaviour.batch_failed,
            quota: behaviour.quota,
            outage: behaviour.outage,
        },
        hints: !limits.no_hints,
        cached: behaviour.cached,
        batch_time: behaviour.batch_time,
        seed: args.seed,
    }
}
