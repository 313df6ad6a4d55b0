//! Why nothing is sent: what is wrong with the command, its surroundings or its input, and what to do about it.

use std::path::PathBuf;

use thiserror::Error;

use crate::http::CertError;
use crate::journal::{JournalError, ResumeDiff};
use crate::limiter::BoardError;
use crate::prompts::{PromptError, TemplateError};
use crate::report::counted;

/// What is wrong with the command or its input.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    #[error(
        "there is no API key in ${0}. Three ways on:
  set the key:                     export {0}=...
  point at a server without one:   --base-url http://localhost:8080/v1
  try it without key or network:   --practice"
    )]
    NoKey(String),
    #[error("--key-env names ${0}, which is not set")]
    NoSuchVariable(String),
    #[error(
        "what is in ${0} cannot be a key: it is empty or has characters that no header can carry"
    )]
    BadKey(String),
    #[error(
        "--base-url {0:?} names no variable with its key: where several addresses are given, each is URL=KEYENV"
    )]
    NoPair(String),
    #[error("give each address its key as URL=KEYENV, and leave --key-env out")]
    KeysApart,
    #[error(
        "keys {0} and {1} are the same at the same address: the pace would be twice what is allowed"
    )]
    SameKey(usize, usize),
    #[error("say which model to ask, with -m NAME")]
    NoModel,
    #[error("{from} is {url:?}, which is no address: give one such as http://localhost:8080/v1")]
    BadUrl { from: String, url: String },
    #[error(
        "--api embeddings turns texts into vectors: leave --system, --max-tokens and --temperature out"
    )]
    NoChat,
    #[error("--max-delay is shorter than --base-delay")]
    Delays,
    #[error("--burst says how to use --rpm: give that, too")]
    BurstWithoutRate,
    #[error(transparent)]
    Certificates(#[from] CertError),
    #[error("the practice server cannot start: {0}")]
    Practice(std::io::Error),
    #[error("cannot read prompts from {path}: {source}", path = path.display())]
    Open {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot read the template from {path}: {source}", path = path.display())]
    OpenTemplate {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("{path}: {source}", path = path.display())]
    Input { path: PathBuf, source: PromptError },
    #[error("{path} holds no prompt: write one a line, or one a row of CSV", path = .0.display())]
    Empty(PathBuf),
    #[error("cannot read earlier results from {path}: {source}", path = path.display())]
    OpenEarlier {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} holds no answer to go by: say how long a call takes, with --latency", path = .0.display())]
    NothingEarlier(PathBuf),
    #[error("cannot write to standard output: {0}")]
    Say(std::io::Error),
    #[error("{0}{hint}", hint = if matches!(.0, JournalError::Busy(_)) { " with -o" } else { "" })]
    Output(#[from] JournalError),
    #[error("cannot read the results back: {0}")]
    ReadBack(std::io::Error),
    #[error(transparent)]
    Misfit(Box<Misfit>),
    #[error("{path} holds the prompts: write the results elsewhere with -o", path = .0.display())]
    Overwriting(PathBuf),
    #[error(
        "--share is for a pace that is known: give --rpm, the same to every process that shares it"
    )]
    ShareWithoutRate,
    #[error(
        "--share keeps turns evenly apart, and --burst asks for several at once: leave one of them out"
    )]
    ShareBurst,
    #[error(
        "--share has nothing to share with --practice, whose server is this process's own: start one with \
         `paceline practice`, and point every process at it with --base-url"
    )]
    ShareAlone,
    #[error("{0}")]
    Share(BoardError),
    #[cfg(not(feature = "redis"))]
    #[error(
        "this program was built without the feature redis: share a file, or build it with that"
    )]
    NoRedis,
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[cfg(feature = "redis")]
    #[error("{0}{hint}", hint = what_to_do(.0))]
    Queue(#[from] crate::queue::QueueError),
    #[cfg(feature = "redis")]
    #[error("workers are at it ({0}): stop them first, or wait until they are done")]
    AtWork(String),
    #[cfg(feature = "redis")]
    #[error(
        "line {0} is in the results already, but of another request: these are not the results of this queue; \
         write them elsewhere with -o"
    )]
    Mixed(u64),
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(#[from] ctrlc::Error),
}

/// What to do about a queue that cannot be used.
#[cfg(feature = "redis")]
fn what_to_do(error: &crate::queue::QueueError) -> String {
    use crate::queue::QueueError;
    match error {
        QueueError::Changed { .. } => {
            "; one queue is for one input: name another with ?name=NAME, or remove this one"
                .to_owned()
        }
        QueueError::OtherRequest { theirs, ours } => {
            format!(
                "; for an empty prompt it is\n  theirs: {theirs}\n  ours:   {ours}\n\
                 send the same, name another queue with ?name=NAME, or send this all the same with --keep"
            )
        }
        _ => String::new(),
    }
}

/// The results that the input does not fit.
#[derive(Debug, Error)]
#[error("{}", self.say())]
pub(super) struct Misfit {
    pub(super) path: PathBuf,
    pub(super) diff: ResumeDiff,
}

impl Misfit {
    fn say(&self) -> String {
        let diff = &self.diff;
        let mut lines = vec![format!(
            "{} of the {} prompts on record in {} would be sent differently now:",
            diff.changed(),
            diff.recorded,
            self.path.display()
        )];
        let kinds = [
            (diff.other_text, "another text"),
            (
                diff.other_settings,
                "the same text, but another model, system message or parameter",
            ),
        ];
        for (count, what) in kinds {
            if count > 0 {
                lines.push(format!("  {}: {what}", counted(count, "prompt")));
            }
        }
        lines.extend(diff.first.iter().map(|first| format!("  {first}")));
        lines.push("keep the old answers with --keep, or start again with --restart, which keeps the old file aside".to_owned());
        lines.join("\n")
    }
}
