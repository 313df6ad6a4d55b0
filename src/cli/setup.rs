//! What the options of a run come to. Everything that can be wrong with them is found here, before anything is sent.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use log::warn;

use super::args::{CallArgs, RateArgs, RpmArg};
use super::endpoints::Endpoint;
use super::error::CommandError;
use super::{limits, schema};
use crate::api::{ApiKind, Client, Params, StreamLimits, StreamMeter};
use crate::backoff::Backoff;
use crate::batch::{MaxCost, Settings, workers_for};
use crate::limiter::Rate;
use crate::pacing::RateLimit;
use crate::practice::{self, Latency, Limits, Server};
use crate::retry::Retry;
use crate::text::counted;

/// The rate with `--practice`, unless `--rpm` is given: fast enough to see something, slow enough to see the limit.
pub(super) const PRACTICE_RPM: NonZeroU32 = NonZeroU32::new(600).expect("600 is not 0");

/// How long the practice server takes with `--practice`: about as long as a small model.
pub(super) const PRACTICE_LATENCY: Latency = Latency::LogNormal(Duration::from_millis(400), 0.3);

/// Prompts without a body of their own need a model.
pub(super) fn no_model() -> CommandError {
    CommandError::usage("no model is given").help("say which model to ask, with -m NAME")
}

/// Keeps the calls in flight within what the system gives; returns how many idle connections a client may keep.
pub(super) fn limit_workers(
    settings: &mut Settings,
    args: &CallArgs,
    keys: usize,
) -> Result<usize, CommandError> {
    /// A connection, and the look-up of a name for it or an idle one to another server.
    const FILES: usize = 2;
    let usual = workers_for(&settings.rate, keys);
    let [start, end] = [*usual.start(), *usual.end()]
        .map(|usual| settings.workers.map_or(usual, NonZeroUsize::get));
    // The practice server has the other end of each connection.
    let files = if args.practice { 2 * FILES } else { FILES };
    let most = limits::most_calls(start, files)?;
    if most < start {
        let fewer = counted(most as u64, "worker");
        warn!(
            "the system's limits on open files and threads allow {fewer}, not {start}: raise them with ulimit -n and ulimit -u"
        );
    }
    if most < end {
        settings.most_workers = most;
    }
    Ok(end.min(settings.most_workers).div_ceil(keys).max(1))
}

/// How the batch is run.
pub(super) fn settings(args: &CallArgs) -> Result<Settings, CommandError> {
    let (retries, rate_args) = (&args.retries, &args.rate);
    if retries.max_delay < retries.base_delay {
        let message = "--max-delay is shorter than --base-delay";
        return Err(CommandError::usage(message).help("give --max-delay a longer time"));
    }
    check_request(args)?;
    Ok(Settings {
        rate: rate_limit(rpm(args), rate_args)?,
        tokens: rate_args.tpm,
        workers: args.bounds.workers.0,
        most_workers: Settings::default().most_workers,
        retry: Retry::new().retries(retries.max_retries).backoff(
            Backoff::new()
                .base(retries.base_delay)
                .max(retries.max_delay)
                .jitter(retries.jitter),
        ),
        timeout_retries: retries.timeout_retries,
        schema_retries: retries.schema_retries,
        max_wait: args.bounds.max_wait,
        halt: args.halt,
        max_cost: args
            .cost
            .price
            .zip(args.max_cost)
            .map(|(price, most)| MaxCost { price, most }),
        keep_going: args.keep_going,
        seed: rand::random(),
    })
}

/// The calls a minute that are asked for, or that practice has.
pub(super) fn rpm(args: &CallArgs) -> Option<NonZeroU32> {
    let usual = args.practice.then_some(PRACTICE_RPM);
    args.rate.rpm.map_or(usual, RpmArg::number)
}

/// The rate of `--rpm` and `--burst`, which has to be found if it is not stated.
pub(super) fn rate_limit(
    rpm: Option<NonZeroU32>,
    args: &RateArgs,
) -> Result<RateLimit, CommandError> {
    match rpm {
        Some(rpm) => Ok(RateLimit::Fixed(rate(rpm, args.burst))),
        None if args.has_no_limit() => Ok(RateLimit::Fixed(Rate::unlimited())),
        None if args.burst.get() == 1 => Ok(RateLimit::Adaptive),
        None => {
            let help = "say with --rpm how many calls a minute the server allows";
            Err(CommandError::usage("--burst needs --rpm as well").help(help))
        }
    }
}

/// The rate of `--rpm` and `--burst`. Of a burst, one call is kept in reserve: it does the margin's work, because the
/// server then accepts a call that the network delivers early.
pub(super) fn rate(rpm: NonZeroU32, burst: NonZeroU32) -> Rate {
    let rate = Rate::per_minute(rpm.get());
    match burst.get() - 1 {
        0 => rate,
        at_once => rate.burst(at_once).exact(),
    }
}

/// Whether the API takes such a request.
fn check_request(args: &CallArgs) -> Result<(), CommandError> {
    let request = &args.request;
    let has_chat_options =
        request.system.is_some() || request.max_tokens.is_some() || request.temperature.is_some();
    match args.server.api {
        ApiKind::Embeddings if has_chat_options => {
            let message = "--api embeddings takes no --system, --max-tokens or --temperature";
            Err(CommandError::usage(message).help("leave them out"))
        }
        ApiKind::Gemini if request.model.is_none() && !args.practice => Err(no_model()),
        _ => Ok(()),
    }
}

/// A server that is strict about the rate.
pub(super) fn start_practice(
    rpm: Option<NonZeroU32>,
    args: &RateArgs,
) -> Result<Server, CommandError> {
    let options = practice::ServerOptions {
        limits: Limits {
            rpm: rpm.or((!args.has_no_limit()).then_some(PRACTICE_RPM)),
            burst: args.burst,
            ..Limits::default()
        },
        latency: PRACTICE_LATENCY,
        ..practice::ServerOptions::default()
    };
    Server::start_with(options).map_err(cannot_start)
}

pub(super) fn cannot_start(error: std::io::Error) -> CommandError {
    CommandError::usage(format!("the practice server cannot start: {error}"))
}

/// A client that makes the requests of a run and needs no key, because nothing is sent.
pub(super) fn draft_client(args: &CallArgs) -> Result<Client, CommandError> {
    let client = Endpoint::default().client(&args.server, params(args), 1)?;
    completed(args, client, &Arc::default())
}

/// A client that asks for streams, for a tier, and for a schema, if the arguments do.
pub(super) fn completed(
    args: &CallArgs,
    mut client: Client,
    meter: &Arc<StreamMeter>,
) -> Result<Client, CommandError> {
    let (streams, timeout) = (&args.streams, args.server.timeout);
    let refused = |option: &str, why: String| {
        CommandError::usage(format!("{option}: {why}")).help("leave that option out")
    };
    if streams.stream {
        let limits = StreamLimits {
            first_token: streams.first_token_timeout.unwrap_or(timeout),
            idle: streams.idle_timeout,
            meter: meter.clone(),
        };
        let streaming = client.streaming(limits);
        client = streaming.map_err(|why| refused("--stream", why))?;
    }
    if args.tier.tier.is_some() {
        let at_flex = client.at_flex(args.tier.tier_patience);
        client = at_flex.map_err(|why| refused("--tier flex", why))?;
    }
    match &args.request.schema {
        Some(text) => schema::ask_for(text, client),
        None => Ok(client),
    }
}

/// Without a model, the prompts must bring their own bodies: [`input`](super::input) checks it.
pub(super) fn params(args: &CallArgs) -> Params {
    let request = &args.request;
    // Whatever -m says: a practice answer must never pass for one of a real model.
    let model = match args.practice {
        true => practice::MODEL.to_owned(),
        false => request.model.clone().unwrap_or_default(),
    };
    Params {
        model,
        system: request.system.clone(),
        max_tokens: request.max_tokens,
        temperature: request.temperature,
        extra: request.param.iter().cloned().collect(),
    }
}
