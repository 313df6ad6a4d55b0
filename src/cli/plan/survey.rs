//! The input, compared with what is on record: what a run would send.

use std::collections::HashSet;

use serde::Serialize;

use crate::api::{Ask, Client, Counting, Usage};
use crate::batch::{Density, FILE_BYTES, RequestSize, body, most_bytes, record_id};
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

/// The calls of a batch, by their sizes.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Tokens for each byte of a request, and for each answer.
    pub(super) density: Density,
    /// Which tokens the server counts against its limit.
    counting: Counting,
    /// Estimated input tokens.
    pub(super) input: f64,
    /// Estimated output tokens.
    pub(super) output: f64,
    /// Estimated tokens that count against the limit.
    counted: f64,
    sizes: Vec<RequestSize>,
    /// Prompts in the last call.
    in_last: usize,
    /// The most prompts in a call, and bytes in one for several prompts.
    per_call: usize,
    most_bytes: usize,
}

impl Workload {
    /// No prompts yet.
    pub(super) fn new(density: Density, counting: Counting) -> Self {
        Workload {
            density,
            counting,
            input: 0.0,
            output: 0.0,
            counted: 0.0,
            sizes: Vec::new(),
            in_last: 0,
            per_call: 1,
            most_bytes: 0,
        }
    }

    /// The same in calls for several prompts, as a run makes them.
    fn joining(self, args: &RunArgs) -> Self {
        Workload {
            per_call: args.most_per_call(),
            most_bytes: most_bytes(args.calls.rate.tpm, self.density.input),
            ..self
        }
    }

    /// Adds a prompt, to the last call if there is room.
    pub(super) fn add(&mut self, size: RequestSize) {
        self.input += size.input(self.density);
        self.output += size.output(self.density);
        self.counted += size.counted(self.density, self.counting);
        let last = self.sizes.last_mut();
        let last = last.filter(|_| self.in_last < self.per_call);
        let most = self.most_bytes as u32;
        let last = last.filter(|last| last.bytes.saturating_add(size.bytes) <= most);
        match last {
            Some(last) => {
                last.bytes += size.bytes;
                self.in_last += 1;
            }
            None => {
                self.sizes.push(size);
                self.in_last = 1;
            }
        }
    }

    /// Calls.
    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    /// Tokens of this call that count against the limit.
    pub(super) fn counted(&self, number: usize) -> f64 {
        self.sizes[number].counted(self.density, self.counting)
    }

    /// The same, on average; `None` without calls.
    pub(super) fn mean_counted(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.counted / self.count() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u32) -> RequestSize {
        RequestSize { bytes, most: None }
    }

    #[test]
    fn all_are_counted_in_their_order() {
        let density = Density {
            input: 0.5,
            output: 10.0,
        };
        let mut load = Workload::new(density, Counting::Reserved);
        (0..1000).for_each(|n| load.add(size(n)));
        assert_eq!((load.count(), load.output), (1000, 1e4));
        assert_eq!(load.input, 0.5 * 999.0 * 500.0);
        assert_eq!([0, 998].map(|n| load.counted(n)), [10.0, 509.0]);
    }

    #[test]
    fn the_most_tokens_of_an_answer_count_in_full_and_are_written_only_as_far_as_needed() {
        let mut load = Workload::new(
            Density {
                input: 0.25,
                output: 400.0,
            },
            Counting::Reserved,
        );
        for most in [1000, 50] {
            let most = Some(most);
            load.add(RequestSize { bytes: 100, most });
        }
        assert_eq!(
            (load.input, load.output, load.counted),
            (50.0, 450.0, 1100.0)
        );
        assert_eq!(load.mean_counted(), Some(550.0));
    }
}
