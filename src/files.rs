//! Files that several processes open: locking one, checking that it is still there, and making one that appears whole or
//! not at all.

use std::ffi::{OsStr, OsString};
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
    remove_drafts(target);
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename);
    let mut hidden = OsString::from(".");
    hidden.push(name.map_err(io::Error::from)?);
    hidden.push(format!(".{}.part", std::process::id()));
    let draft = target.with_file_name(hidden);
    let mut file = File::create_new(&draft)?;
    let _ = file.try_lock(); // says that the draft is in use, where the file system can do that
    let published = write(&mut file).and_then(|done| {
        fs::rename(&draft, target)?;
        Ok(done)
    });
    if published.is_err() {
        let _ = fs::remove_file(&draft);
    }
    published
}

/// Removes what processes that were killed left of [`write_whole`]: drafts of this target that nobody has locked.
pub(crate) fn remove_drafts(target: &Path) {
    let (folder, name) = (target.parent(), target.file_name());
    let text = |part: &OsStr| glob::Pattern::escape(&part.to_string_lossy());
    let name = text(name.unwrap_or_default());
    let folder = Path::new(&text(folder.unwrap_or(Path::new("")).as_os_str())).to_owned();
    let drafts = glob::glob(&folder.join(format!(".{name}.*.part")).to_string_lossy());
    for draft in drafts.into_iter().flatten().flatten() {
        let is_free = File::open(&draft).and_then(|draft| Ok(draft.try_lock()?));
        if is_free.is_ok() {
            let _ = fs::remove_file(draft);
        }
    }
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
    fn a_draft_that_a_killed_process_left_goes_and_one_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out[1].csv");
        let [left, used, other] = [
            ".out[1].csv.1.part",
            ".out[1].csv.2.part",
            ".out1.csv.3.part",
        ]
        .map(|name| folder.path().join(name));
        for path in [&left, &used, &other] {
            fs::write(path, "half").unwrap();
        }
        let locked = File::open(&used).unwrap();
        locked.lock().unwrap();
        write_whole(&target, |_| Ok::<_, io::Error>(())).unwrap();
        let is_there = [&target, &left, &used, &other].map(|path| path.exists());
        assert_eq!(is_there, [true, false, true, true]);
    }

    #[test]
    fn a_folder_cannot_be_a_target() {
        let write = |path: &str| write_whole(Path::new(path), |_| Ok::<_, io::Error>(()));
        assert!(write("/").is_err());
        assert!(write("/no/such/file").is_err());
    }
}
