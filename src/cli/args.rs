//! What can be typed, with its defaults. What it means is worked out in [`plan`](super::plan).

mod api;
mod compare;
mod export;
mod manual;
mod plan;
#[cfg(feature = "redis")]
mod queue;
mod report;
mod share;
mod values;
mod watch;

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Deref;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};

use crate::backoff::Jitter;
use crate::batch::Halt;
use crate::journal::Durability;
use crate::practice::{Latency, Outage};
use crate::prompts::Format;

use api::{Param, Spoken, quota};
pub(super) use compare::Compare;
pub(super) use export::ExportArgs;
pub(super) use manual::{Completions, Manual};
pub(super) use plan::Plan;
#[cfg(feature = "redis")]
pub(super) use queue::{Pull, Push, Queue, Which, Work};
pub(super) use report::Report;
pub(super) use share::Share;
pub(super) use values::Rpm;
use values::{change, duration, finite, outage, rate};
pub(super) use watch::{LogFormat, Watching, When};

/// Runs a file of prompts through an LLM API at exactly the pace the API allows.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,

    /// Log every call (-vv: more); RUST_LOG overrides this
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a batch: one prompt a line in, one record a prompt out
    Run(Box<Run>),
    /// Say what a run would send and how long it takes; send nothing
    ///
    /// It also says what it costs, what holds it back, and how many workers to use.
    Plan(Plan),
    /// Turn results into a table, a document or text, in input order
    Export(ExportArgs),
    /// Say what happened: prompts, calls, pace, and where the time went
    Report(Report),
    /// Put prompts into a queue on Redis, for many machines to work on
    #[cfg(feature = "redis")]
    Push(Push),
    /// Work on a queue, beside as many others as there are
    #[cfg(feature = "redis")]
    Work(Box<Work>),
    /// Write the records of a queue to a file, as they come
    #[cfg(feature = "redis")]
    Pull(Pull),
    /// Say how a queue stands
    #[cfg(feature = "redis")]
    Queue(Queue),
    /// Set fixed sleeps, backoff and a paced pool side by side
    ///
    /// All have the same prompts and the same server, in simulated time.
    Compare(Compare),
    /// Serve rate-limited APIs, as each maker's, to practise on
    Practice(Practice),
    /// Write the completions for a shell to standard output
    Completions(Completions),
    /// Write the manual, as pages for man
    Manual(Manual),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Durations read 500ms, 2s, 1m30s.

Exit status: 0 every prompt answered, 1 some failed (their records say why), 2 bad usage or input \
and nothing sent, 3 stopped early, 130 interrupted.")]
pub(super) struct Run {
    /// The prompts: .txt, .jsonl or .csv, also .gz; - is standard input
    pub(super) prompts: PathBuf,

    /// How the prompts are written: text, jsonl or csv [default: by the extension]
    ///
    /// Without an extension, as on standard input, they are text.
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<Format>,

    /// A file with a template, such as Explain {{topic}} in a haiku
    ///
    /// It takes {{prompt}}, {{id}}, {{line}} and the fields of each object or row.
    #[arg(long, value_name = "FILE")]
    pub(super) template: Option<PathBuf>,

    /// Where the results go [default: PROMPTS with .results.jsonl]
    ///
    /// - is standard output, and the default for prompts that come through a pipe.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Send at most the first N prompts [default: all]
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,

    /// Run the prompts again that failed in an earlier run
    #[arg(long)]
    pub(super) retry_failed: bool,

    /// Begin anew; the old results are kept under a dated name
    #[arg(long, conflicts_with_all = ["keep", "retry_failed"])]
    pub(super) restart: bool,

    /// Take old answers as they are, though the request has changed
    ///
    /// Answers on record then count though the prompts, the model or a parameter have changed since.
    #[arg(long)]
    pub(super) keep: bool,

    /// Write each answer as a file of its own as well, in this folder
    #[arg(long, value_name = "DIR")]
    pub(super) out_dir: Option<PathBuf>,

    /// Force results to the disk: always, interval or never
    ///
    /// always is after each result, interval is each second.
    #[arg(long, value_name = "WHEN", default_value = "interval")]
    pub(super) sync: Durability,

    #[command(flatten)]
    pub(super) calls: Calls,
}

/// How a prompt is asked: what `run` and `work` have in common.
#[derive(Debug, clap::Args)]
pub(super) struct Calls {
    /// Stop once so many have failed, as in 20 or 5% [default: never]
    ///
    /// A percentage is of the prompts that are done.
    #[arg(long, value_name = "N|P%")]
    pub(super) halt: Option<Halt>,

    /// Run against the embedded practice server: no key, no network
    ///
    /// The answers are its own: there is no model.
    #[arg(long, conflicts_with_all = ["base_url", "key_env", "ca_cert"])]
    pub(super) practice: bool,

    /// The model to ask
    ///
    /// Not needed for prompts in the OpenAI Batch format.
    #[arg(short, long, value_name = "NAME", help_heading = "The request")]
    pub(super) model: Option<String>,

    /// A system message, sent before each prompt [default: none]
    #[arg(long, value_name = "TEXT", help_heading = "The request")]
    pub(super) system: Option<String>,

    /// The most tokens an answer may have [default: the server's]
    ///
    /// With --api messages, which must be told, it is 4096.
    #[arg(long, value_name = "N", help_heading = "The request")]
    pub(super) max_tokens: Option<u32>,

    /// The sampling temperature [default: the server's]
    #[arg(long, value_name = "X", value_parser = finite, help_heading = "The request")]
    pub(super) temperature: Option<f64>,

    /// Any other field of the body, such as top_p=0.9 (repeatable)
    ///
    /// Objects are joined, as in generationConfig={"topP":0.9}.
    #[arg(long, value_name = "KEY=JSON", help_heading = "The request")]
    pub(super) param: Vec<Param>,

    #[command(flatten)]
    pub(super) spoken: Spoken,

    /// Where the API is (repeatable) [default: $OPENAI_BASE_URL, or its own]
    ///
    /// Repeated as URL=KEYENV it names several servers, each with its key and its pace. The default is that of --api:
    /// the variable that is named there, or else the address of its maker.
    #[arg(long, value_name = "URL", help_heading = "The server")]
    pub(super) base_url: Vec<String>,

    /// The variable that holds the key (repeatable) [default: OPENAI_API_KEY]
    ///
    /// Several keys have a pace each. The default is that of --api.
    #[arg(long, value_name = "NAME", help_heading = "The server")]
    pub(super) key_env: Vec<String>,

    /// The longest that a call may take
    #[arg(long, value_name = "DUR", default_value = "120s", value_parser = duration, help_heading = "The server")]
    pub(super) timeout: Duration,

    /// A PEM file with the certificates to trust [default: the usual ones]
    #[arg(long, value_name = "FILE", help_heading = "The server")]
    pub(super) ca_cert: Option<PathBuf>,

    /// Calls a minute, or auto [default: auto]
    ///
    /// auto keeps to what the server says, or else to what it is found to allow.
    #[arg(long, value_name = "N", help_heading = "The pace")]
    pub(super) rpm: Option<Rpm>,

    /// Tokens a minute [default: what the server says]
    ///
    /// They are counted as the API's maker does.
    #[arg(long, value_name = "N", help_heading = "The pace")]
    pub(super) tpm: Option<NonZeroU32>,

    /// Calls that the server lets through at once
    ///
    /// That is after a quiet time. One of them is kept in reserve. With more than one the pace is the limit to the call,
    /// even at thousands of calls a second, where the timer's lateness is a good part of the time between two.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "The pace")]
    pub(super) burst: NonZeroU32,

    /// Calls under way at once; auto is what the pace needs
    #[arg(
        short,
        long,
        value_name = "N",
        default_value = "auto",
        help_heading = "The pace"
    )]
    pub(super) workers: Workers,

    /// Stop when held so long without one answer
    ///
    /// The rest can be resumed: run the same command again.
    #[arg(long, value_name = "DUR", default_value = "15m", value_parser = duration, help_heading = "The pace")]
    pub(super) max_wait: Duration,

    #[command(flatten)]
    pub(super) share: Share,

    /// How many faults a prompt is forgiven
    ///
    /// Being told to wait is none.
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Retries")]
    pub(super) max_retries: u32,

    /// The first backoff; it doubles with each retry
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration, help_heading = "Retries")]
    pub(super) base_delay: Duration,

    /// The longest backoff
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration, help_heading = "Retries")]
    pub(super) max_delay: Duration,

    /// How chance spreads the backoffs
    ///
    /// One of none, additive, full, equal and decorrelated.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "additive",
        help_heading = "Retries"
    )]
    pub(super) jitter: Jitter,

    #[command(flatten)]
    pub(super) watching: Watching,
}

impl Deref for Run {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Rates are from 0 to 1. GET /stats tells what the server has seen.")]
pub(super) struct Practice {
    /// The port of the loopback to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value = "8321")]
    pub(super) port: u16,

    /// For everything that is left to chance
    #[arg(long, value_name = "N", default_value = "0")]
    pub(super) seed: u64,

    /// Calls a minute that each key may make [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(super) rpm: Option<NonZeroU32>,

    /// Calls that may come at once after a quiet time
    ///
    /// 1 is strict.
    #[arg(long, value_name = "N", default_value = "1", help_heading = "Limits")]
    pub(super) burst: NonZeroU32,

    /// After a time, change the calls a minute, as in 60s,300 [default: never]
    ///
    /// It reads AFTER,N.
    #[arg(long, value_name = "CHANGE", value_parser = change, requires = "rpm", help_heading = "Limits")]
    pub(super) then: Option<(Duration, NonZeroU32)>,

    /// Tokens a minute that each key may use [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(super) tpm: Option<NonZeroU32>,

    /// Calls that may be under way at once [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(super) max_inflight: Option<usize>,

    /// Refuse without saying when to come back
    #[arg(long, help_heading = "Limits")]
    pub(super) no_hints: bool,

    /// How long an answer takes
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "400ms",
        help_heading = "Behaviour"
    )]
    pub(super) latency: Latency,

    /// How often to answer with status 500
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) error_500: f64,

    /// How often to answer with status 503 and a retry-after
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) error_503: f64,

    /// How often to answer with status 529, overloaded
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) error_529: f64,

    /// How often to reset the connection
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) reset: f64,

    /// How often to send half of the body
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) truncated: f64,

    /// How often to answer 200 with something that is not JSON
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) bad_json: f64,

    /// How often to answer without a word
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) empty: f64,

    /// How often not to answer at all
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = rate, help_heading = "Behaviour")]
    pub(super) hang: f64,

    /// After so many answers, say that the key has no money left [default: never]
    ///
    /// N is for each key, N@2 for only the second that comes.
    #[arg(long, value_name = "N", value_parser = quota, help_heading = "Behaviour")]
    pub(super) quota: Option<(u64, Option<usize>)>,

    /// Answer nothing else for a time, as in 10s,5s,503 [default: never]
    ///
    /// It reads AFTER,LENGTH or AFTER,LENGTH,STATUS.
    #[arg(long, value_name = "WINDOW", value_parser = outage, help_heading = "Behaviour")]
    pub(super) outage: Option<Outage>,
}

/// How many workers: a number, or as many as it takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Workers {
    Auto,
    Fixed(NonZeroUsize),
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const MOST: usize = 10_000;
        let number = || {
            text.parse()
                .ok()
                .filter(|number: &NonZeroUsize| number.get() <= MOST)
        };
        match text {
            "auto" => Ok(Workers::Auto),
            _ => number()
                .map(Workers::Fixed)
                .ok_or_else(|| format!("give auto, or a number from 1 to {MOST}")),
        }
    }
}

#[cfg(test)]
mod tests;
