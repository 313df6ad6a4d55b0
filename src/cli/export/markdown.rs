//! The document: Markdown, a section for each prompt. Control characters are cleaned away.

use super::ExportRow;
use crate::text::{cleaned, one_line, shortened};

/// Characters of a prompt's first line that its heading shows: a line of a terminal.
const HEADING: usize = 80;

/// The section of a prompt: its first line as the heading, then its answer, or why it failed.
pub(super) fn section(row: &ExportRow<'_>) -> String {
    let body = match &row.text {
        Some(text) => answer(&cleaned(text), row.finish_reason.as_deref()),
        None => failure(row),
    };
    let heading = heading(&row.prompt, &row.custom_id);
    format!("# {}\n\n{body}\n", escaped(&heading))
}

fn answer(text: &str, finish_reason: Option<&str>) -> String {
    let text = text.trim_end();
    let mut answer = match text.trim_start() {
        "" => "*An empty answer.*".to_owned(),
        _ => text.to_owned(),
    };
    if let Some(fence) = open_fence(text) {
        answer += &format!("\n{fence}");
    }
    if let Some(reason) = finish_reason.filter(|reason| *reason != "stop") {
        let reason = escaped(&one_line(reason));
        answer += &format!("\n\n*The answer ended with: {reason}.*");
    }
    answer
}

fn failure(row: &ExportRow<'_>) -> String {
    let error = row.error.as_ref();
    let (code, message) = error.map_or(("", ""), |error| (&error.code, &error.message));
    let [code, message] = [code, message].map(|text| escaped(&one_line(text)));
    format!("**Failed** ({code}): {message}")
}

/// The first line of the prompt that is not blank, shortened; or else the prompt's name.
fn heading(prompt: &str, name: &str) -> String {
    let first = prompt.lines().find(|line| !line.trim().is_empty());
    shortened(first.unwrap_or(name), HEADING)
}

/// Text that stands for itself in Markdown.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\`*_[]<>#&".contains(c);
    text.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// The fence of a code block that is not closed: all that follows would become part of the block.
fn open_fence(text: &str) -> Option<&str> {
    let fences = text.lines().filter_map(fence);
    fences.fold(None, |open, (mark, rest)| match open {
        None if mark.starts_with('`') && rest.contains('`') => None,
        None => Some(mark),
        Some(open) if mark.starts_with(open) && rest.trim().is_empty() => None,
        open => open,
    })
}

/// The backticks or tildes that a line begins with, if they are enough for a fence, and what follows them.
fn fence(line: &str) -> Option<(&str, &str)> {
    let text = line.trim_start_matches(' ');
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let rest = text.trim_start_matches(mark);
    let length = text.len() - rest.len();
    (length >= 3 && line.len() - text.len() <= 3).then(|| (&text[..length], rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_the_first_line_of_the_prompt_shortened() {
        let heading = |prompt: &str| heading(prompt, "line-1");
        assert_eq!(heading("\n  Why? \nBecause"), "Why?");
        assert_eq!(heading(" \n"), "line-1");
        let words = format!("{}…", ["word"; 16].join(" "));
        assert_eq!(heading(&"word ".repeat(50)), words);
        assert_eq!(heading(&"é".repeat(100)), format!("{}…", "é".repeat(79)));
    }

    #[test]
    fn a_heading_shows_what_was_typed() {
        assert_eq!(
            escaped("# *Why* <b>_x_</b> [a](b) `c` \\"),
            r"\# \*Why\* \<b\>\_x\_\</b\> \[a\](b) \`c\` \\"
        );
    }

    #[test]
    fn a_code_block_that_is_left_open_is_found() {
        let table = [
            ("plain", None),
            ("```rust\nfn main", Some("```")),
            ("```\na\n```", None),
            ("````\n```\n", Some("````")),
            ("~~~\n```\n~~~~", None),
            ("```\na\n``` b", Some("```")),
            ("```inline``` code", None),
            ("    ```\nindented", None),
            ("a ``` b", None),
        ];
        for (text, expected) in table {
            assert_eq!(open_fence(text), expected, "{text:?}");
        }
    }
}
