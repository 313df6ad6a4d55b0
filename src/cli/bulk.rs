//! `run --via batch`: prompts go to the provider's own batch endpoint, and their answers come into the same results.
//!
//! A part of the prompts is noted in a file beside the results, then submitted, then noted with the provider's name for it.
//! A part without that name is looked for in the provider's list before anything else is sent, so none is submitted twice.
//! The note goes when all records are on the disk.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::args::{RunArgs, command_line};
use super::error::CommandError;
use super::input::{Input, PromptStream};
use super::logging::inform;
use super::results::ResultsWriter;
use super::run::prepared;
use super::session::Session;
use crate::api::Ask;
use crate::batch::{CollectedRow, Resume, Stop, Summary, Twins, body, record_id};
use crate::bulk::{Bulk, BulkApi, BulkRows, BulkState, MOST_BYTES, MOST_ROWS, Part, seconds};
use crate::clock::{Clock, SystemClock};
use crate::journal::RecordId;
use crate::prompts::{Prompt, PromptError};
use crate::retry::Retry;
use crate::text::counted;

/// Whether a run can do what it is to do about batches: go through one, or keep off the prompts of one.
pub(super) fn check(args: &RunArgs, results: Option<&Path>) -> Result<(), CommandError> {
    check_via(args)?;
    match (&args.via, results) {
        (Some(_), Some(_)) | (None, None) => Ok(()),
        (None, Some(results)) => refuse_if_under_way(args, results),
        (Some(_), None) => Err(CommandError::usage(
            "--via batch needs a file for the results: what is under way is noted beside it",
        )
        .help("give one with -o FILE")),
    }
}

/// Whether the prompts can go through a batch endpoint at all.
pub(super) fn check_via(args: &RunArgs) -> Result<(), CommandError> {
    let server = &args.calls.server;
    let api = server.api;
    let is_pipe = args.prompts == Path::new("-")
        || args
            .prompts
            .metadata()
            .is_ok_and(|found| !found.is_file() && !found.is_dir());
    let wrong = match () {
        () if args.via.is_none() => return Ok(()),
        () if BulkApi::of(api).is_none() => format!(
            "is for --api chat, responses, embeddings and messages: Paceline knows no batch endpoint for {api}"
        ),
        () if is_pipe => {
            "needs a file of prompts, to find them again when the answers are there".to_owned()
        }
        () if server.key_env.len().max(server.base_url.len()) > 1 => {
            "takes one key at one address".to_owned()
        }
        () if args.most_per_call() > 1 => "takes one prompt a row: leave --per-call out".to_owned(),
        () => return Ok(()),
    };
    Err(CommandError::usage(format!("--via batch {wrong}")))
}

/// Without `--via`, prompts that a batch holds must not be sent as well.
fn refuse_if_under_way(args: &RunArgs, results: &Path) -> Result<(), CommandError> {
    let path = BulkState::beside(results);
    let state = load(&path)?;
    let Some(part) = state.parts.first() else {
        return Ok(());
    };
    let name = part
        .batch
        .as_deref()
        .unwrap_or("a batch that may have been submitted");
    let rows = state.parts.iter().map(|part| part.rows).sum();
    let problem = format!(
        "{name} at {} holds {} of these results: sent now, they would be paid for twice",
        state.server,
        counted(rows, "prompt")
    );
    let collect = command_line(&args.prompts, "--via batch");
    Err(CommandError::usage(problem).help(format!(
        "finish it first: {collect} (a batch that was cancelled at the provider ends at once); \
         if it is gone for good, remove {}",
        path.display()
    )))
}

fn load(path: &Path) -> Result<BulkState, CommandError> {
    BulkState::load(path).map_err(CommandError::file("cannot read", path))
}

/// What the run is about.
pub(super) struct BulkRun<'a> {
    args: &'a RunArgs,
    input: &'a Input<'a>,
    bulk: Bulk<'a>,
    /// Where the state is noted.
    path: PathBuf,
    state: BulkState,
    /// Prompts that have a record of a failure and are not asked again, by line.
    failed: HashSet<u64>,
    /// Prompts that get a copy of another's answer, by line.
    twins: HashSet<u64>,
    /// What is to be submitted.
    unsent: Vec<Part>,
    /// Why nothing more is submitted.
    stop: Option<Stop>,
    /// The rows of the batches that have ended, by our names for these.
    ended: HashMap<String, BulkRows>,
}

impl<'a> BulkRun<'a> {
    /// Reads what is noted beside the results; `None` without `--via batch`.
    pub(super) fn open(
        args: &'a RunArgs,
        session: &'a Session<'_>,
        input: &'a Input<'a>,
        results: Option<&Path>,
    ) -> Result<Option<Self>, CommandError> {
        let api = args
            .via
            .as_ref()
            .and_then(|_| BulkApi::of(args.calls.server.api));
        let Some((api, results)) = api.zip(results) else {
            return Ok(None);
        };
        let client = &session.clients[0];
        let path = BulkState::beside(results);
        let mut state = load(&path)?;
        if !state.parts.is_empty() && state.server != client.url() {
            let problem = format!("the batch in {} is at {}", path.display(), state.server);
            let help = "give the same --base-url and --api again";
            return Err(CommandError::usage(problem).help(help));
        }
        state.server = client.url().to_owned();
        let settings = &session.settings;
        let retry = Retry::new().retries(u32::MAX).within(settings.max_wait);
        Ok(Some(BulkRun {
            args,
            input,
            bulk: Bulk {
                api,
                client,
                retry: retry
                    .patience(Duration::MAX)
                    .backoff(settings.retry.backoff),
                poll: args.poll,
                cancel: &session.cancel,
            },
            path,
            state,
            failed: HashSet::new(),
            twins: HashSet::new(),
            unsent: Vec::new(),
            stop: None,
            ended: HashMap::new(),
        }))
    }

    /// Submits what is to do, waits, and writes the records of these prompts, in their order. However many batches there
    /// are, the input is read once to plan, once to submit and once to write; with a schema, it is read to plan and to submit
    /// once more for each time that answers do not fit.
    pub(super) fn carry_out(
        mut self,
        session: &Session<'_>,
        mut resume: Resume,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
        count: Option<u64>,
        twins: Twins,
        mut writer: ResultsWriter,
    ) -> Result<Summary, CommandError> {
        let clock = self.bulk.cancel.clock();
        let began = clock.now();
        match self.find_lost() {
            Ok(()) => self.submit_all(&resume)?,
            Err(stop) => self.stop = Some(stop),
        }
        resume.retry_failed = true; // rows of a batch are on record, or have been asked again
        let (failed, unsent) = (mem::take(&mut self.failed), mem::take(&mut self.unsent));
        let passed_over = failed.len() as u64 + unsent.iter().map(Part::prompts).sum::<u64>();
        let is_wanted = |prompt: &Prompt| {
            let line = prompt.line;
            !failed.contains(&line) && !unsent.iter().any(|part| part.has(line))
        };
        let prompts = prompts.filter(|prompt| prompt.as_ref().map_or(true, is_wanted));
        let expected = count.map(|count| count.saturating_sub(passed_over));
        let mut summary = session.carry_out(
            |batch| prepared(batch, resume, twins, expected),
            |batch| {
                let rows = |id: &RecordId, request: &[u8]| self.rows(id, request);
                batch.collect(prompts, rows, |record| Ok(writer.write(record)?))
            },
        );
        summary.end.before += failed.len() as u64;
        summary.end.failed_before += failed.len() as u64;
        summary.end.calls_a_minute = None; // of no interest here
        summary.end.elapsed = clock.now() - began; // most of it was waiting for the batch
        writer.finish(&mut summary);
        if summary.stop.is_none() {
            summary.stop = self.forget(&unsent).err().or(self.stop);
        }
        Ok(summary)
    }

    /// Submits what is to do, and then, with a schema, what is to be asked again. That waits for the answers.
    fn submit_all(&mut self, resume: &Resume) -> Result<(), CommandError> {
        self.plan(resume, false)?;
        loop {
            let prompts = self.input.prompts(self.bulk.cancel)?;
            self.stop = self.submit(prompts).err();
            if self.stop.is_none() && self.args.calls.request.schema.is_some() {
                self.plan(resume, true)?;
            }
            if self.stop.is_some() || self.unsent.is_empty() {
                return Ok(());
            }
        }
    }

    /// The request to ask a prompt again with, if its last answer does not fit the schema and it may be asked once more.
    fn again(&mut self, id: &RecordId, request: &[u8]) -> Result<Option<Vec<u8>>, Stop> {
        let asked = self.state.parts_of(id.line).count();
        if asked == 0 || asked > self.args.calls.retries.schema_retries as usize {
            return Ok(None);
        }
        let client = self.bulk.client;
        let last = self.rows(id, request)?.pop();
        let answer = last.and_then(|row| row.answer.ok());
        Ok(answer.and_then(|answer| {
            let misfit = client.misfit(&answer)?;
            Some(client.request_again(request, &answer, &misfit))
        }))
    }

    /// Finds the batch that was perhaps submitted when the program was killed. One that is not found was not.
    fn find_lost(&mut self) -> Result<(), Stop> {
        let mut parts = self.state.parts.iter();
        let Some(n) = parts.position(|part| part.batch.is_none()) else {
            return Ok(());
        };
        inform("looking for a batch that may have been submitted");
        match self.bulk.find_lost(&self.state.parts[n])? {
            Some(batch) => self.state.parts[n].batch = Some(batch),
            None => drop(self.state.parts.remove(n)),
        }
        self.save()
    }

    /// Finds out what is to be submitted. Checks that the prompts of batches under way are the same as then.
    fn plan(&mut self, resume: &Resume, looks_for_misfits: bool) -> Result<(), CommandError> {
        let client = self.bulk.client;
        let retry_failed = resume.index.retries(resume.retry_failed);
        let mut plan = Plan::default();
        let mut seen: HashMap<String, Part> = HashMap::new();
        for prompt in self.input.checked_prompts()? {
            let prompt = prompt?;
            let request = body(client, &prompt)?;
            let id = record_id(client, prompt.line, &request);
            let status = resume.index.status(&id);
            let mut parts = self.state.parts_of(id.line).peekable();
            if parts.peek().is_some() {
                for part in parts {
                    let batch = part.batch.as_deref().unwrap_or_default();
                    if resume.index.of_batch(id.line, batch) == Some(false) {
                        self.failed.insert(id.line);
                    }
                    seen.entry(part.name.clone()).or_default().add(&id);
                }
                if !looks_for_misfits || self.stop.is_some() || self.failed.contains(&id.line) {
                    continue;
                }
                match self.again(&id, &request) {
                    Ok(Some(_)) if self.args.dedupe && plan.add_twin(&id) => {
                        self.twins.insert(id.line);
                    }
                    Ok(Some(again)) => plan.add(&id, &again, self.bulk.api, client.path())?,
                    Ok(None) => {}
                    Err(stop) => self.stop = Some(stop),
                }
            } else if status.is_done(retry_failed, resume.keep) == Some(true) {
                if !status.is_answered() {
                    self.failed.insert(id.line);
                }
            } else if self.args.dedupe && plan.add_twin(&id) {
                self.twins.insert(id.line);
            } else {
                plan.add(&id, &request, self.bulk.api, client.path())?;
            }
        }
        for part in &self.state.parts {
            if seen.get(&part.name).map(|seen| seen.digest) != Some(part.digest) {
                return Err(self.changed(part));
            }
        }
        self.unsent = plan.parts;
        Ok(())
    }

    fn changed(&self, part: &Part) -> CommandError {
        let batch = part.batch.as_deref().unwrap_or_default();
        let problem = format!(
            "{batch} is under way, and its prompts, the model or a parameter have changed since it was submitted"
        );
        CommandError::usage(problem).help(format!(
            "put them back, so that the answers find their prompts; or give the batch up: cancel it at the provider, and remove {}",
            self.path.display()
        ))
    }

    /// Submits the parts, whose rows follow one another in the input.
    fn submit(&mut self, prompts: PromptStream) -> Result<(), Stop> {
        let client = self.bulk.client;
        let mut rows = Vec::new();
        for prompt in prompts {
            let Some(part) = self.unsent.first() else {
                return Ok(());
            };
            let prompt = prompt.map_err(Stop::Input)?;
            if part.has(prompt.line) && !self.twins.contains(&prompt.line) {
                let request = body(client, &prompt).map_err(Stop::Input)?;
                let id = record_id(client, prompt.line, &request);
                let request = self.again(&id, &request)?.unwrap_or(request);
                let part = &self.unsent[0];
                let name = part.row_name(&id);
                rows.push(self.bulk.api.row(&name, client.path(), &request));
                if rows.len() as u64 == part.rows {
                    self.submit_first(&mem::take(&mut rows))?;
                }
            }
        }
        let announced = self.unsent.iter().map(|part| part.rows).sum::<u64>();
        let missing = announced - rows.len() as u64;
        match missing {
            0 => Ok(()),
            _ => Err(Stop::Missing { announced, missing }),
        }
    }

    /// Submits the first part that is unsent, with a note before and after.
    fn submit_first(&mut self, rows: &[String]) -> Result<(), Stop> {
        let body = self.bulk.prepare(&self.unsent[0], rows)?;
        let n = self.state.parts.len();
        self.state.parts.push(Part {
            noted_at: seconds(SystemClock.wall()),
            ..self.unsent[0].clone()
        });
        self.save()?;
        match self.bulk.submit(&self.state.parts[n], &body) {
            Ok(batch) => {
                let prompts = counted(rows.len() as u64, "prompt");
                inform(format!(
                    "submitted {prompts} as {batch}: at half the price, within 24 hours"
                ));
                self.unsent.remove(0);
                self.state.parts[n].batch = Some(batch);
                self.save()
            }
            Err(stop @ Stop::Refused(_)) => {
                self.state.parts.pop();
                self.save().and(Err(stop))
            }
            Err(stop) => Err(stop), // nobody knows if it is under way
        }
    }

    fn save(&self) -> Result<(), Stop> {
        let told = |error| format!("cannot write to {}: {error}", self.path.display());
        let saved = self.state.save(&self.path);
        saved.map_err(|error| Stop::Sink(told(error).into()))
    }

    /// Forgets the batches whose rows are all on record.
    fn forget(&mut self, unsent: &[Part]) -> Result<(), Stop> {
        let is_left = |part: &Part| unsent.iter().any(|other| other.shares_a_line_with(part));
        let parts = &mut self.state.parts;
        parts.retain(|part| part.batch.is_none() || is_left(part));
        self.save()
    }

    /// What its batches say about a prompt, in the order in which they asked it; waits for their ends.
    fn rows(&mut self, id: &RecordId, request: &[u8]) -> Result<Vec<CollectedRow>, Stop> {
        let mut found = Vec::new();
        for part in self.state.parts_of(id.line) {
            if part.batch.is_none() {
                break;
            }
            if !self.ended.contains_key(&part.name) {
                let rows = self.rows_of(part)?;
                self.ended.insert(part.name.clone(), rows);
            }
            let rows = self.ended.get_mut(&part.name);
            found.extend(rows.map(|rows| rows.row(self.bulk.client, id, request)));
        }
        match found.is_empty() {
            true => Err(self.stop.take().unwrap_or(Stop::Interrupted)),
            false => Ok(found),
        }
    }

    /// Waits until a batch has ended, and fetches its rows.
    fn rows_of(&self, part: &Part) -> Result<BulkRows, Stop> {
        let batch = part.batch.as_deref().unwrap_or_default();
        let rows = counted(part.rows, "prompt");
        let mut shown = None;
        let status = self.bulk.ended(batch, |status| {
            let line = format!("{batch} ({}): {} of {rows} done", status.word, status.done);
            if shown.as_ref() != Some(&line) {
                inform(&line);
                shown = Some(line);
            }
        });
        let path = self.path.with_extension("rows");
        let status = status.map_err(|stop| self.gone(stop))?;
        BulkRows::fetch(&self.bulk, &status, part, &path, self.args.dedupe)
    }

    /// A batch that the server does not know will not come back by itself.
    fn gone(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Refused(mut error) if error.status == Some(404) => {
                error.message += &format!(
                    " (is this the key and the address of the batch? If it is gone for good, remove {})",
                    self.path.display()
                );
                Stop::Refused(error)
            }
            stop => stop,
        }
    }
}

/// The parts that are to be submitted.
#[derive(Default)]
struct Plan {
    parts: Vec<Part>,
    /// Of the last part.
    bytes: usize,
    /// Of all rows: a batch of OpenAI is for one model.
    model: Option<String>,
    /// In which part a request is, to ask it once.
    asked: HashMap<u64, usize>,
}

impl Plan {
    fn add(
        &mut self,
        id: &RecordId,
        request: &[u8],
        api: BulkApi,
        path: &str,
    ) -> Result<(), CommandError> {
        if api == BulkApi::OpenAi {
            self.check_model(request)?;
        }
        let name = Part::new().row_name(id);
        let length = api.row(&name, path, request).len() + 2; // with what is between rows
        let is_full = |part: &Part| part.rows == MOST_ROWS;
        if self.parts.last().is_none_or(is_full) || self.bytes + length > MOST_BYTES {
            self.parts.push(Part::new());
            self.bytes = 0;
        }
        self.bytes += length;
        let last = self.parts.len() - 1;
        self.parts[last].add(id);
        self.parts[last].rows += 1;
        self.asked.insert(id.digest, last);
        Ok(())
    }

    /// Whether the same request is in a part already, where this prompt then belongs, too.
    fn add_twin(&mut self, id: &RecordId) -> bool {
        let part = self.asked.get(&id.digest);
        if let Some(part) = part {
            self.parts[*part].add(id);
        }
        part.is_some()
    }

    fn check_model(&mut self, request: &[u8]) -> Result<(), CommandError> {
        #[derive(Deserialize)]
        struct ModelField {
            model: Option<String>,
        }
        let field = serde_json::from_slice::<ModelField>(request);
        let model = field.ok().and_then(|field| field.model).unwrap_or_default();
        let first = self.model.get_or_insert_with(|| model.clone());
        if *first == model {
            return Ok(());
        }
        let problem = format!("a batch is for one model, and the prompts ask {first} and {model}");
        Err(CommandError::usage(problem).help("give each model a file and results of its own"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(line: u64) -> RecordId {
        RecordId { line, digest: line }
    }

    fn plan(count: u64, request: &[u8]) -> Vec<Part> {
        let mut plan = Plan::default();
        for line in 1..=count {
            plan.add(&id(line), request, BulkApi::OpenAi, "/chat/completions")
                .unwrap();
        }
        plan.parts
    }

    #[test]
    fn a_part_has_no_more_rows_than_the_endpoint_takes() {
        let parts = plan(100_001, b"{}");
        let rows: Vec<_> = parts.iter().map(|part| part.rows).collect();
        assert_eq!(rows, [50_000, 50_000, 1]);
        assert_eq!(parts[1].lines, [[50_001, 100_000]]);
    }

    #[test]
    fn a_part_has_no_more_bytes_than_the_endpoint_takes() {
        let request = format!(r#"{{"prompt":"{}"}}"#, "x".repeat(30_000_000));
        let rows: Vec<_> = plan(8, request.as_bytes())
            .iter()
            .map(|part| part.rows)
            .collect();
        assert_eq!(rows, [6, 2]); // 180 MB, where seven rows would be 210 MB
    }

    #[test]
    fn a_batch_of_two_models_is_refused() {
        let mut plan = Plan::default();
        let mut add = |line, request| plan.add(&id(line), request, BulkApi::OpenAi, "/responses");
        add(1, br#"{"model":"a"}"#).unwrap();
        assert!(add(2, br#"{"model":"b"}"#).is_err());
    }
}
