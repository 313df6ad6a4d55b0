//! How much a server allows: the limit, how much of it is left, and when it is whole again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::{Hints, header_named, times};
use crate::limiter::Rate;

/// A limit as the server states it. `None` for what it does not state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// How much is allowed in a window.
    pub(crate) limit: Option<u64>,
    /// How much is left now.
    pub(crate) remaining: Option<u64>,
    /// How long until the limit is whole again.
    pub(crate) reset: Option<Duration>,
    /// The window, if it is stated. It is usually a minute if it is not.
    pub(crate) window: Option<Duration>,
}

impl Quota {
    /// The lowest rate that is believed: one call a minute. A server that means less refuses calls.
    const SLOWEST: Duration = Duration::from_secs(60);
    /// The window of most servers, which do not state it.
    const USUAL: Duration = Duration::from_secs(60);
    /// Limits for longer windows, such as a day, say nothing about a rate.
    const LONGEST: Duration = Duration::from_secs(3600);

    /// The rate that keeps this limit: the limit spread over its window. The reset does not count: it
    /// says when there is more, not how fast. `None` if no limit is stated, if its window is a day,
    /// or if nothing is left of it for longer than one call takes and its window is not stated: such
    /// limits come with refusals, and may be for any window.
    #[must_use]
    pub(crate) fn rate(&self) -> Option<Rate> {
        let interval = self.interval()?;
        let is_long = self.window > Some(Self::LONGEST);
        let is_used_up = self.remaining == Some(0) && self.reset > Some(interval);
        if is_long || (is_used_up && self.window.is_none()) {
            return None;
        }
        Some(Rate::every(interval.min(Self::SLOWEST)))
    }

    /// Takes a header's value; `None` if it cannot be read. Of headers with the same name the first counts.
    fn take(&mut self, part: &str, value: &str, now: SystemTime) -> Option<()> {
        match part {
            "limit" => self.limit = self.limit.or(Some(count(value)?)),
            "remaining" => self.remaining = self.remaining.or(Some(count(value)?)),
            _ => self.reset = self.reset.or(Some(times::reset(value, now)?)),
        }
        Some(())
    }

    /// The time that one unit takes at this limit; less for a looser limit. `None` for a limit of 0, which servers
    /// without a limit state: if it were one, nothing could be sent.
    fn interval(&self) -> Option<Duration> {
        let limit = u32::try_from(self.limit?).unwrap_or(u32::MAX);
        self.window.unwrap_or(Self::USUAL).checked_div(limit)
    }

    /// Whether this limit rather than the other decides: one that is used up, or else the tighter
    /// one; limits of longer windows than an hour only if there is no other.
    fn decides_over(&self, other: &Quota) -> bool {
        let rank = |quota: &Quota| {
            let is_long = quota.window.is_some_and(|window| window > Self::LONGEST);
            (quota.remaining == Some(0), !is_long, quota.interval())
        };
        *other == Quota::default() || rank(self) > rank(other)
    }
}

/// What a limit counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
}

/// What a header states, by its name: `x-ratelimit-remaining-tokens-minute`,
/// `anthropic-ratelimit-requests-limit`, `ratelimit-reset`.
struct QuotaHeader<'a> {
    /// `limit`, `remaining` or `reset`.
    part: &'a str,
    unit: Unit,
    window: Option<Duration>,
}

/// Takes the limits that the headers state.
pub(super) fn read(hints: &mut Hints, headers: &[(String, String)], now: SystemTime) {
    let mut stated: BTreeMap<(Unit, Option<Duration>), Quota> = BTreeMap::new();
    for (name, value) in headers {
        let Some(QuotaHeader { part, unit, window }) = quota_header(name) else {
            continue;
        };
        let quota = stated.entry((unit, window)).or_default();
        quota.window = window;
        hints.known(name, quota.take(part, value.trim(), now));
    }
    if let Some(quota) = draft(hints, headers) {
        stated.insert((Unit::Requests, quota.window), quota);
    }
    for ((unit, _), quota) in stated {
        let known = match unit {
            Unit::Requests => &mut hints.requests,
            Unit::Tokens => &mut hints.tokens,
            Unit::InputTokens => &mut hints.input_tokens,
            Unit::OutputTokens => &mut hints.output_tokens,
        };
        if quota.decides_over(known) {
            *known = quota;
        }
    }
}

/// What a header's name means; `None` if a word of it is unknown.
fn quota_header(name: &str) -> Option<QuotaHeader<'_>> {
    let words = name.split_once("ratelimit-");
    let (_, words) = words.or_else(|| name.split_once("rate-limit-"))?;
    let (mut part, mut unit, mut window) = (None, Unit::Requests, None);
    for word in words.split('-') {
        match word {
            "limit" | "remaining" | "reset" => part = Some(word),
            "requests" | "request" | "req" | "query" => unit = Unit::Requests,
            "input" => unit = Unit::InputTokens,
            "output" => unit = Unit::OutputTokens,
            "tokens" | "token" if unit == Unit::Requests => unit = Unit::Tokens,
            "tokens" | "token" | "after" => {}
            _ => window = Some(times::window(word)?),
        }
    }
    let part = part?;
    Some(QuotaHeader { part, unit, window })
}

/// The IETF draft: `RateLimit: "default";r=50;t=30`, `RateLimit-Policy: "default";q=100;w=60`. Up to its seventh version:
/// `RateLimit: limit=100, remaining=50, reset=30`, `RateLimit-Policy: 100;w=60`.
fn draft(hints: &mut Hints, headers: &[(String, String)]) -> Option<Quota> {
    let value = header_named(headers, "ratelimit")?;
    let older = format!(";{}", value.replace(',', ";"));
    let part = |new, old| parameter(value, new).or_else(|| parameter(&older, old));
    let remaining = hints.known("ratelimit", part("r", "remaining"));
    let policy = header_named(headers, "ratelimit-policy");
    let limit = parameter(&older, "limit").or_else(|| {
        policy.and_then(|policy| hints.known("ratelimit-policy", parameter(policy, "q")))
    });
    let window = policy.and_then(|policy| parameter(policy, "w"));
    Some(Quota {
        limit,
        remaining: Some(remaining?),
        reset: part("t", "reset").map(Duration::from_secs),
        window: window.map(Duration::from_secs),
    })
}

/// A parameter of the first item of a structured field.
fn parameter(value: &str, name: &str) -> Option<u64> {
    let item = value.split(',').next()?;
    let pairs = item.split(';').skip(1);
    let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
    let (_, number) = pairs.find(|(known, _)| known.trim() == name)?;
    number.trim().parse().ok()
}

/// A whole number; some write it as `100.0`, or with the policy behind it: `100, 100;w=60`.
fn count(value: &str) -> Option<u64> {
    let first = value.split([',', ';']).next()?.trim();
    let number: f64 = first.parse().ok()?;
    (0.0..1e15).contains(&number).then_some(number as u64)
}
