//! `paceline queue pull`: the records of a queue, into a results file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::PullArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::format::counted;
use super::logging::tell;
use super::results::{cannot_open, torn_note};
use super::{queue, run};
use crate::cancel::CancelToken;
use crate::journal::{Index, Journal, JournalError, Record, RecordId};
use crate::queue::{self as queues, Queue, QueueError, Status};
use crate::store::Absence;

/// Why a pull ends early.
enum PullStop {
    Queue(QueueError),
    Journal(JournalError),
    /// The file has an answer to another request at this line.
    Changed(u64),
    Interrupted,
}

/// The file, and what has been written to it.
struct PulledRecords {
    journal: Journal,
    /// What was in the file before.
    index: Index,
    written: u64,
    known: u64,
}

pub(super) fn run(args: &PullArgs, quiet: bool) -> Result<Exit, CommandError> {
    let cancel = CancelToken::new();
    let queue = queue::at(&args.queue)?;
    queue.status().map_err(queue::explain)?;
    let output = output(args, &queue);
    let mut pull = PulledRecords::open(output.as_deref(), args, quiet)?;
    run::watch_for_interrupts(&cancel)?;
    let to = output.map_or_else(
        || "standard output".to_owned(),
        |path| path.display().to_string(),
    );
    if !quiet {
        tell(&format!("records of the queue {} to {to}", queue.named()));
    }
    let pulled = pull.follow(&queue, !args.snapshot, &cancel);
    let finished = pull.journal.finish().map_err(PullStop::Journal);
    if !quiet {
        let written = counted(pull.written, "record");
        let known = pull.known;
        tell(&format!(
            "{written} written to {to}, {known} were there already"
        ));
    }
    match pulled.and_then(|status| finished.map(|()| status)) {
        Ok(status) => Ok(tell_state(&status, quiet)),
        Err(stop) => tell_why(stop),
    }
}

/// Where the records go; `None` is standard output.
fn output(args: &PullArgs, queue: &Queue) -> Option<PathBuf> {
    match &args.output {
        Some(path) => (path != Path::new("-")).then(|| path.clone()),
        None => Some(format!("{}.results.jsonl", queue.name()).into()),
    }
}

impl PulledRecords {
    fn open(output: Option<&Path>, args: &PullArgs, quiet: bool) -> Result<Self, CommandError> {
        let (journal, index) = match output {
            None => (Journal::stdout(), Index::default()),
            Some(path) => {
                let opened = Journal::open(path, args.sync).map_err(cannot_open)?;
                if let Some(note) = torn_note(opened.torn, path).filter(|_| !quiet) {
                    tell(&note);
                }
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
    ) -> Result<Status, PullStop> {
        const LOOK: Duration = Duration::from_millis(250);
        let mut records = queue.records();
        while !cancel.is_cancelled() {
            let status = insist(cancel, || records.status())?;
            let open = wait && status.standing() == queues::Standing::Open;
            let some = insist(cancel, || records.next_some(open.then_some(LOOK)))?;
            if some.is_empty() && !open {
                return Ok(status);
            }
            for record in &some {
                self.write(record)?;
            }
            let now = cancel.clock().now();
            self.journal.sync_if_due(now).map_err(PullStop::Journal)?;
        }
        Err(PullStop::Interrupted)
    }

    fn write(&mut self, record: &Record) -> Result<(), PullStop> {
        if self.is_known(record)? {
            self.known += 1;
            return Ok(());
        }
        self.journal.append(record).map_err(PullStop::Journal)?;
        self.written += 1;
        Ok(())
    }

    /// Whether the file had it before.
    fn is_known(&self, record: &Record) -> Result<bool, PullStop> {
        let Ok(id) = record.id.parse::<RecordId>() else {
            return Ok(false);
        };
        let status = self.index.status(&id);
        match status.is_done(record.text.is_some(), false) {
            None if status.is_answered() => Err(PullStop::Changed(id.line)),
            is_done => Ok(is_done.unwrap_or(false)),
        }
    }
}

/// Asks until there is an answer, while Redis is away.
fn insist<T>(
    cancel: &CancelToken,
    mut ask: impl FnMut() -> Result<T, QueueError>,
) -> Result<T, PullStop> {
    const PATIENCE: Duration = Duration::from_secs(15 * 60);
    let mut absence = Absence::default();
    loop {
        let error = match ask() {
            Err(QueueError::Store(error)) => error,
            answered => return answered.map_err(PullStop::Queue),
        };
        let again = absence.put_off(cancel.clock().now(), PATIENCE, error);
        let again = again.map_err(|error| PullStop::Queue(error.into()))?;
        cancel
            .sleep_until(again)
            .map_err(|_| PullStop::Interrupted)?;
    }
}

/// Tells how the queue stands now that its records are written.
fn tell_state(status: &Status, quiet: bool) -> Exit {
    let (waiting, in_flight) = (status.waiting, status.in_flight);
    let (answered, failed) = (status.answered, status.failed);
    let (exit, state) = match (status.standing(), failed) {
        (queues::Standing::Open, _) => (
            Exit::Stopped,
            format!("not finished yet: {waiting} waiting, {in_flight} in flight"),
        ),
        (queues::Standing::BrokenOff, _) => (
            Exit::Stopped,
            "a push was interrupted: run it again, then pull the rest".to_owned(),
        ),
        (queues::Standing::Done, 0) => (Exit::Answered, format!("all {answered} answered")),
        (queues::Standing::Done, _) => (
            Exit::SomeFailed,
            format!("{answered} answered, {failed} failed"),
        ),
    };
    if !quiet {
        tell(&state);
    }
    exit
}

fn tell_why(stop: PullStop) -> Result<Exit, CommandError> {
    let (exit, why) = match stop {
        PullStop::Changed(line) => {
            return Err(CommandError::usage(format!(
                "line {line} is in the file already with another request, so these are not the results of this queue: \
                 write them elsewhere with -o"
            )));
        }
        PullStop::Queue(error) => (Exit::Stopped, error.to_string()),
        PullStop::Journal(error) => (Exit::Stopped, error.to_string()),
        PullStop::Interrupted => (Exit::Interrupted, "interrupted".to_owned()),
    };
    tell(&format!(
        "stopped: {why}\nrun the same command again; it continues where it stopped"
    ));
    Ok(exit)
}
