//! `paceline report`: results in, what happened out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::args;
use super::{Exit, tell};
use crate::journal::{Results, write_whole};
use crate::report::{Limit, Report, ReportError};

/// Why there is no report.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("cannot read results from {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Unusable { path: PathBuf, source: ReportError },
    #[error("the page would take the place of {}, the results that it reports on: name another file", .0.display())]
    OntoItself(PathBuf),
    #[error("cannot write to {to}: {source}")]
    Write { to: String, source: io::Error },
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        if matches!(self, Failure::Write { .. }) {
            Exit::Stopped
        } else {
            Exit::Usage
        }
    }
}

pub(super) fn run(args: &args::Report, quiet: bool) -> Result<Exit, Failure> {
    let page = args.html.as_deref().filter(|path| *path != Path::new("-"));
    let target = page
        .map(|path| target_of(path, &args.results))
        .transpose()?;
    let report = read(args)?;
    if report.torn_bytes > 0 && !quiet {
        tell(&format!(
            "the last line of the results is unfinished ({} bytes) and is left out: is a run writing it?",
            report.torn_bytes
        ));
    }
    match target {
        Some(target) => write_page(&report, args, &target, quiet)?,
        None => write(&report, args)?,
    }
    Ok(Exit::Answered)
}

/// Where the page goes. A link stays a link.
fn target_of(path: &Path, results: &Path) -> Result<PathBuf, Failure> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_itself = fs::canonicalize(results).is_ok_and(|results| results == target);
    if is_itself {
        Err(Failure::OntoItself(path.to_owned()))
    } else {
        Ok(target)
    }
}

/// Whole or not at all, unless it is a device or a pipe.
fn write_page(
    report: &Report,
    args: &args::Report,
    target: &Path,
    quiet: bool,
) -> Result<(), Failure> {
    let page = html(report, args);
    let is_special = target
        .metadata()
        .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    let written = if is_special {
        fs::OpenOptions::new()
            .write(true)
            .open(target)
            .and_then(|mut to| to.write_all(page.as_bytes()))
    } else {
        write_whole(target, |file| file.write_all(page.as_bytes()))
    };
    let to = target.display().to_string();
    if !quiet && written.is_ok() {
        tell(&format!("the page is in {to}: open it in a browser"));
    }
    written.map_err(|source| Failure::Write { to, source })
}

fn html(report: &Report, args: &args::Report) -> String {
    let name = args.results.file_name().unwrap_or(args.results.as_os_str());
    report.to_html(&name.to_string_lossy())
}

fn read(args: &args::Report) -> Result<Report, Failure> {
    let path = || args.results.clone();
    let mut results = Results::open(&args.results).map_err(|source| Failure::Open {
        path: path(),
        source,
    })?;
    let limit = args.rpm.map(|calls_a_minute| Limit {
        calls_a_minute,
        burst: args.burst,
    });
    Report::read(&mut results, limit).map_err(|source| Failure::Unusable {
        path: path(),
        source,
    })
}

fn write(report: &Report, args: &args::Report) -> Result<(), Failure> {
    let text = match args.html {
        Some(_) => html(report, args),
        None if args.json => {
            serde_json::to_string(report).map_err(|error| failed(error.into()))? + "\n"
        }
        None => format!("{report}\n"),
    };
    let mut to = io::stdout().lock();
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        // Whoever reads has had enough, as `head` has.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(failed),
    }
}

fn failed(source: io::Error) -> Failure {
    Failure::Write {
        to: "standard output".to_owned(),
        source,
    }
}
