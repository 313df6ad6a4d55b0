//! The options of `queue push|work|pull|status|retry|remove`.

use std::path::PathBuf;
use std::time::Duration;

use super::CallArgs;
use super::run::ReadingArgs;
use super::values::duration;
use crate::journal::Durability;

#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum QueueAction {
    /// Put prompts into a queue
    Push(PushArgs),
    /// Work on a queue, beside any number of other workers
    Work(Box<WorkArgs>),
    /// Write the records of a queue to a file, as they come
    Pull(PullArgs),
    /// Show the state of a queue
    Status(StatusArgs),
    /// Put the prompts that failed back into the queue
    #[command(after_help = include_str!("help/queue-retry.txt"))]
    Retry(QueueUrl),
    /// Delete a queue with its records
    Remove(RemoveArgs),
}

/// The queue that is meant.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct QueueUrl {
    /// The queue: redis://HOST:PORT/DB?name=NAME
    ///
    /// rediss:// uses TLS; $SSL_CERT_FILE names certificates to trust in place of the system's. The password comes from
    /// $PACELINE_REDIS_PASSWORD.
    #[arg(id = "queue", long = "queue", value_name = "URL")]
    pub(in crate::cli) url: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/queue-push.txt"))]
pub(in crate::cli) struct PushArgs {
    /// The prompts: .txt, .jsonl or .csv, also .gz; - is standard input
    pub(in crate::cli) prompts: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) queue: QueueUrl,
    #[command(flatten)]
    pub(in crate::cli) reading: ReadingArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/queue-work.txt"))]
pub(in crate::cli) struct WorkArgs {
    #[command(flatten)]
    pub(in crate::cli) queue: QueueUrl,

    /// Hand on the prompts of a worker that was silent this long
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = claim_time)]
    pub(in crate::cli) claim_after: Duration,

    /// Wait when the queue is empty, or does not exist yet
    #[arg(long)]
    pub(in crate::cli) wait: bool,

    /// Send a request that differs from the other workers'
    #[arg(long)]
    pub(in crate::cli) keep: bool,

    #[command(flatten)]
    pub(in crate::cli) calls: CallArgs,
}

/// Long enough for a few heartbeats, which come every 50 ms at the shortest.
fn claim_time(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(200);
    match duration(text)? {
        time if time < SHORTEST => Err("give 200ms at least, and better a minute".into()),
        time => Ok(time),
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/queue-pull.txt"))]
pub(in crate::cli) struct PullArgs {
    #[command(flatten)]
    pub(in crate::cli) queue: QueueUrl,

    /// Where the records go [default: the queue's name, .results.jsonl]
    ///
    /// - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,

    /// Write the records that exist now, and do not wait for the rest
    #[arg(long)]
    pub(in crate::cli) snapshot: bool,

    /// When to sync records to the disk: always, interval or never
    ///
    /// always is after each record, interval is at most once a second.
    #[arg(long, value_name = "WHEN", default_value = "interval")]
    pub(in crate::cli) sync: Durability,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/queue-status.txt"))]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    pub(in crate::cli) queue: QueueUrl,

    /// Write the numbers as one JSON object
    #[arg(long)]
    pub(in crate::cli) json: bool,

    /// Show every change until the queue is done
    ///
    /// A terminal is redrawn in place; elsewhere a change is a line.
    #[arg(long)]
    pub(in crate::cli) watch: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/queue-remove.txt"))]
pub(in crate::cli) struct RemoveArgs {
    #[command(flatten)]
    pub(in crate::cli) queue: QueueUrl,

    /// Really delete the queue: its prompts and its records
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}
