//! `paceline report`: results in, what happened out.

use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use super::args;
use super::{Exit, tell};
use crate::journal::Results;
use crate::report::{Limit, Report, ReportError};

/// Why there is no report.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("cannot read results from {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Unusable { path: PathBuf, source: ReportError },
    #[error("cannot write to standard output: {0}")]
    Write(io::Error),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        if matches!(self, Failure::Write(_)) { Exit::Stopped } else { Exit::Usage }
    }
}

pub(super) fn run(args: &args::Report, quiet: bool) -> Result<Exit, Failure> {
    let report = read(args)?;
    if report.torn_bytes > 0 && !quiet {
        tell(&format!(
            "the last line of the results is unfinished ({} bytes) and is left out: is a run writing it?",
            report.torn_bytes
        ));
    }
    match write(&report, args.json) {
        // Whoever reads has had enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Answered),
        Err(error) => Err(Failure::Write(error)),
        Ok(()) => Ok(Exit::Answered),
    }
}

fn read(args: &args::Report) -> Result<Report, Failure> {
    let path = || args.results.clone();
    let mut results =
        Results::open(&args.results).map_err(|source| Failure::Open { path: path(), source })?;
    let limit = args.rpm.map(|calls_a_minute| Limit { calls_a_minute, burst: args.burst });
    Report::read(&mut results, limit).map_err(|source| Failure::Unusable { path: path(), source })
}

fn write(report: &Report, json: bool) -> io::Result<()> {
    let text = if json { serde_json::to_string(report)? } else { report.to_string() };
    let mut to = io::stdout().lock();
    writeln!(to, "{text}")?;
    to.flush()
}
