//! Files that several processes open: locking one, and checking that it is still there.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// Locks a file, and waits for the lock for at most `patience`. False: another process has it.
pub(crate) fn lock(file: &File, patience: Duration) -> io::Result<bool> {
    /// About as long as the shortest use of a shared file takes.
    const SHORTEST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(20);
    let deadline = SystemClock.now() + patience;
    let mut wait = SHORTEST;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if SystemClock.now() >= deadline => return Ok(false),
            Err(TryLockError::WouldBlock) => {}
        }
        SystemClock.sleep_until(SystemClock.now() + wait);
        wait = (wait * 2).min(LONGEST);
    }
}

/// Whether the path names this file: another process may have deleted or replaced it since it was opened.
#[cfg(unix)]
pub(crate) fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let held = file.metadata()?;
    let named = path.metadata();
    Ok(named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())))
}

/// The standard library cannot tell on other systems.
#[cfg(not(unix))]
pub(crate) fn is_at(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}
