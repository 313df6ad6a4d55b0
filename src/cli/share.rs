//! The rate that is shared with other processes, if `--share` is given.

use std::path::Path;
use std::sync::Arc;

use super::args::CallArgs;
use super::error::CommandError;
use super::setup::Setup;
use crate::clock::Clock;
use crate::pacing::{CallLimiter, RateLimit};
use crate::share::{Board, FileBoard, SharedLimiter};

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
    let names: Vec<_> = setup
        .clients
        .iter()
        .map(|client| client.pace_name())
        .collect();
    let keys = names.len();
    let patience = args.rate.max_wait;
    let board = board(place, names)?;
    let shared = SharedLimiter::new(clock.clone(), board, rate, args.rate.tpm, keys, patience);
    shared.check()?;
    Ok(Some(Arc::new(shared)))
}

/// A place with a scheme is a Redis, any other a file.
fn board(place: &str, names: Vec<String>) -> Result<Arc<dyn Board>, CommandError> {
    match place.contains("://") {
        true => redis(place, &names),
        false => Ok(Arc::new(FileBoard::new(Path::new(place), names))),
    }
}

#[cfg(feature = "redis")]
fn redis(place: &str, names: &[String]) -> Result<Arc<dyn Board>, CommandError> {
    Ok(Arc::new(crate::share::RedisBoard::new(
        super::redis::place(place)?,
        names,
    )))
}

#[cfg(not(feature = "redis"))]
fn redis(_place: &str, _names: &[String]) -> Result<Arc<dyn Board>, CommandError> {
    Err(CommandError::usage(
        "this program was built without the feature redis: share a file, or build it with that feature",
    ))
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
