//! Calls that can never be let in: larger than all the tokens that the limit allows in a minute.
//!
//! The limiter lets such a call pass when nothing else has been spent, but a server that counts what a call reads and
//! the most that it may write refuses it each time. It is said before it is sent: of a file before the run, of prompts
//! that come through a pipe as they come.

use std::num::NonZeroU32;

use log::warn;

use crate::api::{Ask, Counting};
use crate::batch::{RequestSize, body};
use crate::prompts::Prompt;
use crate::report::counted;

/// Looks for such calls.
#[derive(Clone, Debug)]
pub(super) struct Oversize {
    /// None: nothing is too large, as far as is known.
    limit: Option<NonZeroU32>,
    counting: Counting,
    count: u64,
    /// The lines of the first few, and about how many tokens each counts for.
    first: Vec<(u64, f64)>,
}

impl Oversize {
    const SHOWN: usize = 3;

    /// A server with this limit, which counts so.
    pub(super) fn of(limit: Option<NonZeroU32>, counting: Counting) -> Self {
        Oversize {
            limit,
            counting,
            count: 0,
            first: Vec::new(),
        }
    }

    /// Looks at one prompt, as it would be sent.
    pub(super) fn look(&mut self, prompt: &Prompt, ask: &dyn Ask) {
        if self.limit.is_some() {
            self.weigh(prompt.line, RequestSize::of(&body(ask, prompt)));
        }
    }

    /// Looks at one call.
    pub(super) fn weigh(&mut self, line: u64, size: RequestSize) {
        let least = size.least(self.counting);
        if self
            .limit
            .is_none_or(|limit| least <= f64::from(limit.get()))
        {
            return;
        }
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push((line, least));
        }
    }

    /// What is to be said about them; nothing if there is none.
    pub(super) fn warning(&self) -> Option<String> {
        let limit = self.limit.filter(|_| self.count > 0)?;
        let lines = self
            .first
            .iter()
            .map(|(line, least)| format!("line {line} (about {least:.0} tokens)"));
        let lines = lines.collect::<Vec<_>>().join(", ");
        let more = match self.count - self.first.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (prompts, can) = (
            counted(self.count, "prompt"),
            "can never be let in by a server that keeps to",
        );
        Some(format!(
            "{prompts} {can} --tpm {limit}, being larger than that: {lines}{more}"
        ))
    }
}

/// Warns of such prompts as they come, where nobody could look at them before.
pub(super) fn warned<'a, E>(
    prompts: impl Iterator<Item = Result<Prompt, E>> + Send + 'a,
    limit: Option<NonZeroU32>,
    ask: &'a dyn Ask,
) -> impl Iterator<Item = Result<Prompt, E>> + Send + 'a {
    prompts.inspect(move |prompt| {
        let mut oversize = Oversize::of(limit, ask.counting());
        prompt.iter().for_each(|prompt| oversize.look(prompt, ask));
        oversize
            .warning()
            .into_iter()
            .for_each(|warning| warn!("{warning}"));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_be_let_in_is_named_by_its_first_lines() {
        let mut oversize = Oversize::of(NonZeroU32::new(1000), Counting::Reserved);
        let size = |bytes, most| RequestSize { bytes, most };
        oversize.weigh(1, size(400, Some(900)));
        assert_eq!(oversize.warning(), None, "it fits exactly");
        oversize.weigh(2, size(404, Some(900)));
        let said = oversize.warning().unwrap();
        assert!(
            said.starts_with("1 prompt can never")
                && said.ends_with(": line 2 (about 1001 tokens)"),
            "{said}"
        );
        (3..9).for_each(|line| oversize.weigh(line, size(8000, None)));
        let said = oversize.warning().unwrap();
        assert!(
            said.starts_with("7 prompts can never")
                && said.ends_with(", line 4 (about 2000 tokens) and 4 more")
        );
    }

    #[test]
    fn without_a_limit_nothing_is_too_large() {
        let mut oversize = Oversize::of(None, Counting::Reserved);
        oversize.weigh(
            1,
            RequestSize {
                bytes: u32::MAX,
                most: Some(u32::MAX),
            },
        );
        assert_eq!(oversize.warning(), None);
    }
}
