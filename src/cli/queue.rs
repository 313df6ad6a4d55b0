//! `paceline queue`: its commands, and the state of a queue in words.

use super::args::{QueueAction, QueueUrl, StatusArgs};
use super::error::{CommandError, print};
use super::exit::Exit;
use super::format::{counted, duration};
use super::logging::tell;
use super::{pull, push, redis, work};
use crate::queue::{Queue, QueueError, QueueState, Status};

pub(super) fn run(action: QueueAction, quiet: bool) -> Result<Exit, CommandError> {
    match action {
        QueueAction::Push(args) => push::run(&args, quiet),
        QueueAction::Work(args) => work::run(&args, quiet),
        QueueAction::Pull(args) => pull::run(&args, quiet),
        QueueAction::Status(args) => status(&args),
        QueueAction::Retry(args) => retry_failed(&at(&args.queue)?, quiet),
        QueueAction::Remove(args) => remove(&at(&args.queue)?, args.yes, quiet),
    }
}

/// The queue at a URL.
pub(super) fn at(url: &QueueUrl) -> Result<Queue, CommandError> {
    Ok(Queue::at(redis::url(&url.url)?))
}

/// What is wrong with a queue, and what to do about it.
pub(super) fn explain(error: QueueError) -> CommandError {
    let help = match &error {
        QueueError::Missing(_) => ": paceline queue push creates it".to_owned(),
        QueueError::Changed { .. } => {
            "; one queue is for one input: name another with ?name=NAME, or remove this one with \
             paceline queue remove"
                .to_owned()
        }
        QueueError::OtherRequest { theirs, ours } => format!(
            "; for an empty prompt it is\n  theirs: {theirs}\n  ours:   {ours}\n\
             send the same request, name another queue with ?name=NAME, or send this one with --keep"
        ),
        _ => String::new(),
    };
    CommandError::usage(format!("{error}{help}"))
}

fn status(args: &StatusArgs) -> Result<Exit, CommandError> {
    let queue = at(&args.queue)?;
    let status = queue.status().map_err(explain)?;
    let text = match args.json {
        true => serde_json::to_string(&status)?,
        false => describe(&queue, &status),
    };
    print(text + "\n")
}

fn retry_failed(queue: &Queue, quiet: bool) -> Result<Exit, CommandError> {
    let count = counted(queue.retry_failed().map_err(explain)?, "failed prompt");
    if !quiet {
        tell(&format!(
            "put {count} back into the queue {}",
            queue.named()
        ));
    }
    Ok(Exit::Answered)
}

/// Deletes a queue. Not while workers are busy: their answers would be lost.
fn remove(queue: &Queue, yes: bool, quiet: bool) -> Result<Exit, CommandError> {
    let status = queue.status().map_err(explain)?;
    let alive = status.workers.iter().filter(|worker| worker.alive);
    let alive: Vec<_> = alive.map(|worker| worker.name.as_str()).collect();
    if !alive.is_empty() {
        return Err(CommandError::usage(format!(
            "workers are busy with this queue ({}): stop them first, or wait until they are done",
            alive.join(", ")
        )));
    }
    let name = queue.named();
    let records = counted(status.answered + status.failed, "record");
    let content = format!(
        "{records} and {}",
        counted(status.left(), "unfinished prompt")
    );
    if !yes {
        return Err(CommandError::usage(format!(
            "this would delete the queue {name} with {content}: save the records with paceline queue pull, \
             then repeat the command with --yes"
        )));
    }
    queue.remove().map_err(explain)?;
    if !quiet {
        tell(&format!("removed the queue {name}: {content}"));
    }
    Ok(Exit::Answered)
}

fn describe(queue: &Queue, status: &Status) -> String {
    let mut lines = vec![
        format!("queue {}: {}", queue.named(), standing(status)),
        format!(
            "{} waiting, {} in flight, {} answered, {} failed",
            status.waiting, status.in_flight, status.answered, status.failed
        ),
    ];
    if let Some(age) = status.oldest {
        lines.push(format!("the oldest has waited for {}", duration(age)));
    }
    if status.dropped > 0 {
        let dropped = counted(status.dropped, "answer");
        lines.push(format!("{dropped} dropped: another worker was first"));
    }
    lines.push(counted(status.workers.len() as u64, "worker"));
    for worker in &status.workers {
        let silent = if worker.alive { "" } else { ", silent" };
        lines.push(format!(
            "  {}: {} in flight{silent}",
            worker.name, worker.in_flight
        ));
    }
    lines.join("\n")
}

fn standing(status: &Status) -> &'static str {
    match status.standing() {
        QueueState::Done => "done",
        QueueState::BrokenOff => "a push was interrupted: run it again",
        QueueState::Open if status.pushing => "prompts are being added",
        QueueState::Open => "open",
    }
}
