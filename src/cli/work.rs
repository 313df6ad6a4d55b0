//! `paceline queue work`: a batch whose prompts come from a queue, and whose records go there.

use std::time::Duration;

use super::args::WorkArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::inform;
use super::session::Session;
use super::setup::{Setup, no_model};
use super::stop::Destination;
use super::{oversize, queue, share, signals, summary};
use crate::api::Ask;
use crate::batch::{Resume, Stop};
use crate::cancel::CancelToken;
use crate::queue::{JoinOptions, Queue, QueueError, Worker};

pub(super) fn run(args: &WorkArgs) -> Result<Exit, CommandError> {
    signals::ignore_hang_ups()?;
    let calls = &args.calls;
    let queue = queue::at(&args.queue)?;
    let session = Session::new(calls)?;
    let (setup, cancel) = (&session.setup, &session.cancel);
    signals::watch_for_interrupts(cancel, Destination::Queue)?;
    let worker = join(args, &queue, setup, cancel)?;
    let resume = Resume::default();
    let beginning = summary::beginning(setup, Some(queue.to_string()), None, &resume)?;
    inform(beginning);
    share::note(&calls.rate).into_iter().for_each(inform);
    let prompts = oversize::warn_as_they_come(worker.prompts(), calls.rate.tpm, &setup.clients[0]);
    let mut summary = session.carry_out(
        |batch| batch.guarded(&worker),
        |batch| {
            let mut store = worker.sink();
            worker.while_alive(|| batch.run(prompts, |record| Ok(store(record)?)))
        },
    );
    let mut destination = Destination::Queue;
    if let Some((error, is_gone)) = worker.lost() {
        summary.stop = Some(Stop::Sink(error.into()));
        if is_gone {
            destination = Destination::GoneQueue;
        }
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
fn join(
    args: &WorkArgs,
    queue: &Queue,
    setup: &Setup,
    cancel: &CancelToken,
) -> Result<Worker, CommandError> {
    /// How often to look for a queue that does not exist yet.
    const LOOK: Duration = Duration::from_millis(500);
    let has_model = args.calls.has_model();
    let status = loop {
        match queue.status() {
            Err(QueueError::Gone(_)) if args.wait && cancel.sleep(LOOK).is_ok() => {}
            status => break queue::first(status, cancel, Destination::Queue)?,
        }
    };
    if status.plain && !has_model {
        return Err(no_model());
    }
    let options = JoinOptions {
        name: name(),
        request: String::from_utf8_lossy(&setup.clients[0].request("")).into_owned(),
        has_model,
        keep: args.keep,
        claim_after: args.claim_after,
        stay: args.wait,
        patience: args.calls.bounds.max_wait,
    };
    let worker = queue.join(options, cancel.clone());
    worker.map_err(queue::explain)
}

/// The machine, the process, and a random number, because containers may have the first two in common.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "worker",
        host => host,
    };
    format!(
        "{host}-{}-{:04x}",
        std::process::id(),
        rand::random::<u16>()
    )
}
