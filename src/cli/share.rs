//! The rate that is shared with other processes, if `--share` is given.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::args::CallArgs;
use super::error::CommandError;
use super::redis;
use super::setup::Setup;
use crate::clock::Clock;
use crate::pacing::{CallLimiter, RateLimit};
use crate::share::{ShareOptions, SharedLimiter};

/// The shared rate; `None` without `--share`.
pub(super) fn limiter(
    args: &CallArgs,
    setup: &Setup,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn CallLimiter>>, CommandError> {
    let Some(place) = &args.rate.share else {
        return Ok(None);
    };
    if args.practice {
        let problem =
            "--share cannot be used with --practice, whose server belongs to this process";
        let help =
            "start one with paceline practice, and point every process at it with --base-url";
        return Err(CommandError::usage(problem).help(help));
    }
    let clients = setup.clients.iter();
    let names = clients.map(|client| client.pace_name()).collect();
    let rate = &args.rate;
    let options = (setup.settings.rate, rate.burst, rate.tpm, rate.max_wait);
    connect(place, names, options, clock.clone()).map(Some)
}

/// The rate that is shared at this place, by the names of the keys. The options are the rate of each key, its burst, its
/// tokens a minute, and how long to wait for the place itself.
pub(super) fn connect(
    place: &str,
    names: Vec<String>,
    (rate, burst, tokens, patience): (RateLimit, NonZeroU32, Option<NonZeroU32>, Duration),
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn CallLimiter>, CommandError> {
    let RateLimit::Fixed(rate) = rate else {
        let help = "give it, the same to every process that shares the rate";
        return Err(CommandError::usage("--share needs --rpm").help(help));
    };
    if burst.get() > 1 {
        let problem = "--share spaces calls evenly and --burst sends several at once";
        return Err(CommandError::usage(problem).help("leave one of them out"));
    }
    let options = ShareOptions {
        place: place.to_owned(),
        password: redis::password(),
        names,
        rate,
        tokens,
        patience,
    };
    Ok(Arc::new(SharedLimiter::connect(options, clock)?))
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
