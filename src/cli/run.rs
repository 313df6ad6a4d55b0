//! `paceline run`: check everything, carry out the batch, sum up.

use std::path::Path;

use super::args::{RunArgs, command_line, from_here, quoted};
use super::bulk::{self, BulkRun};
use super::error::{Checks, CommandError};
use super::exit::Exit;
use super::input::{Checked, Input};
use super::logging::inform;
use super::oversize::{self, OversizedPrompts};
use super::results::{self, ResultsWriter, RunResults};
use super::session::Session;
use super::setup;
use super::stop::{self, Destination};
use super::summary::{self, EndLine};
use super::{share, signals};
use crate::api::{ApiKind, Ask, Client};
use crate::batch::{Batch, Resume, Summary, Twins, body, record_id};
use crate::prompts::{Prompt, PromptError};
use crate::text::{counted, size};

pub(super) fn run(args: &RunArgs) -> Result<Exit, CommandError> {
    signals::ignore_hang_ups()?;
    let calls = &args.calls;
    let draft = setup::draft_client(calls)?;
    let mut checks = Checks::default();
    let output = checks.of(results::output_of(args));
    let results = output.as_ref().and_then(Option::as_deref);
    let is_possible = checks.of(check_per_call(args).and_then(|()| bulk::check(args, results)));
    let session = checks.of(session(args));
    let input = checks.of(Input::of_run(args, draft.path()));
    let checked = input
        .as_ref()
        .and_then(|input| checks.of(checked(args, input, &draft)));
    if !calls.has_model() && !args.prompts.exists() && checked.is_none() {
        checks.of::<()>(Err(setup::no_model()));
    }
    let (Some(output), Some(session), Some(input), Some((checked, twins)), Some(())) =
        (output, session, input, checked, is_possible)
    else {
        return Err(checks.error());
    };
    let client = &session.clients[0];
    let bulk = BulkRun::open(args, &session, &input, output.as_deref())?;
    let destination = match &output {
        Some(_) if bulk.is_some() => Destination::Bulk,
        Some(_) => Destination::File,
        None => Destination::Stdout,
    };
    signals::watch_for_interrupts(&session.cancel, destination)?;
    let prompts = input.check_first(input.prompts(&session.cancel)?)?;
    let count = checked.count;
    let RunResults {
        writer,
        resume,
        mut notes,
    } = results::open(args, output.as_deref(), &input, client)?;
    notes.extend(checked.notes);
    notes.push(summary::beginning(&session, None, count, &resume));
    notes.extend(share::note(&calls.rate));
    notes.into_iter().for_each(inform);
    let unchecked = calls.rate.tpm.filter(|_| count.is_none());
    let prompts = oversize::warn_as_they_come(prompts, unchecked, client);
    let summary = match bulk {
        Some(bulk) => bulk.carry_out(&session, resume, prompts, count, twins, writer)?,
        None => {
            let most = args.most_per_call();
            let prepare = |batch| prepared(batch, resume, twins, count).joining(most, &input);
            send(&session, prompts, prepare, writer)
        }
    };
    let records = records(args, output.as_deref(), &summary);
    session.sum_up(&summary, &records, destination)
}

fn session(args: &RunArgs) -> Result<Session<'_>, CommandError> {
    let mut session = Session::new(&args.calls)?;
    if args.via.is_some() {
        session.is_bulk = true;
        session.settings.keep_going = true; // all rows are there, and go on record
        session.settings.halt = None;
    }
    Ok(session)
}

/// A batch that goes on with earlier results.
pub(super) fn prepared(
    batch: Batch<'_>,
    resume: Resume,
    twins: Twins,
    count: Option<u64>,
) -> Batch<'_> {
    let batch = batch.resuming(resume).asking_once(twins);
    count.into_iter().fold(batch, Batch::expecting)
}

/// Sends the prompts one by one.
fn send<'b>(
    session: &'b Session<'_>,
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    prepare: impl FnOnce(Batch<'b>) -> Batch<'b>,
    mut writer: ResultsWriter,
) -> Summary {
    let run = |batch: Batch<'b>| batch.run(prompts, |record| Ok(writer.write(record)?));
    let mut summary = session.carry_out(prepare, run);
    writer.finish(&mut summary);
    summary
}

/// Where the results are, and what to do about failed prompts.
fn records(args: &RunArgs, output: Option<&Path>, summary: &Summary) -> Vec<EndLine> {
    let Some(path) = output else {
        return vec![("results", "standard output".to_owned())];
    };
    let bytes = path.metadata().map_or(0, |found| found.len());
    if bytes == 0 {
        return Vec::new();
    }
    let path = from_here(path);
    let mut lines = vec![("results", format!("{} ({})", path.display(), size(bytes)))];
    if summary.stop.is_none() {
        let next = next(args, path, summary);
        lines.extend(["next", "", ""].into_iter().zip(next));
    }
    lines
}

/// Commands that people may want to run now.
fn next(args: &RunArgs, results: &Path, summary: &Summary) -> Vec<String> {
    let failed = summary.failed + summary.failed_before;
    let to = |command: &str, option: &str, ending: &str| {
        let file = results.with_extension(ending);
        let words = quoted(&[results, Path::new(option), &file]);
        format!("paceline {command} {words}")
    };
    let export = to("export", "-o", "csv");
    if failed == 0 {
        return vec![export];
    }
    let report = to("report", "--html", "html");
    if stop::all_failed_for(summary).is_some() {
        return vec![report]; // the same command would fail again
    }
    let again = command_line(&args.prompts, "--retry-failed");
    let again = format!("{again}   the {failed} once more");
    vec![again, export, report]
}

fn check_per_call(args: &RunArgs) -> Result<(), CommandError> {
    if args.most_per_call() > 1 && args.calls.server.api != ApiKind::Embeddings {
        let problem = "--per-call is for --api embeddings: other APIs take one prompt a call";
        return Err(CommandError::usage(problem).help("leave --per-call out"));
    }
    Ok(())
}

/// Reads a file to its end, before anything is sent: what people should know about the prompts, and which of them have
/// identical requests, if those are to be sent once.
fn checked(
    args: &RunArgs,
    input: &Input<'_>,
    draft: &Client,
) -> Result<(Checked, Twins), CommandError> {
    if args.dedupe && !input.is_file() {
        let problem = "--dedupe needs a file: prompts of a pipe are sent as they come";
        return Err(CommandError::usage(problem).help("write the prompts to a file first"));
    }
    let mut oversized = OversizedPrompts::new(args.calls.rate.tpm, draft.counting());
    let mut twins = Twins::default();
    let mut checked = input.check(|prompt| {
        oversized.look(prompt, draft);
        if args.dedupe
            && let Ok(request) = body(draft, prompt)
        {
            twins.look(prompt, &record_id(draft, prompt.line, &request));
        }
    })?;
    checked.notes.extend(oversized.warning());
    if twins.count() > 0 {
        let again = counted(twins.count(), "prompt");
        let note = format!("{again} like an earlier one, which is sent once");
        checked.notes.push(note);
    }
    Ok((checked, twins))
}
