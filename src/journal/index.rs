//! What is done already, in 16 bytes a prompt.
//!
//! The records themselves stay on disk: to tell whether a prompt is answered takes the number of its line, a digest of
//! its request, and one bit.

use std::borrow::Cow;
use std::io::BufRead;

use serde::Deserialize;
use serde::de::IgnoredAny;

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
    /// Sorted by line, one a line, once [`settle`](Index::settle) has been called.
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    line: u64,
    /// The request's digest, and whether it was answered.
    tag: Tag,
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
        let mut index = Index::default();
        while let Some(line) = results.next_line()? {
            index.push(Entry::read(&line)?);
        }
        Ok(index.finished())
    }

    /// How the prompt stands whose record would have this name.
    #[must_use]
    pub fn standing(&self, id: &RecordId) -> Standing {
        let Ok(at) = self.entries.binary_search_by_key(&id.line, |entry| entry.line) else {
            return Standing::New;
        };
        let tag = self.entries[at].tag;
        match (tag.is_of(id.digest), tag.bit()) {
            (true, true) => Standing::Answered,
            (true, false) => Standing::Failed,
            (false, answered) => Standing::Changed { answered },
        }
    }

    /// How many prompts have a record.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no prompt has a record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many prompts have an answer.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.entries.iter().filter(|entry| entry.tag.bit()).count()
    }

    /// How many prompts up to this line have a record.
    pub(super) fn up_to(&self, line: u64) -> usize {
        self.entries.partition_point(|entry| entry.line <= line)
    }

    /// Adds a record. Before the list grows, records that no longer count make room: a file that was retried ten times
    /// takes no more memory than one that was not.
    fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.settle();
            self.entries.reserve(self.entries.len().max(1024));
        }
        self.entries.push(entry);
    }

    /// Sorts by line, and of each line keeps the last record.
    fn settle(&mut self) {
        self.entries.sort_by_key(|entry| entry.line);
        self.entries.dedup_by(|later, earlier| {
            let same = later.line == earlier.line;
            if same {
                *earlier = *later;
            }
            same
        });
    }

    fn finished(mut self) -> Self {
        self.settle();
        self.entries.shrink_to_fit();
        self
    }
}

impl FromIterator<(RecordId, bool)> for Index {
    /// From names of records, the last of a line winning, and whether they hold an answer.
    fn from_iter<I: IntoIterator<Item = (RecordId, bool)>>(records: I) -> Self {
        let mut index = Index::default();
        records.into_iter().for_each(|(id, answered)| index.push(Entry::new(id, answered)));
        index.finished()
    }
}

impl Entry {
    fn new(id: RecordId, answered: bool) -> Self {
        Entry { line: id.line, tag: Tag::new(id.digest, answered) }
    }

    fn read(line: &Line<'_>) -> Result<Self, ResultsError> {
        let Glance { id, text } = line.parse()?;
        Ok(Entry::new(line.id(&id)?, text.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn id(line: u64, request: &str) -> RecordId {
        RecordId::of(line, request.as_bytes())
    }

    #[test]
    fn a_prompt_is_known_by_its_place_and_its_request() {
        let index = Index::from_iter([(id(1, "a"), true), (id(2, "a"), false), (id(4, "b"), true)]);
        let standings =
            [id(1, "a"), id(2, "a"), id(3, "a"), id(4, "c"), id(2, "b")].map(|id| index.standing(&id));
        let (yes, no) = (Standing::Changed { answered: true }, Standing::Changed { answered: false });
        assert_eq!(standings, [Standing::Answered, Standing::Failed, Standing::New, yes, no]);
        assert_eq!((index.len(), index.answered(), index.up_to(3)), (3, 2, 2));
    }

    #[test]
    fn the_last_record_of_a_prompt_wins() {
        let file = [(7, "a", "null"), (3, "a", "\"yes\""), (7, "a", "\"\""), (3, "b", "null")].map(
            |(line, request, text)| {
                format!("{{\"id\":\"{}\",\"prompt\":[],\"text\":{text}}}\n", id(line, request))
            },
        );
        let index = Index::read(&mut Results::new(file.concat().as_bytes())).unwrap();
        assert_eq!(index.standing(&id(7, "a")), Standing::Answered, "an empty answer is one");
        assert_eq!(index.standing(&id(3, "b")), Standing::Failed);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn results_of_another_program_are_refused() {
        let theirs = b"{\"id\":\"batch_req_1\",\"custom_id\":\"a\",\"response\":null}\n";
        let error = Index::read(&mut Results::new(&theirs[..])).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 1 was not written by paceline (\"batch_req_1\" is none of its ids): is this the right file?"
        );
    }

    #[test]
    fn retried_records_take_no_more_room() {
        let mut index = Index::default();
        (0..100_000).for_each(|n| index.push(Entry::new(id(n % 1000 + 1, ""), n >= 99_000)));
        assert!(index.entries.capacity() <= 4096, "{}", index.entries.capacity());
        let index = index.finished();
        assert_eq!((index.len(), index.answered()), (1000, 1000));
    }

    proptest! {
        #[test]
        fn an_index_says_what_a_map_would_say(records: Vec<(u8, u8, bool)>) {
            let records: Vec<_> =
                records.into_iter().map(|(line, request, answered)| (RecordId::of(line.into(), &[request]), answered)).collect();
            let map: HashMap<_, _> = records.iter().map(|(id, answered)| (id.line, (*id, *answered))).collect();
            let index = Index::from_iter(records);
            prop_assert_eq!(index.len(), map.len());
            for (id, answered) in map.values() {
                let expected = if *answered { Standing::Answered } else { Standing::Failed };
                prop_assert_eq!(index.standing(id), expected);
            }
        }
    }
}
