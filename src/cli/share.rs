//! The pace that is shared with other processes, if one is.

use std::path::Path;
use std::sync::Arc;

use super::args::Calls;
use super::plan::Plan;
use super::unusable::Unusable;
use crate::clock::Clock;
use crate::limiter::{Board, Pace, Shared, Tempo};
use crate::share::FileBoard;

/// None: it is this process's own.
pub(super) fn pace(
    args: &Calls,
    plan: &Plan,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Pace>>, Unusable> {
    let Some(place) = &args.share.share else {
        return Ok(None);
    };
    if args.practice {
        return Err(Unusable::ShareAlone);
    }
    let Tempo::Kept(rate) = plan.settings.pace else {
        return Err(Unusable::ShareWithoutRate);
    };
    if args.burst.get() > 1 {
        return Err(Unusable::ShareBurst);
    }
    let names: Vec<_> = plan
        .clients
        .iter()
        .map(|client| client.pace_name())
        .collect();
    let (lanes, patience) = (names.len(), args.max_wait);
    let board = board(place, names)?;
    let shared = Shared::new(clock.clone(), board, rate, args.tpm, lanes, patience);
    shared.check().map_err(Unusable::Share)?;
    Ok(Some(Arc::new(shared)))
}

/// What has a scheme is a Redis, everything else a file.
fn board(place: &str, names: Vec<String>) -> Result<Arc<dyn Board>, Unusable> {
    match place.contains("://") {
        true => redis(place, &names),
        false => Ok(Arc::new(FileBoard::new(Path::new(place), names))),
    }
}

#[cfg(feature = "redis")]
fn redis(place: &str, names: &[String]) -> Result<Arc<dyn Board>, Unusable> {
    Ok(Arc::new(crate::share::RedisBoard::new(
        super::redis::place(place)?,
        names,
    )))
}

#[cfg(not(feature = "redis"))]
fn redis(_place: &str, _names: &[String]) -> Result<Arc<dyn Board>, Unusable> {
    Err(Unusable::NoRedis)
}

/// What is to be said about it at the beginning.
pub(super) fn note(args: &Calls) -> Option<String> {
    let place = args.share.share.as_ref()?;
    let alone = args.tpm.map_or("", |_| "; --tpm is for this process alone");
    Some(format!(
        "the pace is shared with every process that names {place}{alone}"
    ))
}
