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
use super::template::{ALARM, GOOD, paint};
use crate::text::cleaned;

/// Why a command did not do its work, or not to its end.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) exit: Exit,
    /// `Error` for things that are wrong, `Info` for an early end.
    level: Level,
    /// Each thing that is wrong, with what to do: clean, and in colour.
    texts: Vec<String>,
}

impl CommandError {
    pub(super) fn new(exit: Exit, message: impl Display) -> Self {
        let begin = paint(ALARM, "error: ", has_colour());
        CommandError {
            exit,
            level: Level::Error,
            texts: vec![begin + &cleaned(&message.to_string())],
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
            level: Level::Info,
            texts: stopped.into_iter().collect(),
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
    pub(super) fn help(self, help: impl AsRef<str>) -> Self {
        self.label("help", help.as_ref())
    }

    /// Adds the page of the guide that explains it.
    pub(super) fn see(self, page: &str) -> Self {
        self.label("see", page)
    }

    fn label(mut self, label: &str, text: &str) -> Self {
        if let Some(wrong) = self.texts.last_mut() {
            *wrong += &paint(GOOD, &format!("\n  {label}: "), has_colour());
            *wrong += &cleaned(text);
        }
        self
    }

    /// Tells people, and returns the exit status.
    pub(super) fn tell(self) -> Exit {
        let event = match self.level {
            Level::Error => "error",
            _ => "stopped",
        };
        for text in self.texts {
            say(self.level, event, text, Fields::new());
        }
        self.exit
    }
}

#[cfg(test)]
impl Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.texts.join("\n");
        let text = console::strip_ansi_codes(&text);
        f.write_str(text.trim_start_matches("error: "))
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        CommandError::usage(error)
    }
}

/// Collects what is wrong, so that it is all told at once.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<String>);

impl Checks {
    /// Keeps the error for later. The same error is kept once.
    pub(super) fn of<T>(&mut self, result: Result<T, CommandError>) -> Option<T> {
        let kept = result.map_err(|error| {
            let is_new = |text: &String| !self.0.contains(text);
            let new: Vec<_> = error.texts.into_iter().filter(is_new).collect();
            self.0.extend(new);
        });
        kept.ok()
    }

    /// All that is wrong.
    pub(super) fn error(self) -> CommandError {
        CommandError {
            exit: Exit::Usage,
            level: Level::Error,
            texts: self.0,
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
