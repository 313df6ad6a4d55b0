//! Writes a file that appears whole, under its name, or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

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
