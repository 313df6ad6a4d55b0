//! Compares the input with what is done: how many prompts are new, answered, failed or changed, and what changed.
//!
//! The prompts are counted as they stream by. Of those that changed, a digest of the text is kept, 16 bytes a prompt; a
//! second look at the results then tells a changed prompt from a changed setting.

use std::fmt;
use std::io::BufRead;

use serde::Deserialize;

use super::id::{RecordId, Tag, digest};
use super::index::{Index, Standing};
use super::reader::{Line, Results, ResultsError};
use super::record::Record;

/// Counts prompts by how they stand in the results. Each line is counted once.
///
/// ```
/// use paceline::journal::{Index, RecordId, Tally};
///
/// let done = Index::from_iter([(RecordId::of(1, b"a"), true), (RecordId::of(2, b"b"), false)]);
/// let mut tally = Tally::new(&done);
/// for (line, prompt) in [(1, "a"), (3, "c")] {
///     tally.count(&RecordId::of(line, prompt.as_bytes()), prompt);
/// }
/// let comparison = tally.finish();
/// assert_eq!((comparison.answered, comparison.new, comparison.gone), (1, 1, 1));
/// ```
#[derive(Debug)]
pub struct Tally<'a> {
    index: &'a Index,
    comparison: Comparison,
    /// The last line counted.
    last: u64,
}

/// How an input and its results compare, in prompts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Have no record yet.
    pub new: u64,
    /// Are answered.
    pub answered: u64,
    /// Failed.
    pub failed: u64,
    /// Have a record that is of another request.
    pub changed: u64,
    /// Have a record, but are not in the input any more.
    pub gone: u64,
    /// Have a record, and come after the last prompt that was counted: gone too, if that was the input's last.
    pub beyond: u64,
    changes: Vec<Changed>,
    examples: Vec<Change>,
}

/// A prompt that changed.
#[derive(Clone, Copy, Debug)]
struct Changed {
    line: u64,
    /// The digest of the new text, and whether the last record has the same.
    text: Tag,
}

/// What changed between the results and the input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Records whose prompt has another text now.
    pub prompts: u64,
    /// Records whose prompt is the same: the model, the system message, the template or a parameter is another.
    pub settings: u64,
    /// The first few of them.
    pub examples: Vec<Change>,
}

/// How one prompt changed. It reads as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The line of the prompt, from 1.
    pub line: u64,
    /// The beginning of the text that was asked.
    pub was: String,
    /// The beginning of the text that would be asked now.
    pub now: String,
    /// The model that gave the old answer, if it said so.
    pub model: Option<String>,
}

impl<'a> Tally<'a> {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(index: &'a Index) -> Self {
        Tally {
            index,
            comparison: Comparison::default(),
            last: 0,
        }
    }

    /// Counts a prompt, by the name that its record would have and its text.
    pub fn count(&mut self, id: &RecordId, prompt: &str) -> Standing {
        let standing = self.index.standing(id);
        self.last = self.last.max(id.line);
        match standing {
            Standing::New => self.comparison.new += 1,
            Standing::Answered => self.comparison.answered += 1,
            Standing::Failed => self.comparison.failed += 1,
            Standing::Changed { .. } => self.comparison.note(id.line, prompt),
        }
        standing
    }

    /// The prompts are counted.
    #[must_use]
    pub fn finish(mut self) -> Comparison {
        let (recorded, seen) = (self.index.len() as u64, self.index.up_to(self.last) as u64);
        self.comparison.beyond = recorded - seen;
        self.comparison.gone = seen.saturating_sub(self.comparison.recorded());
        self.comparison
            .changes
            .sort_unstable_by_key(|changed| changed.line);
        self.comparison
    }
}

impl Comparison {
    const EXAMPLES: usize = 3;

    /// Prompts that have a record.
    #[must_use]
    pub fn recorded(&self) -> u64 {
        self.answered + self.failed + self.changed
    }

    fn note(&mut self, line: u64, prompt: &str) {
        self.changed += 1;
        self.changes.push(Changed {
            line,
            text: Tag::new(digest(prompt.as_bytes()), false),
        });
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(Change {
                line,
                was: String::new(),
                now: beginning(prompt),
                model: None,
            });
        }
    }

    /// Looks through the results once more for what changed.
    ///
    /// # Errors
    /// [`ResultsError`]
    pub fn explain<R: BufRead>(
        mut self,
        results: &mut Results<R>,
    ) -> Result<Changes, ResultsError> {
        while let Some(line) = results.next_line()? {
            self.compare(&line)?;
        }
        let settings = self
            .changes
            .iter()
            .filter(|changed| changed.text.bit())
            .count() as u64;
        Ok(Changes {
            prompts: self.changed - settings,
            settings,
            examples: self.examples,
        })
    }

    fn compare(&mut self, line: &Line<'_>) -> Result<(), ResultsError> {
        #[derive(Deserialize)]
        struct Asked {
            id: String,
            #[serde(default)]
            prompt: String,
        }
        let Asked { id, prompt } = line.parse()?;
        let number = line.id(&id)?.line;
        let Ok(at) = self
            .changes
            .binary_search_by_key(&number, |changed| changed.line)
        else {
            return Ok(());
        };
        let text = &mut self.changes[at].text;
        *text = text.with(text.is_of(digest(prompt.as_bytes())));
        if let Some(example) = self
            .examples
            .iter_mut()
            .find(|example| example.line == number)
        {
            let record: Record = line.parse()?;
            example.was = beginning(&prompt);
            example.model = record
                .response
                .and_then(|reply| Some(reply.body?.value().get("model")?.as_str()?.to_owned()));
        }
        Ok(())
    }
}

/// Enough of a text to show where two differ, and not so much that an example takes megabytes.
fn beginning(text: &str) -> String {
    text.chars().take(1000).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change {
            line,
            was,
            now,
            model,
        } = self;
        if was == now {
            let by = model.as_ref().map_or_else(String::new, |model| {
                format!(" (it was answered by {model})")
            });
            return write!(
                f,
                "line {line}: the prompt begins as it did, {:?}{by}",
                excerpt(now, 0)
            );
        }
        let from = common(was, now);
        write!(
            f,
            "line {line}: the prompt was {:?} and is {:?}",
            excerpt(was, from),
            excerpt(now, from)
        )
    }
}

/// How many characters two texts have in common at their beginning.
fn common(one: &str, other: &str) -> usize {
    one.chars()
        .zip(other.chars())
        .take_while(|(one, other)| one == other)
        .count()
}

/// A piece of a text, of at most 50 characters, that shows the one at this place.
fn excerpt(text: &str, place: usize) -> String {
    const LENGTH: usize = 50;
    let from = if place < LENGTH - 10 { 0 } else { place - 10 };
    let mut rest = text.chars().skip(from);
    let piece: String = rest.by_ref().take(LENGTH).collect();
    let dots = |there: bool| if there { "…" } else { "" };
    format!("{}{piece}{}", dots(from > 0), dots(rest.next().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::full;
    use crate::journal::{Fault, Reply};
    use serde_json::json;

    /// The results of a run over these prompts with this model; a prompt without an answer failed.
    fn results(model: &str, prompts: &[(u64, &str, Option<&str>)]) -> String {
        let record = |&(line, prompt, text): &(u64, &str, Option<&str>)| {
            let body = Some(json!({"model": format!("{model}-2024")}).into());
            let response = Some(Reply {
                status_code: 200,
                request_id: None,
                body,
            });
            let error = text.is_none().then(|| Fault {
                code: "x".into(),
                message: "y".into(),
            });
            let (id, prompt, text) = (
                id(model, line, prompt).to_string(),
                prompt.to_owned(),
                text.map(str::to_owned),
            );
            let record = Record {
                prompt,
                text,
                response,
                error,
                ..full(&id)
            };
            serde_json::to_string(&record).unwrap() + "\n"
        };
        prompts.iter().map(record).collect()
    }

    fn id(model: &str, line: u64, prompt: &str) -> RecordId {
        RecordId::of(line, format!("{model}: {prompt}").as_bytes())
    }

    fn compare(file: &str, model: &str, prompts: &[(u64, &str)]) -> Comparison {
        let index = Index::read(&mut Results::new(file.as_bytes())).unwrap();
        let mut tally = Tally::new(&index);
        for (line, prompt) in prompts {
            tally.count(&id(model, *line, prompt), prompt);
        }
        tally.finish()
    }

    fn explain(file: &str, comparison: Comparison) -> Changes {
        comparison
            .explain(&mut Results::new(file.as_bytes()))
            .unwrap()
    }

    #[test]
    fn every_prompt_is_counted_once_by_how_it_stands() {
        let file = results(
            "m",
            &[
                (1, "a", Some("A")),
                (2, "b", None),
                (4, "d", Some("D")),
                (5, "e", Some("E")),
                (9, "i", None),
            ],
        );
        let comparison = compare(
            &file,
            "m",
            &[(1, "a"), (2, "b"), (3, "c"), (5, "changed"), (7, "g")],
        );
        let Comparison {
            new,
            answered,
            failed,
            changed,
            gone,
            beyond,
            ..
        } = comparison;
        assert_eq!(
            (new, answered, failed, changed, gone, beyond),
            (2, 1, 1, 1, 1, 1)
        );
    }

    #[test]
    fn a_changed_prompt_is_told_from_a_changed_setting() {
        let file = results(
            "old",
            &[
                (3, "c", None),
                (1, "a", Some("A")),
                (2, "b", Some("B")),
                (3, "c", Some("C")),
            ],
        );
        let settings = explain(
            &file,
            compare(&file, "new", &[(1, "a"), (2, "b"), (3, "c")]),
        );
        assert_eq!((settings.prompts, settings.settings), (0, 3));
        assert_eq!(
            settings.examples[0].to_string(),
            "line 1: the prompt begins as it did, \"a\" (it was answered by old-2024)"
        );
        let prompts = explain(
            &file,
            compare(&file, "old", &[(1, "a"), (2, "x"), (3, "y")]),
        );
        assert_eq!((prompts.prompts, prompts.settings), (2, 0));
        assert_eq!(
            prompts.examples[1].to_string(),
            "line 3: the prompt was \"c\" and is \"y\""
        );
    }

    #[test]
    fn the_last_record_says_what_was_asked() {
        let file = results("m", &[(1, "first", Some("1")), (1, "second", Some("2"))]);
        let changes = explain(&file, compare(&file, "n", &[(1, "second")]));
        assert_eq!(
            (
                changes.prompts,
                changes.settings,
                changes.examples[0].was.as_str()
            ),
            (0, 1, "second")
        );
        let changes = explain(&file, compare(&file, "n", &[(1, "first")]));
        assert_eq!((changes.prompts, changes.settings), (1, 0));
    }

    #[test]
    fn only_the_first_few_changes_are_kept_as_examples() {
        let prompts: Vec<_> = (1..=100)
            .map(|line| (line, "old", Some("answer")))
            .collect();
        let file = results("m", &prompts);
        let now: Vec<_> = (1..=100).map(|line| (line, "new")).collect();
        let changes = explain(&file, compare(&file, "m", &now));
        let lines: Vec<_> = changes
            .examples
            .iter()
            .map(|example| example.line)
            .collect();
        assert_eq!((changes.prompts, lines), (100, vec![1, 2, 3]));
    }

    #[test]
    fn a_change_deep_in_a_long_prompt_is_shown_where_it_is() {
        let change = |was: &str, now: &str| {
            let (was, now) = (beginning(was), beginning(now));
            Change {
                line: 1,
                was,
                now,
                model: None,
            }
            .to_string()
        };
        let long = "Summarise this text in three sentences for a child of ten years: ";
        assert_eq!(
            change(&format!("{long}bees"), &format!("{long}bread")),
            "line 1: the prompt was \"…n years: bees\" and is \"…n years: bread\""
        );
        let far = "ä".repeat(2000);
        let said = change(&far, &far);
        assert!(
            said.ends_with("ä…\"") && said.chars().count() < 100,
            "{said}"
        );
    }
}
