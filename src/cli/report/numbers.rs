//! The numbers of a report: plain data, the same for the text, the page and the JSON. Times are whole milliseconds.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize, Serializer};

use super::charts::Charts;
use crate::api::Usage;
use crate::batch::{Causes, Flags};

/// What happened, as the records tell it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Report {
    /// What the last prompt was sent with.
    pub(crate) sent_with: SentWith,
    pub(crate) prompts: PromptCounts,
    pub(crate) calls: CallCounts,
    pub(crate) tokens: TokenCounts,
    /// What those tokens cost; none if no price was given.
    pub(crate) cost: Option<f64>,
    /// The part of it that brought no answer.
    pub(crate) cost_without_answer: Option<f64>,
    /// None if no call was made.
    pub(crate) span: Option<RunSpan>,
    /// The limit that the pace was checked against: the one that was given, or that of the records.
    pub(crate) limit: Option<AuditedLimit>,
    pub(crate) limit_is_recorded: bool,
    /// Each key that a call was made with.
    pub(crate) keys: Vec<KeyReport>,
    /// Where the time went, all keys together.
    pub(crate) times: TimeSpent,
    pub(crate) latency: LatencySummary,
    /// The ten prompts that took longest, the slowest first.
    pub(crate) slowest: Vec<RankedPrompt>,
    /// The ten prompts that were retried most, if any was.
    pub(crate) most_retried: Vec<RankedPrompt>,
    /// Bytes of an unfinished last line, which does not count.
    pub(crate) torn_bytes: u64,
    /// For the page only.
    #[serde(skip)]
    pub(super) charts: Charts,
}

/// What became of the prompts, by the last record of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PromptCounts {
    pub(crate) answered: u64,
    /// Answers among them that are empty, cut or withheld.
    pub(crate) flags: Flags,
    pub(crate) failed: u64,
    /// Why prompts failed, the most frequent cause first.
    pub(crate) causes: Causes,
    /// For each cause the records of the first prompts in the input, whose names are looked up.
    #[serde(skip)]
    pub(super) first_records: Vec<Vec<u64>>,
    /// Records of prompts that were run again later, which do not count above. Their calls do.
    pub(crate) superseded: u64,
}

/// What prompts were sent with, as far as the records tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentWith {
    pub(crate) model: Option<String>,
    pub(crate) api: Option<String>,
    /// The host.
    pub(crate) server: Option<String>,
    /// Calls a minute with each key, if that was given or is the practice server's.
    pub(crate) rpm: Option<NonZeroU32>,
    pub(crate) burst: Option<NonZeroU32>,
}

/// A record that a number points to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RecordRef {
    /// The prompt's name.
    pub(crate) custom_id: String,
    /// The beginning of the prompt on one line, at most 160 characters.
    pub(crate) asked: String,
    /// The line of the results, from 1.
    pub(crate) record: u64,
}

/// Calls, those of superseded records included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CallCounts {
    pub(crate) total: u64,
    /// Calls that were not the first for their prompt.
    pub(crate) retries: u64,
    /// Calls without an answer that may have been billed.
    pub(crate) maybe_billed: u64,
    /// How calls failed: by outcome and status, without codes and names.
    pub(crate) failed: Causes,
}

/// Tokens, as the responses say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TokenCounts {
    #[serde(flatten)]
    pub(crate) usage: Usage,
    /// Records that say it.
    pub(crate) stated_by: u64,
    /// Those of calls that brought no answer.
    pub(crate) without_answer: Usage,
}

/// From the first call to the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct RunSpan {
    /// When the first call left.
    pub(crate) first: Moment,
    /// When the last call left.
    pub(crate) last: Moment,
    /// From the first departure to the end of the last call.
    pub(crate) took_ms: u64,
    /// On average; none for fewer than two calls.
    pub(crate) calls_a_minute: Option<f64>,
    /// All keys together.
    pub(crate) busiest_minute: BusiestMinute,
}

/// An instant in milliseconds since 1970, written as in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);

impl Moment {
    pub(super) fn timestamp(self) -> jiff::Timestamp {
        let ms = i64::try_from(self.0).ok();
        let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.unwrap_or_default()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.timestamp())
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The 60 seconds with the most calls: those that left less than 60 s after the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BusiestMinute {
    pub(crate) calls: u64,
    /// When the first of them left.
    pub(crate) from: Moment,
}

/// What a server allows each key, as a strict server keeps it (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct AuditedLimit {
    /// Evenly spaced.
    pub(crate) calls_a_minute: NonZeroU32,
    /// How many calls may come at once after a quiet time; 1 is a strict, even pace.
    pub(crate) burst: NonZeroU32,
}

/// One key, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct KeyReport {
    pub(crate) key: u64,
    pub(crate) calls: u64,
    /// Calls that were rate limited: status 429, 503 or 529, or an answer that says the same.
    pub(crate) rate_limited: u64,
    /// How long the key was paused, by the clock.
    pub(crate) paused_ms: u64,
    /// None for fewer than two calls.
    pub(crate) smallest_gap: Option<SmallestGap>,
    pub(crate) busiest_minute: BusiestMinute,
    /// What was more than the limit allows; none if no limit was given.
    pub(crate) excess: Option<Excess>,
    /// Where the time went.
    pub(crate) times: TimeSpent,
}

/// The smallest gap between two calls that left one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SmallestGap {
    pub(crate) ms: u64,
    /// The earlier call.
    pub(crate) from: RecordRef,
    /// The later call.
    pub(crate) to: RecordRef,
}

/// What was more than the limit allows. Calls that are less than 2 ms early are on time in both numbers, so if no call
/// came too soon no minute has too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Excess {
    /// Calls that a strict server with that limit would have refused.
    pub(crate) too_soon: u64,
    /// The call that came soonest.
    pub(crate) worst: Option<TooSoon>,
    /// By how many calls the busiest 60 seconds exceed the limit: the calls a minute, and the rest of a burst.
    pub(crate) most_over_in_a_minute: u64,
}

/// A call that came too soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TooSoon {
    pub(crate) call: RecordRef,
    /// How early it was.
    pub(crate) by_ms: u64,
}

/// Where the time went, summed over calls that ran side by side: it can be many times what the clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct TimeSpent {
    /// In the queue, before a worker took the prompt.
    pub(crate) queued_ms: u64,
    /// Waiting for a permit.
    pub(crate) paced_ms: u64,
    /// The part of `paced_ms` in which the key was paused because a call of it was rate limited.
    pub(crate) paused_ms: u64,
    /// Waiting for the server.
    pub(crate) took_ms: u64,
    /// Between an attempt that failed and the next.
    pub(crate) backoff_ms: u64,
}

/// How long calls took, from their departure to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LatencySummary {
    /// Calls that were answered; none if none was.
    pub(crate) answered: Option<Percentiles>,
    /// All calls.
    pub(crate) all: Option<Percentiles>,
}

/// How long calls took: this part of them no longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50_ms: u64,
    pub(crate) p95_ms: u64,
    pub(crate) p99_ms: u64,
    pub(crate) longest_ms: u64,
}

/// A prompt that took long, or was retried often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RankedPrompt {
    /// One of its records.
    pub(crate) prompt: RecordRef,
    /// Where the prompt stands in the input, from 1.
    pub(super) line: u64,
    /// From its first call's departure to its last call's end.
    pub(crate) took_ms: u64,
    /// Calls after the first.
    pub(crate) retries: u64,
}
