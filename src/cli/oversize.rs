//! Prompts whose request needs more tokens than the limit allows in a whole minute.
//!
//! The limiter lets such a call pass when nothing else has been spent, but a server that counts what a call reads and
//! the most that it may write refuses it every time. So people are warned: of a file before the run, of a pipe as the
//! prompts come.

use std::num::NonZeroU32;

use log::warn;

use crate::api::{Ask, Counting};
use crate::batch::{RequestSize, body};
use crate::prompts::{Prompt, input_line};
use crate::text::counted;

/// Finds such prompts.
#[derive(Clone, Debug)]
pub(super) struct OversizedPrompts {
    /// `None`: no limit is known, and nothing is too large.
    limit: Option<NonZeroU32>,
    counting: Counting,
    count: u64,
    /// The line of the first one, and about how many tokens it needs.
    first: Option<String>,
}

impl OversizedPrompts {
    pub(super) fn new(limit: Option<NonZeroU32>, counting: Counting) -> Self {
        OversizedPrompts {
            limit,
            counting,
            count: 0,
            first: None,
        }
    }

    /// Looks at a prompt, as it would be sent.
    pub(super) fn look(&mut self, prompt: &Prompt, ask: &dyn Ask) {
        if self.limit.is_some()
            && let Ok(body) = body(ask, prompt)
        {
            self.weigh(prompt.line, RequestSize::of(&body));
        }
    }

    /// Looks at the request of a line.
    pub(super) fn weigh(&mut self, line: u64, size: RequestSize) {
        let least = size.least(self.counting);
        if self
            .limit
            .is_some_and(|limit| least > f64::from(limit.get()))
        {
            self.count += 1;
            let line = input_line(line);
            let named = || format!("line {line} (about {least:.0} tokens)");
            self.first.get_or_insert_with(named);
        }
    }

    /// The warning; `None` if all prompts fit.
    pub(super) fn warning(&self) -> Option<String> {
        let (limit, first) = (self.limit?, self.first.as_ref()?);
        let more = match self.count {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Some(format!(
            "{} can never be accepted by a server that keeps to --tpm {limit}, being larger than that: {first}{more}",
            counted(self.count, "prompt"),
        ))
    }
}

/// Warns of such prompts as they come, where they could not be checked before.
pub(super) fn warn_as_they_come<'a, E>(
    prompts: impl Iterator<Item = Result<Prompt, E>> + Send + 'a,
    limit: Option<NonZeroU32>,
    ask: &'a dyn Ask,
) -> impl Iterator<Item = Result<Prompt, E>> + Send + 'a {
    prompts.inspect(move |prompt| {
        let mut oversized = OversizedPrompts::new(limit, ask.counting());
        if let Ok(prompt) = prompt {
            oversized.look(prompt, ask);
        }
        if let Some(warning) = oversized.warning() {
            warn!("{warning}");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_that_can_never_be_accepted_are_counted_and_the_first_is_named() {
        let mut oversized = OversizedPrompts::new(NonZeroU32::new(1000), Counting::Reserved);
        let size = |bytes, most| RequestSize { bytes, most };
        oversized.weigh(1, size(400, Some(900)));
        assert_eq!(oversized.warning(), None, "it fits exactly");
        oversized.weigh(2, size(404, Some(900)));
        let said = oversized.warning().unwrap();
        assert!(
            said.starts_with("1 prompt can never")
                && said.ends_with(": line 2 (about 1001 tokens)"),
            "{said}"
        );
        (3..9).for_each(|line| oversized.weigh(line, size(8000, None)));
        let said = oversized.warning().unwrap();
        assert!(
            said.starts_with("7 prompts can never")
                && said.ends_with(": line 2 (about 1001 tokens) and 6 more")
        );
    }

    #[test]
    fn without_a_limit_nothing_is_too_large() {
        let mut oversized = OversizedPrompts::new(None, Counting::Reserved);
        oversized.weigh(
            1,
            RequestSize {
                bytes: u32::MAX,
                most: Some(u32::MAX),
            },
        );
        assert_eq!(oversized.warning(), None);
    }
}
