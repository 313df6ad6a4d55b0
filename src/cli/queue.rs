//! `paceline queue`: its commands, and the state of a queue in words.

use std::io::{self, IsTerminal, stdout};
use std::time::Duration;

use serde_json::json;

use super::args::{QueueAction, QueueUrl, StatusArgs};
use super::error::{CommandError, print};
use super::exit::Exit;
use super::logging::{inform, screen};
use super::progress::can_draw;
use super::signals::watch_for_interrupts;
use super::stop::{Destination, ended};
use super::template::{self, TextLook};
use super::{pull, push, share, work};
use crate::cancel::CancelToken;
use crate::queue::{Queue, QueueError, QueueLink, QueueState, Status};
use crate::store::RedisUrl;
use crate::text::counted;

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
    Ok(Queue(RedisUrl::parse(
        &url.url,
        share::password().as_deref(),
    )?))
}

/// How long Redis may be away: as long as the default of `--max-wait`.
pub(super) const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// What is wrong with a queue, and what to do about it.
pub(super) fn explain(error: QueueError) -> CommandError {
    let said = CommandError::usage(&error);
    match &error {
        QueueError::Gone(queue) => CommandError::usage(format!("there is no queue {queue}"))
            .help("paceline queue push creates it"),
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
    to: Destination,
) -> Result<T, CommandError> {
    answer.map_err(|error| match cancel.is_cancelled() {
        true => ended("interrupted", "", to),
        false => explain(error),
    })
}

/// The end of a command that has begun to use a queue, and how to go on.
pub(super) fn ends(to: Destination) -> impl Fn(QueueError) -> CommandError + Copy {
    move |error| match error {
        QueueError::Cancelled => ended("interrupted", "", to),
        QueueError::Changed { .. } | QueueError::TooFar(_) => explain(error),
        QueueError::Gone(_) => ended("queue", error, Destination::GoneQueue),
        error => ended("queue", error, to),
    }
}

/// Shows the state until no more will change by itself: on a terminal in place, elsewhere one line a change.
fn watch(args: &StatusArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = at(&args.queue)?;
    watch_for_interrupts(&cancel, Destination::Watched)?;
    first(queue.status(), &cancel, Destination::Watched)?;
    let in_place = !args.json && stdout().is_terminal() && can_draw();
    if in_place {
        screen().start();
    }
    let (mut text, mut last) = (String::new(), None);
    let watched = follow(&queue, &cancel, |status| {
        if in_place {
            text = describe(&queue, status)?;
            screen().draw_text(&text);
            return Ok(());
        }
        let still = Status {
            oldest_s: None, // the time passes, which is no change
            ..status.clone()
        };
        match last.replace(still) == last {
            true => Ok(()),
            false => print(line(status, args.json)? + "\n").map(drop),
        }
    });
    if in_place {
        screen().clear();
        print(text + "\n")?;
    }
    match watched? {
        QueueState::BrokenOff => Ok(Exit::Stopped),
        _ => Ok(Exit::Answered),
    }
}

/// The state in one line.
fn line(status: &Status, json: bool) -> serde_json::Result<String> {
    match json {
        true => serde_json::to_string(status),
        false => Ok(format!("{}: {}", state(status), counts(status))),
    }
}

/// Shows the state again and again, until no more will change by itself.
fn follow(
    queue: &Queue,
    cancel: &CancelToken,
    mut show: impl FnMut(&Status) -> Result<(), CommandError>,
) -> Result<QueueState, CommandError> {
    /// Often enough for a person who watches; a thousand that watch are no load for Redis.
    const PERIOD: Duration = Duration::from_millis(500);
    let outage = queue.outage(PATIENCE);
    let mut link = queue.link();
    loop {
        let status = match link.patiently(&outage, cancel, QueueLink::status) {
            Err(QueueError::Cancelled) => return Err(CommandError::early(Exit::Interrupted, None)),
            status => status.map_err(ends(Destination::Watched))?,
        };
        show(&status)?;
        if status.state() != QueueState::Open {
            return Ok(status.state());
        }
        let _ = cancel.sleep(PERIOD); // the next look ends with it
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
