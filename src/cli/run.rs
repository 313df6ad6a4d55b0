//! `paceline run`: plan, carry out, sum up.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Exit;
use super::args::Run;
use super::input;
use super::plan::{Plan, Unusable};
use super::summary;
use crate::batch::Batch;
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};
use crate::journal::Journal;

pub(super) fn run(args: Run, quiet: bool) -> Result<Exit, Unusable> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::new(clock.clone());
    let plan = Plan::new(&args)?;
    let (prompts, count) = input::open(&args, plan.client.path(), &cancel)?;
    let mut journal = plan.output.as_deref().map_or_else(|| Ok(Journal::stdout()), Journal::create)?;
    watch_for_interrupts(&cancel)?;
    if !quiet {
        tell(&summary::beginning(&plan, count));
    }
    let batch = Batch::new(plan.settings, &plan.client, clock, cancel);
    let summary = batch.run(prompts, |record| journal.append(record));
    if !quiet || summary.stop.is_some() {
        tell(&summary::end(&plan, &summary));
    }
    Ok(summary::exit(&summary))
}

/// For people. That nobody may be listening is no reason to stop.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The first Ctrl-C (or SIGTERM) lets the calls in flight finish; the second ends the program at once. What is finished
/// has been written in either case.
fn watch_for_interrupts(cancel: &CancelToken) -> Result<(), ctrlc::Error> {
    let (cancel, asked_before) = (cancel.clone(), AtomicBool::new(false));
    ctrlc::set_handler(move || {
        if asked_before.swap(true, Ordering::SeqCst) {
            std::process::exit(Exit::Interrupted as i32);
        }
        tell("stopping: the calls in flight may finish (Ctrl-C again to end at once)");
        cancel.cancel();
    })
}
