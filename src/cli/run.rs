//! `paceline run`: plan, carry out, sum up.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::Level;

use super::args::{CallArgs, RunArgs};
use super::error::CommandError;
use super::exit::Exit;
use super::format::size;
use super::input::Input;
use super::logging::{say, screen, tell};
use super::oversize::{self, OversizedPrompts};
use super::progress::ProgressDisplay;
use super::results::{self, RunResults};
use super::setup::Setup;
use super::share;
use super::stop::{self, Destination};
use super::summary::{self, line};
use crate::api::Ask;
use crate::batch::{Batch, Stop, Summary};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SystemClock};

pub(super) fn run(args: &RunArgs, quiet: bool) -> Result<Exit, CommandError> {
    ignore_hang_ups()?;
    let calls = &args.calls;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cancel = CancelToken::on(clock.clone());
    let output = results::output_of(args)?;
    let setup = Setup::new(calls)?;
    let limiter = share::limiter(calls, &setup, &clock)?;
    let client = &setup.clients[0];
    let input = Input::of_run(args, client.path())?;
    let mut oversized = OversizedPrompts::new(calls.rate.tpm, client.counting());
    let count = input.check(|prompt| oversized.look(prompt, client))?;
    watch_for_interrupts(&cancel)?;
    let prompts = input.check_first(input.prompts(&cancel)?)?;
    let RunResults {
        mut writer,
        resume,
        mut notes,
    } = results::open(args, output.as_deref(), &input, client)?;
    if !quiet {
        notes.extend(oversized.warning());
        notes.push(summary::beginning(&setup, count, &resume));
        notes.extend(share::note(calls));
        notes.iter().for_each(|note| tell(note));
    }
    let unchecked = calls.rate.tpm.filter(|_| count.is_none());
    let prompts = oversize::warn_as_they_come(prompts, unchecked, client);
    let asks = setup.clients.iter().map(|client| client as &dyn Ask);
    let mut batch = Batch::new(setup.settings, asks, clock, cancel).resuming(resume);
    if let Some(count) = count {
        batch = batch.expecting(count);
    }
    if let Some(limiter) = limiter {
        batch = batch.limited_by(limiter);
    }
    let display = ProgressDisplay::start(calls, quiet, batch.view());
    let batch = batch.watched_by(display.watch());
    let mut summary = batch.run(prompts, |record| writer.write(record));
    drop(display);
    if let Err(error) = writer.finish() {
        summary.stop.get_or_insert(Stop::Journal(error));
    }
    let destination = match &output {
        Some(_) => Destination::File,
        None => Destination::Stdout,
    };
    let records = where_to_look(args, output.as_deref(), &summary);
    Ok(sum_up(calls, &setup, &summary, records, destination, quiet))
}

/// Where the results are, and what to do about failed prompts.
fn where_to_look(args: &RunArgs, output: Option<&Path>, summary: &Summary) -> Vec<String> {
    let Some(path) = output else {
        return vec![line("results", "standard output")];
    };
    let bytes = path.metadata().map_or(0, |found| found.len());
    let mut lines = vec![line(
        "results",
        format!("{} ({})", path.display(), size(bytes)),
    )];
    let failed = summary.failed + summary.before.failed;
    if failed > 0 && summary.stop.is_none() {
        let prompts = args.prompts.display();
        let again = format!("paceline run {prompts} … --retry-failed   sends the {failed} again");
        lines.push(line("next", again));
        lines.push(line("", format!("paceline report {}", path.display())));
    }
    lines
}

/// Tells people what became of the prompts and where the records are; returns the exit status.
pub(super) fn sum_up(
    args: &CallArgs,
    setup: &Setup,
    summary: &Summary,
    records: impl IntoIterator<Item = String>,
    destination: Destination,
    quiet: bool,
) -> Exit {
    if !quiet || summary.stop.is_some() {
        let mut lines = summary::outcome(args, setup, summary);
        lines.extend(records);
        let model = args.request.model.as_deref();
        let advice = stop::if_all_failed_alike(summary, model).filter(|_| summary.stop.is_none());
        lines.extend(advice.map(|advice| line("help", advice)));
        if let Some(stop) = &summary.stop {
            lines.push(stop::explain(stop, destination, summary, model));
        }
        let fields = summary::fields(args, summary);
        say(Level::Info, "ended", &lines.join("\n"), &fields);
    }
    summary::exit(summary)
}

/// Without a terminal, ignores SIGHUP, as `nohup` asks: watching for signals would undo that. To be called before there
/// are other threads, which inherit it.
#[cfg(unix)]
pub(super) fn ignore_hang_ups() -> Result<(), CommandError> {
    use nix::sys::signal::{SigSet, Signal};
    use std::io::{IsTerminal, stderr, stdin, stdout};
    if !stdin().is_terminal() && !stdout().is_terminal() && !stderr().is_terminal() {
        SigSet::from(Signal::SIGHUP).thread_block()?;
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn ignore_hang_ups() -> Result<(), CommandError> {
    Ok(())
}

/// The first Ctrl-C (or SIGTERM) lets the calls in flight finish; the second ends the program at once. In both cases the
/// records of finished prompts are written.
pub(super) fn watch_for_interrupts(cancel: &CancelToken) -> Result<(), CommandError> {
    let cancel = cancel.clone();
    let interrupted = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if interrupted.swap(true, Ordering::SeqCst) {
            screen().clear();
            std::process::exit(Exit::Interrupted as i32);
        }
        tell("stopping: the calls in flight may finish (Ctrl-C again to end at once)");
        cancel.cancel();
    })?;
    Ok(())
}
