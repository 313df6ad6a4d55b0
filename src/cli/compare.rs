//! `paceline compare`: options in, a table out, and a page if one is asked for.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use super::Exit;
use super::args;
use crate::compare::{Comparison, Options};

/// Why the comparison could not be shown.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("cannot write to standard output: {0}")]
    Write(io::Error),
    #[error("cannot write the page to {}: {source}", path.display())]
    Page { path: PathBuf, source: io::Error },
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        Exit::Stopped
    }
}

pub(super) fn run(args: &args::Compare) -> Result<Exit, Failure> {
    let comparison = Comparison::of(options(args));
    // The table comes first: it is there even if the page cannot be written.
    match write(&comparison) {
        // Whoever reads has had enough, as `head` has.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::Write(error));
        }
        _ => {}
    }
    if let Some(path) = &args.html {
        let page = fs::write(path, comparison.to_html());
        page.map_err(|source| Failure::Page {
            path: path.clone(),
            source,
        })?;
    }
    Ok(Exit::Answered)
}

fn options(args: &args::Compare) -> Options {
    let args::Compare {
        prompts,
        rpm,
        burst,
        latency,
        workers,
        seed,
        ..
    } = *args;
    Options {
        prompts,
        rpm,
        burst,
        latency,
        workers,
        seed,
    }
}

fn write(comparison: &Comparison) -> io::Result<()> {
    let mut to = io::stdout().lock();
    writeln!(to, "{comparison}")?;
    to.flush()
}
