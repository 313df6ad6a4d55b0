//! The rate that is shared with other processes, if `--share` is given.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use super::args::RateArgs;
use super::error::CommandError;
use crate::api::Client;
use crate::clock::Clock;
use crate::pacing::{CallLimiter, RateLimit};
use crate::share::ShareOptions;

/// The rate that the keys of these clients share with other processes; `None` without `--share`. The place itself may be
/// away for as long as the patience.
pub(super) fn connect(
    args: &RateArgs,
    clients: &[Client],
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
        password: password(),
        names: clients.iter().map(Client::pace_name).collect(),
        rate,
        tokens: args.tpm,
        patience,
    };
    Ok(Some(options.connect(clock)?))
}

/// The password of Redis, which is not an argument because every user of the machine can see those.
pub(super) fn password() -> Option<String> {
    let password = env::var("PACELINE_REDIS_PASSWORD").ok();
    password.filter(|password| !password.is_empty())
}

/// A line for the beginning of a run.
pub(super) fn note(args: &RateArgs) -> Option<String> {
    let place = args.share.as_ref()?;
    let alone = match args.tpm {
        Some(_) => "; --tpm holds for this process alone",
        None => "",
    };
    Some(format!(
        "the rate is shared with every process that is given {place}{alone}"
    ))
}
