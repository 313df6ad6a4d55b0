//! `paceline gate`: opens the gate, shows what goes through it, and closes it on Ctrl-C. The words are in the templates.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;

use super::args::{GateArgs, RpmArg};
use super::endpoints;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::{inform, is_quiet, render, screen};
use super::progress::can_draw;
use super::results::cannot_open;
use super::setup;
use super::share;
use super::signals::watch_for_interrupts;
use super::stop::Destination;
use crate::api::{ApiKind, Params, masked};
use crate::cancel::CancelToken;
use crate::clock::SystemClock;
use crate::gate::{Gate, GateOptions, RecordFile};
use crate::journal::{Durability, Journal};
use crate::pacing::KeyLimits;
use crate::practice::Server;
use crate::retry::Retry;

/// Idle connections that are kept open to the API: as many calls may be in flight without a new handshake.
const CONNECTIONS: usize = 256;

pub(super) fn serve(args: &GateArgs) -> Result<Exit, CommandError> {
    let rpm = args.rate.rpm.and_then(RpmArg::number);
    let start = || setup::start_practice(rpm, &args.rate);
    let practice = args.practice.then(start).transpose()?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let addr = args.listen.unwrap_or(to);
    let gate = Gate::open(addr, options(args, rpm, practice.as_ref())?)
        .map_err(|error| CommandError::usage(format!("the gate cannot open at {addr}: {error}")))
        .map_err(|error| error.help("choose another port with --port or --listen"))?;
    let cancel = CancelToken::new();
    watch_for_interrupts(&cancel, Destination::Callers)?;
    inform(welcome(args, rpm, &gate));
    show(&gate, &cancel);
    gate.close();
    inform(render(include_str!("gate/end.txt"), &gate.counts()));
    Ok(Exit::Answered)
}

fn options(
    args: &GateArgs,
    rpm: Option<NonZeroU32>,
    practice: Option<&Server>,
) -> Result<GateOptions, CommandError> {
    if args.server.base_url.len() > 1 {
        let problem = "a gate has one API behind it";
        let help = "give one --base-url, and start another gate for another API";
        return Err(CommandError::usage(problem).help(help));
    }
    let api = args.server.api.api();
    let endpoints = endpoints::of(&args.server, practice, false)?;
    let connections = CONNECTIONS.min(args.max_connections.max(1));
    let params = Params::default();
    let clients = endpoints::clients(&args.server, &endpoints, &params, connections)?;
    if args.rate.share.is_some() && !clients[0].has_key() {
        let help = format!("name it with --key-env, or set ${}", api.key_env());
        let problem = "--share paces a key of the gate's own, and it has none";
        return Err(CommandError::usage(problem).help(help));
    }
    let rate = setup::rate_limit(rpm, &args.rate)?;
    let wait = args.max_wait;
    let base_url = match practice {
        Some(server) => server.base_url(),
        None => (endpoints[0].base_url.clone()).unwrap_or_else(|| api.base_url().to_owned()),
    };
    let token = args.token_env.as_deref().map(endpoints::key_in);
    let record = args.record.as_deref().map(|path| {
        let opened = Journal::open(path, Durability::Interval).map_err(cannot_open("--record"))?;
        let (journal, written) = (opened.journal, opened.index.len());
        Ok::<_, CommandError>(RecordFile::new(journal, written, args.record_bodies))
    });
    Ok(GateOptions {
        base_url,
        limits: KeyLimits {
            rate,
            tokens: args.rate.tpm,
        },
        limiter: share::connect(&args.rate, &clients, rate, wait, SystemClock.into())?,
        clients,
        retry: Retry::new()
            .retries(args.max_retries)
            .within(wait)
            .patience(wait),
        max_waiting: args.max_waiting,
        max_connections: args.max_connections,
        token: token.transpose()?,
        record: record.transpose()?,
    })
}

/// The first lines.
fn welcome(args: &GateArgs, rpm: Option<NonZeroU32>, gate: &Gate) -> String {
    let options = gate.options();
    let version = match args.server.api {
        // Anthropic's and Google's programs add the version themselves.
        ApiKind::Messages | ApiKind::Gemini => "",
        _ => gate.version(),
    };
    let view = json!({
        "url": gate.url(),
        "version": version,
        "api": masked(&options.base_url),
        "rpm": rpm,
        "has_no_limit": args.rate.has_no_limit(),
        "has_key": options.clients[0].has_key(),
        "variable": args.server.api.api().base_url_env(),
    });
    render(include_str!("gate/welcome.txt"), &view)
}

/// Shows what goes on until Ctrl-C: drawn on a terminal, elsewhere a line when something has happened.
fn show(gate: &Gate, cancel: &CancelToken) {
    const FRAME: Duration = Duration::from_millis(500);
    const PERIOD: Duration = Duration::from_secs(10);
    let is_live = can_draw() && !is_quiet();
    if is_live {
        screen().start();
    }
    let mut last = String::new();
    while cancel.sleep(if is_live { FRAME } else { PERIOD }).is_ok() {
        let now = render(include_str!("gate/now.txt"), &gate.counts());
        if is_live {
            screen().draw_text(&now);
        } else if now != last {
            inform(now.replace('\n', "; "));
            last = now;
        }
    }
    screen().clear();
}
