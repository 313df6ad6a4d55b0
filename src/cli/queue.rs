//! `paceline queue`: its commands, and the state of a queue in words.

use std::io::{self, IsTerminal, Write, stdout};
use std::time::Duration;

use serde_json::json;

use super::args::{QueueAction, QueueUrl, StatusArgs};
use super::error::{CommandError, print};
use super::exit::Exit;
use super::format::counted;
use super::logging::{inform, screen};
use super::progress::can_draw;
use super::signals::watch_for_interrupts;
use super::stop::{Destination, tell_stop};
use super::template::{self, TextLook};
use super::{pull, push, redis, work};
use crate::cancel::CancelToken;
use crate::journal::JournalError;
use crate::prompts::PromptError;
use crate::queue::{Queue, QueueError, QueueLink, QueueState, Status};

/// Why a command ends early.
pub(super) enum QueueStop {
    /// The queue, the input or the results cannot be used any further: which, and why. Or it was interrupted.
    Stopped(&'static str, String),
    /// The command does not fit the queue, or the file.
    Wrong(CommandError),
}

impl QueueStop {
    pub(super) fn interrupted() -> Self {
        QueueStop::Stopped("interrupted", String::new())
    }
}

pub(super) fn run(action: QueueAction) -> Result<Exit, CommandError> {
    match action {
        QueueAction::Push(args) => push::run(&args),
        QueueAction::Work(args) => work::run(&args),
        QueueAction::Pull(args) => pull::run(&args),
        QueueAction::Status(args) if args.watch => watch(&args),
        QueueAction::Status(args) => {
            let queue = at(&args.queue)?;
            let status = queue.status().map_err(explain)?;
            let text = match args.json {
                true => serde_json::to_string(&status)?,
                false => describe(&queue, &status)?,
            };
            print(text + "\n")
        }
        QueueAction::Retry(url) => retry_failed(&at(&url)?),
        QueueAction::Remove(args) => remove(&at(&args.queue)?, args.yes),
    }
}

/// The queue at a URL.
pub(super) fn at(url: &QueueUrl) -> Result<Queue, CommandError> {
    Ok(Queue(redis::url(&url.url)?))
}

/// The kind of a stop where the queue no longer exists.
const GONE: &str = "gone";

/// How long Redis may be away: as long as the default of `--max-wait`.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What is wrong with a queue, and what to do about it.
pub(super) fn explain(error: QueueError) -> CommandError {
    let said = CommandError::usage(&error);
    match &error {
        QueueError::Missing(_) => said.help("paceline queue push creates it"),
        QueueError::Changed { .. } => said.help(
            "one queue is for one input: name another with ?name=NAME, or remove this one with paceline queue remove",
        ),
        QueueError::OtherRequest { theirs, ours } => CommandError::usage(format!(
            "{error}; for an empty prompt it is\n  theirs: {theirs}\n  ours:   {ours}"
        ))
        .help("send the same request, name another queue with ?name=NAME, or send this one with --keep"),
        _ => said,
    }
}

/// What the first request to a queue brings: its error is a mistake, unless somebody interrupted it.
pub(super) fn first<T>(
    answer: Result<T, QueueError>,
    cancel: &CancelToken,
) -> Result<T, QueueStop> {
    answer.map_err(|error| match cancel.is_cancelled() {
        true => QueueStop::interrupted(),
        false => QueueStop::Wrong(explain(error)),
    })
}

/// Tells why a command ends early, and how to go on.
pub(super) fn end(stop: QueueStop, to: Destination) -> Result<Exit, CommandError> {
    let (kind, why) = match stop {
        QueueStop::Wrong(error) => return Err(error),
        QueueStop::Stopped(kind, why) => (kind, why),
    };
    let to = if kind == GONE {
        Destination::GoneQueue
    } else {
        to
    };
    tell_stop(kind, &why, to);
    Ok(match kind {
        "interrupted" => Exit::Interrupted,
        _ => Exit::Stopped,
    })
}

/// Shows the state until no more will change by itself: on a terminal in place, elsewhere one line a change.
fn watch(args: &StatusArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = at(&args.queue)?;
    watch_for_interrupts(&cancel, Destination::Watched)?;
    if let Err(stop) = first(queue.status(), &cancel) {
        return end(stop, Destination::Watched);
    }
    let in_place = !args.json && stdout().is_terminal() && can_draw();
    let last = match in_place {
        true => watch_in_place(&queue, &cancel),
        false => watch_in_lines(&queue, &cancel, args.json),
    };
    match last {
        Ok(QueueState::BrokenOff) => Ok(Exit::Stopped),
        Ok(_) => Ok(Exit::Answered),
        Err(QueueStop::Stopped("interrupted", _)) => Ok(Exit::Interrupted),
        Err(stop) => end(stop, Destination::Watched),
    }
}

fn watch_in_place(queue: &Queue, cancel: &CancelToken) -> Result<QueueState, QueueStop> {
    screen().start();
    let mut last = String::new();
    let watched = follow(queue, cancel, |status| {
        last = describe(queue, status)?;
        screen().draw_text(&last);
        Ok(())
    });
    screen().clear();
    writeln!(stdout(), "{last}")?;
    watched
}

fn watch_in_lines(
    queue: &Queue,
    cancel: &CancelToken,
    json: bool,
) -> Result<QueueState, QueueStop> {
    let mut last = None;
    follow(queue, cancel, |status| {
        let counted = Status {
            oldest_s: None, // the time passes, which is no change
            ..status.clone()
        };
        if last.as_ref() == Some(&counted) {
            return Ok(());
        }
        last = Some(counted);
        let line = match json {
            true => serde_json::to_string(status)?,
            false => format!("{}: {}", state(status), counts(status)),
        };
        let mut to = stdout().lock();
        to.write_all((line + "\n").as_bytes())
            .and_then(|()| to.flush())
    })
}

/// Shows the state again and again, until no more will change by itself.
fn follow(
    queue: &Queue,
    cancel: &CancelToken,
    mut show: impl FnMut(&Status) -> io::Result<()>,
) -> Result<QueueState, QueueStop> {
    /// Often enough for a person who watches; a thousand that watch are no load for Redis.
    const PERIOD: Duration = Duration::from_millis(500);
    let outage = queue.outage(PATIENCE);
    let mut link = queue.link();
    loop {
        let status = link.patiently(&outage, cancel, QueueLink::status)?;
        show(&status)?;
        if status.state() != QueueState::Open {
            return Ok(status.state());
        }
        if cancel.sleep(PERIOD).is_err() {
            return Err(QueueStop::interrupted());
        }
    }
}

fn retry_failed(queue: &Queue) -> Result<Exit, CommandError> {
    let count = counted(queue.retry_failed().map_err(explain)?, "failed prompt");
    inform(format!("put {count} back into the queue {queue}"));
    Ok(Exit::Answered)
}

/// Deletes a queue. Not while workers are busy: their answers would be lost.
fn remove(queue: &Queue, yes: bool) -> Result<Exit, CommandError> {
    let status = queue.status().map_err(explain)?;
    let alive = status.workers.iter().filter(|worker| worker.alive);
    let alive: Vec<_> = alive.map(|worker| worker.name.as_str()).collect();
    if !alive.is_empty() {
        let problem = format!("workers are busy with this queue ({})", alive.join(", "));
        let help = "stop them first, or wait until they are done";
        return Err(CommandError::usage(problem).help(help));
    }
    let records = counted(status.answered + status.failed, "record");
    let prompts = counted(status.left(), "unfinished prompt");
    if !yes {
        let problem = format!("this would delete the queue {queue} with {records} and {prompts}");
        let help = "save the records with paceline queue pull, then repeat the command with --yes";
        return Err(CommandError::usage(problem).help(help));
    }
    queue.remove().map_err(explain)?;
    inform(format!(
        "removed the queue {queue}: {records} and {prompts}"
    ));
    Ok(Exit::Answered)
}

fn describe(queue: &Queue, status: &Status) -> io::Result<String> {
    let view = json!({
        "queue": queue.to_string(),
        "state": state(status),
        "counts": counts(status),
        "now": status,
    });
    template::text(
        include_str!("queue/status.txt"),
        &view,
        TextLook::of_stdout(),
    )
}

fn counts(status: &Status) -> String {
    format!(
        "{} waiting, {} in flight, {} answered, {} failed",
        status.waiting, status.in_flight, status.answered, status.failed
    )
}

fn state(status: &Status) -> &'static str {
    match status.state() {
        QueueState::Done => "done",
        QueueState::BrokenOff => "a push was interrupted: run it again",
        QueueState::Open if status.pushing => "prompts are being added",
        QueueState::Open => "open",
    }
}

impl From<QueueError> for QueueStop {
    fn from(error: QueueError) -> Self {
        let kind = match error {
            QueueError::Cancelled => return QueueStop::interrupted(),
            QueueError::Changed { .. } | QueueError::TooFar(_) => {
                return QueueStop::Wrong(explain(error));
            }
            QueueError::Removed(_) => GONE,
            _ => "queue",
        };
        QueueStop::Stopped(kind, error.to_string())
    }
}

impl From<JournalError> for QueueStop {
    fn from(error: JournalError) -> Self {
        QueueStop::Stopped("results", error.to_string())
    }
}

impl From<PromptError> for QueueStop {
    fn from(error: PromptError) -> Self {
        QueueStop::Stopped("input", error.to_string())
    }
}

impl From<io::Error> for QueueStop {
    fn from(error: io::Error) -> Self {
        QueueStop::Wrong(CommandError::stdout(&error))
    }
}
