//! The options of `run`, and those that it shares with `plan` and `queue work`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::CostArgs;
use super::values::{
    LogFormat, RpmArg, ShowProgress, WorkersArg, amount, duration, finite, param, rpm, up_to,
    workers,
};
use crate::api::ApiKind;
use crate::backoff::Jitter;
use crate::batch::Halt;
use crate::journal::Durability;
use crate::prompts::Format;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/run.txt"))]
pub(in crate::cli) struct RunArgs {
    /// The prompts: .txt, .jsonl, .json, .csv or .tsv, also .gz; a folder; - is standard input
    ///
    /// In a folder, or with a pattern in quotes such as 'prompts/*.txt', each file is one prompt, and its name the id. A row
    /// may have a prompt or messages, an id, files (image, images, files) and its own model, system, max_tokens and
    /// temperature; other columns stay with its record.
    pub(in crate::cli) prompts: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) reading: ReadingArgs,

    /// Ask each prompt N times; the ids are then line-7, line-7#2, …
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true, value_parser = up_to::<10_000, NonZeroU32>)]
    pub(in crate::cli) repeat: NonZeroU32,

    /// Ask identical requests once; each prompt gets a record
    #[arg(long, conflicts_with = "repeat")]
    pub(in crate::cli) dedupe: bool,

    /// Prompts in one call, with --api embeddings [default: 100]
    ///
    /// A call is smaller where it would exceed 300 kB, or the tokens of 6 seconds of --tpm, and where no more prompts come
    /// through a pipe in a tenth of a second. One that the server rejects is split, and if there were too many prompts in it,
    /// the next ones are smaller. Each prompt has its record.
    #[arg(long, value_name = "N", value_parser = up_to::<2048, NonZeroUsize>)]
    pub(in crate::cli) per_call: Option<NonZeroUsize>,

    /// Where the results go [default: PROMPTS with .results.jsonl]
    ///
    /// - is standard output. It is also the default for prompts that come through a pipe.
    ///
    /// With --practice, the default is PROMPTS with .practice.jsonl.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,

    /// Also run the prompts that failed in an earlier run
    #[arg(long)]
    pub(in crate::cli) retry_failed: bool,

    /// Start from the beginning; the old results are kept under a dated name
    #[arg(long, conflicts_with_all = ["keep", "retry_failed"])]
    pub(in crate::cli) restart: bool,

    /// Keep earlier answers even if the request has changed since
    ///
    /// Without it, a run stops before it sends anything if a prompt, the model or a parameter is not the one on record.
    #[arg(long)]
    pub(in crate::cli) keep: bool,

    /// Also write each answer to a file of its own in this folder
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) out_dir: Option<PathBuf>,

    /// Ask through the provider's batch endpoint, at half the price
    ///
    /// The answers come within a day. Ctrl-C leaves the batch under way, and the same command picks it up again. It is for
    /// --api chat, responses and embeddings at OpenAI, and for messages at Anthropic.
    #[arg(long, value_name = "batch", value_parser = ["batch"], help_heading = "Cost", conflicts_with_all = ["max_cost", "share", "tier"])]
    pub(in crate::cli) via: Option<String>,

    /// How soon to look for the answers of a batch
    ///
    /// With --via batch. It looks less and less often, up to ten times this apart.
    #[arg(long, value_name = "DUR", default_value = "30s", help_heading = "Cost", value_parser = duration)]
    pub(in crate::cli) poll: Duration,

    /// When to sync to disk: always, interval or never
    ///
    /// always is after each result, interval is at most once a second.
    #[arg(long, value_name = "WHEN", default_value = "interval")]
    pub(in crate::cli) sync: Durability,

    #[command(flatten)]
    pub(in crate::cli) calls: CallArgs,
}

impl RunArgs {
    /// The most prompts in one call.
    pub(in crate::cli) fn most_per_call(&self) -> usize {
        /// OpenAI takes 2,048, Cohere 96, and many servers 32: then the batch makes smaller calls by itself.
        const EMBEDDINGS: usize = 100;
        let is_many = self.calls.server.api == ApiKind::Embeddings && self.via.is_none();
        let default = if is_many { EMBEDDINGS } else { 1 };
        self.per_call.map_or(default, NonZeroUsize::get)
    }
}

/// How prompts are read, for `run` and `queue push`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReadingArgs {
    /// text, jsonl, csv or tsv [default: by name and content]
    ///
    /// jsonl is JSON values, one a line or in an array. What might be meant as another format is refused, unless this says
    /// what it is.
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) format: Option<Format>,

    /// A column that names a file to send along (repeatable)
    ///
    /// It comes beside image, images and files. PNG, JPEG, GIF, WebP or PDF, beside the input, or an https address.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) attach_column: Vec<String>,

    /// A template file, such as: Explain {{topic}} in a haiku
    ///
    /// It can use {{prompt}}, {{id}}, {{line}} and the fields of each object or row.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) template: Option<PathBuf>,

    /// Read only the first N prompts [default: all]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
}

/// How prompts are sent, for `run`, `plan` and `queue work`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CallArgs {
    /// Stop after this many failed prompts, as in 20 or 5% [default: never]
    ///
    /// A percentage is of the finished prompts.
    #[arg(long, value_name = "N|P%")]
    pub(in crate::cli) halt: Option<Halt>,

    /// Go on though the first 20 prompts all fail for one reason
    ///
    /// Without it, the run stops then, unless a prompt was answered: the model, the address or an option is wrong.
    #[arg(long)]
    pub(in crate::cli) keep_going: bool,

    /// Use the built-in practice server: no key, no network
    ///
    /// It makes its answers up: there is no model.
    #[arg(long, conflicts_with_all = ["base_url", "key_env", "ca_cert", "share"])]
    pub(in crate::cli) practice: bool,

    #[command(flatten)]
    pub(in crate::cli) request: RequestArgs,
    #[command(flatten)]
    pub(in crate::cli) server: ServerArgs,
    #[command(flatten)]
    pub(in crate::cli) streams: StreamArgs,
    #[command(flatten)]
    pub(in crate::cli) tier: TierArgs,
    #[command(flatten)]
    pub(in crate::cli) rate: RateArgs,
    #[command(flatten)]
    pub(in crate::cli) bounds: BoundArgs,
    #[command(flatten)]
    pub(in crate::cli) retries: RetryArgs,
    #[command(flatten)]
    pub(in crate::cli) watch: WatchArgs,
    #[command(flatten)]
    pub(in crate::cli) cost: CostArgs,

    /// Stop when the calls have cost this much [default: never]
    ///
    /// It counts the calls of this run. Those in flight then come on top, and answers that do not report their tokens are
    /// not counted.
    #[arg(long, value_name = "X", help_heading = "Cost", requires = "priced", value_parser = amount)]
    pub(in crate::cli) max_cost: Option<f64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The request")]
pub(in crate::cli) struct RequestArgs {
    /// The model
    ///
    /// Not needed for prompts in the OpenAI Batch format.
    #[arg(short, long, value_name = "NAME")]
    pub(in crate::cli) model: Option<String>,

    /// A system message for every prompt [default: none]
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) system: Option<String>,

    /// The most tokens an answer may have [default: the server's]
    ///
    /// With --api messages, which requires a number, the default is 4096.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_tokens: Option<u32>,

    /// The sampling temperature [default: the server's]
    #[arg(long, value_name = "X", value_parser = finite)]
    pub(in crate::cli) temperature: Option<f64>,

    /// Any other field of the body, such as top_p=0.9 (repeatable)
    ///
    /// Objects are merged, as in generationConfig={"topP":0.9}.
    #[arg(long, value_name = "KEY=JSON", value_parser = param)]
    pub(in crate::cli) param: Vec<(String, Value)>,

    /// Ask for JSON that fits a schema, and check each answer
    ///
    /// It is a file with a JSON Schema, or fields as in 'name, age int, mood good|bad, tags [str]'. A type is str (the
    /// default), int, num or bool, one of several words, or a list; a description may follow after a colon. An answer that
    /// does not fit is asked for again (--schema-retries), then the prompt fails with the error schema.
    #[arg(long, value_name = "FILE|FIELDS")]
    pub(in crate::cli) schema: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The server")]
pub(in crate::cli) struct ServerArgs {
    /// chat, responses, messages, gemini or embeddings
    ///
    /// chat, responses and embeddings are OpenAI's and compatible servers' ($OPENAI_API_KEY, $OPENAI_BASE_URL),
    /// messages is Anthropic's ($ANTHROPIC_API_KEY, $ANTHROPIC_BASE_URL), gemini is Google's ($GEMINI_API_KEY,
    /// $GOOGLE_GEMINI_BASE_URL). The text of an embedding is its vector, as JSON.
    #[arg(long, value_name = "API", default_value = "chat")]
    pub(in crate::cli) api: ApiKind,

    /// The address (repeatable) [default: $OPENAI_BASE_URL, or its own]
    ///
    /// Repeated as URL=KEYENV it names several servers, each with its own key and its own rate. The default depends on
    /// --api: the variable that is named there, or else the provider's address.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) base_url: Vec<String>,

    /// The variable with the key (repeatable) [default: OPENAI_API_KEY]
    ///
    /// Each key has its own rate. The default depends on --api.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) key_env: Vec<String>,

    /// A header for every call, as in 'NAME: VALUE' (repeatable)
    ///
    /// It is visible to others on this machine: use --header-env for a secret.
    #[arg(long, value_name = "HEADER")]
    pub(in crate::cli) header: Vec<String>,

    /// A secret header, as in X-Token=VARIABLE (repeatable)
    ///
    /// Its value is in the variable, and is hidden like a key.
    #[arg(long, value_name = "H=VAR")]
    pub(in crate::cli) header_env: Vec<String>,

    /// Give a call up after this time
    #[arg(long, value_name = "DUR", default_value = "10m", value_parser = duration)]
    pub(in crate::cli) timeout: Duration,

    /// A PEM file of certificates to trust [default: the usual ones]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca_cert: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The server")]
pub(in crate::cli) struct StreamArgs {
    /// Read answers as they come; a stall is found early
    ///
    /// The records are those of a run without it. An answer that breaks off is asked for again (--timeout-retries), and what
    /// came of it stays in its attempt.
    #[arg(long)]
    pub(in crate::cli) stream: bool,

    /// The longest wait for a stream's first token [default: --timeout]
    #[arg(long, value_name = "DUR", requires = "stream", value_parser = duration)]
    pub(in crate::cli) first_token_timeout: Option<Duration>,

    /// The longest wait for more of a stream
    ///
    /// It counts from the first token. Models think for less than the default in the middle of an answer.
    #[arg(long, value_name = "DUR", default_value = "2m", requires = "stream", value_parser = duration)]
    pub(in crate::cli) idle_timeout: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(in crate::cli) struct TierArgs {
    /// flex asks at OpenAI's tier of that name, at half the price
    ///
    /// It is for --api chat and responses, is slower, and may have no capacity: then a prompt is asked again later, and the
    /// others go on.
    #[arg(long, value_name = "flex", value_parser = ["flex"])]
    pub(in crate::cli) tier: Option<String>,

    /// Ask at full price after waiting this long [default: never]
    ///
    /// For each prompt, from the first time that flex has no capacity for it.
    #[arg(long, value_name = "DUR", requires = "tier", value_parser = duration)]
    pub(in crate::cli) tier_patience: Option<Duration>,
}

/// The rate of each key, for `run`, `plan`, `queue work` and `gate`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The rate")]
pub(in crate::cli) struct RateArgs {
    /// Calls a minute with each key, auto or none [default: auto]
    ///
    /// auto follows the limit in the server's headers. If there is none, it starts slowly and finds the limit. none means
    /// that the server has no limit, as a server of your own: then only the calls in flight are limited.
    #[arg(long, value_name = "N", value_parser = rpm)]
    pub(in crate::cli) rpm: Option<RpmArg>,

    /// Tokens a minute with each key [default: as the headers say]
    ///
    /// They are counted as the API's provider counts them.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) tpm: Option<NonZeroU32>,

    /// Calls that the server accepts at once after a quiet time
    ///
    /// One of them is kept in reserve. With more than one, calls leave at exactly --rpm, without the margin of about 2 %.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) burst: NonZeroU32,

    /// Share one rate with every process that is given the same place
    ///
    /// A file is created, and is for the processes of one machine. redis://HOST:PORT/DB?name=NAME is for many machines
    /// (rediss:// with TLS; it trusts the system's certificates or those in $SSL_CERT_FILE; the password comes from
    /// $PACELINE_REDIS_PASSWORD). Give every process the same --rpm: if they differ, the lowest wins. Pauses that the
    /// server asks for are shared, too; --tpm holds for each process alone.
    #[arg(long, value_name = "FILE|URL")]
    pub(in crate::cli) share: Option<String>,
}

impl CallArgs {
    /// Whether prompts without a body of their own can be sent.
    pub(in crate::cli) fn has_model(&self) -> bool {
        self.request.model.is_some() || self.practice
    }
}

impl RateArgs {
    /// Whether the server has no limit: `--rpm none`.
    pub(in crate::cli) fn has_no_limit(&self) -> bool {
        self.rpm == Some(RpmArg::None)
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The rate")]
pub(in crate::cli) struct BoundArgs {
    /// Calls in flight at once; auto is what the rate needs
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = workers)]
    pub(in crate::cli) workers: WorkersArg,

    /// Stop after this long without an answer
    ///
    /// It counts while the server keeps us waiting: with 429s, or with pauses that it asks for. The rest can be resumed: run the same command again.
    #[arg(long, value_name = "DUR", default_value = "15m", value_parser = duration)]
    pub(in crate::cli) max_wait: Duration,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Retries")]
pub(in crate::cli) struct RetryArgs {
    /// Retries for each prompt after an error
    ///
    /// An error is a 5xx, an unreadable answer, or no connection; a 429 does not count.
    #[arg(long, value_name = "N", default_value = "5")]
    pub(in crate::cli) max_retries: u32,

    /// Retries for each prompt after a time-out
    ///
    /// Such a call may have been billed, as one whose connection broke after it was sent. --max-retries does not count it.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) timeout_retries: u32,

    /// Retries for each prompt after a misfit of --schema
    ///
    /// The next call names to the model what does not fit. --max-retries does not count it.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) schema_retries: u32,

    /// The first backoff; it doubles with each retry
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = duration)]
    pub(in crate::cli) base_delay: Duration,

    /// The longest backoff
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = duration)]
    pub(in crate::cli) max_delay: Duration,

    /// How the backoffs are spread at random
    ///
    /// One of none, additive, full, equal and decorrelated.
    #[arg(long, value_name = "KIND", default_value = "additive", value_parser = super::values::jitter)]
    pub(in crate::cli) jitter: Jitter,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "What you see", hide_possible_values = true)]
pub(in crate::cli) struct WatchArgs {
    /// Show the progress: auto, always or never
    ///
    /// auto is live on a terminal, elsewhere a line every 10 s, and nothing with -q. always shows it with -q, too.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(in crate::cli) progress: ShowProgress,

    /// The format of the log: text or json
    ///
    /// json writes one object a line for each call and each change of state, as if with -v.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(in crate::cli) log_format: LogFormat,
}
