//! The one error of the commands: a sentence for people, and the exit status that goes with it.
//!
//! The sentence says what happened, where, and what to do next; only the commands know which option helps. Any error of
//! the library becomes a usage error with `?`, because whatever fails before the first call is one.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::path::Path;

use super::exit::Exit;

/// Why a command did not do its work.
#[derive(Debug)]
pub(super) struct CommandError {
    pub(super) exit: Exit,
    message: String,
}

impl CommandError {
    pub(super) fn new(exit: Exit, message: impl Display) -> Self {
        let message = message.to_string();
        CommandError { exit, message }
    }

    /// Bad usage or bad input.
    pub(super) fn usage(message: impl Display) -> Self {
        CommandError::new(Exit::Usage, message)
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
}

impl Display for CommandError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        CommandError::usage(error)
    }
}

/// Writes text to standard output. A reader that has left, as `head` does, is no error.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<Exit, CommandError> {
    let mut to = io::stdout().lock();
    match to.write_all(text.as_ref()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::output("standard output", &error))
        }
        _ => Ok(Exit::Answered),
    }
}
