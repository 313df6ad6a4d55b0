//! `paceline export`: results in, something to pass on out.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::args;
use super::{Exit, tell};
use crate::export::{ExportError, Exported, Format, Options, export};
use crate::journal::{Draft, Results};

/// Why there is no export.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error("say what to make: --format csv, jsonl, md, txt or batch")]
    NoFormat,
    #[error("{} holds the results themselves: write elsewhere with -o", .0.display())]
    OntoItself(PathBuf),
    #[error("cannot read results from {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Unusable { path: PathBuf, source: ExportError },
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

pub(super) fn run(args: &args::Export, quiet: bool) -> Result<Exit, Failure> {
    let to = Some(&*args.output).filter(|path| *path != Path::new("-"));
    let format = args
        .format
        .or_else(|| Format::of_file(to?))
        .ok_or(Failure::NoFormat)?;
    let options = Options {
        order: args.order,
        failed: args.failed,
        spreadsheet: args.spreadsheet,
        ..Options::new(format)
    };
    let done = match to {
        None => write(args, &options, io::stdout().lock(), "standard output"),
        Some(path) => write_file(args, &options, path),
    };
    match done {
        // Whoever reads has had enough, as `head` has.
        Err(Failure::Write { source, .. })
            if to.is_none() && source.kind() == io::ErrorKind::BrokenPipe => {}
        Err(failure) => return Err(failure),
        Ok(exported) if !quiet => tell(&said(&exported, &options)),
        Ok(_) => {}
    }
    Ok(Exit::Answered)
}

fn write(
    args: &args::Export,
    options: &Options,
    to: impl Write,
    name: &str,
) -> Result<Exported, Failure> {
    let path = || args.results.clone();
    let mut results = Results::open(&args.results).map_err(|source| Failure::Open {
        path: path(),
        source,
    })?;
    export(&mut results, options, to).map_err(|error| match error {
        ExportError::Write(source) => Failure::Write {
            to: name.to_owned(),
            source,
        },
        source => Failure::Unusable {
            path: path(),
            source,
        },
    })
}

/// Whole or not at all, unless it is a device or a pipe.
fn write_file(args: &args::Export, options: &Options, path: &Path) -> Result<Exported, Failure> {
    let name = path.display().to_string();
    let failed = |source| Failure::Write {
        to: name.clone(),
        source,
    };
    if path
        .metadata()
        .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
    {
        let to = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(failed)?;
        return write(args, options, to, &name);
    }
    // A link stays a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::canonicalize(&args.results).is_ok_and(|results| results == target) {
        return Err(Failure::OntoItself(path.to_owned()));
    }
    let mut draft = Draft::of(&target).map_err(failed)?;
    let exported = write(args, options, &mut draft, &name)?;
    draft.publish().map_err(failed)?;
    Ok(exported)
}

fn said(exported: &Exported, options: &Options) -> String {
    let Exported {
        answered,
        flagged,
        failed,
        written,
        formulas,
        torn,
    } = *exported;
    let odd = if flagged > 0 {
        format!(" ({flagged} empty or not ended by themselves: see finish_reason)")
    } else {
        String::new()
    };
    let left_out = match answered + failed - written {
        0 => String::new(),
        left_out => format!(", {left_out} left out"),
    };
    let mut lines = vec![format!(
        "{answered} answered{odd}, {failed} failed{left_out}"
    )];
    if torn > 0 {
        lines.push(format!(
            "the last line of the results is unfinished ({torn} bytes) and is left out: is a run writing it?"
        ));
    }
    if formulas > 0 && !options.spreadsheet {
        lines.push(format!(
            "cells that begin as a formula does: {formulas} (for a spreadsheet program, add --spreadsheet)"
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(results: &Path, output: &Path) -> args::Export {
        use crate::export::{Failed, Order};
        let (results, output, format) = (results.to_owned(), output.to_owned(), Some(Format::Txt));
        args::Export {
            results,
            output,
            format,
            order: Order::Input,
            failed: Failed::Include,
            spreadsheet: false,
        }
    }

    #[test]
    fn the_results_are_never_written_over_and_an_export_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let [results, output] = ["r.jsonl", "out.txt"].map(|name| folder.path().join(name));
        let record =
            "{\"id\":\"pl_1_ca978112ca1bbdca\",\"custom_id\":\"line-1\",\"text\":\"new\"}\n";
        fs::write(&results, record).unwrap();
        let same = folder
            .path()
            .join("../")
            .join(folder.path().file_name().unwrap())
            .join("r.jsonl");
        assert!(matches!(
            run(&args(&results, &same), true),
            Err(Failure::OntoItself(_))
        ));
        assert_eq!(fs::read_to_string(&results).unwrap(), record);
        assert_eq!(run(&args(&results, &output), true).unwrap(), Exit::Answered);
        assert_eq!(fs::read_to_string(&output).unwrap(), "new\n");
        fs::write(&results, "oops\n").unwrap();
        assert_eq!(
            run(&args(&results, &output), true).unwrap_err().exit(),
            Exit::Usage
        );
        assert_eq!(
            fs::read_to_string(&output).unwrap(),
            "new\n",
            "the old export stays"
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left behind"
        );
        let nowhere = run(&args(&results, Path::new("/no/such/out.txt")), true).unwrap_err();
        assert_eq!(nowhere.exit(), Exit::Stopped);
    }

    #[test]
    fn what_is_left_out_or_odd_is_said() {
        let options = Options::new(Format::Csv);
        let mut exported = Exported::default();
        (exported.answered, exported.written) = (2, 2);
        assert_eq!(said(&exported, &options), "2 answered, 0 failed");
        (
            exported.flagged,
            exported.failed,
            exported.torn,
            exported.formulas,
        ) = (1, 3, 17, 4);
        let lines = said(&exported, &options);
        assert!(lines.starts_with(
            "2 answered (1 empty or not ended by themselves: see finish_reason), 3 failed, 3 left out\n"
        ));
        assert!(
            lines.contains("(17 bytes)")
                && lines.ends_with("4 (for a spreadsheet program, add --spreadsheet)")
        );
        assert_eq!(
            said(
                &exported,
                &Options {
                    spreadsheet: true,
                    ..options
                }
            )
            .lines()
            .count(),
            2
        );
    }
}
