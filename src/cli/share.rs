//! The rate that is shared with other processes, if `--share` is given.

use std::sync::Arc;
use std::time::Duration;

use super::args::{CallArgs, RateArgs};
use super::error::CommandError;
use super::redis;
use super::setup::Setup;
use crate::clock::Clock;
use crate::pacing::{CallLimiter, RateLimit};
use crate::share::ShareOptions;

/// The shared rate of a run; `None` without `--share`.
pub(super) fn limiter(
    args: &CallArgs,
    setup: &Setup,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn CallLimiter>>, CommandError> {
    if args.practice && args.rate.share.is_some() {
        let problem =
            "--share cannot be used with --practice, whose server belongs to this process";
        let help =
            "start one with paceline practice, and point every process at it with --base-url";
        return Err(CommandError::usage(problem).help(help));
    }
    let clients = setup.clients.iter();
    let names = clients.map(|client| client.pace_name()).collect();
    let patience = args.bounds.max_wait;
    connect(
        &args.rate,
        names,
        setup.settings.rate,
        patience,
        clock.clone(),
    )
}

/// The rate that is shared by the names of the keys; the place itself may be away for as long as the patience.
pub(super) fn connect(
    args: &RateArgs,
    names: Vec<String>,
    rate: RateLimit,
    patience: Duration,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn CallLimiter>>, CommandError> {
    let Some(place) = &args.share else {
        return Ok(None);
    };
    let (RateLimit::Fixed(rate), false) = (rate, args.has_no_limit()) else {
        let help = "give it, the same to every process that shares the rate";
        return Err(CommandError::usage("--share needs --rpm").help(help));
    };
    if args.burst.get() > 1 {
        let problem = "--share spaces calls evenly and --burst sends several at once";
        return Err(CommandError::usage(problem).help("leave one of them out"));
    }
    let options = ShareOptions {
        place: place.clone(),
        password: redis::password(),
        names,
        rate,
        tokens: args.tpm,
        patience,
    };
    Ok(Some(options.connect(clock)?))
}

/// A line for the beginning of a run.
pub(super) fn note(args: &CallArgs) -> Option<String> {
    let place = args.rate.share.as_ref()?;
    let alone = match args.rate.tpm {
        Some(_) => "; --tpm holds for this process alone",
        None => "",
    };
    Some(format!(
        "the rate is shared with every process that is given {place}{alone}"
    ))
}
