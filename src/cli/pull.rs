//! `paceline queue pull`: the records of a queue, into a results file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::PullArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::inform;
use super::queue;
use super::results::{cannot_open, torn_note};
use super::signals::watch_for_interrupts;
use super::stop::{Destination, ended};
use crate::cancel::CancelToken;
use crate::journal::{Index, Journal, JournalError, Record, RecordId};
use crate::queue::{Queue, QueueLink, QueueState, Status};
use crate::text::counted;

/// The file, and what has been written to it.
struct PulledRecords {
    journal: Journal,
    /// What was in the file before.
    index: Index,
    written: u64,
    known: u64,
}

pub(super) fn run(args: &PullArgs) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    queue.status().map_err(queue::explain)?;
    let output = output(args, &queue);
    let mut pull = PulledRecords::open(output.as_deref(), args)?;
    watch_for_interrupts(&cancel, Destination::Pulled)?;
    let to = output.map_or_else(
        || "standard output".to_owned(),
        |path| path.display().to_string(),
    );
    inform(format!("records of the queue {} to {to}", queue));
    let pulled = pull.follow(&queue, !args.snapshot, &cancel);
    let finished = pull.journal.finish();
    let written = counted(pull.written, "record");
    let known = pull.known;
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
        Some(path) => (path != Path::new("-")).then(|| path.clone()),
        None => Some(format!("{}.results.jsonl", queue.0.name()).into()),
    }
}

impl PulledRecords {
    fn open(output: Option<&Path>, args: &PullArgs) -> Result<Self, CommandError> {
        let (journal, index) = match output {
            None => (Journal::stdout(), Index::default()),
            Some(path) => {
                let opened = Journal::open(path, args.sync).map_err(cannot_open)?;
                torn_note(opened.torn, path).into_iter().for_each(inform);
                (opened.journal, opened.index)
            }
        };
        Ok(PulledRecords {
            journal,
            index,
            written: 0,
            known: 0,
        })
    }

    /// Writes records until no more will come, or, without `wait`, until none is there. It returns the state of the queue
    /// before the last look.
    fn follow(
        &mut self,
        queue: &Queue,
        wait: bool,
        cancel: &CancelToken,
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
            for record in &some {
                self.write(record)?;
            }
            let now = cancel.clock().now();
            self.journal.sync_if_due(now).map_err(unwritten)?;
        }
        Err(ended("interrupted", "", Destination::Pulled))
    }

    fn write(&mut self, record: &Record) -> Result<(), CommandError> {
        if self.is_known(record)? {
            self.known += 1;
            return Ok(());
        }
        self.journal.append(record).map_err(unwritten)?;
        self.written += 1;
        Ok(())
    }

    /// Whether the file had it before.
    fn is_known(&self, record: &Record) -> Result<bool, CommandError> {
        let Ok(id) = record.id.parse::<RecordId>() else {
            return Ok(false);
        };
        let status = self.index.status(&id);
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
