//! Where the prompts come from: a file, looked through before anything is sent, or standard input.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::plan::Unusable;
use crate::cancel::CancelToken;
use crate::prompts::{Prompt, PromptError, Prompts};

type Stream = Box<dyn Iterator<Item = Result<Prompt, PromptError>> + Send>;

/// The prompts, and how many they are where that is known.
pub(super) fn open(
    path: &Path,
    limit: Option<usize>,
    cancel: &CancelToken,
) -> Result<(Stream, Option<u64>), Unusable> {
    let limit = limit.unwrap_or(usize::MAX);
    if path == Path::new("-") {
        return Ok((Box::new(standard_input(cancel.clone()).take(limit)), None));
    }
    let is_plain = path.metadata().is_ok_and(|metadata| metadata.is_file());
    let count = if is_plain { Some(look_through(path, limit)?) } else { None };
    Ok((Box::new(read(path)?.take(limit)), count))
}

fn read(path: &Path) -> Result<Prompts<BufReader<File>>, Unusable> {
    let open = |path| {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    };
    let file = open(path).map_err(|source| Unusable::Open { path: path.to_owned(), source })?;
    Ok(Prompts::new(BufReader::with_capacity(64 << 10, file)))
}

/// Finds what is wrong with a file before the first call is paid for.
fn look_through(path: &Path, limit: usize) -> Result<u64, Unusable> {
    let mut count = 0;
    for prompt in read(path)?.take(limit) {
        prompt.map_err(|source| Unusable::Input { path: path.to_owned(), source })?;
        count += 1;
    }
    if count == 0 && limit > 0 { Err(Unusable::Empty(path.to_owned())) } else { Ok(count) }
}

/// Standard input, read by a thread that nobody waits for: a batch that stops does not wait for the next line.
fn standard_input(cancel: CancelToken) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
    const LOOK: Duration = Duration::from_millis(50);
    let (lines, prompts) = bounded(16);
    thread::spawn(move || {
        for prompt in Prompts::new(BufReader::new(io::stdin())) {
            if lines.send(prompt).is_err() {
                return;
            }
        }
    });
    std::iter::from_fn(move || {
        while !cancel.is_cancelled() {
            match prompts.recv_timeout(LOOK) {
                Ok(prompt) => return Some(prompt),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    })
}
