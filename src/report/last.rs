//! The last record of each prompt, in 16 bytes a prompt: what became of it.

use std::collections::BTreeMap;

use super::numbers::{Example, Failure, Prompts};
use super::pace::nameless;
use super::words::Words;
use crate::batch::Flag;

/// How many prompts are shown of those that failed for one reason.
const EXAMPLES: usize = 3;

/// Records come in order; of a prompt the last one counts.
#[derive(Debug, Default)]
pub(super) struct Lasts {
    list: Vec<Last>,
    /// Records that are not in the list any more.
    superseded: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// The line of the prompt.
    prompt: u64,
    /// The line of the results.
    record: u32,
    end: End,
}

/// How a prompt ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Answered(Option<Flag>),
    /// By the number of its code.
    Failed(u16),
}

impl Lasts {
    /// Before the list grows, what is superseded makes room.
    pub(super) fn push(&mut self, prompt: u64, record: u64, end: End) {
        if self.list.len() == self.list.capacity() {
            self.settle();
            self.list.reserve(self.list.len().max(1024));
        }
        let record = u32::try_from(record).unwrap_or(u32::MAX);
        self.list.push(Last {
            prompt,
            record,
            end,
        });
    }

    /// Sorts in place, which takes no memory, and of each prompt keeps the last.
    fn settle(&mut self) {
        let before = self.list.len();
        self.list
            .sort_unstable_by_key(|last| (last.prompt, last.record));
        self.list.dedup_by(|later, earlier| {
            let same = later.prompt == earlier.prompt;
            if same {
                *earlier = *later;
            }
            same
        });
        self.superseded += (before - self.list.len()) as u64;
    }

    /// There are no more. What became of the prompts; the words are the codes.
    pub(super) fn finish(mut self, codes: Words) -> Prompts {
        self.settle();
        let mut sum = Prompts {
            superseded: self.superseded,
            ..Prompts::default()
        };
        let mut failures = BTreeMap::new();
        for Last { record, end, .. } in self.list {
            match end {
                End::Answered(flag) => {
                    sum.answered += 1;
                    flag.into_iter().for_each(|flag| sum.flags.count(flag));
                }
                End::Failed(code) => {
                    sum.failed += 1;
                    let (count, examples) = failures.entry(code).or_insert((0, Vec::new()));
                    *count += 1;
                    if examples.len() < EXAMPLES {
                        examples.push(record);
                    }
                }
            }
        }
        Prompts {
            failures: by_count(failures, codes),
            ..sum
        }
    }
}

/// How many prompts failed with each code, and the records of the first of them.
fn by_count(failures: BTreeMap<u16, (u64, Vec<u32>)>, codes: Words) -> Vec<Failure> {
    let example = |record: u32| Example {
        prompt: nameless(record.into()),
        message: String::new(),
    };
    let failure = |(code, (count, records)): (_, (_, Vec<u32>))| {
        let examples = records.into_iter().map(example).collect();
        Failure {
            code,
            count,
            examples,
        }
    };
    codes
        .by_count(failures, |(count, _)| *count)
        .into_iter()
        .map(failure)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_takes_16_bytes_however_often_it_was_run() {
        assert_eq!(size_of::<Last>(), 16);
        let mut lasts = Lasts::default();
        (1..=100_000).for_each(|record| lasts.push(record % 1000, record, End::Answered(None)));
        assert!(lasts.list.capacity() <= 4096, "{}", lasts.list.capacity());
        let prompts = lasts.finish(Words::default());
        assert_eq!((prompts.answered, prompts.superseded), (1000, 99_000));
    }

    #[test]
    fn the_last_record_of_a_prompt_counts() {
        let (mut lasts, mut codes) = (Lasts::default(), Words::default());
        let [odd, bad] = ["odd", "bad"].map(|code| End::Failed(codes.number(code)));
        let ends = [
            (2, odd),
            (1, odd),
            (2, End::Answered(Some(Flag::Cut))),
            (1, bad),
            (3, bad),
        ];
        (1..)
            .zip(ends)
            .for_each(|(record, (prompt, end))| lasts.push(prompt, record, end));
        let Prompts {
            answered,
            flags,
            failed,
            failures,
            superseded,
        } = lasts.finish(codes);
        assert_eq!((answered, flags.cut, failed, superseded), (1, 1, 2, 2));
        assert!(
            failures.len() == 1
                && failures[0].code == "bad"
                && failures[0].examples[0].prompt.record == 4
        );
    }
}
