//! What there is to send: the sizes of the requests, in their order.

use crate::api::Counting;
use crate::batch::{Density, RequestSize, most_bytes};
use crate::cli::args::RunArgs;

/// The calls of a batch, by their sizes.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    /// Tokens for each byte of a request, and for each answer.
    pub(super) density: Density,
    /// Which tokens the server counts against its limit.
    pub(super) counting: Counting,
    /// Estimated input tokens.
    pub(super) input: f64,
    /// Estimated output tokens.
    pub(super) output: f64,
    /// Estimated tokens that count against the limit.
    pub(super) counted: f64,
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
    pub(super) fn joining(self, args: &RunArgs) -> Self {
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
        let last = self
            .sizes
            .last_mut()
            .filter(|_| self.in_last < self.per_call);
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
    pub(super) fn count(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// The estimated bytes of a request.
    pub(super) fn mean_bytes(&self) -> f64 {
        self.input / self.density.input.max(1e-9) / self.count().max(1) as f64
    }

    /// Tokens of a prompt that count against the limit, on average; `None` without prompts.
    pub(super) fn mean_counted(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.counted / self.count() as f64)
    }

    /// `count` sizes, evenly from the whole and in its order.
    pub(super) fn sizes(&self, count: usize) -> impl Iterator<Item = RequestSize> + Send + '_ {
        (0..count).map(move |n| self.sizes[n * self.sizes.len() / count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: u32) -> RequestSize {
        RequestSize { bytes, most: None }
    }

    #[test]
    fn all_are_counted_and_a_sample_is_taken_in_order() {
        let mut load = Workload::new(
            Density {
                input: 0.5,
                output: 10.0,
            },
            Counting::Reserved,
        );
        (0..1_000_000).for_each(|n| load.add(size(n)));
        assert_eq!((load.count(), load.output), (1_000_000, 1e7));
        assert_eq!(load.input, 0.5 * 999_999.0 * 500_000.0);
        let sample: Vec<_> = load.sizes(1000).map(|size| size.bytes).collect();
        assert!(sample.is_sorted() && sample[0] == 0 && sample[999] > 990_000);
        let mean = sample.iter().map(|bytes| f64::from(*bytes)).sum::<f64>() / 1000.0;
        assert!((mean - 500_000.0).abs() < 5_000.0, "{mean}");
    }

    #[test]
    fn a_sample_of_all_is_all() {
        let mut load = Workload::new(Density::default(), Counting::Reserved);
        (0..100).for_each(|n| load.add(size(n)));
        assert!(load.sizes(100).map(|size| size.bytes).eq(0..100));
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
