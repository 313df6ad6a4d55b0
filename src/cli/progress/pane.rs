//! The terminal as the display draws on it: no line is filled up to the edge.
//!
//! `indicatif` fills each line with spaces and leaves the cursor at the right edge of the last, to which a terminal
//! then adds the `^C` that was typed, and breaks the line: the display could not be taken away any more. Here a line ends
//! where its text does, and the cursor stands at the beginning of the last.

use std::io;

use console::Term;
use indicatif::TermLike;
use parking_lot::Mutex;

/// Standard error.
#[derive(Debug)]
pub(super) struct TerminalPane {
    term: Term,
    /// The lines to be drawn next.
    lines: Mutex<Vec<String>>,
}

impl TerminalPane {
    pub(super) fn new() -> Self {
        TerminalPane {
            term: Term::buffered_stderr(),
            lines: Mutex::default(),
        }
    }
}

impl TermLike for TerminalPane {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        match text {
            "\r" => self.term.write_str(text),
            _ => {
                self.lines.lock().push(text.to_owned());
                Ok(())
            }
        }
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        // What a terminal that has become narrower has broken into more lines stands below.
        self.term.clear_to_end_of_screen()?;
        self.term
            .write_str(&joined(std::mem::take(&mut *self.lines.lock())))?;
        self.term.flush()
    }
}

/// The lines without what fills them.
fn joined(lines: Vec<String>) -> String {
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        String::new()
    } else {
        lines.join("\r\n") + "\r"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_their_text_does_and_the_cursor_stands_before_the_last() {
        let lines = ["one", "     ", "two", ""].map(str::to_owned).to_vec();
        assert_eq!(joined(lines), "one\r\ntwo\r");
        assert_eq!(joined(Vec::new()), "");
    }
}
