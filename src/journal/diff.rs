//! How an input differs from the results of an earlier run: how many prompts changed, and what the first change is.

use std::fmt;
use std::io::BufRead;

use super::id::RecordId;
use super::reader::{Results, ResultsError};
use crate::json::Json;
use crate::prompts::input_line;

/// How an input differs from its results, in prompts. Made by [`Index::compare`](super::Index::compare).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResumeDiff {
    /// Prompts of the input that have a record.
    pub recorded: u64,
    /// Those of them that changed, but were never answered: they are sent again.
    pub unanswered: u64,
    /// Those of them that were answered, and whose text is another now.
    pub other_text: u64,
    /// Those that were answered, with the same text, but another request: another model, system message or parameter.
    pub other_settings: u64,
    /// Recorded prompts that are not in the input any more, up to the last prompt of the input.
    pub gone: u64,
    /// Recorded prompts after the last prompt of the input. They are gone too, unless only a part of it was compared.
    pub beyond: u64,
    /// The first prompt that changed.
    pub first: Option<PromptChange>,
}

/// How one prompt changed. It displays as a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PromptChange {
    /// The line of the prompt, from 1.
    pub line: u64,
    /// The text that would be sent now.
    pub now: String,
    /// The text that was sent; empty until [`look_up`](PromptChange::look_up).
    pub was: String,
    /// The model that gave the old answer, if the answer names it; `None` until [`look_up`](PromptChange::look_up).
    pub model: Option<String>,
    /// Which settings are others now, as far as the record tells: `the model was "a" and is "b"`, `another template`.
    pub settings: Vec<String>,
}

impl ResumeDiff {
    /// Answered prompts that would be sent differently now.
    pub(crate) fn changed(&self) -> u64 {
        self.other_text + self.other_settings
    }
}

impl PromptChange {
    /// Looks through the results for what was sent and who answered. `settings` are those of now.
    ///
    /// # Errors
    /// [`ResultsError`]
    pub(crate) fn look_up<R: BufRead>(
        &mut self,
        results: &mut Results<R>,
        settings: Option<&Json>,
    ) -> Result<(), ResultsError> {
        for record in results {
            let record = record?;
            let id = record.id.parse();
            if id.is_ok_and(|id: RecordId| id.line == self.line) {
                self.model = record.model();
                self.settings = differences(record.settings.as_ref(), settings);
                self.was = record.prompt;
            }
        }
        Ok(())
    }
}

impl fmt::Display for PromptChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: the prompt ", input_line(self.line))?;
        if self.was == self.now {
            write!(f, "is still {:?}", excerpt(&self.now, 0))?;
            if let Some(model) = &self.model {
                write!(f, ", and was answered by {model}")?;
            }
        } else {
            let pairs = self.was.chars().zip(self.now.chars());
            let common = pairs.take_while(|(was, now)| was == now).count();
            let [was, now] = [&self.was, &self.now].map(|text| excerpt(text, common));
            write!(f, "was {was:?} and is {now:?}")?;
        }
        let mut settings = self.settings.iter();
        settings.try_for_each(|part| write!(f, "; {part}"))
    }
}

/// The parts of two settings that are not the same, in words. Nothing if one of them is not known.
fn differences(was: Option<&Json>, now: Option<&Json>) -> Vec<String> {
    let (Some(was), Some(now)) = (was, now) else {
        return Vec::new();
    };
    let (was, now) = (was.value(), now.value());
    let parts = [
        "model",
        "system message",
        "parameter",
        "template",
        "schema",
        "api",
    ];
    let changed = parts.into_iter().filter(|part| was[part] != now[part]);
    changed
        .map(|part| match (was[part].as_str(), now[part].as_str()) {
            (Some(was), Some(now)) if ["model", "api"].contains(&part) => {
                format!("the {part} was {was:?} and is {now:?}")
            }
            (Some(_), None) => format!("there is no {part} any more"),
            (None, Some(_)) => format!("there was no {part}"),
            _ => format!("another {part}"),
        })
        .collect()
}

/// At most 50 characters of a text, among them the one at this place.
fn excerpt(text: &str, place: usize) -> String {
    const LENGTH: usize = 50;
    let skipped = if place < LENGTH - 10 { 0 } else { place - 10 };
    let mut rest = text.chars().skip(skipped);
    let piece: String = rest.by_ref().take(LENGTH).collect();
    let dots = |is_cut: bool| if is_cut { "…" } else { "" };
    format!(
        "{}{piece}{}",
        dots(skipped > 0),
        dots(rest.next().is_some())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::record::tests::full;
    use crate::journal::{Index, Record, RecordError, RecordResponse};
    use serde_json::json;
    use std::convert::Infallible;

    /// The results of a run over these prompts with this model; a prompt without an answer failed.
    fn results(model: &str, prompts: &[(u64, &str, Option<&str>)]) -> String {
        let record = |&(line, prompt, text): &(u64, &str, Option<&str>)| {
            let body = Some(json!({"model": format!("{model}-2024")}).into());
            let response = Some(RecordResponse {
                status_code: 200,
                request_id: None,
                body,
            });
            let error = text.is_none().then(|| RecordError {
                code: "x".into(),
                message: "y".into(),
            });
            let record = Record {
                prompt: prompt.to_owned(),
                text: text.map(str::to_owned),
                response,
                error,
                ..full(&id(model, line, prompt).to_string())
            };
            serde_json::to_string(&record).unwrap() + "\n"
        };
        prompts.iter().map(record).collect()
    }

    fn id(model: &str, line: u64, prompt: &str) -> RecordId {
        RecordId::of(line, format!("{model}: {prompt}").as_bytes())
    }

    /// Compares these prompts with the file, and looks the first change up.
    fn compare(file: &str, model: &str, prompts: &[(u64, &str)]) -> ResumeDiff {
        let index = Index::read(&mut Results::new(file.as_bytes())).unwrap();
        let prompts = prompts.iter().map(|(line, prompt)| {
            Ok::<_, Infallible>((id(model, *line, prompt), (*prompt).to_owned()))
        });
        let Ok(mut diff) = index.compare(prompts);
        if let Some(first) = &mut diff.first {
            first
                .look_up(&mut Results::new(file.as_bytes()), None)
                .unwrap();
        }
        diff
    }

    fn first(diff: &ResumeDiff) -> String {
        diff.first.as_ref().unwrap().to_string()
    }

    #[test]
    fn every_recorded_prompt_is_counted_once() {
        let done = [(1, "a", Some("A")), (2, "b", None), (4, "d", Some("D"))];
        let more = [(5, "e", Some("E")), (9, "i", None)];
        let file = results("m", &[&done[..], &more].concat());
        let now = [(1, "a"), (2, "b"), (3, "c"), (5, "changed"), (7, "g")];
        let diff = compare(&file, "m", &now);
        assert_eq!((diff.recorded, diff.changed()), (3, 1));
        assert_eq!((diff.gone, diff.beyond), (1, 1));
    }

    #[test]
    fn a_changed_text_is_told_from_a_changed_setting() {
        let done = [(3, "c", None), (1, "a", Some("A")), (2, "b", Some("B"))];
        let again = [(3, "c", Some("C"))];
        let file = results("old", &[&done[..], &again].concat());
        let diff = compare(&file, "new", &[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!((diff.other_text, diff.other_settings), (0, 3));
        assert_eq!(
            first(&diff),
            "line 1: the prompt is still \"a\", and was answered by old-2024"
        );
        let diff = compare(&file, "old", &[(1, "a"), (2, "b"), (3, "y")]);
        assert_eq!((diff.other_text, diff.other_settings), (1, 0));
        assert_eq!(first(&diff), "line 3: the prompt was \"c\" and is \"y\"");
    }

    #[test]
    fn the_last_record_says_what_was_asked() {
        let file = results("m", &[(1, "first", Some("1")), (1, "second", Some("2"))]);
        let diff = compare(&file, "n", &[(1, "second")]);
        assert_eq!((diff.other_text, diff.other_settings), (0, 1));
        assert_eq!(diff.first.unwrap().was, "second");
        assert_eq!(compare(&file, "n", &[(1, "first")]).other_text, 1);
    }

    #[test]
    fn the_settings_that_are_others_are_named() {
        let settings = |text: &str| Json::read(text.to_owned()).unwrap();
        let was = settings(r#"{"model":"a","system message":"1","template":"2"}"#);
        let now = settings(r#"{"model":"b","system message":"3","parameter":"4"}"#);
        let expected = [
            "the model was \"a\" and is \"b\"",
            "another system message",
            "there was no parameter",
            "there is no template any more",
        ];
        assert_eq!(differences(Some(&was), Some(&now)), expected);
        assert!(differences(None, Some(&now)).is_empty(), "an older version");
        assert!(differences(Some(&was), Some(&was)).is_empty());
    }

    #[test]
    fn only_the_first_change_is_kept() {
        let done: Vec<_> = (1..=100).map(|line| (line, "old", Some("x"))).collect();
        let now: Vec<_> = (1..=100).map(|line| (line, "new")).collect();
        let diff = compare(&results("m", &done), "m", &now);
        assert_eq!((diff.other_text, diff.first.unwrap().line), (100, 1));
    }

    #[test]
    fn a_change_deep_in_a_long_prompt_is_shown_where_it_is() {
        let change = |was: &str, now: &str| {
            let change = PromptChange {
                line: 1,
                now: now.to_owned(),
                was: was.to_owned(),
                model: None,
                settings: Vec::new(),
            };
            change.to_string()
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
