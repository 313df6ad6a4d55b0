//! How much a server allows: the limit, what is left of it, and when it will be whole again, in each maker's dialect.

use std::time::{Duration, SystemTime};

use super::{Sheet, spelling};
use crate::limiter::Rate;

/// One limit as the server states it. What it does not state is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// How many are allowed in a window.
    pub limit: Option<u64>,
    /// How many are left now.
    pub remaining: Option<u64>,
    /// How long until the limit is whole again.
    pub reset: Option<Duration>,
    /// The window, where it is stated. Where it is not, it is usually a minute.
    pub window: Option<Duration>,
}

impl Quota {
    /// The slowest rate that a server is believed to mean: one turn a minute. Whoever means less says so in a refusal.
    const SLOWEST: Duration = Duration::from_secs(60);
    /// The window that most servers mean, and do not state.
    const USUAL: Duration = Duration::from_secs(60);

    /// The rate at which this is kept: the limit spread over its window, or, if less is left than that would need, what
    /// is left spread over the time until the reset. None: no limit is stated.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let parts = |count: u64| u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let usual = self.window.unwrap_or(Self::USUAL) / parts(self.limit?);
        let left = self.reset.unwrap_or_default() / parts(self.remaining.unwrap_or(u64::MAX));
        Some(Rate::spaced(usual.max(left).min(Self::SLOWEST)))
    }
}

/// The headers in which one limit is stated: limit, remaining, reset.
pub(super) type Names = [&'static str; 3];

const OPENAI_REQUESTS: Names = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
];
const OPENAI_TOKENS: Names = [
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-tokens",
];
const ANTHROPIC_REQUESTS: Names = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];
const ANTHROPIC_TOKENS: Names = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];
pub(super) const INPUT_TOKENS: Names = [
    "anthropic-ratelimit-input-tokens-limit",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-input-tokens-reset",
];
pub(super) const OUTPUT_TOKENS: Names = [
    "anthropic-ratelimit-output-tokens-limit",
    "anthropic-ratelimit-output-tokens-remaining",
    "anthropic-ratelimit-output-tokens-reset",
];
/// Of whatever the server counts, which is calls.
const PLAIN: [Names; 2] = [
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ],
    ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
];

pub(super) fn requests(sheet: &mut Sheet<'_>) -> Quota {
    let dialects = [OPENAI_REQUESTS, ANTHROPIC_REQUESTS]
        .into_iter()
        .chain(PLAIN);
    first(sheet, dialects)
        .or_else(|| draft(sheet))
        .unwrap_or_default()
}

pub(super) fn tokens(sheet: &mut Sheet<'_>) -> Quota {
    first(sheet, [OPENAI_TOKENS, ANTHROPIC_TOKENS]).unwrap_or_default()
}

/// The first dialect that says anything.
fn first(sheet: &mut Sheet<'_>, dialects: impl IntoIterator<Item = Names>) -> Option<Quota> {
    dialects
        .into_iter()
        .map(|names| named(sheet, &names))
        .find(|quota| *quota != Quota::default())
}

pub(super) fn named(sheet: &mut Sheet<'_>, names: &Names) -> Quota {
    let [limit, remaining, reset] = *names;
    Quota {
        limit: sheet.read(limit, count),
        remaining: sheet.read(remaining, count),
        reset: sheet.read(reset, spelling::reset),
        window: None,
    }
}

/// The IETF draft's `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60`.
fn draft(sheet: &mut Sheet<'_>) -> Option<Quota> {
    let (remaining, reset) = sheet.read("ratelimit", |value, _| {
        Some((
            parameter(value, "r")?,
            parameter(value, "t").map(Duration::from_secs),
        ))
    })?;
    let policy = sheet.read("ratelimit-policy", |value, _| {
        Some((
            parameter(value, "q")?,
            parameter(value, "w").map(Duration::from_secs),
        ))
    });
    let (limit, window) = policy.map_or((None, None), |(limit, window)| (Some(limit), window));
    Some(Quota {
        limit,
        remaining: Some(remaining),
        reset,
        window,
    })
}

/// A parameter of the first item of a structured field.
fn parameter(value: &str, name: &str) -> Option<u64> {
    let item = value.split(',').next()?;
    let pairs = item
        .split(';')
        .skip(1)
        .filter_map(|pair| pair.split_once('='));
    let (_, number) = pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(known, _)| *known == name)?;
    number.parse().ok()
}

/// A whole number; some write it as `100.0`, or with the policy behind it: `100, 100;w=60`.
fn count(value: &str, _: SystemTime) -> Option<u64> {
    let first = value.split([',', ';']).next()?.trim();
    first.parse().ok().or_else(|| {
        first
            .parse()
            .ok()
            .filter(|n: &f64| (0.0..1e15).contains(n))
            .map(|n| n as u64)
    })
}
