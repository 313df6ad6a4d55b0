//! `paceline pull`: the records of a queue, into a results file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args;
use super::unusable::Unusable;
use super::{Exit, queue, run, tell};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::journal::{Index, Journal, JournalError, Opened, Record, RecordId};
use crate::queue::{self as queues, Queue, QueueError, Status};
use crate::report::counted;
use crate::store::Absence;

/// Why a pull ends before its end.
enum Stop {
    Queue(QueueError),
    Journal(JournalError),
    /// The file has an answer to another request at this line.
    Changed(u64),
    Interrupted,
}

/// What has come so far.
struct Pull {
    journal: Journal,
    /// What was in the file before.
    index: Index,
    written: u64,
    known: u64,
}

pub(super) fn run(args: &args::Pull, quiet: bool) -> Result<Exit, Unusable> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::on(clock);
    let queue = queue::at(&args.which)?;
    queue.status()?;
    let output = output(args, &queue);
    let (journal, index) = match &output {
        None => (Journal::stdout(), Index::default()),
        Some(path) => open(path, args)?,
    };
    run::watch_for_interrupts(&cancel)?;
    let to = output.map_or_else(
        || "standard output".to_owned(),
        |path| path.display().to_string(),
    );
    if !quiet {
        tell(&format!("records of the queue {} to {to}", queue.named()));
    }
    let mut pull = Pull {
        journal,
        index,
        written: 0,
        known: 0,
    };
    let pulled = pull.follow(&queue, !args.snapshot, &cancel);
    let Pull {
        journal,
        written,
        known,
        ..
    } = pull;
    let ended = pulled.and_then(|status| journal.finish().map(|()| status).map_err(Stop::Journal));
    if !quiet {
        tell(&format!(
            "{} written to {to}, {known} were there already",
            counted(written, "record")
        ));
    }
    ended.map_or_else(say_why, |status| Ok(say_how(&status, quiet)))
}

/// `None` is standard output.
fn output(args: &args::Pull, queue: &Queue) -> Option<PathBuf> {
    match &args.output {
        Some(path) => (path != Path::new("-")).then(|| path.clone()),
        None => Some(format!("{}.results.jsonl", queue.name()).into()),
    }
}

fn open(path: &Path, args: &args::Pull) -> Result<(Journal, Index), Unusable> {
    let Opened {
        journal,
        index,
        torn,
    } = Journal::open(path, args.sync)?;
    if torn > 0 {
        tell(&format!(
            "cut off an unfinished record ({torn} bytes) at the end of {}",
            path.display()
        ));
    }
    Ok((journal, index))
}

impl Pull {
    /// Writes records until there will be no more, or none just now. Returns how the queue stood before the last look.
    fn follow(&mut self, queue: &Queue, wait: bool, cancel: &CancelToken) -> Result<Status, Stop> {
        const LOOK: Duration = Duration::from_millis(250);
        let mut records = queue.records();
        while !cancel.is_cancelled() {
            let status = insist(cancel, || records.status())?;
            let open = wait && status.standing() == queues::Standing::Open;
            let some = insist(cancel, || records.next_some(open.then_some(LOOK)))?;
            if some.is_empty() && !open {
                return Ok(status);
            }
            some.iter().try_for_each(|record| self.write(record))?;
            self.journal
                .sync_if_due(cancel.clock().now())
                .map_err(Stop::Journal)?;
        }
        Err(Stop::Interrupted)
    }

    fn write(&mut self, record: &Record) -> Result<(), Stop> {
        if self.is_known(record)? {
            self.known += 1;
            return Ok(());
        }
        self.journal.append(record).map_err(Stop::Journal)?;
        self.written += 1;
        Ok(())
    }

    /// Whether the file had it before.
    fn is_known(&self, record: &Record) -> Result<bool, Stop> {
        let Ok(id) = record.id.parse::<RecordId>() else {
            return Ok(false);
        };
        let status = self.index.status(&id);
        match status.is_done(record.text.is_some(), false) {
            None if status.is_answered() => Err(Stop::Changed(id.line)),
            is_done => Ok(is_done.unwrap_or(false)),
        }
    }
}

/// Asks until there is an answer; waits for as long as it takes while Redis is away.
fn insist<T>(
    cancel: &CancelToken,
    mut ask: impl FnMut() -> Result<T, QueueError>,
) -> Result<T, Stop> {
    const PATIENCE: Duration = Duration::from_secs(15 * 60);
    let mut absence = Absence::default();
    loop {
        let error = match ask() {
            Err(QueueError::Store(error)) => error,
            answered => return answered.map_err(Stop::Queue),
        };
        let again = absence.put_off(cancel.clock().now(), PATIENCE, error);
        let again = again.map_err(|error| Stop::Queue(error.into()))?;
        cancel.sleep_until(again).map_err(|_| Stop::Interrupted)?;
    }
}

/// All has come that was to come.
fn say_how(status: &Status, quiet: bool) -> Exit {
    let (exit, what) = match (status.standing(), status.failed) {
        (queues::Standing::Open, _) => (
            Exit::Stopped,
            format!(
                "not finished yet: {} waiting, {} in flight",
                status.waiting, status.in_flight
            ),
        ),
        (queues::Standing::BrokenOff, _) => (
            Exit::Stopped,
            "a push broke off: push the same again, for there is more to come".to_owned(),
        ),
        (queues::Standing::Done, 0) => {
            (Exit::Answered, format!("all {} answered", status.answered))
        }
        (queues::Standing::Done, failed) => (
            Exit::SomeFailed,
            format!("{} answered, {failed} failed", status.answered),
        ),
    };
    if !quiet {
        tell(&what);
    }
    exit
}

fn say_why(stop: Stop) -> Result<Exit, Unusable> {
    let (why, exit) = match stop {
        Stop::Changed(line) => return Err(Unusable::Mixed(line)),
        Stop::Queue(error) => (error.to_string(), Exit::Stopped),
        Stop::Journal(error) => (error.to_string(), Exit::Stopped),
        Stop::Interrupted => ("interrupted".to_owned(), Exit::Interrupted),
    };
    tell(&format!(
        "stopped: {why}\nrun the same command again to go on where it stopped"
    ));
    Ok(exit)
}
