//! The results: where they go, what earlier runs left there, and whether that still belongs to the input.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;
use serde_json::json;

use super::args::{RunArgs, from_here};
use super::error::CommandError;
use super::input::Input;
use super::output::{is_dash, is_same_file, is_special};
use super::schema;
use super::setup;
use crate::api::Client;
use crate::batch::{Resume, Stop, Summary, body, record_id};
use crate::clock::{Clock, SystemClock};
use crate::journal::{Folder, Journal, JournalError, Record, RecordId, Results, ResumeDiff};
use crate::json::Json;
use crate::practice;
use crate::text::{counted, shortened};

/// What a run continues with.
pub(super) struct RunResults {
    pub(super) writer: ResultsWriter,
    pub(super) resume: Resume,
    /// What people should know about the results.
    pub(super) notes: Vec<String>,
}

/// The results file, and the folder with a file for each answer.
///
/// A thread syncs a journal to which nothing is appended for a while, so that a power cut costs a second's records at
/// most. It ends with this value. If the system has no thread for it, records are synced when others follow.
pub(super) struct ResultsWriter {
    journal: Arc<Mutex<Journal>>,
    folder: Option<Folder>,
    /// The error of a sync while nothing was written.
    failed: Receiver<JournalError>,
    _ends: Sender<()>,
}

impl ResultsWriter {
    fn new(journal: Journal, folder: Option<Folder>) -> Self {
        /// The sync is due within a second of a write; this is how late it may be noticed.
        const LOOK: Duration = Duration::from_millis(100);
        let journal = Arc::new(Mutex::new(journal));
        let idle = journal.clone();
        let (fail, failed) = bounded(1);
        let (_ends, ended) = bounded::<()>(0);
        let look = move || {
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = idle.lock().sync_if_due(SystemClock.now()) {
                    let _ = fail.try_send(error);
                    return;
                }
            }
        };
        let _ = thread::Builder::new().name("sync".into()).spawn(look);
        ResultsWriter {
            journal,
            folder,
            failed,
            _ends,
        }
    }

    /// Writes the record first: it is the truth, and the file in the folder can be made from it.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        self.failed.try_recv().map_or(Ok(()), Err)?;
        self.journal.lock().append(record)?;
        match &self.folder {
            Some(folder) => folder.write(record).map(drop),
            None => Ok(()),
        }
    }

    /// Writes what is still in memory to the disk. If that fails, the batch counts as stopped.
    pub(super) fn finish(self, summary: &mut Summary) {
        let synced = self.failed.try_recv().map_or(Ok(()), Err);
        if let Err(error) = synced.and_then(|()| self.journal.lock().sync()) {
            summary.stop.get_or_insert(Stop::Sink(error.into()));
        }
    }
}

/// Where the results go; `None` is standard output, the default for prompts that come through a pipe.
pub(super) fn output_of(args: &RunArgs) -> Result<Option<PathBuf>, CommandError> {
    let output = output(&args.prompts, args.output.as_deref(), args.calls.practice);
    let is_input = |output: &PathBuf| is_same_file(output, &args.prompts);
    if output.as_ref().is_some_and(is_input) {
        let problem = format!("{} holds the prompts", args.prompts.display());
        return Err(CommandError::usage(problem).help("write the results elsewhere with -o"));
    }
    Ok(output)
}

/// The results of practice have a file of their own, so that they do not stand in the way of real answers. A pipe is no
/// place for results beside it.
fn output(prompts: &Path, given: Option<&Path>, practice: bool) -> Option<PathBuf> {
    let ending = match practice {
        true => "practice.jsonl",
        false => "results.jsonl",
    };
    match given {
        Some(path) => (!is_dash(path)).then(|| path.to_owned()),
        None if is_dash(prompts) || is_special(prompts) => None,
        None => Some(prompts.with_extension(ending)),
    }
}

/// Opens the results, and compares what they hold with the input.
pub(super) fn open(
    args: &RunArgs,
    output: Option<&Path>,
    input: &Input<'_>,
    client: &Client,
) -> Result<RunResults, CommandError> {
    let folder = args.out_dir.as_deref().map(Folder::open).transpose()?;
    let mut notes = Vec::new();
    let mut resume = Resume::default();
    let mut journal = match output {
        None => Journal::stdout(),
        Some(path) if args.restart => restart(args, path, &mut notes)?,
        Some(path) => {
            let opened = Journal::open(path, args.sync).map_err(cannot_open("-o"))?;
            notes.extend(torn_note(opened.torn, path));
            resume.index = opened.index;
            opened.journal
        }
    };
    resume.retry_failed = args.retry_failed;
    resume.keep = args.keep;
    resume.settings = Some(settings_of(args, client));
    if resume.index.len() > 0 {
        let odd = check_belongs(args, input, client, &mut journal, &mut resume)?;
        notes.extend(odd);
        if let (Some(folder), Some(results)) = (&folder, read_back(&mut journal)?) {
            folder.catch_up(results.map(|record| Ok::<_, CommandError>(record?)))?;
        }
    }
    Ok(RunResults {
        writer: ResultsWriter::new(journal, folder),
        resume,
        notes,
    })
}

/// For `map_err`: records cannot be written where this option says.
pub(super) fn cannot_open(option: &str) -> impl Fn(JournalError) -> CommandError {
    let elsewhere = format!("write elsewhere with {option}");
    move |error| {
        let help = match error {
            JournalError::Busy(_) => format!("wait until it ends, or {elsewhere}"),
            _ => elsewhere.clone(),
        };
        CommandError::usage(error).help(help)
    }
}

pub(super) fn torn_note(bytes: u64, path: &Path) -> Option<String> {
    let path = from_here(path).display();
    let note = format!(
        "cut off an unfinished record ({bytes} bytes) at the end of {path}: its prompt will be sent again"
    );
    (bytes > 0).then_some(note)
}

fn restart(args: &RunArgs, path: &Path, notes: &mut Vec<String>) -> Result<Journal, CommandError> {
    let (journal, old) =
        Journal::restart(path, args.sync, SystemTime::now()).map_err(cannot_open("-o"))?;
    if let Some(old) = old {
        // Named as the user named the results, unless those were a link to somewhere else.
        let near = old.file_name().map(|name| path.with_file_name(name));
        let old = near.filter(|near| near.exists()).unwrap_or(old);
        let old = from_here(&old).display();
        notes.push(format!("the earlier results are kept as {old}"));
    }
    Ok(journal)
}

/// Finds out, before anything is sent, whether the prompts are still those of the results; returns what to say about
/// them. The prompts of a pipe are compared as they come.
fn check_belongs(
    args: &RunArgs,
    input: &Input<'_>,
    client: &Client,
    journal: &mut Journal,
    resume: &mut Resume,
) -> Result<Vec<String>, CommandError> {
    if !input.is_file() {
        return Ok(Vec::new());
    }
    let prompts = input.checked_prompts()?;
    let mut diff = resume.index.compare(prompts.map(|prompt| {
        let prompt = prompt?;
        let id = record_id(client, prompt.line, &body(client, &prompt)?);
        Ok::<_, CommandError>((id, prompt.text))
    }))?;
    resume.is_compared = diff.changed() + diff.unanswered == 0;
    if diff.changed() > 0 && !args.keep {
        let path = output_of(args)?.unwrap_or_default();
        if let (Some(first), Some(mut results)) = (&mut diff.first, read_back(journal)?) {
            let what = "cannot read results from";
            first
                .look_up(&mut results, resume.settings.as_ref())
                .map_err(CommandError::file(what, &path))?;
        }
        let help = "keep the earlier answers with --keep, or start again with --restart, which keeps the old file aside";
        let error = CommandError::usage(describe_changes(&diff, &path)).help(help);
        return Err(error.see("docs/troubleshooting.md#would-be-sent-differently-now"));
    }
    let beyond = match args.reading.limit {
        None => diff.beyond,
        Some(_) => 0,
    };
    let gone = diff.gone + beyond;
    let notes = told([
        (gone, " on record, but no longer in the input"),
        (
            diff.unanswered,
            " failed before, with another text, model or parameter: sent again now",
        ),
    ]);
    Ok(notes.collect())
}

/// Numbers of prompts and what is odd about them, without zeros.
fn told(odd: [(u64, &str); 2]) -> impl Iterator<Item = String> {
    let odd = odd.into_iter().filter(|(count, _)| *count > 0);
    odd.map(|(count, note)| counted(count, "prompt") + note)
}

/// What the prompts are sent with, in parts. Only the model is stored in words: the others may be long, or private.
fn settings_of(args: &RunArgs, client: &Client) -> Json {
    let request = &args.calls.request;
    let digest = |text: String| format!("{:08x}", RecordId::of(1, text.as_bytes()).digest >> 32);
    let parameters = request.param.iter();
    let parameters = parameters.map(|(name, value)| format!("{name}={value}"));
    let most = request.max_tokens.map(|most| format!("max_tokens={most}"));
    let temperature = request.temperature.map(|t| format!("temperature={t}"));
    let parameters: Vec<_> = parameters.chain(most).chain(temperature).collect();
    let template = args.reading.template.as_ref();
    let template = template.and_then(|path| fs::read_to_string(path).ok());
    let (model, server) = match args.calls.practice {
        true => (Some(practice::MODEL), "the practice server".to_owned()),
        false => (request.model.as_deref(), host(client.url())),
    };
    let rpm = setup::rpm(&args.calls);
    let mut parts = json!({
        "model": model.map(|model| shortened(model, 200)),
        "system message": request.system.clone().map(digest),
        "parameter": (!parameters.is_empty()).then(|| digest(parameters.join(" "))),
        "template": template.map(digest),
        "schema": request.schema.as_deref().map(schema::text).map(digest),
        "api": args.calls.server.api.to_string(),
        "server": server,
        // The limit, with which a report checks the pace.
        "rpm": rpm,
        "burst": rpm.map(|_| args.calls.rate.burst),
    });
    if let Some(parts) = parts.as_object_mut() {
        parts.retain(|_, part| !part.is_null());
    }
    Json::from(parts)
}

/// The host of an address, with its port: no password, and nothing that a path or query may hide.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    shortened(host, 200)
}

fn describe_changes(diff: &ResumeDiff, path: &Path) -> String {
    let heading = format!(
        "{} of the {} prompts on record in {} would be sent differently now:",
        diff.changed(),
        diff.recorded,
        path.display()
    );
    let settings = ": the same text, but another model, system message or parameter";
    let kinds = told([
        (diff.other_text, ": another text"),
        (diff.other_settings, settings),
    ]);
    let first = diff.first.as_ref().map(ToString::to_string);
    let lines: Vec<_> = [heading].into_iter().chain(kinds).chain(first).collect();
    lines.join("\n  ")
}

fn read_back(journal: &mut Journal) -> Result<Option<Results<impl BufRead>>, CommandError> {
    journal
        .results()
        .map_err(|error| CommandError::usage(format!("cannot read the results back: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_writer_looks_after_its_file_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let durability = crate::journal::Durability::Interval;
        let mut journal = Journal::open(&path, durability).unwrap().journal;
        let line = r#"{"id":"pl_1_ca978112ca1bbdca","custom_id":"line-1"}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        journal.append(&record).unwrap(); // synced at once, so that the next is not
        journal.append(&record).unwrap();
        fs::remove_file(&path).unwrap();
        let writer = ResultsWriter::new(journal, None);
        let error = writer.failed.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(matches!(error, JournalError::Damaged(_)), "{error}");
    }

    #[test]
    fn the_server_is_stored_without_what_may_be_secret() {
        let urls = [
            "https://api.x.com/v1?key=k",
            "http://u:p@[::1]:80",
            "http://a@b@c/d",
        ];
        assert_eq!(urls.map(host), ["api.x.com", "[::1]:80", "c"]);
    }

    #[test]
    fn results_go_beside_the_prompts_unless_a_file_is_given() {
        let practised = output(Path::new("dir/prompts.txt"), None, true);
        assert_eq!(practised, Some("dir/prompts.practice.jsonl".into()));
        let output = |prompts: &str, given: Option<&str>| {
            output(Path::new(prompts), given.map(Path::new), false)
        };
        let beside = output("dir/prompts.txt", None);
        assert_eq!(beside, Some("dir/prompts.results.jsonl".into()));
        let beside = output("prompts", None);
        assert_eq!(beside, Some("prompts.results.jsonl".into()));
        assert_eq!(output("prompts.txt", Some("out")), Some("out".into()));
        assert_eq!(output("prompts.txt", Some("-")), None);
        assert_eq!(output("-", None), None);
    }
}
