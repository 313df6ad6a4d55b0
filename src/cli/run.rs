//! `paceline run`: plan, carry out, sum up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;

use super::args::Run;
use super::display;
use super::input;
use super::logging;
use super::oversize::{self, Oversize};
use super::plan::Plan;
use super::results::{self, Going};
use super::share;
use super::summary;
use super::unusable::Unusable;
use super::{Exit, tell};
use crate::api::Ask;
use crate::batch::{Batch, Stop};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};

pub(super) fn run(args: Run, quiet: bool) -> Result<Exit, Unusable> {
    ignore_hang_ups()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::on(clock.clone());
    let plan = Plan::new(&args)?;
    let pace = share::pace(&args, &plan, &clock)?;
    let ask = &plan.clients[0];
    let mut oversize = Oversize::of(args.tpm, ask.counting());
    let (prompts, count) = input::open(&args, ask.path(), &cancel, |prompt| {
        oversize.look(prompt, ask)
    })?;
    let Going {
        mut sinks,
        resume,
        mut notes,
    } = results::open(&args, &plan)?;
    notes.extend(oversize.warning());
    watch_for_interrupts(&cancel)?;
    if !quiet {
        notes.iter().for_each(|note| tell(note));
        tell(&summary::beginning(&plan, count, &resume));
        share::note(&args).iter().for_each(|note| tell(note));
    }
    let unseen = args.tpm.filter(|_| count.is_none());
    let prompts = oversize::warned(prompts, unseen, ask);
    let asks = plan.clients.iter().map(|client| client as &dyn Ask);
    let batch = Batch::new(plan.settings, asks, clock, cancel).resuming(resume);
    let batch = count.into_iter().fold(batch, Batch::expecting);
    let batch = pace.into_iter().fold(batch, Batch::paced_by);
    let write = |record: &_| sinks.write(record);
    let mut summary = display::shown(batch, (&args, &plan, quiet), |batch| {
        batch.run(prompts, write)
    });
    if let Err(error) = sinks.finish() {
        summary.stop.get_or_insert(Stop::Journal(error));
    }
    if !quiet || summary.stop.is_some() {
        logging::say(
            Level::Info,
            "ended",
            &summary::end(&plan, &summary),
            &summary::numbers(&plan, &summary),
        );
    }
    Ok(summary::exit(&summary))
}

/// Who has no terminal is not meant by the end of one: `nohup` says so, but watching for signals would undo that. To be
/// called before there are other threads.
#[cfg(unix)]
pub(super) fn ignore_hang_ups() -> Result<(), Unusable> {
    use nix::sys::signal::{SigSet, Signal};
    use std::io::{IsTerminal, stderr, stdin, stdout};
    if stdin().is_terminal() || stdout().is_terminal() || stderr().is_terminal() {
        return Ok(());
    }
    SigSet::from(Signal::SIGHUP)
        .thread_block()
        .map_err(|error| Unusable::Signals(error.into()))
}

#[cfg(not(unix))]
pub(super) fn ignore_hang_ups() -> Result<(), Unusable> {
    Ok(())
}

/// The first Ctrl-C (or SIGTERM) lets the calls in flight finish; the second ends the program at once. What is finished
/// has been written in either case.
pub(super) fn watch_for_interrupts(cancel: &CancelToken) -> Result<(), ctrlc::Error> {
    let (cancel, asked_before) = (cancel.clone(), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if asked_before.swap(true, Ordering::SeqCst) {
            logging::screen().clear();
            std::process::exit(Exit::Interrupted as i32);
        }
        tell("stopping: the calls in flight may finish (Ctrl-C again to end at once)");
        cancel.cancel();
    })
}
