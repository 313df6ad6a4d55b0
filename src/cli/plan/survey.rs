//! The input, compared with what is on record: what a run would send.

use std::collections::HashSet;

use serde::Serialize;

use super::workload::Workload;
use crate::api::{Ask, Client, Usage};
use crate::batch::{Density, FILE_BYTES, RequestSize, body, record_id};
use crate::cli::args::RunArgs;
use crate::cli::error::CommandError;
use crate::cli::input::Input;
use crate::cli::oversize::OversizedPrompts;
use crate::cli::results;
use crate::journal::{Index, RecordId, Results};
use crate::prompts::Prompt;

/// What there is to send, and what is done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct SurveyCounts {
    total: u64,
    /// Prompts that are done, by how they ended.
    answered: u64,
    failed: u64,
    /// Prompts to send.
    to_send: u64,
    /// Of these, prompts whose request is sent for an earlier one.
    alike: u64,
    /// Of these, prompts with pictures or other files.
    with_files: u64,
    /// Prompts on record that would be sent differently now.
    changed: u64,
}

pub(super) struct Survey {
    pub(super) counts: SurveyCounts,
    /// The calls.
    pub(super) load: Workload,
    pub(super) oversized: OversizedPrompts,
    /// The tokens of earlier runs.
    pub(super) spent: Usage,
}

impl Survey {
    pub(super) fn of(
        args: &RunArgs,
        client: &Client,
        density: Density,
    ) -> Result<Self, CommandError> {
        let index = on_record(args)?;
        let mut survey = Survey {
            counts: SurveyCounts::default(),
            load: Workload::new(density, client.counting()).joining(args),
            oversized: OversizedPrompts::new(args.calls.rate.tpm, client.counting()),
            spent: index.usage,
        };
        let input = Input::of_run(args, client.path())?;
        let mut asked = HashSet::new();
        for prompt in input.checked_prompts()? {
            let prompt = prompt?;
            let request = body(client, &prompt)?;
            let id = record_id(client, prompt.line, &request);
            survey.counts.total += 1;
            if !survey.is_to_send(args, &index, &id) {
                continue;
            }
            survey.counts.to_send += 1;
            match args.dedupe && !asked.insert(id.digest) {
                true => survey.counts.alike += 1,
                false => survey.add(&prompt, &request),
            }
        }
        input.check_count(survey.counts.total)?;
        Ok(survey)
    }

    fn add(&mut self, prompt: &Prompt, request: &[u8]) {
        let files = &prompt.row.files;
        self.counts.with_files += u64::from(!files.is_empty());
        let mut size = RequestSize::of(request);
        let elsewhere = files.iter().filter(|place| place.starts_with("http"));
        size.bytes += elsewhere.count() as u32 * FILE_BYTES;
        self.oversized.weigh(prompt.line, size);
        self.load.add(size);
    }

    fn is_to_send(&mut self, args: &RunArgs, index: &Index, id: &RecordId) -> bool {
        let status = index.status(id);
        let is_done = status.is_done(index.retries(args.retry_failed), args.keep);
        self.counts.changed += u64::from(is_done.is_none());
        if is_done == Some(true) {
            self.counts.answered += u64::from(status.is_answered());
            self.counts.failed += u64::from(!status.is_answered());
        }
        is_done != Some(true)
    }
}

/// What earlier runs have done, unless the run would start again. The file is only read.
fn on_record(args: &RunArgs) -> Result<Index, CommandError> {
    let output = results::output_of(args)?;
    let Some(path) = output.filter(|path| !args.restart && path.exists()) else {
        return Ok(Index::default());
    };
    let what = "cannot read earlier results from";
    let mut results = Results::open(&path).map_err(CommandError::file(what, &path))?;
    Index::read(&mut results).map_err(CommandError::file(what, &path))
}
