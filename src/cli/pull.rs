//! `paceline queue pull`: the records of a queue, into a results file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{PullArgs, from_here};
use super::error::CommandError;
use super::exit::Exit;
use super::logging::inform;
use super::output::is_dash;
use super::queue;
use super::results::{cannot_open, torn_note};
use super::signals::watch_for_interrupts;
use super::stop::{Destination, ended};
use crate::cancel::CancelToken;
use crate::journal::{Index, Journal, JournalError, Record, RecordId};
use crate::queue::{Queue, QueueLink, QueueState, Status};
use crate::text::counted;

pub(super) fn run(args: &PullArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    queue.status().map_err(queue::explain)?;
    let output = output(args, &queue);
    let (mut journal, index) = open(output.as_deref(), args)?;
    watch_for_interrupts(&cancel, Destination::Pulled)?;
    let to = output.map_or_else(
        || "standard output".to_owned(),
        |path| from_here(&path).display().to_string(),
    );
    inform(format!("records of the queue {queue} to {to}"));
    let (mut written, mut known) = (0, 0);
    let pulled = follow(&queue, !args.snapshot, &cancel, |records| {
        for record in records {
            if is_known(&index, record)? {
                known += 1;
            } else {
                journal.append(record).map_err(unwritten)?;
                written += 1;
            }
        }
        let now = cancel.clock().now();
        journal.sync_if_due(now).map_err(unwritten)
    });
    let finished = journal.finish();
    let written = counted(written, "record");
    inform(format!(
        "{written} written to {to}, {known} were there already"
    ));
    let status = pulled?;
    finished.map_err(unwritten)?;
    Ok(tell_state(&status))
}

fn unwritten(error: JournalError) -> CommandError {
    ended("results", error, Destination::Pulled)
}

/// Where the records go; `None` is standard output.
fn output(args: &PullArgs, queue: &Queue) -> Option<PathBuf> {
    match &args.output {
        Some(path) => (!is_dash(path)).then(|| path.clone()),
        None => Some(format!("{}.results.jsonl", queue.0.name()).into()),
    }
}

/// The file, and what was in it before.
fn open(output: Option<&Path>, args: &PullArgs) -> Result<(Journal, Index), CommandError> {
    let Some(path) = output else {
        return Ok((Journal::stdout(), Index::default()));
    };
    let opened = Journal::open(path, args.sync).map_err(cannot_open("-o"))?;
    torn_note(opened.torn, path).into_iter().for_each(inform);
    Ok((opened.journal, opened.index))
}

/// Passes records on until no more will come, or, without `wait`, until none is there. Returns the state of the queue
/// before the last look.
fn follow(
    queue: &Queue,
    wait: bool,
    cancel: &CancelToken,
    mut write: impl FnMut(&[Record]) -> Result<(), CommandError>,
) -> Result<Status, CommandError> {
    /// How long one request waits for records.
    const WAIT: Duration = Duration::from_millis(250);
    let outage = queue.outage(queue::PATIENCE);
    let broken = queue::ends(Destination::Pulled);
    let mut link = queue.link();
    let mut last = "0".to_owned();
    while !cancel.is_cancelled() {
        let status = link.patiently(&outage, cancel, QueueLink::status);
        let status = status.map_err(broken)?;
        let open = wait && status.state() == QueueState::Open;
        let block = open.then_some(WAIT);
        let some = link.patiently(&outage, cancel, |link| link.records(&mut last, block));
        let some = some.map_err(broken)?;
        if some.is_empty() && !open {
            return Ok(status);
        }
        write(&some)?;
    }
    Err(ended("interrupted", "", Destination::Pulled))
}

/// Whether the file had this record before.
fn is_known(index: &Index, record: &Record) -> Result<bool, CommandError> {
    let Ok(id) = record.id.parse::<RecordId>() else {
        return Ok(false);
    };
    let status = index.status(&id);
    match status.is_done(record.text.is_some(), false) {
        None if status.is_answered() => {
            let line = id.line;
            let problem = format!(
                "line {line} is in the file already with another request, so these are not the results of this queue"
            );
            Err(CommandError::usage(problem).help("write them elsewhere with -o"))
        }
        is_done => Ok(is_done.unwrap_or(false)),
    }
}

/// Tells how the queue stands now that its records are written.
fn tell_state(status: &Status) -> Exit {
    let (answered, failed) = (status.answered, status.failed);
    let (exit, state) = match status.state() {
        QueueState::Open => {
            let (waiting, in_flight) = (status.waiting, status.in_flight);
            let state = format!("not finished yet: {waiting} waiting, {in_flight} in flight");
            (Exit::Stopped, state)
        }
        QueueState::BrokenOff => {
            let state = "a push was interrupted: run it again, then pull the rest";
            (Exit::Stopped, state.to_owned())
        }
        QueueState::Done if failed == 0 => (Exit::Answered, format!("all {answered} answered")),
        QueueState::Done => {
            let state = format!("{answered} answered, {failed} failed");
            (Exit::SomeFailed, state)
        }
    };
    inform(state);
    exit
}
