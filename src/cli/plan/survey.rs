//! The input, compared with what is on record: what a run would send.

use super::workload::Workload;
use crate::api::{Ask, Client, Usage};
use crate::batch::{Density, RequestSize, body, record_id};
use crate::cli::args::RunArgs;
use crate::cli::error::CommandError;
use crate::cli::input::Input;
use crate::cli::oversize::OversizedPrompts;
use crate::cli::results;
use crate::journal::{Index, RecordId, Results};

/// What there is to send, and what is done.
pub(super) struct Survey {
    pub(super) load: Workload,
    pub(super) total: u64,
    /// Prompts that are done, by how they ended.
    pub(super) answered: u64,
    pub(super) failed: u64,
    /// Prompts on record that would be sent differently now.
    pub(super) changed: u64,
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
            load: Workload::new(density, client.counting()),
            total: 0,
            answered: 0,
            failed: 0,
            changed: 0,
            oversized: OversizedPrompts::new(args.calls.rate.tpm, client.counting()),
            spent: index.usage,
        };
        let input = Input::of_run(args, client.path())?;
        for prompt in input.checked_prompts()? {
            let prompt = prompt?;
            let request = body(client, &prompt)?;
            let id = record_id(client, prompt.line, &request);
            survey.total += 1;
            if survey.is_to_send(args, &index, &id) {
                let size = RequestSize::of(&request);
                survey.load.add(size);
                survey.oversized.weigh(prompt.line, size);
            }
        }
        input.check_count(survey.total)?;
        Ok(survey)
    }

    fn is_to_send(&mut self, args: &RunArgs, index: &Index, id: &RecordId) -> bool {
        let status = index.status(id);
        let is_done = status.is_done(index.retries(args.retry_failed), args.keep);
        self.changed += u64::from(is_done.is_none());
        if is_done == Some(true) {
            self.answered += u64::from(status.is_answered());
            self.failed += u64::from(!status.is_answered());
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
