//! `paceline practice`: serves until it is killed.

use std::net::{Ipv4Addr, SocketAddr};

use super::Exit;
use super::args::Practice;
use super::unusable::Unusable;
use crate::practice::{Faults, Limits, Options, Server};

pub(super) fn serve(args: &Practice) -> Result<Exit, Unusable> {
    let server = Server::start(options(args)).map_err(Unusable::Practice)?;
    let limit = args.rpm.map_or_else(
        || "no limit".to_owned(),
        |rpm| format!("{rpm} calls a minute"),
    );
    eprintln!(
        "practice server at {} ({limit} a key); what it has seen: /stats",
        server.base_url()
    );
    eprintln!(
        "try: paceline run prompts.txt -m any --base-url {}",
        server.base_url()
    );
    server.join();
    Ok(Exit::Answered)
}

fn options(args: &Practice) -> Options {
    let Practice {
        rpm,
        burst,
        tpm,
        max_inflight,
        then,
        latency,
        seed,
        quota,
        outage,
        ..
    } = *args;
    let Practice {
        error_500,
        error_503,
        error_529,
        reset,
        truncated,
        bad_json,
        empty,
        hang,
        ..
    } = *args;
    Options {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
        limits: Limits {
            rpm,
            burst,
            tpm,
            max_inflight,
            then,
        },
        latency,
        faults: Faults {
            error_500,
            error_503,
            error_529,
            reset,
            truncated,
            bad_json,
            empty,
            hang,
            quota: quota.map(|(answers, _)| answers),
            quota_key: quota.and_then(|(_, key)| key),
            outage,
        },
        hints: !args.no_hints,
        seed,
    }
}
