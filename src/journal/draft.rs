//! A file that appears whole, under its name, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file in the making, beside the one that it is to become. Dropped before it is published, it is gone.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
    /// What it will replace.
    target: PathBuf,
}

impl Draft {
    /// Begins a file that is to become `target`. It is hidden, and has the number of this process in its name.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(hidden);
        // One may be left from a process of the same number that was killed.
        let _ = fs::remove_file(&path);
        Ok(Draft {
            file: File::create_new(&path)?,
            path,
            target: target.to_owned(),
        })
    }

    /// Gives it its name, in place of what had it before.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn publish(self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once published there is none of this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_takes_the_place_of_the_old_file_at_once_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.csv");
        fs::write(&target, "old").unwrap();
        let mut draft = Draft::of(&target).unwrap();
        draft.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        let mut draft = Draft::of(&target).unwrap();
        draft.write_all(b"new").unwrap();
        draft.publish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_folder_is_no_target() {
        assert!(Draft::of(Path::new("/")).is_err());
        assert!(Draft::of(Path::new("/no/such/file")).is_err());
    }
}
