//! `paceline work`: a batch whose prompts come from a queue, and whose records go there.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use super::args::Work;
use super::plan::Plan;
use super::unusable::Unusable;
use super::{Exit, display, logging, oversize, queue, run, share, summary, tell};
use crate::api::Ask;
use crate::batch::{Batch, Stop, Summary};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::queue::{Joining, Queue, QueueError, Worker};

pub(super) fn run(args: &Work, quiet: bool) -> Result<Exit, Unusable> {
    run::ignore_hang_ups()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::on(clock.clone());
    let queue = queue::at(&args.which)?;
    let plan = Plan::of_calls(&args.calls)?;
    let pace = share::pace(&args.calls, &plan, &clock)?;
    run::watch_for_interrupts(&cancel)?;
    let Some(worker) = join(args, &queue, &plan, &cancel)? else {
        return Ok(Exit::Interrupted);
    };
    if !quiet {
        tell(&beginning(&queue, &plan));
        share::note(&args.calls).iter().for_each(|note| tell(note));
    }
    let asks = plan.clients.iter().map(|client| client as &dyn Ask);
    let batch = Batch::new(plan.settings, asks, clock, cancel).guarded(&worker);
    let batch = pace.into_iter().fold(batch, Batch::paced_by);
    let prompts = oversize::warned(worker.prompts(), args.tpm, &plan.clients[0]);
    let run =
        |batch: Batch<'_>| worker.while_alive(|| batch.run(prompts, |record| worker.store(record)));
    let mut summary = display::shown(batch, (&args.calls, &plan, quiet), run);
    if let Some(error) = worker.lost() {
        summary.stop = Some(Stop::Journal(error));
    }
    if !quiet || summary.stop.is_some() {
        let end = end(&queue, &plan, &summary, worker.dropped());
        logging::say(
            Level::Info,
            "ended",
            &end,
            &summary::numbers(&plan, &summary),
        );
    }
    Ok(summary::exit(&summary))
}

/// Joins the others; none if it was called off while it waited for the queue to be made.
fn join(
    args: &Work,
    queue: &Queue,
    plan: &Plan,
    cancel: &CancelToken,
) -> Result<Option<Worker>, Unusable> {
    const LOOK: Duration = Duration::from_millis(500);
    let has_model = args.model.is_some() || args.practice;
    let joining = Joining {
        name: name(),
        request: String::from_utf8_lossy(&plan.clients[0].request("")).into_owned(),
        has_model,
        keep: args.keep,
        claim_after: args.claim_after,
        stay: args.wait,
        patience: args.max_wait,
    };
    loop {
        match queue.status() {
            Ok(status) if status.plain && !has_model => return Err(Unusable::NoModel),
            Ok(_) => return Ok(Some(queue.join(joining, cancel.clone())?)),
            Err(QueueError::Missing(_)) if args.wait => {
                if cancel.sleep_until(cancel.clock().now() + LOOK).is_err() {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The machine, the process, and some chance, as containers may have both in common.
fn name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() {
        "worker"
    } else {
        host.trim()
    };
    format!(
        "{host}-{}-{:04x}",
        std::process::id(),
        rand::random::<u16>()
    )
}

fn beginning(queue: &Queue, plan: &Plan) -> String {
    let pace = plan.rpm.map_or_else(
        || "as fast as it lets us".to_owned(),
        |rpm| format!("at {rpm} calls a minute"),
    );
    let server = if plan.practice.is_some() {
        " (the practice server, not a model)"
    } else {
        ""
    };
    format!(
        "working on the queue {}: to {}{server}, {pace}",
        queue.named(),
        plan.clients[0].url()
    )
}

fn end(queue: &Queue, plan: &Plan, summary: &Summary, dropped: u64) -> String {
    let mut lines = summary::outcome(plan, summary);
    lines.extend(
        (dropped > 0).then(|| format!("{dropped} of them dropped: another worker had been first")),
    );
    lines.push(format!(
        "records: in the queue {}, for paceline pull",
        queue.named()
    ));
    lines.extend(summary.stop.as_ref().map(why));
    lines.join("\n")
}

/// Why it stopped, and what becomes of the prompts.
fn why(stop: &Stop) -> String {
    let next = match stop {
        Stop::Refused(_) => "put that right, and run the same command again",
        Stop::Broken(_) => "when the server is well again, run the same command again",
        Stop::Journal(_) => {
            "nothing is lost: what could not be stored is asked again, by whoever works on the queue"
        }
        _ => "what is not finished is back in the queue: run the same command again to go on",
    };
    format!("stopped: {}\n{next}", summary::what(stop))
}
