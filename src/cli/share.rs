//! The rate that is shared with other processes, if `--share` is given.

use std::sync::Arc;

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
        return Err(CommandError::usage(
            "--share cannot be used with --practice, whose server belongs to this process: start one with \
             `paceline practice`, and point every process at it with --base-url",
        ));
    }
    let RateLimit::Fixed(rate) = setup.settings.rate else {
        return Err(CommandError::usage(
            "--share needs --rpm: give it, the same to every process that shares the rate",
        ));
    };
    if args.rate.burst.get() > 1 {
        return Err(CommandError::usage(
            "--share spaces calls evenly and --burst sends several at once: leave one of them out",
        ));
    }
    let clients = setup.clients.iter();
    let options = ShareOptions {
        place: place.clone(),
        password: redis::password(),
        names: clients.map(|client| client.pace_name()).collect(),
        rate,
        tokens: args.rate.tpm,
        patience: args.rate.max_wait,
    };
    let shared = SharedLimiter::connect(options, clock.clone())?;
    Ok(Some(Arc::new(shared)))
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
