//! The one error of the commands: what is wrong, what helps, and the exit status that goes with it.
//!
//! The message says what happened and where, the help what to do next; only the commands know which option helps. Any
//! error of the library becomes a usage error with `?`, because whatever fails before the first call is one.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;

use log::Level;

use super::exit::Exit;
use super::logging::{Fields, has_colour, say};
use super::style::{Emphasis, paint};
use crate::text::cleaned;

/// Why a command did not do its work: one or more things that are wrong.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) exit: Exit,
    wrong: Vec<Wrong>,
    /// Or why it ended early, ready to be told.
    stopped: Option<String>,
}

/// One thing that is wrong, and what helps.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    message: String,
    /// What to do, each with its label.
    next: Vec<(&'static str, String)>,
}

impl CommandError {
    pub(super) fn new(exit: Exit, message: impl Display) -> Self {
        let wrong = vec![Wrong {
            message: message.to_string(),
            next: Vec::new(),
        }];
        CommandError {
            wrong,
            ..CommandError::early(exit, None)
        }
    }

    /// Bad usage or bad input.
    pub(super) fn usage(message: impl Display) -> Self {
        CommandError::new(Exit::Usage, message)
    }

    /// An early end, with the text that tells why, if that needs a word.
    pub(super) fn early(exit: Exit, stopped: Option<String>) -> Self {
        CommandError {
            exit,
            wrong: Vec::new(),
            stopped,
        }
    }

    /// Standard output cannot be written. A reader that has left, as `head` does, has seen enough.
    pub(super) fn stdout(source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => CommandError::early(Exit::Answered, None),
            _ => CommandError::output("standard output", source),
        }
    }

    /// The output cannot be written: the command is right, and stops.
    pub(super) fn output(to: impl Display, source: &io::Error) -> Self {
        CommandError::new(Exit::Stopped, format!("cannot write to {to}: {source}"))
    }

    /// For `map_err`: what failed, the file, and why. Without `what` the sentence begins with the file.
    pub(super) fn file<E: Display>(what: &str, path: &Path) -> impl FnOnce(E) -> Self {
        let subject = format!("{what} {}", path.display());
        move |source| CommandError::usage(format!("{}: {source}", subject.trim_start()))
    }

    /// Adds what to do about it.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        self.label("help", help.into())
    }

    /// Adds the page of the guide that explains it.
    pub(super) fn see(self, page: &str) -> Self {
        self.label("see", page.to_owned())
    }

    fn label(mut self, label: &'static str, text: String) -> Self {
        if let Some(wrong) = self.wrong.last_mut() {
            wrong.next.push((label, text));
        }
        self
    }

    /// Tells people, and returns the exit status.
    pub(super) fn tell(self) -> Exit {
        if let Some(text) = self.stopped {
            say(Level::Info, "stopped", text, Fields::new());
        }
        for wrong in &self.wrong {
            let colour = has_colour();
            let mut text = paint(Emphasis::Alarm, "error: ", colour) + &cleaned(&wrong.message);
            for (label, next) in &wrong.next {
                text += &paint(Emphasis::Good, &format!("\n  {label}: "), colour);
                text += &cleaned(next);
            }
            say(Level::Error, "error", text, Fields::new());
        }
        self.exit
    }
}

#[cfg(test)]
impl Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for wrong in &self.wrong {
            f.write_str(&wrong.message)?;
            wrong
                .next
                .iter()
                .try_for_each(|(label, next)| write!(f, "\n  {label}: {next}"))?;
        }
        Ok(())
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        CommandError::usage(error)
    }
}

/// Collects what is wrong, so that it is all told at once.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Wrong>);

impl Checks {
    /// Keeps the error for later. The same error is kept once.
    pub(super) fn of<T>(&mut self, result: Result<T, CommandError>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        for wrong in error.wrong {
            if !self.0.contains(&wrong) {
                self.0.push(wrong);
            }
        }
        None
    }

    /// All that is wrong.
    pub(super) fn error(self) -> CommandError {
        CommandError {
            wrong: self.0,
            ..CommandError::early(Exit::Usage, None)
        }
    }
}

/// Writes text to standard output.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<Exit, CommandError> {
    let mut to = io::stdout().lock();
    let written = to.write_all(text.as_ref()).and_then(|()| to.flush());
    written.map_err(|error| CommandError::stdout(&error))?;
    Ok(Exit::Answered)
}
