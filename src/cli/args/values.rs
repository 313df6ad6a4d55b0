//! Values as people type them.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::ValueEnum;
use serde_json::Value;

use crate::backoff::{Backoff, Jitter};
pub(super) use crate::values::{amount, duration, finite};

/// Calls a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum RpmArg {
    /// The server's limit is followed, or found.
    Auto,
    /// The server has none.
    None,
    Limit(NonZeroU32),
}

impl RpmArg {
    /// The number, if it is one.
    pub(in crate::cli) fn number(self) -> Option<NonZeroU32> {
        match self {
            RpmArg::Limit(rpm) => Some(rpm),
            RpmArg::Auto | RpmArg::None => None,
        }
    }
}

/// The number of workers; `None` is `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct WorkersArg(pub(in crate::cli) Option<NonZeroUsize>);

/// A jitter by its name.
pub(in crate::cli) fn jitter(name: &str) -> Result<Jitter, String> {
    match name {
        "none" => Ok(Jitter::None),
        "additive" => Ok(Backoff::new().jitter),
        "full" => Ok(Jitter::Full),
        "equal" => Ok(Jitter::Equal),
        "decorrelated" => Ok(Jitter::Decorrelated),
        _ => Err("give none, additive, full, equal or decorrelated".into()),
    }
}

pub(super) fn rpm(text: &str) -> Result<RpmArg, String> {
    match text {
        "auto" => Ok(RpmArg::Auto),
        "none" => Ok(RpmArg::None),
        _ => up_to::<{ u32::MAX }, _>(text)
            .map(RpmArg::Limit)
            .map_err(|error| format!("{error}, auto or none")),
    }
}

pub(super) fn workers(text: &str) -> Result<WorkersArg, String> {
    match text {
        "auto" => Ok(WorkersArg(None)),
        _ => up_to::<10_000, _>(text)
            .map(|workers| WorkersArg(Some(workers)))
            .map_err(|error| format!("{error}, or auto")),
    }
}

/// When the progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShowProgress {
    Auto,
    Always,
    Never,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}

/// A field of the request's body.
pub(super) fn param(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or("give KEY=JSON")?;
    let value = serde_json::from_str(json).map_err(|error| {
        format!("the value is not JSON ({error}); a text needs quotes: '{name}=\"…\"'")
    })?;
    Ok((name.to_owned(), value))
}

/// A number from 1 to `MOST`.
pub(super) fn up_to<const MOST: u32, N: TryFrom<NonZeroU32>>(text: &str) -> Result<N, String> {
    let number: Option<NonZeroU32> = text.parse().ok();
    number
        .filter(|number| number.get() <= MOST)
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("give a number from 1 to {MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_a_minute_are_a_number_or_auto_or_none() {
        assert_eq!(rpm("auto"), Ok(RpmArg::Auto));
        assert_eq!(rpm("none"), Ok(RpmArg::None));
        assert_eq!(rpm("60").map(RpmArg::number), Ok(NonZeroU32::new(60)));
        assert_eq!(workers("auto"), Ok(WorkersArg(None)));
        assert_eq!(workers("60"), Ok(WorkersArg(NonZeroUsize::new(60))));
        for bad in ["", "0", "-1", "10001", "fast", "1.5"] {
            assert!(workers(bad).is_err(), "{bad}");
        }
        assert!(rpm("0").is_err_and(|error| error.contains("none")));
    }

    #[test]
    fn parameters_are_json() {
        let field = |name: &str, value| Ok((name.to_owned(), value));
        assert_eq!(
            param("stop=[\"a=b\"]"),
            field("stop", serde_json::json!(["a=b"]))
        );
        let error = param("user=me").unwrap_err();
        assert!(error.contains("'user=\"…\"'"), "{error}");
        assert!(param("=1").is_err());
    }
}
