//! Where the results go, what earlier runs have left there, and whether that still belongs to the input.

use std::path::Path;
use std::time::SystemTime;

use super::args::Run;
use super::input;
use super::plan::Plan;
use super::unusable::{Misfit, Unusable};
use crate::batch::{Resume, body, record_id};
use crate::journal::{
    Folder, Journal, JournalError, Opened, Record, RecordId, Results, ResumeDiff,
};
use crate::report::counted;

/// What a run goes on with.
pub(super) struct Going {
    pub(super) sinks: Sinks,
    pub(super) resume: Resume,
    /// What people should know about the results.
    pub(super) notes: Vec<String>,
}

/// Where the records go.
pub(super) struct Sinks {
    journal: Journal,
    folder: Option<Folder>,
}

/// Opens the results, and holds what is in them against the input.
pub(super) fn open(args: &Run, plan: &Plan) -> Result<Going, Unusable> {
    let folder = args
        .out_dir
        .as_deref()
        .map(Folder::open)
        .transpose()
        .map_err(JournalError::from)?;
    let mut notes = Vec::new();
    let (mut journal, mut resume) = match plan.output.as_deref() {
        None => (Journal::stdout(), Resume::default()),
        Some(path) if args.restart => (restart(args, path, &mut notes)?, Resume::default()),
        Some(path) => go_on(args, path, &mut notes)?,
    };
    (resume.retry_failed, resume.keep) = (args.retry_failed, args.keep);
    if !resume.index.is_empty() {
        compare(args, plan, &mut journal, &resume, &mut notes)?;
        catch_up(&mut journal, folder.as_ref())?;
    }
    Ok(Going {
        sinks: Sinks { journal, folder },
        resume,
        notes,
    })
}

fn restart(args: &Run, path: &Path, notes: &mut Vec<String>) -> Result<Journal, Unusable> {
    let (journal, aside) = Journal::restart(path, args.sync, SystemTime::now())?;
    // Named as the results were named, unless those were a link to somewhere else.
    let near =
        |aside: &Path| Some(path.with_file_name(aside.file_name()?)).filter(|near| near.exists());
    let aside = aside.map(|aside| near(&aside).unwrap_or(aside));
    notes.extend(aside.map(|aside| format!("the results so far are kept as {}", aside.display())));
    Ok(journal)
}

fn go_on(args: &Run, path: &Path, notes: &mut Vec<String>) -> Result<(Journal, Resume), Unusable> {
    let Opened {
        journal,
        index,
        torn,
    } = Journal::open(path, args.sync)?;
    if torn > 0 {
        notes.push(format!(
            "cut off an unfinished record ({torn} bytes) at the end of {}: its prompt is still to do",
            path.display()
        ));
    }
    Ok((
        journal,
        Resume {
            index,
            ..Resume::default()
        },
    ))
}

/// Finds out, before anything is sent, whether the prompts are still those of the results. Standard input is compared as
/// it comes.
fn compare(
    args: &Run,
    plan: &Plan,
    journal: &mut Journal,
    resume: &Resume,
    notes: &mut Vec<String>,
) -> Result<(), Unusable> {
    let Some(prompts) = input::read_again(args, plan.clients[0].path())? else {
        return Ok(());
    };
    let client = &plan.clients[0];
    let diff = resume.index.compare(prompts.map(|prompt| {
        let prompt = prompt.map_err(|source| Unusable::Input {
            path: args.prompts.clone(),
            source,
        })?;
        let id = record_id(client, prompt.line, &body(client, &prompt));
        Ok::<(RecordId, String), Unusable>((id, prompt.text))
    }))?;
    let beyond = if args.limit.is_none() { diff.beyond } else { 0 };
    let gone = diff.gone + beyond;
    if gone > 0 {
        notes.push(format!(
            "not in the input any more, and left on record: {}",
            counted(gone, "prompt")
        ));
    }
    if diff.changed() > 0 && !args.keep {
        explain(diff, plan, journal)
    } else {
        Ok(())
    }
}

fn explain(mut diff: ResumeDiff, plan: &Plan, journal: &mut Journal) -> Result<(), Unusable> {
    let path = plan.output.clone().unwrap_or_default();
    if let (Some(first), Some(mut results)) = (&mut diff.first, results_of(journal)?) {
        first
            .look_up(&mut results)
            .map_err(|source| JournalError::Results {
                path: path.clone(),
                source,
            })?;
    }
    Err(Unusable::Misfit(Box::new(Misfit { path, diff })))
}

fn results_of(journal: &mut Journal) -> Result<Option<Results<impl std::io::BufRead>>, Unusable> {
    journal.results().map_err(Unusable::ReadBack)
}

/// Answers that an earlier run has recorded and not written as files of their own.
fn catch_up(journal: &mut Journal, folder: Option<&Folder>) -> Result<(), Unusable> {
    let Some(folder) = folder else { return Ok(()) };
    if let Some(mut results) = results_of(journal)? {
        folder.catch_up(&mut results).map_err(JournalError::from)?;
    }
    Ok(())
}

impl Sinks {
    /// The results first: they are the truth, and the files can be made from them.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        self.journal.append(record)?;
        if let Some(folder) = &self.folder {
            folder.write(record)?;
        }
        Ok(())
    }

    /// Everything is written.
    pub(super) fn finish(self) -> Result<(), JournalError> {
        self.journal.finish()
    }
}
