//! Reads prompts from files each of which is one: those of a folder, or those that a pattern names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{InputRow, LONGEST, PromptError, lines};

/// The files of a folder, or those that a pattern such as `prompts/*.txt` names, in order; hidden ones are left out.
/// `None`: the path is neither.
pub(crate) fn listed(path: &Path) -> Option<io::Result<Vec<PathBuf>>> {
    let pattern = path.to_str().filter(|text| text.contains(['*', '?', '[']));
    let found = match pattern {
        _ if path.is_dir() => paths_in(path),
        Some(pattern) if !path.exists() => matches(pattern),
        _ => return None,
    };
    Some(found.map(|mut paths| {
        paths.retain(|path| path.is_file() && !name_of(path).starts_with('.'));
        paths.sort();
        paths
    }))
}

fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn matches(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let paths = glob::glob(pattern).map_err(io::Error::other)?;
    paths.map(|path| path.map_err(io::Error::from)).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A file as a row, by its place from 0.
pub(super) fn row((at, path): (usize, PathBuf)) -> Result<InputRow, PromptError> {
    let fail = |problem: &str| PromptError::within(path.display().to_string(), problem);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(LONGEST as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| fail(&error.to_string()))?;
    if bytes.len() > LONGEST {
        return Err(fail(&format!("longer than {} MiB", LONGEST >> 20)));
    }
    let text =
        lines::text(bytes).map_err(|(byte, problem)| fail(&format!("byte {byte}: {problem}")))?;
    let text = text
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() {
        return Err(fail("the file is empty"));
    }
    Ok(InputRow {
        line: at as u64 + 1,
        id: Some(name_of(&path)),
        prompt: Some(text.to_owned()),
        ..InputRow::default()
    })
}
