//! `paceline gate`: opens the gate, shows what goes through it, and closes it on Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use console::Term;

use super::args::{AutoOr, GateArgs};
use super::endpoints::{self, Endpoint};
use super::error::CommandError;
use super::exit::Exit;
use super::format::{countdown, counted, number};
use super::logging::{inform, is_quiet, screen};
use super::progress::can_draw;
use super::results::cannot_open;
use super::setup;
use super::share;
use super::signals::watch_for_interrupts;
use super::stop::Destination;
use crate::api::{Api, ApiKind, Client, Params};
use crate::cancel::CancelToken;
use crate::clock::SystemClock;
use crate::gate::{Gate, GateCounts, GateOptions, RecordFile};
use crate::http::Http;
use crate::journal::{Durability, Journal};
use crate::pacing::KeyLimits;
use crate::retry::Retry;
use crate::text::shortened;

/// Idle connections that are kept open to the API: as many calls may be in flight without a new handshake.
const CONNECTIONS: usize = 256;

pub(super) fn serve(args: &GateArgs) -> Result<Exit, CommandError> {
    let practice = args
        .practice
        .then(|| setup::start_practice(rpm(args), &args.rate));
    let practice = practice.transpose()?;
    let api = args.server.api.api();
    let endpoints = match &practice {
        Some(server) => vec![Endpoint::without_key(server.base_url())],
        None => endpoints::of_gate(&args.server, &*api)?,
    };
    let base_url = endpoints[0].base_url.as_deref();
    let base_url = base_url.unwrap_or(api.base_url()).to_owned();
    let connections = CONNECTIONS.min(args.max_connections.max(1));
    let http = endpoints[0].http(&args.server, connections)?;
    let addr = args
        .listen
        .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)));
    let options = options(args, &*api, endpoints, &base_url, &http)?;
    let has_key = !options.keys.is_empty();
    let gate = Gate::open(addr, http, options)
        .map_err(|error| CommandError::usage(format!("the gate cannot open at {addr}: {error}")))?;
    let cancel = CancelToken::new();
    watch_for_interrupts(&cancel, Destination::Callers)?;
    inform(welcome(args, &gate, &base_url, has_key));
    show(&gate, &cancel);
    gate.close();
    inform(ending(&gate.counts()));
    Ok(Exit::Answered)
}

fn rpm(args: &GateArgs) -> Option<NonZeroU32> {
    args.rate.rpm.and_then(AutoOr::number).flatten()
}

fn options(
    args: &GateArgs,
    api: &dyn Api,
    endpoints: Vec<Endpoint>,
    base_url: &str,
    http: &Http,
) -> Result<GateOptions, CommandError> {
    let rate = setup::rate_limit(rpm(args), &args.rate)?;
    let has_key = endpoints.iter().any(|endpoint| endpoint.key.is_some());
    let headers = endpoints::headers(&args.server, api, has_key)?;
    let secrets = endpoints::secrets(&endpoints, &headers);
    let keys: Vec<_> = endpoints
        .into_iter()
        .filter_map(|endpoint| endpoint.key)
        .collect();
    if args.rate.share.is_some() && !has_key {
        let help = format!("name it with --key-env, or set ${}", api.key_env());
        let problem = "--share paces a key of the gate's own, and it has none";
        return Err(CommandError::usage(problem).help(help));
    }
    let pace_name = |key| {
        let (api, params) = (args.server.api.api(), Params::default());
        Client::over(http.clone(), api, Some(base_url), Some(key), params).pace_name()
    };
    let names = keys.iter().map(pace_name).collect();
    let clock = Arc::new(SystemClock);
    let limiter = share::connect(&args.rate, names, rate, args.max_wait, clock)?;
    Ok(GateOptions {
        api: args.server.api,
        base_url: base_url.to_owned(),
        keys,
        limits: KeyLimits {
            rate,
            tokens: args.rate.tpm,
        },
        limiter,
        retry: Retry::new()
            .retries(args.max_retries)
            .within(args.max_wait)
            .patience(args.max_wait),
        max_waiting: args.max_waiting,
        max_connections: args.max_connections,
        token: args
            .token_env
            .as_deref()
            .map(endpoints::key_in)
            .transpose()?,
        headers,
        secrets,
        record: record(args)?,
        seed: rand::random(),
    })
}

fn record(args: &GateArgs) -> Result<Option<RecordFile>, CommandError> {
    let open = |path| Journal::open(path, Durability::Interval).map_err(cannot_open);
    let opened = args.record.as_deref().map(open).transpose()?;
    Ok(
        opened
            .map(|opened| RecordFile::new(opened.journal, opened.index.len(), args.record_bodies)),
    )
}

/// The first lines: where the gate is, what is behind it, and how a program gets through it.
fn welcome(args: &GateArgs, gate: &Gate, base_url: &str, has_key: bool) -> String {
    let api = args.server.api.api();
    let (url, variable) = (gate.url(), api.base_url_env());
    let rate = match rpm(args) {
        Some(rpm) => format!("at {rpm} calls a minute"),
        None if args.rate.has_no_limit() => "without a limit on the rate".to_owned(),
        None => "at the rate that the API allows".to_owned(),
    };
    let key = match has_key {
        true => "with the gate's own key",
        false => "with each client's own key",
    };
    // Anthropic's and Google's programs add the version themselves.
    let version = match args.server.api {
        ApiKind::Messages | ApiKind::Gemini => "",
        _ => gate.version(),
    };
    format!(
        "gate at {url} -> {}, {rate}, {key}\nto use it: {variable}={url}{version}; the counts are at {url}/paceline/stats",
        crate::api::masked(base_url)
    )
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
        let now = lines(&gate.counts());
        if is_live {
            let width = usize::from(Term::stderr().size().1).saturating_sub(1);
            let fits = |line: String| shortened(&line, width);
            screen().draw(now.into_iter().map(fits).collect());
        } else if now.join("; ") != last {
            last = now.join("; ");
            inform(last.as_str());
        }
    }
    screen().clear();
}

/// What goes on, in one line, and a second one while the API keeps everyone waiting.
fn lines(counts: &GateCounts) -> Vec<String> {
    let mut line = format!(
        "{} answered, {} in flight, {} waiting",
        counts.answered, counts.in_flight, counts.waiting
    );
    if let Some(rate) = counts.found_rpm {
        line += &format!(", {} calls a minute found", number(rate));
    }
    for (count, what) in [
        (counts.rate_limited, "rate limited"),
        (counts.failed, "failed"),
        (counts.gone, "gone"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    let mut lines = vec![line];
    if let Some(why) = &counts.paused_because {
        let left = countdown(counts.paused);
        lines.push(format!("paused for {left}: {why}"));
    }
    lines
}

fn ending(counts: &GateCounts) -> String {
    let waited = counts.waited / u32::try_from(counts.calls).unwrap_or(u32::MAX).max(1);
    let mut text = format!(
        "{} came, {} answered, {} to the API; a call waited for {} on average",
        counted(counts.came, "request"),
        counts.answered,
        counted(counts.calls, "call"),
        super::format::duration(waited)
    );
    if counts.rate_limited > 0 {
        text += &format!(
            "; {} rate limited, and no client saw one",
            counts.rate_limited
        );
    }
    text
}
