//! What is done already, in 16 bytes a prompt.
//!
//! The records themselves stay on disk: to tell whether a prompt is answered takes the number of its line, a digest of
//! its request, and one bit.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::BufRead;
use std::iter;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::by_line::ByLine;
use super::id::{RecordId, Tag};
use super::reader::{Line, Results, ResultsError};

/// The last record of each prompt: which request it was made for, and whether it holds an answer.
///
/// ```
/// use paceline::journal::{Index, RecordId, Standing};
///
/// let answered = (RecordId::of(1, b"Why is the sky blue?"), true);
/// let index = Index::from_iter([answered]);
/// assert_eq!(index.standing(&RecordId::of(1, b"Why is the sky blue?")), Standing::Answered);
/// assert_eq!(index.standing(&RecordId::of(1, b"Why is grass green?")), Standing::Changed { answered: true });
/// assert_eq!(index.standing(&RecordId::of(2, b"Why is the sky blue?")), Standing::New);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Index {
    /// The digest of the request, and whether it was answered.
    tags: ByLine<Tag>,
}

/// How a prompt stands in the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no record for its line.
    New,
    /// It is answered.
    Answered,
    /// It failed.
    Failed,
    /// The record of its line is of another request: another prompt, model or parameter.
    Changed {
        /// Whether that one was answered.
        answered: bool,
    },
}

/// The few fields of a record that count here; the others are passed over without being kept.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    text: Option<IgnoredAny>,
}

impl Index {
    /// Reads the results to their end.
    ///
    /// # Errors
    /// [`ResultsError`], at the first line that is no record of ours.
    pub fn read<R: BufRead>(results: &mut Results<R>) -> Result<Self, ResultsError> {
        let next = || {
            results
                .next_line()
                .and_then(|line| line.as_ref().map(glance).transpose())
                .transpose()
        };
        Ok(Index {
            tags: ByLine::try_collect(iter::from_fn(next))?,
        })
    }

    /// How the prompt stands whose record would have this name.
    #[must_use]
    pub fn standing(&self, id: &RecordId) -> Standing {
        match self
            .tags
            .get(id.line)
            .map(|tag| (tag.is_of(id.digest), tag.bit()))
        {
            None => Standing::New,
            Some((true, true)) => Standing::Answered,
            Some((true, false)) => Standing::Failed,
            Some((false, answered)) => Standing::Changed { answered },
        }
    }

    /// How many prompts have a record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tags.len()
    }

    /// Whether no prompt has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many prompts have an answer.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.tags.values().filter(|tag| tag.bit()).count()
    }

    /// How many prompts up to this line have a record.
    pub(super) fn up_to(&self, line: u64) -> usize {
        self.tags.up_to(line)
    }
}

impl FromIterator<(RecordId, bool)> for Index {
    /// From names of records, the last of a line winning, and whether they hold an answer.
    fn from_iter<I: IntoIterator<Item = (RecordId, bool)>>(records: I) -> Self {
        let entries = records
            .into_iter()
            .map(|(id, answered)| Ok::<_, Infallible>(entry(id, answered)));
        let Ok(tags) = ByLine::try_collect(entries);
        Index { tags }
    }
}

fn entry(id: RecordId, answered: bool) -> (u64, Tag) {
    (id.line, Tag::new(id.digest, answered))
}

fn glance(line: &Line<'_>) -> Result<(u64, Tag), ResultsError> {
    let Glance { id, text } = line.parse()?;
    Ok(entry(line.id(&id)?, text.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(line: u64, request: &str) -> RecordId {
        RecordId::of(line, request.as_bytes())
    }

    #[test]
    fn a_prompt_is_known_by_its_place_and_its_request() {
        let index = Index::from_iter([(id(1, "a"), true), (id(2, "a"), false), (id(4, "b"), true)]);
        let standings = [id(1, "a"), id(2, "a"), id(3, "a"), id(4, "c"), id(2, "b")]
            .map(|id| index.standing(&id));
        let (yes, no) = (
            Standing::Changed { answered: true },
            Standing::Changed { answered: false },
        );
        assert_eq!(
            standings,
            [Standing::Answered, Standing::Failed, Standing::New, yes, no]
        );
        assert_eq!((index.len(), index.answered(), index.up_to(3)), (3, 2, 2));
    }

    #[test]
    fn the_last_record_of_a_prompt_wins() {
        let file = [
            (7, "a", "null"),
            (3, "a", "\"yes\""),
            (7, "a", "\"\""),
            (3, "b", "null"),
        ]
        .map(|(line, request, text)| {
            format!(
                "{{\"id\":\"{}\",\"prompt\":[],\"text\":{text}}}\n",
                id(line, request)
            )
        });
        let index = Index::read(&mut Results::new(file.concat().as_bytes())).unwrap();
        assert_eq!(
            index.standing(&id(7, "a")),
            Standing::Answered,
            "an empty answer is one"
        );
        assert_eq!(index.standing(&id(3, "b")), Standing::Failed);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn results_of_another_program_are_refused() {
        let theirs = b"{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":null}\n";
        let error = Index::read(&mut Results::new(&theirs[..]))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "line 1 was not written by paceline (\"batch_req_1\" is none of its ids): is this the right file?"
        );
    }
}
