//! What can be typed after `push`, `work`, `pull` and `queue`.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::{Calls, duration};
use crate::journal::Durability;
use crate::prompts::Format;

/// Which queue.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Which {
    /// The queue: redis://HOST:PORT/DB?name=NAME
    ///
    /// rediss:// is for TLS; $SSL_CERT_FILE names certificates to trust in place of the system's. The password comes from
    /// $PACELINE_REDIS_PASSWORD.
    #[arg(id = "queue", long = "queue", value_name = "URL")]
    pub(in crate::cli) url: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in the queue already is not added again, so the same push again goes on where it was cut off. One queue is \
for one input: a prompt is known by its line.

Exit status: 0 all is in the queue, 2 bad usage or input, 3 stopped early, 130 interrupted.")]
pub(in crate::cli) struct Push {
    /// The prompts: .txt, .jsonl or .csv, also .gz; - is standard input
    pub(in crate::cli) prompts: PathBuf,

    #[command(flatten)]
    pub(in crate::cli) which: Which,

    /// How the prompts are written: text, jsonl or csv [default: by the extension]
    ///
    /// Without an extension, as on standard input, they are text.
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) format: Option<Format>,

    /// A file with a template, such as Explain {{topic}} in a haiku
    ///
    /// It takes {{prompt}}, {{id}}, {{line}} and the fields of each object or row.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) template: Option<PathBuf>,

    /// Put in at most the first N prompts [default: all]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It ends when the queue is empty and nobody works on any of it any more. All workers of a queue send the same request: \
the model, the system message and the parameters are those of the first. Records stay in the queue; \
paceline pull writes them to a file.

Exit status: 0 every prompt of this worker answered, 1 some failed, 2 bad usage and nothing sent, 3 stopped early, \
130 interrupted.")]
pub(in crate::cli) struct Work {
    #[command(flatten)]
    pub(in crate::cli) which: Which,

    /// How long a silent worker keeps its prompts
    ///
    /// Once it has given no sign of life for so long, the others hand them on.
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = a_while)]
    pub(in crate::cli) claim_after: Duration,

    /// Stay when the queue is empty, or not there yet
    #[arg(long)]
    pub(in crate::cli) wait: bool,

    /// Send another request than the other workers do
    #[arg(long)]
    pub(in crate::cli) keep: bool,

    #[command(flatten)]
    pub(in crate::cli) calls: Calls,
}

/// Long enough for a few signs of life.
fn a_while(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(200);
    match duration(text)? {
        time if time < SHORTEST => Err("give 200ms at least, and better a minute".into()),
        time => Ok(time),
    }
}

impl Deref for Work {
    type Target = Calls;

    fn deref(&self) -> &Calls {
        &self.calls
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The records come in order of completion, as those of a run do. Into a file that has some of them already only the rest \
is written.

Exit status: 0 every prompt answered, 1 some failed, 2 bad usage, 3 stopped early or not all finished yet, \
130 interrupted.")]
pub(in crate::cli) struct Pull {
    #[command(flatten)]
    pub(in crate::cli) which: Which,

    /// Where the records go [default: the queue's name, .results.jsonl]
    ///
    /// - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,

    /// Take what is there now, and do not wait for the rest
    #[arg(long)]
    pub(in crate::cli) snapshot: bool,

    /// Force records to the disk: always, interval or never
    ///
    /// always is after each record, interval is each second.
    #[arg(long, value_name = "WHEN", default_value = "interval")]
    pub(in crate::cli) sync: Durability,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit status: 0 done, however the queue stands; 2 there is no such queue, or it cannot be reached.")]
pub(in crate::cli) struct Queue {
    #[command(flatten)]
    pub(in crate::cli) which: Which,

    /// Write the numbers as one JSON object
    #[arg(long, conflicts_with_all = ["remove", "retry_failed"])]
    pub(in crate::cli) json: bool,

    /// Put the prompts that failed into the queue once more
    #[arg(long, conflicts_with = "remove")]
    pub(in crate::cli) retry_failed: bool,

    /// Delete the queue with all that is in it, the records too: pull them first
    #[arg(long)]
    pub(in crate::cli) remove: bool,
}
