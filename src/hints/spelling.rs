//! How servers spell times: numbers of a unit, `6m0s`, HTTP dates, RFC 3339 instants, seconds since 1970.

use std::time::{Duration, SystemTime};

/// No server means that one waits longer than this.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A number, perhaps with a fraction, of a unit.
pub(super) fn number_of(value: &str, unit: Duration) -> Option<Duration> {
    let seconds = value.parse::<f64>().ok()? * unit.as_secs_f64();
    sensible(Duration::try_from_secs_f64(seconds).ok()?)
}

/// `retry-after`: a number of seconds or an HTTP date; some write `20s`.
pub(super) fn seconds_or_date(value: &str, now: SystemTime) -> Option<Duration> {
    seconds(value)
        .or_else(|| units(value))
        .or_else(|| until(httpdate::parse_http_date(value).ok()?, now))
}

/// A reset: `1s`, `6m0s`, an RFC 3339 instant, a number of seconds from now, or since 1970, or of milliseconds since.
pub(super) fn reset(value: &str, now: SystemTime) -> Option<Duration> {
    units(value)
        .or_else(|| instant(value, now))
        .or_else(|| seconds_or_date(value, now))
        .or_else(|| epoch(value, now))
}

fn seconds(value: &str) -> Option<Duration> {
    number_of(value, Duration::from_secs(1))
}

/// Go's spelling of a duration, which OpenAI uses: `250ms`, `1s`, `6m0s`, `1h2m3.5s`.
pub(super) fn units(value: &str) -> Option<Duration> {
    let mut rest = value;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(tail.len());
        let (name, tail) = tail.split_at(letters);
        total = total.checked_add(number_of(number, unit(name)?)?)?;
        rest = tail;
    }
    sensible(total).filter(|_| !value.is_empty())
}

fn unit(name: &str) -> Option<Duration> {
    let (count, of) = match name {
        "ns" => (1, Duration::from_nanos(1)),
        "us" | "µs" => (1, Duration::from_micros(1)),
        "ms" => (1, Duration::from_millis(1)),
        "s" => (1, Duration::from_secs(1)),
        "m" => (60, Duration::from_secs(1)),
        "h" => (3600, Duration::from_secs(1)),
        "d" => (86_400, Duration::from_secs(1)),
        _ => return None,
    };
    Some(of * count)
}

fn instant(value: &str, now: SystemTime) -> Option<Duration> {
    let at: jiff::Timestamp = value.parse().ok()?;
    until(at.try_into().ok()?, now)
}

/// Seconds, or milliseconds, since 1970.
fn epoch(value: &str, now: SystemTime) -> Option<Duration> {
    const MILLISECONDS_FROM: f64 = 1e11; // as seconds, this is the year 5138
    let number = value.parse::<f64>().ok()?;
    let seconds = if number < MILLISECONDS_FROM {
        number
    } else {
        number / 1e3
    };
    until(
        SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?,
        now,
    )
}

/// From now until then; what has passed is now.
fn until(then: SystemTime, now: SystemTime) -> Option<Duration> {
    sensible(then.duration_since(now).unwrap_or_default())
}

fn sensible(wait: Duration) -> Option<Duration> {
    (wait <= LONGEST).then_some(wait)
}
