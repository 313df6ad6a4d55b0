//! Parsing, with a tip for what people type who know other tools.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::CommandLine;

/// Options of similar tools, and ours.
const OPTIONS: &[(&str, &str)] = &[
    ("--concurrency", "--workers"),
    ("--parallel", "--workers"),
    ("--threads", "--workers"),
    ("--jobs", "--workers"),
    ("--rate", "--rpm"),
    ("--rate-limit", "--rpm"),
    ("--requests-per-minute", "--rpm"),
    ("--tokens-per-minute", "--tpm"),
];

/// Commands of earlier versions, and ours.
const COMMANDS: &[(&str, &str)] = &[
    ("push", "queue push"),
    ("work", "queue work"),
    ("pull", "queue pull"),
];

/// Reads the command line of this process; ends the process for `--help`, `--version` and bad usage.
pub(in crate::cli) fn parse() -> CommandLine {
    CommandLine::try_parse().unwrap_or_else(|error| with_tip(error).exit())
}

/// The same error, with a tip if we know what is meant.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let typed = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let option = typed(ContextKind::InvalidArg);
            if let Some(ours) = known(OPTIONS, &option) {
                error.insert(ContextKind::SuggestedArg, ContextValue::String(ours));
            }
            error
        }
        ErrorKind::InvalidSubcommand => {
            let command = typed(ContextKind::InvalidSubcommand);
            let ours = if Path::new(&command).is_file() {
                Some(format!("run {command}"))
            } else {
                known(COMMANDS, &command)
            };
            match ours {
                Some(ours) => CommandLine::command().error(
                    ErrorKind::InvalidSubcommand,
                    format!("'{command}' is not a command\n\n  tip: paceline {ours}"),
                ),
                None => error,
            }
        }
        _ => error,
    }
}

fn known(table: &[(&str, &str)], typed: &str) -> Option<String> {
    table
        .iter()
        .find(|(theirs, _)| *theirs == typed)
        .map(|(_, ours)| (*ours).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> String {
        let words = std::iter::once(&"paceline").chain(words);
        with_tip(CommandLine::try_parse_from(words).unwrap_err()).to_string()
    }

    #[test]
    fn options_of_other_tools_point_to_ours() {
        for (theirs, ours) in [
            ("--concurrency", "--workers"),
            ("--threads", "--workers"),
            ("--rate", "--rpm"),
        ] {
            let said = said(&["run", "p.txt", theirs, "9"]);
            assert!(said.contains(ours), "{said}");
        }
    }

    #[test]
    fn a_file_in_place_of_a_command_points_to_run() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        assert!(said(&[path]).contains(&format!("tip: paceline run {path}")));
    }

    #[test]
    fn commands_of_earlier_versions_point_to_their_place() {
        let said = said(&["push", "p.txt"]);
        assert!(said.contains("tip: paceline queue push"), "{said}");
    }
}
