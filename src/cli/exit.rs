//! The exit statuses. The numbers are part of the program's interface.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Every prompt is answered, or the command did what it was asked for.
    Answered = 0,
    /// All prompts are finished and some of them failed: their records say why.
    SomeFailed = 1,
    /// Bad usage or bad input; nothing was sent.
    Usage = 2,
    /// Stopped early; the rest can be resumed.
    Stopped = 3,
    /// Interrupted by Ctrl-C or a signal; the rest can be resumed.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
