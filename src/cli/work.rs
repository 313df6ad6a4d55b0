//! `paceline queue work`: a batch whose prompts come from a queue, and whose records go there.

use std::time::Duration;

use super::args::WorkArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::inform;
use super::session::Session;
use super::setup::no_model;
use super::stop::Destination;
use super::{oversize, queue, share, signals, summary};
use crate::api::Ask;
use crate::batch::{Resume, Stop};
use crate::queue::{JoinOptions, Queue, QueueError, Status, Worker};

pub(super) fn run(args: &WorkArgs) -> Result<Exit, CommandError> {
    signals::ignore_hang_ups()?;
    let calls = &args.calls;
    let queue = queue::at(&args.queue)?;
    let session = Session::new(calls)?;
    signals::watch_for_interrupts(&session.cancel, Destination::Queue)?;
    let worker = join(args, &queue, &session)?;
    let resume = Resume::default();
    let beginning = summary::beginning(&session, Some(queue.to_string()), None, &resume);
    inform(beginning);
    share::note(&calls.rate).into_iter().for_each(inform);
    let prompts =
        oversize::warn_as_they_come(worker.prompts(), calls.rate.tpm, &session.clients[0]);
    let mut summary = session.carry_out(
        |batch| batch.guarded(&worker),
        |batch| {
            let mut store = worker.sink();
            worker.while_alive(|| batch.run(prompts, |record| Ok(store(record)?)))
        },
    );
    let mut destination = Destination::Queue;
    if let Some(error) = worker.lost() {
        if matches!(error, QueueError::Gone(_)) {
            destination = Destination::GoneQueue;
        }
        let error = format!("cannot write to the queue {queue}: {error}");
        summary.stop = Some(Stop::Sink(error.into()));
    }
    let dropped = worker.dropped();
    let mut records = Vec::new();
    if dropped > 0 {
        let dropped = format!("{dropped} answers: another worker was first");
        records.push(("dropped", dropped));
    }
    let records_in = format!("in the queue {queue}; paceline queue pull writes them to a file");
    records.push(("records", records_in));
    session.sum_up(&summary, &records, destination)
}

/// Joins the other workers, once the queue is there.
fn join(args: &WorkArgs, queue: &Queue, session: &Session<'_>) -> Result<Worker, CommandError> {
    /// How often to look for a queue that does not exist yet.
    const LOOK: Duration = Duration::from_millis(500);
    let has_model = args.calls.has_model();
    let is_missing = |status: &Result<Status, QueueError>| {
        args.wait && matches!(status, Err(QueueError::Gone(_)))
    };
    let mut status = queue.status();
    if is_missing(&status) {
        inform(format!("there is no queue {queue} yet: waiting for it"));
    }
    while is_missing(&status) && session.cancel.sleep(LOOK).is_ok() {
        status = queue.status();
    }
    let status = queue::first(status, &session.cancel, Destination::Queue)?;
    if status.plain && !has_model {
        return Err(no_model());
    }
    let options = JoinOptions {
        name: name(),
        request: String::from_utf8_lossy(&session.clients[0].request("")).into_owned(),
        has_model,
        keep: args.keep,
        claim_after: args.claim_after,
        stay: args.wait,
        patience: args.calls.bounds.max_wait,
    };
    let worker = queue.join(options, session.cancel.clone());
    worker.map_err(queue::explain)
}

/// The machine, the process, and a random number, because containers may have the first two in common.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.unwrap_or_else(|_| "worker".to_owned());
    let (host, process) = (host.trim(), std::process::id());
    format!("{host}-{process}-{:04x}", rand::random::<u16>())
}
