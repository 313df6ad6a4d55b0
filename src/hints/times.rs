//! Times as servers write them: a number of seconds, `6m0s`, an HTTP date, an RFC 3339 instant,
//! seconds or milliseconds since 1970, words.

use std::time::{Duration, SystemTime};

const SECOND: Duration = Duration::from_secs(1);

/// A longer wait is not believed.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A number, perhaps with a fraction, of a unit.
pub(super) fn number_of(value: &str, unit: Duration) -> Option<Duration> {
    let seconds = value.parse::<f64>().ok()? * unit.as_secs_f64();
    believed(Duration::try_from_secs_f64(seconds).ok()?)
}

/// `retry-after`: a number of seconds or an HTTP date. Some write `20s`, quotes, or the number twice: `20, 20`.
pub(super) fn seconds_or_date(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches('"');
    let first = value.split(',').next().unwrap_or_default().trim();
    number_of(first, SECOND)
        .or_else(|| units(first))
        .or_else(|| until(httpdate::parse_http_date(value).ok()?, now))
}

/// A reset: `1s`, `6m0s`, an RFC 3339 instant, a number of seconds from now, or of seconds or
/// milliseconds since 1970.
pub(super) fn reset(value: &str, now: SystemTime) -> Option<Duration> {
    units(value)
        .or_else(|| instant(value, now))
        .or_else(|| seconds_or_date(value, now))
        .or_else(|| epoch(value, now))
}

/// A duration such as `250ms`, `1s`, `6m0s`, `1h2m3.5s`, and nothing else.
pub(super) fn units(value: &str) -> Option<Duration> {
    let (time, rest) = leading_units(value)?;
    rest.is_empty().then_some(time)
}

/// A duration that a text says in words: `try again in 3.2s`, `retry after 20 seconds`.
pub(super) fn in_words(text: &str) -> Option<Duration> {
    const BEFORE: [&str; 12] = [
        "back in ",
        "your request in ",
        "your request after ",
        "again in ",
        "again after ",
        "retry in ",
        "retry after ",
        "retrying in ",
        "available in ",
        "resets in ",
        "reset in ",
        "wait ",
    ];
    let text = text.to_lowercase();
    let after = |words: &&str| {
        let (_, time) = text.split_once(*words)?;
        let time = time.trim_start_matches("for ").trim_start_matches("about ");
        let time_of = leading_units(time).map(|(time, _)| time);
        time_of.or_else(|| bare_seconds(time).filter(|_| words.ends_with("after ")))
    };
    BEFORE.iter().find_map(after).or_else(|| in_chinese(&text))
}

/// A number at the end of a clause, as in `retry after 20.`
fn bare_seconds(text: &str) -> Option<Duration> {
    let (number, rest) = split_at_first(text, |c| !c.is_ascii_digit() && c != '.');
    let is_clause = rest.is_empty() || rest.starts_with([',', ';', ')', '!', '"', '\n']);
    number_of(number, SECOND).filter(|_| is_clause)
}

/// `请在 20 秒后重试`, as Chinese providers write.
fn in_chinese(text: &str) -> Option<Duration> {
    let (before, _) = text.split_once("秒后")?;
    let number = before
        .trim_end()
        .rsplit(|c: char| !c.is_ascii_digit() && c != '.');
    number_of(number.into_iter().next()?, SECOND)
}

/// The window that a word in a header's name means: `minute`, `1h`, `day`. A shorter one than a second is a unit.
pub(super) fn window(word: &str) -> Option<Duration> {
    let window = unit(word).or_else(|| units(word));
    window.filter(|window| *window >= SECOND)
}

/// The duration that a text begins with, and the rest of the text.
fn leading_units(text: &str) -> Option<(Duration, &str)> {
    let mut rest = text;
    let mut total = None;
    while let Some((time, after)) = leading_unit(rest) {
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(time)?);
        let gap = after.trim_start_matches([' ', ',']);
        rest = gap.strip_prefix("and ").unwrap_or(gap);
        if !rest.starts_with(|first: char| first.is_ascii_digit()) {
            rest = after;
            break;
        }
    }
    Some((believed(total?)?, rest))
}

/// A number with its unit: `3.2s`, `20 seconds`.
fn leading_unit(text: &str) -> Option<(Duration, &str)> {
    let (number, after) = split_at_first(text, |c| !c.is_ascii_digit() && c != '.');
    let (name, rest) = split_at_first(after.trim_start_matches(' '), |c| !c.is_alphabetic());
    Some((number_of(number, unit(name)?)?, rest))
}

fn split_at_first(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

fn unit(name: &str) -> Option<Duration> {
    let unit = match name {
        "ns" => Duration::from_nanos(1),
        "us" | "µs" => Duration::from_micros(1),
        "ms" | "milliseconds" => Duration::from_millis(1),
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Duration::from_secs(3600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        "month" => Duration::from_secs(30 * 86_400),
        _ => return None,
    };
    Some(unit)
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
    let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
    until(SystemTime::UNIX_EPOCH.checked_add(since_1970)?, now)
}

/// The time from now until then; zero if then has passed.
fn until(then: SystemTime, now: SystemTime) -> Option<Duration> {
    believed(then.duration_since(now).unwrap_or_default())
}

fn believed(wait: Duration) -> Option<Duration> {
    (wait <= LONGEST).then_some(wait)
}
