//! The document: Markdown, a section for each prompt. Control characters are cleaned away.

use std::io::{self, Write};

use super::row::ExportRow;
use crate::cli::format::{cleaned, one_line, shortened};

/// Characters of a prompt's first line that its heading shows: a line of a terminal.
const HEADING: usize = 80;

/// Writes the section of a prompt: its first line as the heading, then its answer, or why it failed.
pub(super) fn write_section(
    to: &mut impl Write,
    row: &ExportRow<'_>,
    is_first: bool,
) -> io::Result<()> {
    if !is_first {
        writeln!(to)?;
    }
    writeln!(to, "# {}", escaped(&heading(row)))?;
    match &row.text {
        Some(text) => write_answer(to, row, &cleaned(text)),
        None => write_failure(to, row),
    }
}

fn write_answer(to: &mut impl Write, row: &ExportRow<'_>, text: &str) -> io::Result<()> {
    let text = text.trim_end();
    let is_empty = text.trim_start().is_empty();
    writeln!(
        to,
        "\n{}",
        if is_empty { "*An empty answer.*" } else { text }
    )?;
    if let Some(fence) = open_fence(text) {
        writeln!(to, "{fence}")?;
    }
    if let Some(reason) = row.odd_ending() {
        writeln!(
            to,
            "\n*The answer ended with: {}.*",
            escaped(&one_line(reason))
        )?;
    }
    Ok(())
}

fn write_failure(to: &mut impl Write, row: &ExportRow<'_>) -> io::Result<()> {
    let (code, message) = match &row.error {
        Some(fault) => (one_line(&fault.code), one_line(&fault.message)),
        None => (String::new(), String::new()),
    };
    writeln!(
        to,
        "\n**Failed** ({}): {}",
        escaped(&code),
        escaped(&message)
    )
}

/// The first line of the prompt that is not blank, shortened; or else the prompt's name.
fn heading(row: &ExportRow<'_>) -> String {
    let first = row.prompt.lines().find(|line| !line.trim().is_empty());
    shortened(first.unwrap_or(&row.custom_id), HEADING)
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
    text.lines()
        .fold(None, |open, line| match (open, fence(line)) {
            (None, Some((mark, rest))) if !(mark.starts_with('`') && rest.contains('`')) => {
                Some(mark)
            }
            (Some(open), Some((mark, rest)))
                if mark.starts_with(open) && rest.trim().is_empty() =>
            {
                None
            }
            (open, _) => open,
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

    fn row(prompt: &str) -> ExportRow<'static> {
        let (id, custom_id, prompt) = (String::new(), "line-1".to_owned(), prompt.to_owned());
        let (text, finish_reason, response, error, attempts) = (None, None, None, None, Vec::new());
        ExportRow {
            id,
            custom_id,
            prompt,
            columns: serde_json::Map::new(),
            text,
            finish_reason,
            response,
            error,
            attempts,
            same_as: None,
        }
    }

    #[test]
    fn a_heading_is_the_first_line_of_the_prompt_shortened() {
        assert_eq!(heading(&row("\n  Why? \nBecause")), "Why?");
        assert_eq!(heading(&row(" \n")), "line-1");
        assert_eq!(
            heading(&row(&"word ".repeat(50))),
            format!("{}…", ["word"; 16].join(" "))
        );
        assert_eq!(
            heading(&row(&"é".repeat(100))),
            format!("{}…", "é".repeat(79))
        );
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
