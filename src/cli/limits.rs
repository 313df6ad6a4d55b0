//! What this process may have of the system: open files and threads. A batch stays within both, because a call that
//! fails for want of them looks like a fault of the server.

use std::thread;

use crossbeam_channel::bounded;

use super::error::CommandError;
use crate::text::counted;

/// Threads beside the workers: the one that reads the prompts, the display, the signals, and one to spare.
const OTHER_THREADS: usize = 4;

/// How many calls may be in flight at once, if `start` of them begin together. Each takes `files` open files.
///
/// # Errors
/// If the system gives no thread for a single worker.
pub(super) fn most_calls(start: usize, files: usize) -> Result<usize, CommandError> {
    let wanted = start + OTHER_THREADS;
    let by_threads = calls_for_threads(available_threads(wanted), wanted)?;
    Ok(by_threads.min(calls_for(open_files(), files)))
}

/// How many calls these threads can make, of the wanted ones.
fn calls_for_threads(threads: usize, wanted: usize) -> Result<usize, CommandError> {
    match threads.saturating_sub(OTHER_THREADS) {
        0 => {
            let threads = counted(threads as u64, "more thread");
            let message = format!("the system lets this program start {threads}, too few to run");
            let help = "raise the limit on processes (ulimit -u), or end other programs";
            Err(CommandError::usage(message).help(help))
        }
        _ if threads >= wanted => Ok(usize::MAX),
        calls => Ok(calls),
    }
}

/// How many calls fit into a limit on open files.
fn calls_for(limit: Option<u64>, files: usize) -> usize {
    /// The prompts, the results, standard streams, the log, the shared rate, and what libraries open.
    const OTHERS: u64 = 16;
    let calls = |limit: u64| limit.saturating_sub(OTHERS) / files as u64;
    limit.map_or(usize::MAX, |limit| calls(limit).max(1) as usize)
}

/// The limit on open files, raised as far as the system allows without asking.
#[cfg(unix)]
fn open_files() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

/// How many more threads the system gives, up to a number. They all exist at once, for a moment.
fn available_threads(most: usize) -> usize {
    let (hold, held) = bounded::<()>(0);
    let wait = || {
        let held = held.clone();
        let wait = move || _ = held.recv();
        thread::Builder::new().spawn(wait)
    };
    let threads: Vec<_> = (0..most).map_while(|_| wait().ok()).collect();
    drop(hold);
    let count = threads.len();
    for thread in threads {
        let _ = thread.join();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_flight_fit_into_the_open_files() {
        assert_eq!(calls_for(Some(40), 2), 12);
        assert_eq!(calls_for(Some(1024), 2), 504);
        assert_eq!(
            [0, 16, 17].map(|limit| calls_for(Some(limit), 2)),
            [1, 1, 1]
        );
        assert_eq!(calls_for(None, 2), usize::MAX);
    }

    #[test]
    fn a_batch_runs_with_the_threads_that_there_are_or_says_that_they_are_too_few() {
        assert_eq!(calls_for_threads(12, 12).unwrap(), usize::MAX);
        assert_eq!(calls_for_threads(6, 12).unwrap(), 2);
        let error = calls_for_threads(4, 12).unwrap_err().to_string();
        assert!(
            error.contains("start 4 more threads") && error.contains("ulimit -u"),
            "{error}"
        );
    }

    #[test]
    fn threads_are_counted_up_to_the_number_that_is_wanted() {
        assert_eq!(available_threads(5), 5);
    }
}
