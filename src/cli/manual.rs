//! `paceline completions` and `paceline manual`: what shells and `man` want to know, made of the same definitions as
//! `--help`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;
use thiserror::Error;

use super::Exit;
use super::args::{Args, Completions, Manual};

/// Why it cannot be written.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("cannot write the pages in {}: {source}", folder.display())]
    Pages { folder: PathBuf, source: io::Error },
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        Exit::Stopped
    }
}

pub(super) fn completions(args: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "paceline", &mut script);
    to_stdout(&script)
}

pub(super) fn manual(args: &Manual) -> Result<Exit, Failure> {
    match &args.dir {
        None => {
            let mut page = Vec::new();
            Man::new(Args::command())
                .render(&mut page)
                .map_err(Failure::Output)?;
            to_stdout(&page)
        }
        Some(folder) => {
            let written = fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(Args::command(), folder));
            written.map_err(|source| Failure::Pages {
                folder: folder.clone(),
                source,
            })?;
            Ok(Exit::Answered)
        }
    }
}

/// Whoever reads may have had enough, as `head` has.
fn to_stdout(bytes: &[u8]) -> Result<Exit, Failure> {
    let mut to = io::stdout().lock();
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(Exit::Answered),
    }
}
