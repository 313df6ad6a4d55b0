//! The numbers of a report: plain data, the same for whoever shows them. As JSON they are the report's machine form.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Serialize, Serializer};

use super::pictures::Pictures;
use crate::batch::Flags;

/// What happened, as the records tell it. Times are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What became of the prompts.
    pub prompts: Prompts,
    /// The calls that were made for them.
    pub calls: Calls,
    /// What the responses say they cost.
    pub tokens: Tokens,
    /// From the first call to the last; none if none was made.
    pub span: Option<Span>,
    /// The limit that the pace was checked against, if one was given.
    pub limit: Option<Limit>,
    /// The pace of each key that a call was made with.
    pub keys: Vec<KeyPace>,
    /// Where the time went, all keys together.
    pub times: Times,
    /// How long calls took.
    pub latency: Latencies,
    /// The ten prompts that took longest, the slowest first.
    pub slowest: Vec<Slow>,
    /// The ten prompts that were retried most, if any was.
    pub most_retried: Vec<Retried>,
    /// Bytes of an unfinished last line, which does not count.
    pub torn_bytes: u64,
    /// What is drawn, not told.
    #[serde(skip)]
    pub(super) pictures: Pictures,
}

/// What became of the prompts, by the last record of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Prompts {
    /// Have an answer.
    pub answered: u64,
    /// Answers among them that are not what one hopes for.
    pub flags: Flags,
    /// Failed.
    pub failed: u64,
    /// Why, the most frequent reason first.
    pub failures: Vec<Failure>,
    /// Records of prompts that were run again later, and so do not count above. Their calls do.
    pub superseded: u64,
}

/// A reason why prompts failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// In a word.
    pub code: String,
    /// Prompts that failed so.
    pub count: u64,
    /// The first few of them in the input, at most three.
    pub examples: Vec<Example>,
}

/// A prompt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Example {
    /// Its record.
    pub prompt: Named,
    /// Why it failed, as its record says.
    pub message: String,
}

/// A record that a number points out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Named {
    /// The prompt's name.
    pub custom_id: String,
    /// The beginning of what was asked, in one line: at most 160 characters.
    pub asked: String,
    /// Which line of the results the record is, from 1.
    pub record: u64,
}

/// Calls, of superseded records too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Calls {
    /// All.
    pub total: u64,
    /// Those that were not the first for their prompt.
    pub retries: u64,
    /// Those that were answered with status 429.
    pub status_429: u64,
    /// How they ended, the most frequent way first.
    pub outcomes: Vec<Outcome>,
}

/// How calls ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// In a word: `answered`, `rate_limited` and so on.
    pub outcome: String,
    /// Calls that ended so.
    pub count: u64,
}

/// Tokens, by the `usage` of the responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Tokens {
    /// Read: `prompt_tokens` or `input_tokens`.
    pub input: u64,
    /// Written: `completion_tokens` or `output_tokens`.
    pub output: u64,
    /// Responses that say so.
    pub stated_by: u64,
}

/// From the first call to the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Span {
    /// When the first call left.
    pub first: Moment,
    /// When the last call left.
    pub last: Moment,
    /// On average; none for fewer than two calls.
    pub calls_a_minute: Option<f64>,
    /// The 60 seconds with the most calls, all keys together.
    pub busiest_minute: Busiest,
}

/// An instant by the calendar, in milliseconds since 1970. It is written as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        write!(f, "{:.3}", time.unwrap_or_default())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The most calls that left within a stretch of time: 60 s hold those that left less than 60 s after the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Busiest {
    /// How many.
    pub calls: u64,
    /// When the first of them left.
    pub from: Moment,
}

/// What a server allows each key: as a strict server keeps it, by GCRA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Calls a minute, evenly spaced.
    pub calls_a_minute: NonZeroU32,
    /// How many calls may come at once after a quiet time. 1 is a strict, even pace.
    pub burst: NonZeroU32,
}

/// The pace of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyPace {
    /// Which one, from 0.
    pub key: u64,
    /// Calls made with it.
    pub calls: u64,
    /// The smallest gap between two calls; none for fewer than two.
    pub smallest_gap: Option<Gap>,
    /// The most calls in any 60 seconds.
    pub busiest_minute: Busiest,
    /// What was more than the limit allows; none if no limit was given.
    pub excess: Option<Excess>,
    /// Where the time went.
    pub times: Times,
}

/// Two calls that left one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// From the departure of one to that of the other.
    pub ms: u64,
    /// The earlier.
    pub from: Named,
    /// The later.
    pub to: Named,
}

/// What was more than the limit allows. Both numbers forgive a call to be less than 2 ms early, so if no call came too
/// soon no minute has too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Excess {
    /// Calls that came too soon: those that a strict server with that limit would have refused.
    pub too_soon: u64,
    /// The one that came soonest.
    pub worst: Option<TooSoon>,
    /// By how many calls the busiest 60 seconds exceed the limit, which is the calls a minute and what else a burst lets
    /// through.
    pub most_over_in_a_minute: u64,
}

/// A call that came too soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TooSoon {
    /// Its record.
    pub call: Named,
    /// By how much.
    pub by_ms: u64,
}

/// Where the time went, summed over calls that ran side by side: it can be many times what the clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Times {
    /// In the queue, before a worker took the prompt.
    pub queued_ms: u64,
    /// Waiting for a turn.
    pub paced_ms: u64,
    /// The part of `paced_ms` that lies within a hold: from the end of a call of the same key that was refused (status
    /// 429, 503 or 529, or what a gateway makes of them) for as long as that refusal said to wait. Holds that overlap
    /// are one. Without such a word from the server there is no hold that the records could tell.
    pub held_ms: u64,
    /// Waiting for the server.
    pub took_ms: u64,
    /// Between an attempt that failed and the next.
    pub backoff_ms: u64,
}

/// How long calls took, from their turn to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latencies {
    /// The calls that were answered; none if none was.
    pub answered: Option<Latency>,
    /// All calls.
    pub all: Option<Latency>,
}

/// How long calls took: so many percent of them no longer than this. Exact up to 255 ms; above, up to 0.8 % too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Half of them.
    pub p50_ms: u64,
    /// 95 %.
    pub p95_ms: u64,
    /// 99 %.
    pub p99_ms: u64,
    /// All of them; exact.
    pub longest_ms: u64,
}

/// A prompt that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Slow {
    /// The slowest of its records.
    pub prompt: Named,
    /// From its first call's turn to its last call's end.
    pub took_ms: u64,
}

/// A prompt that was retried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retried {
    /// The most retried of its records.
    pub prompt: Named,
    /// Calls after the first.
    pub retries: u64,
}
