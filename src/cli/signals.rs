//! Signals and panics: the program ends as asked, with a last line, and leaves the terminal as it was.
//!
//! Nobody may be reading standard error. So what is said here never keeps a signal waiting.

#[cfg(unix)]
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
#[cfg(unix)]
use nix::sys::signal::{SigSet, Signal};

use super::error::CommandError;
use super::exit::Exit;
use super::logging::{screen, tell};
use super::stop::{Destination, ended};
use crate::cancel::CancelToken;

/// Sets up what every command needs: a file that reaches the size limit is an error like a full disk, not the end of the
/// process, and the message of a panic does not get into the drawing. To be called before there are other threads.
pub(super) fn prepare() {
    #[cfg(unix)]
    let _ = block(Signal::SIGXFSZ);
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        screen().write_soon(|| usual(info));
    }));
}

/// Without a terminal, ignores SIGHUP, as `nohup` asks: watching for signals would undo that. To be called before there
/// are other threads, which inherit it.
pub(super) fn ignore_hang_ups() -> Result<(), CommandError> {
    #[cfg(unix)]
    if !stdin().is_terminal() && !stdout().is_terminal() && !stderr().is_terminal() {
        block(Signal::SIGHUP)?;
    }
    Ok(())
}

#[cfg(unix)]
fn block(signal: Signal) -> nix::Result<()> {
    SigSet::from(signal).thread_block()
}

/// The first Ctrl-C (or SIGTERM) lets the calls in flight finish; the second ends the program at once. In both cases the
/// records of finished prompts are written.
pub(super) fn watch_for_interrupts(
    cancel: &CancelToken,
    destination: Destination,
) -> Result<(), CommandError> {
    const STOPPING: &str = "stopping: the calls in flight may finish (Ctrl-C again to end at once)";
    let has_calls = !matches!(
        destination,
        Destination::Bulk | Destination::Pushed | Destination::Pulled | Destination::Watched
    );
    let cancel = cancel.clone();
    let interrupted = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if interrupted.swap(true, Ordering::SeqCst) {
            within_a_moment(move || {
                screen().clear();
                ended("at_once", "", destination).tell();
            });
            process::exit(Exit::Interrupted as i32);
        }
        if has_calls {
            within_a_moment(|| tell(STOPPING));
        }
        cancel.cancel();
    })?;
    // Signals go to the handler's own thread alone: a read of this thread, or of one that it makes, does not end with
    // "interrupted system call".
    #[cfg(unix)]
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        block(signal)?;
    }
    Ok(())
}

/// Does something that may block, and waits for it no longer than a moment.
fn within_a_moment(act: impl FnOnce() + Send + 'static) {
    /// Longer than a write takes, shorter than people notice.
    const MOMENT: Duration = Duration::from_millis(200);
    let (done, is_done) = bounded(1);
    let act = move || {
        act();
        let _ = done.send(());
    };
    if thread::Builder::new().spawn(act).is_ok() {
        let _ = is_done.recv_timeout(MOMENT);
    }
}
