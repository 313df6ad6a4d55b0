//! What is noted about batches under way: a small file beside the results, written before and after each is submitted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{remove_drafts, write_whole};
use crate::journal::RecordId;

/// The batches that hold prompts of a results file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BulkState {
    /// Where they are.
    pub(crate) server: String,
    pub(crate) parts: Vec<Part>,
}

/// The prompts of one batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Our own name for it, in the batch's metadata and in the names of its rows.
    pub(crate) name: String,
    /// The lines of its prompts, as ranges that include both ends.
    pub(crate) lines: Vec<[u64; 2]>,
    pub(crate) rows: u64,
    /// A digest of its prompts, to see if they are still the same.
    pub(crate) digest: u64,
    /// When it was noted, in Unix seconds.
    pub(crate) noted_at: i64,
    /// The provider's name for it; `None` as long as nobody knows if it was submitted.
    pub(crate) batch: Option<String>,
}

impl BulkState {
    /// The name of the file beside these results: `r.batch.json` for `r.jsonl`.
    pub(crate) fn beside(results: &Path) -> PathBuf {
        results.with_extension("batch.json")
    }

    /// What is noted, or nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is not of ours.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        use io::ErrorKind::{IsADirectory, NotFound};
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            // Results with the name of a folder cannot be written, which is said later.
            Err(error) if matches!(error.kind(), NotFound | IsADirectory) => {
                Ok(BulkState::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the file, down to the disk; removes it if no batch is left.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        if self.parts.is_empty() {
            remove_drafts(path);
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        write_whole(path, |file| {
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()
        })?;
        // The name goes to the disk as well, where the file system can do that.
        let parent = path.parent().unwrap_or(Path::new(""));
        let _ = File::open(Path::new(".").join(parent)).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// The parts that hold the prompt of this line, in the order in which they were submitted: an answer that did not fit its
    /// schema is asked for in another one.
    pub(crate) fn parts_of(&self, line: u64) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(move |part| part.has(line))
    }
}

impl Part {
    /// An empty part with a new name.
    pub(crate) fn new() -> Self {
        Part {
            name: format!("{:016x}", rand::random::<u64>()),
            ..Part::default()
        }
    }

    /// Adds the prompt of this id, which comes after those that are there.
    pub(crate) fn add(&mut self, id: &RecordId) {
        self.digest = digest(self.digest, id);
        let at = self.lines.partition_point(|[first, _]| *first <= id.line);
        match at.checked_sub(1).map(|before| &mut self.lines[before]) {
            Some([_, last]) if *last + 1 == id.line => *last = id.line,
            _ => self.lines.insert(at, [id.line; 2]),
        }
    }

    /// How many prompts it has; those with equal requests may share a row.
    pub(crate) fn prompts(&self) -> u64 {
        self.lines
            .iter()
            .map(|[first, last]| last - first + 1)
            .sum()
    }

    pub(crate) fn has(&self, line: u64) -> bool {
        let after = self.lines.partition_point(|[first, _]| *first <= line);
        after > 0 && self.lines[after - 1][1] >= line
    }

    pub(crate) fn shares_a_line_with(&self, other: &Part) -> bool {
        let mut lines = self.lines.iter().flat_map(|[first, last]| *first..=*last);
        lines.any(|line| other.has(line))
    }

    /// The name of a row. Anthropic takes 64 letters, digits, hyphens and underscores.
    pub(crate) fn row_name(&self, id: &RecordId) -> String {
        format!("{id}-{}", self.name)
    }

    /// The prompt of a row of this part.
    pub(crate) fn id_of(&self, row_name: &str) -> Option<RecordId> {
        let id = row_name.strip_suffix(&self.name)?.strip_suffix('-')?;
        id.parse().ok()
    }
}

/// A digest of several prompts, from that of the first ones and the next. The digests of ids are as good as random.
pub(crate) fn digest(so_far: u64, id: &RecordId) -> u64 {
    // The odd constant is 2^64 over the golden ratio: it spreads consecutive numbers over all bits.
    let next = id.digest ^ id.line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    so_far.rotate_left(1).wrapping_add(next)
}
