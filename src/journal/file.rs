//! The results file: opened, locked, appended to; an old one is kept under another name.
//!
//! The lock is the system's advisory lock on the file itself, so nothing is left behind when a process dies. After
//! locking, we check that the path still names this file. A write that fails leaves nothing of its line behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::JournalError;
#[cfg(any(test, feature = "simulate"))]
use super::faults::{DiskFaults, DiskStep};
use super::reader::Results;
use crate::files::{self, is_at};

/// An open results file that no other run writes to.
#[derive(Debug)]
pub(super) struct ResultsFile {
    file: File,
    pub(super) path: PathBuf,
    /// An ordinary file, and not a device or a pipe: only such a file is locked, read again, cut and synced.
    pub(super) is_plain: bool,
    /// The length of its whole lines, in bytes.
    pub(super) length: u64,
    #[cfg(any(test, feature = "simulate"))]
    pub(super) faults: DiskFaults,
}

impl ResultsFile {
    /// Opens a file, or creates it, and locks it. All of it counts as whole lines.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let is_plain = path.metadata().map_or(true, |metadata| metadata.is_file());
        let file = options(is_plain).create(true).open(path);
        let file = file.map_err(cannot_open(path))?;
        ResultsFile::lock(file, path, is_plain)
    }

    fn lock(file: File, path: &Path, is_plain: bool) -> Result<Self, JournalError> {
        let is_ours =
            !is_plain || lock(&file, path) && is_at(path, &file).map_err(cannot_open(path))?;
        if !is_ours {
            return Err(JournalError::Busy(path.to_owned()));
        }
        Ok(ResultsFile {
            length: file.metadata().map_err(cannot_open(path))?.len(),
            file,
            path: path.to_owned(),
            is_plain,
            #[cfg(any(test, feature = "simulate"))]
            faults: DiskFaults::default(),
        })
    }

    /// Renames the file to a name with the time in it, and creates a new file under the old name. Returns the new file
    /// and the name of the old one.
    pub(super) fn put_aside(self, now: SystemTime) -> Result<(Self, PathBuf), JournalError> {
        let path = fs::canonicalize(&self.path).map_err(cannot_open(&self.path))?;
        let aside = rename_to_free_name(&path, now).map_err(cannot_open(&path))?;
        let file = options(true).create_new(true).open(&path);
        let file = file.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => JournalError::Busy(path.clone()),
            _ => cannot_open(&path)(source),
        })?;
        Ok((ResultsFile::lock(file, &self.path, true)?, aside))
    }

    /// Reads the file from its beginning.
    pub(super) fn results(&self) -> io::Result<Results<BufReader<&File>>> {
        (&self.file).rewind()?;
        Ok(Results::new(BufReader::with_capacity(64 << 10, &self.file)))
    }

    /// Appends a line with one write.
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        write_whole_or_nothing(&mut &*self, line, || self.cut(self.length))?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Cuts off everything after this length.
    fn cut(&self, length: u64) -> io::Result<()> {
        if self.is_plain {
            #[cfg(any(test, feature = "simulate"))]
            self.faults.may(DiskStep::Cut(length))?;
            self.file.set_len(length)?;
        }
        Ok(())
    }

    /// Cuts off the unfinished last line, and takes that to the disk.
    pub(super) fn cut_unfinished(&mut self, whole: u64, torn: u64) -> Result<(), JournalError> {
        self.length = whole;
        if torn == 0 {
            return Ok(());
        }
        self.cut(whole)
            .and_then(|()| self.file.sync_all())
            .map_err(cannot_open(&self.path))
    }

    /// Takes what was written to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(any(test, feature = "simulate"))]
        if self.faults.may(DiskStep::Sync)? == 0 {
            return Ok(());
        }
        self.file.sync_data()
    }

    /// Whether the path still names this file, and all that was written is in it.
    pub(super) fn is_intact(&self) -> bool {
        let has_all = |file: fs::Metadata| file.len() >= self.length;
        !self.is_plain
            || is_at(&self.path, &self.file).unwrap_or(false)
                && self.file.metadata().is_ok_and(has_all)
    }

    /// Takes the name of the file to the disk, as [`sync`](ResultsFile::sync) takes its content. Not every file system
    /// can do that; without it, a power cut may lose a new file.
    pub(super) fn sync_name(&self) {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        let folder = Path::new(".").join(parent);
        if cfg!(unix)
            && let Err(error) = File::open(&folder).and_then(|folder| folder.sync_all())
        {
            log::warn!("cannot sync the folder {}: {error}", folder.display());
        }
    }
}

impl Write for &ResultsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(any(test, feature = "simulate"))]
        let bytes = &bytes[..self.faults.may(DiskStep::Write(bytes.len()))?];
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The error for a path that cannot be opened.
pub(super) fn cannot_open(path: &Path) -> impl Fn(io::Error) -> JournalError {
    |source| JournalError::Open {
        path: path.to_owned(),
        source,
    }
}

fn options(is_plain: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).read(is_plain);
    options
}

/// Locks a file. False: another process has the lock. A process that was just killed may take a moment to release it,
/// so we try for a while. Where files cannot be locked, a warning is all there is.
fn lock(file: &File, path: &Path) -> bool {
    const PATIENCE: Duration = Duration::from_millis(300);
    files::lock(file, PATIENCE).unwrap_or_else(|error| {
        let path = path.display();
        log::warn!("cannot lock {path} ({error}): make sure that no other run writes to it");
        true
    })
}

/// Writes a line. If that fails, takes back what was written of it.
pub(super) fn write_whole_or_nothing(
    to: &mut impl Write,
    line: &[u8],
    take_back: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    to.write_all(line).inspect_err(|_| {
        if let Err(error) = take_back() {
            log::error!("the results end with half a record, which the next run cuts off: {error}");
        }
    })
}

/// Renames a file to the first name that is free, which is returned. An empty file is created under that name first:
/// renaming over it overwrites nothing.
fn rename_to_free_name(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    for name in (1..1000).map(|n| dated(path, now, n)) {
        match File::create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.and_then(|_| fs::rename(path, &name)).map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The `n`-th name, from 1, beside this one with the time in it: `r.2026-11-24T10-00-00Z.jsonl`, then
/// `r.2026-11-24T10-00-00Z-2.jsonl`.
fn dated(path: &Path, now: SystemTime, n: u32) -> PathBuf {
    let time = jiff::Timestamp::try_from(now).unwrap_or_default();
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(time.strftime(".%Y-%m-%dT%H-%M-%SZ").to_string());
    if n > 1 {
        name.push(format!("-{n}"));
    }
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
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
        let now = SystemTime::UNIX_EPOCH + NOW;
        let names = [1, 2, 3].map(|n| {
            fs::write(&path, n.to_string()).unwrap();
            rename_to_free_name(&path, now).unwrap()
        });
        assert_eq!(names, [1, 2, 3].map(|n| dated(&path, now, n)));
        let texts = names.map(|name| fs::read_to_string(name).unwrap());
        assert_eq!(texts, ["1", "2", "3"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_was_put_aside_meanwhile_is_not_mistaken_for_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let file = options(true).create(true).open(&path).unwrap();
        fs::rename(&path, folder.path().join("aside")).unwrap();
        File::create_new(&path).unwrap();
        assert!(matches!(
            ResultsFile::lock(file, &path, true),
            Err(JournalError::Busy(_))
        ));
    }
}
