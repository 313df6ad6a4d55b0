//! `paceline queue`: how a queue stands, and what is to be done with it as a whole. And where a queue is, for the others.

use std::io::{self, Write};

use super::args::{self, Which};
use super::summary::seconds;
use super::unusable::Unusable;
use super::{Exit, redis, tell};
use crate::queue::{Queue, Standing, Status};
use crate::report::counted;

/// The queue that was named.
pub(super) fn at(which: &Which) -> Result<Queue, Unusable> {
    Ok(Queue::at(redis::place(&which.url)?))
}

pub(super) fn run(args: &args::Queue, quiet: bool) -> Result<Exit, Unusable> {
    let queue = at(&args.which)?;
    if args.remove {
        return remove(&queue, quiet);
    }
    if args.retry_failed {
        let count = counted(queue.retry_failed()?, "prompt");
        if !quiet {
            tell(&format!(
                "{count} that failed: put into the queue once more"
            ));
        }
        return Ok(Exit::Answered);
    }
    let status = queue.status()?;
    let text = match args.json {
        true => serde_json::to_string(&status).expect("numbers and names are JSON"),
        false => describe(&queue, &status),
    };
    // Whoever reads may have had enough, as `head` has.
    let _ = writeln!(io::stdout(), "{text}");
    Ok(Exit::Answered)
}

/// Not under the hands of those who work on it: their answers would be lost.
fn remove(queue: &Queue, quiet: bool) -> Result<Exit, Unusable> {
    let status = queue.status()?;
    let alive: Vec<_> = status
        .workers
        .iter()
        .filter(|peer| peer.alive)
        .map(|peer| peer.name.clone())
        .collect();
    if !alive.is_empty() {
        return Err(Unusable::AtWork(alive.join(", ")));
    }
    queue.remove()?;
    if !quiet {
        let (records, left) = (
            counted(status.answered + status.failed, "record"),
            status.left(),
        );
        tell(&format!(
            "removed the queue {}: {records}, and {left} not finished",
            queue.named()
        ));
    }
    Ok(Exit::Answered)
}

fn describe(queue: &Queue, status: &Status) -> String {
    let Status {
        waiting,
        in_flight,
        answered,
        failed,
        ..
    } = status;
    let mut lines = vec![
        format!("queue {}: {}", queue.named(), standing(status)),
        format!("{waiting} waiting, {in_flight} in flight, {answered} answered, {failed} failed"),
    ];
    let oldest = status
        .oldest
        .map(|age| format!("the oldest has waited for {}", seconds(age)));
    lines.extend(oldest);
    let dropped = counted(status.dropped, "answer");
    lines
        .extend((status.dropped > 0).then(|| format!("{dropped} dropped: another had come first")));
    lines.push(counted(status.workers.len() as u64, "worker"));
    lines.extend(status.workers.iter().map(|peer| {
        let sign = if peer.alive {
            ""
        } else {
            ", and gives no sign of life"
        };
        format!("  {}: {} in flight{sign}", peer.name, peer.in_flight)
    }));
    lines.join("\n")
}

fn standing(status: &Status) -> &'static str {
    match status.standing() {
        Standing::Done => "done",
        Standing::BrokenOff => "a push broke off, and must be run again",
        Standing::Open if status.pushing => "prompts are being put in",
        Standing::Open => "open",
    }
}
