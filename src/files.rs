//! Files that several processes open: locking one, checking that it is still there, and making one that appears whole or
//! not at all.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
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

/// Writes a file beside the target, hidden and with the number of this process in its name, and renames it to the target
/// at the end. After an error nothing is left behind, and the target is as it was.
///
/// # Errors
/// Those of `write`, and of the system.
pub(crate) fn write_whole<T, E: From<io::Error>>(
    target: &Path,
    write: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename);
    let mut hidden = OsString::from(".");
    hidden.push(name.map_err(io::Error::from)?);
    hidden.push(format!(".{}.part", std::process::id()));
    let draft = target.with_file_name(hidden);
    // A process with the same number may have been killed and have left one.
    let _ = fs::remove_file(&draft);
    let mut file = File::create_new(&draft)?;
    let published = write(&mut file).and_then(|done| {
        fs::rename(&draft, target)?;
        Ok(done)
    });
    if published.is_err() {
        let _ = fs::remove_file(&draft);
    }
    published
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_takes_the_place_of_the_old_one_at_once_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.csv");
        fs::write(&target, "old").unwrap();
        let failed = write_whole(&target, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        write_whole(&target, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_folder_cannot_be_a_target() {
        let write = |path: &str| write_whole(Path::new(path), |_| Ok::<_, io::Error>(()));
        assert!(write("/").is_err());
        assert!(write("/no/such/file").is_err());
    }
}
