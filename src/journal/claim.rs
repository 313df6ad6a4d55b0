//! Takes hold of a results file: opens it, locks it, and keeps an old one aside under a new name.
//!
//! The lock is the system's advisory lock on the file itself, so nothing is left behind when a process dies. Whoever
//! holds it has made sure that the file is still the one that its path names.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::JournalError;
use crate::clock::{Clock, SystemClock};

/// An open file that no other run writes to.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) file: File,
    pub(super) path: PathBuf,
    /// Its length when it was taken, in bytes.
    pub(super) length: u64,
    /// A file, and not a device or a pipe: it can be read again, cut, locked and synced.
    pub(super) plain: bool,
    /// It was not there before, or was empty.
    pub(super) created: bool,
}

impl Claim {
    /// Opens a file, or creates it, and locks it.
    pub(super) fn take(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Open {
            path: path.to_owned(),
            source,
        };
        let plain = path.metadata().map_or(true, |metadata| metadata.is_file());
        let file = options(plain).create(true).open(path).map_err(failed)?;
        Claim::lock(file, path, plain)
    }

    fn lock(file: File, path: &Path, plain: bool) -> Result<Self, JournalError> {
        let (busy, failed) = (
            || JournalError::Busy(path.to_owned()),
            |source| JournalError::Open {
                path: path.to_owned(),
                source,
            },
        );
        if plain {
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(busy()),
                Err(TryLockError::Error(error)) => {
                    log::warn!(
                        "cannot lock {} ({error}): see that no other run writes it",
                        path.display()
                    );
                }
            }
            if !names(path, &file).map_err(failed)? {
                return Err(busy());
            }
        }
        let length = file.metadata().map_err(failed)?.len();
        Ok(Claim {
            file,
            path: path.to_owned(),
            length,
            plain,
            created: length == 0,
        })
    }

    /// Gives the file a name with the time in it, and takes a new file under the old name. The new name, too.
    pub(super) fn put_aside(self, now: SystemTime) -> Result<(Self, PathBuf), JournalError> {
        let failed = |source| JournalError::Open {
            path: self.path.clone(),
            source,
        };
        let path = fs::canonicalize(&self.path).map_err(failed)?;
        let aside = reserve(&path, now).map_err(failed)?;
        fs::rename(&path, &aside).map_err(failed)?;
        let file = options(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => JournalError::Busy(path.clone()),
                _ => failed(source),
            })?;
        Ok((Claim::lock(file, &self.path, true)?, aside))
    }
}

/// A run that has just been killed may take a moment to let go, so a lock that is taken is tried for again for a while.
fn lock(file: &File) -> Result<(), TryLockError> {
    const PATIENCE: Duration = Duration::from_millis(300);
    const PAUSE: Duration = Duration::from_millis(20);
    let until = SystemClock.now() + PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if SystemClock.now() < until => {
                SystemClock.sleep_until(SystemClock.now() + PAUSE);
            }
            done => return done,
        }
    }
}

fn options(plain: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).read(plain);
    options
}

/// Whether the path still names this file. Another run may have put it aside between our opening it and locking it.
#[cfg(unix)]
fn names(path: &Path, file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (named, held) = (path.metadata()?, file.metadata()?);
    Ok((named.dev(), named.ino()) == (held.dev(), held.ino()))
}

/// Elsewhere the standard library cannot tell.
#[cfg(not(unix))]
fn names(_path: &Path, _file: &File) -> io::Result<bool> {
    Ok(true)
}

/// Takes a name that no file has, by creating an empty one under it: renaming over that overwrites nothing.
fn reserve(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let names = (1..1000).map(|n| dated(path, now, n));
    for name in names {
        match File::create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|_| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The name beside this one with the time in it; the second of the same second has a 2 in it, too.
fn dated(path: &Path, now: SystemTime, n: u32) -> PathBuf {
    let date = jiff::Timestamp::try_from(now)
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H-%M-%SZ");
    let count = if n == 1 {
        String::new()
    } else {
        format!("-{n}")
    };
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{date}{count}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Takes a file's name to the disk, as syncing takes what is in it. Not every file system knows how, and none loses more
/// than a power cut would have taken.
pub(super) fn sync_folder_of(path: &Path) {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if cfg!(unix)
        && let Err(error) = File::open(folder).and_then(|folder| folder.sync_all())
    {
        log::warn!("cannot sync the folder {}: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_795_514_400);

    #[test]
    fn a_name_with_the_time_in_it_keeps_its_ending() {
        let name = |path: &str, n| dated(Path::new(path), SystemTime::UNIX_EPOCH + NOW, n);
        assert_eq!(
            name("d/r.results.jsonl", 1),
            Path::new("d/r.results.2026-11-24T10-00-00Z.jsonl")
        );
        assert_eq!(name("r", 2), Path::new("r.2026-11-24T10-00-00Z-2"));
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let names: Vec<_> = (0..3)
            .map(|_| reserve(&path, SystemTime::UNIX_EPOCH + NOW).unwrap())
            .collect();
        assert_eq!(
            names,
            [1, 2, 3].map(|n| dated(&path, SystemTime::UNIX_EPOCH + NOW, n))
        );
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_was_put_aside_meanwhile_is_not_taken_for_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let file = options(true).create(true).open(&path).unwrap();
        fs::rename(&path, folder.path().join("aside")).unwrap();
        File::create_new(&path).unwrap();
        assert!(matches!(
            Claim::lock(file, &path, true),
            Err(JournalError::Busy(_))
        ));
    }
}
