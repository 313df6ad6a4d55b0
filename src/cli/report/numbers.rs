//! The numbers of a report: plain data, the same for the text, the page and the JSON. Times are whole milliseconds.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize, Serializer};

use super::charts::Charts;
use super::pauses::Pauses;
use crate::api::Usage;
use crate::batch::{Causes, Flags};
use crate::cli::statistics::percentile;

/// What happened, as the records tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Report {
    /// What the last prompt was sent with.
    pub(super) sent_with: SentWith,
    pub(super) prompts: PromptCounts,
    pub(super) calls: CallCounts,
    pub(super) tokens: TokenCounts,
    /// What those tokens cost; none if no price was given.
    pub(super) cost: Option<f64>,
    /// The part of it that brought no answer.
    pub(super) cost_without_answer: Option<f64>,
    /// None if no call was made.
    pub(super) span: Option<RunSpan>,
    /// The limit that the pace was checked against: the one that was given, or that of the records.
    pub(super) limit: Option<AuditedLimit>,
    pub(super) limit_is_recorded: bool,
    /// Each key that a call was made with.
    pub(super) keys: Vec<KeyReport>,
    /// Where the time went, all keys together.
    pub(super) times: TimeSpent,
    pub(super) latency: LatencySummary,
    /// How late calls left, from the instant that their permit was due; none if no call says so.
    pub(super) lateness: Option<Percentiles<f64>>,
    /// The ten prompts that took longest, the slowest first.
    pub(super) slowest: Vec<RankedPrompt>,
    /// The ten prompts that were retried most, if any was.
    pub(super) most_retried: Vec<RankedPrompt>,
    /// Bytes of an unfinished last line, which does not count.
    pub(super) torn_bytes: u64,
    /// For the page only; none if no call was made.
    #[serde(skip)]
    pub(super) charts: Option<Charts>,
}

/// What became of the prompts, by the last record of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PromptCounts {
    pub(super) answered: u64,
    /// Answers among them that are empty, cut or withheld.
    pub(super) flags: Flags,
    pub(super) failed: u64,
    /// Why prompts failed, the most frequent cause first.
    pub(super) causes: Causes,
    /// Records of prompts that were run again later, which do not count above. Their calls do.
    pub(super) superseded: u64,
}

/// What prompts were sent with, as far as the records tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentWith {
    pub(super) model: Option<String>,
    pub(super) api: Option<String>,
    /// The host.
    pub(super) server: Option<String>,
    /// Calls a minute with each key, if that was given or is the practice server's.
    pub(super) rpm: Option<NonZeroU32>,
    pub(super) burst: Option<NonZeroU32>,
}

/// A record that a number points to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct RecordRef {
    /// The prompt's name.
    pub(super) custom_id: String,
    /// The beginning of the prompt on one line, at most 160 characters.
    pub(super) asked: String,
    /// The line of the results, from 1.
    pub(super) record: u64,
}

impl RecordRef {
    /// A record whose name is looked up later.
    pub(super) fn of(record: u32) -> Self {
        RecordRef {
            record: record.into(),
            ..RecordRef::default()
        }
    }
}

/// Calls, those of superseded records included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct CallCounts {
    pub(super) total: u64,
    /// Calls that were not the first for their prompt.
    pub(super) retries: u64,
    /// Calls without an answer that may have been billed.
    pub(super) maybe_billed: u64,
    /// Rows of the provider's batches, which are no calls of ours.
    pub(super) batch_rows: u64,
    /// How calls failed: by outcome and status, without codes and names.
    pub(super) failed: Causes,
}

/// Tokens, as the responses say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct TokenCounts {
    #[serde(flatten)]
    pub(super) usage: Usage,
    /// Records that say it.
    pub(super) stated_by: u64,
    /// Those of calls that brought no answer.
    pub(super) without_answer: Usage,
}

/// From the first call to the last.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct RunSpan {
    /// When the first call left.
    #[serde(serialize_with = "rfc3339")]
    pub(super) first: u64,
    /// When the last call left.
    #[serde(serialize_with = "rfc3339")]
    pub(super) last: u64,
    /// From the first departure to the end of the last call.
    pub(super) took_ms: u64,
    /// On average; none for fewer than two calls.
    pub(super) calls_a_minute: Option<f64>,
    /// All keys together.
    pub(super) busiest_minute: BusiestMinute,
}

/// Writes an instant in milliseconds since 1970 as in RFC 3339.
fn rfc3339<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let instant = i64::try_from(*ms).map(jiff::Timestamp::from_millisecond);
    let instant = instant.ok().and_then(Result::ok).unwrap_or_default();
    serializer.collect_str(&format_args!("{instant:.3}"))
}

/// The 60 seconds with the most calls: those that left less than 60 s after the first of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct BusiestMinute {
    pub(super) calls: u64,
    /// When the first of them left.
    #[serde(serialize_with = "rfc3339")]
    pub(super) from: u64,
}

/// What a server allows each key, as a strict server keeps it (GCRA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct AuditedLimit {
    /// Evenly spaced.
    pub(super) calls_a_minute: NonZeroU32,
    /// How many calls may come at once after a quiet time; 1 is a strict, even pace.
    pub(super) burst: NonZeroU32,
}

/// One key, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct KeyReport {
    pub(super) key: u64,
    pub(super) calls: u64,
    /// Calls that were rate limited: status 429, 503 or 529, or an answer that says the same.
    pub(super) rate_limited: u64,
    /// How long the key was paused, by the clock.
    pub(super) paused_ms: u64,
    /// None for fewer than two calls.
    pub(super) smallest_gap: Option<SmallestGap>,
    pub(super) busiest_minute: BusiestMinute,
    /// What was more than the limit allows; none if no limit was given.
    pub(super) excess: Option<Excess>,
    /// Where the time went.
    pub(super) times: TimeSpent,
    #[serde(skip)]
    pub(super) pauses: Pauses,
}

/// The smallest gap between two calls that left one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SmallestGap {
    pub(super) ms: u64,
    /// The earlier call.
    pub(super) from: RecordRef,
    /// The later call.
    pub(super) to: RecordRef,
}

/// What was more than the limit allows. Calls that are less than 2 ms early are on time in both numbers, so if no call
/// came too soon no minute has too many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Excess {
    /// Calls that a strict server with that limit would have refused.
    pub(super) too_soon: u64,
    /// The call that came soonest.
    pub(super) worst: Option<TooSoon>,
    /// By how many calls the busiest 60 seconds exceed the limit: the calls a minute, and the rest of a burst.
    pub(super) most_over_in_a_minute: u64,
}

/// A call that came too soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct TooSoon {
    pub(super) call: RecordRef,
    /// How early it was.
    pub(super) by_ms: u64,
}

/// Where the time went, summed over calls that ran side by side: it can be many times what the clock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct TimeSpent {
    /// In the queue, before a worker took the prompt.
    pub(super) queued_ms: u64,
    /// Waiting for a permit.
    pub(super) paced_ms: u64,
    /// The part of `paced_ms` in which the key was paused because a call of it was rate limited.
    pub(super) paused_ms: u64,
    /// Waiting for the server.
    pub(super) took_ms: u64,
    /// Between an attempt that failed and the next.
    pub(super) backoff_ms: u64,
}

/// How long calls took, from their departure to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LatencySummary {
    /// Calls that were answered; none if none was.
    pub(super) answered: Option<Percentiles>,
    /// All calls.
    pub(super) all: Option<Percentiles>,
}

/// Times: this part of them no longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles<T = u64> {
    pub(super) p50_ms: T,
    pub(super) p95_ms: T,
    pub(super) p99_ms: T,
    pub(super) longest_ms: T,
}

impl<T> Percentiles<T> {
    /// Of times in order; none of nothing.
    pub(super) fn of(times: &[u32], ms: impl Fn(u32) -> T) -> Option<Self> {
        let of = |percent| percentile(times, percent).map(&ms);
        Some(Percentiles {
            p50_ms: of(50)?,
            p95_ms: of(95)?,
            p99_ms: of(99)?,
            longest_ms: of(100)?,
        })
    }
}

/// A prompt that took long, or was retried often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RankedPrompt {
    /// One of its records.
    pub(super) prompt: RecordRef,
    /// Where the prompt stands in the input, from 1.
    pub(super) line: u64,
    /// From its first call's departure to its last call's end.
    pub(super) took_ms: u64,
    /// Calls after the first.
    pub(super) retries: u64,
}
