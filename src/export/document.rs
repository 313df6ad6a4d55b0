//! The document: Markdown, a section a prompt.

use std::io::{self, Write};

use super::row::Row;
use super::shape::Shape;

pub(super) struct Document<W> {
    to: W,
    first: bool,
}

impl<W: Write> Document<W> {
    pub(super) fn begin(to: W) -> Self {
        Document { to, first: true }
    }

    fn answer(&mut self, row: &Row<'_>, text: &str) -> io::Result<()> {
        let text = text.trim_end();
        let text = if text.trim_start().is_empty() {
            "*An empty answer.*"
        } else {
            text
        };
        writeln!(self.to, "\n{text}")?;
        if let Some(fence) = open_fence(text) {
            writeln!(self.to, "{fence}")?;
        }
        row.odd_ending().map_or(Ok(()), |reason| {
            writeln!(self.to, "\n*The answer ended with: {}.*", escaped(reason))
        })
    }

    fn failure(&mut self, row: &Row<'_>) -> io::Result<()> {
        let (code, message) = row
            .error
            .as_ref()
            .map_or(("", ""), |fault| (&fault.code, &fault.message));
        writeln!(
            self.to,
            "\n**Failed** ({}): {}",
            escaped(code),
            escaped(&on_one_line(message))
        )
    }
}

impl<W: Write> Shape for Document<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        if !std::mem::take(&mut self.first) {
            writeln!(self.to)?;
        }
        writeln!(self.to, "# {}", escaped(&heading(row)))?;
        match &row.text {
            Some(text) => self.answer(row, text),
            None => self.failure(row),
        }
    }

    fn end(&mut self) -> io::Result<u64> {
        self.to.flush().map(|()| 0)
    }
}

/// The first line of the prompt that is not blank, shortened; or else its name.
fn heading(row: &Row<'_>) -> String {
    const LONGEST: usize = 80;
    let first = row
        .prompt
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or(&row.custom_id);
    match first.char_indices().nth(LONGEST) {
        None => first.to_owned(),
        Some((end, _)) => {
            let short = &first[..end];
            let words = short
                .rfind(' ')
                .filter(|at| *at > end / 2)
                .map_or(short, |at| &short[..at]);
            format!("{}…", words.trim_end())
        }
    }
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that stands for itself in Markdown.
fn escaped(text: &str) -> String {
    let special = |c: char| "\\`*_[]<>#&".contains(c);
    text.chars()
        .flat_map(|c| special(c).then_some('\\').into_iter().chain([c]))
        .collect()
}

/// The fence of a code block that is not closed: it would take in all that follows.
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

    fn row(prompt: &str) -> Row<'static> {
        let (id, custom_id, prompt) = (String::new(), "line-1".to_owned(), prompt.to_owned());
        let (text, finish_reason, response, error, attempts) = (None, None, None, None, Vec::new());
        Row {
            id,
            custom_id,
            prompt,
            text,
            finish_reason,
            response,
            error,
            attempts,
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
            format!("{}…", "é".repeat(80))
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
