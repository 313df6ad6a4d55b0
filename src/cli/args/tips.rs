//! Parsing, with a tip for what people type who know other tools; and the command of this process, to be typed again.

use std::env;
use std::ffi::OsStr;
use std::iter;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use super::CommandLine;

/// What is typed, and what it means here: options of similar tools, apart by spaces, and commands of earlier versions.
fn tips() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("tips.txt").lines();
    lines.filter_map(|line| line.split_once(" => "))
}

/// Reads the command line of this process; ends the process for `--help`, `--version` and bad usage.
pub(in crate::cli) fn parse() -> CommandLine {
    let words: Vec<_> = env::args_os().skip(1).collect();
    CommandLine::try_parse().unwrap_or_else(|error| with_tip(error, &words).exit())
}

/// The same error, with a tip if we know what is meant.
fn with_tip<W: AsRef<OsStr>>(mut error: clap::Error, words: &[W]) -> clap::Error {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(typed)) = error.get(kind).cloned() else {
        return error;
    };
    let known = tips().find(|(theirs, _)| theirs.split(' ').any(|name| name == typed));
    if kind == ContextKind::InvalidArg {
        if let Some((_, ours)) = known {
            error.remove(ContextKind::SuggestedArg);
            let tips = vec![ours.to_owned().into()];
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
        return error;
    }
    let ours = match known {
        _ if Path::new(&typed).is_file() => format!("run {}", quoted(words)),
        Some((_, ours)) => ours.to_owned(),
        None => return error,
    };
    let message = format!("'{typed}' is not a command\n\n  tip: paceline {ours}");
    CommandLine::command().error(ErrorKind::InvalidSubcommand, message)
}

/// The command of this process with one more option, to be pasted into a shell. It is shortened if a word of it may
/// hold a secret.
pub(in crate::cli) fn command_line(prompts: &Path, option: &str) -> String {
    let words = env::args_os().skip(1);
    let words = words.map(|word| from_here(Path::new(&word)).to_string_lossy().into_owned());
    let words: Vec<_> = iter::once("paceline".to_owned()).chain(words).collect();
    again(&words, &from_here(prompts).to_string_lossy(), option)
}

/// A path as it is typed in the current folder.
pub(in crate::cli) fn from_here(path: &Path) -> &Path {
    let here = env::current_dir();
    let near = here.ok().and_then(|here| path.strip_prefix(here).ok());
    near.filter(|near| *near != Path::new("")).unwrap_or(path)
}

fn again(words: &[String], prompts: &str, option: &str) -> String {
    let may_be_secret = |word: &String| word.contains("://") && word.contains(['@', '?']);
    if words
        .iter()
        .any(|word| may_be_secret(word) || word.starts_with("--header"))
    {
        return format!("paceline run {} … {option}", quoted(&[prompts]));
    }
    // With --restart, everything would be sent once more.
    let is_kept = |word: &&String| *word != "--restart" && *word != option;
    let kept: Vec<_> = words.iter().filter(is_kept).collect();
    format!("{} {option}", quoted(&kept))
}

/// Words as a shell reads them.
pub(in crate::cli) fn quoted<W: AsRef<OsStr>>(words: &[W]) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let quote = |word: &W| {
        let word = word.as_ref().to_string_lossy();
        match !word.is_empty() && word.chars().all(is_plain) {
            true => word.into_owned(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> String {
        let all = std::iter::once(&"paceline").chain(words);
        with_tip(CommandLine::try_parse_from(all).unwrap_err(), words).to_string()
    }

    #[test]
    fn options_of_other_tools_point_to_ours() {
        for (theirs, ours) in tips().filter(|(theirs, _)| theirs.starts_with("--")) {
            for theirs in theirs.split(' ') {
                let said = said(&["run", "p.txt", theirs, "9"]);
                assert!(said.contains("tip: ") && said.contains(ours), "{said}");
            }
        }
    }

    #[test]
    fn every_option_that_a_tip_names_exists_and_none_that_it_replaces() {
        let mut all = CommandLine::command();
        all.build();
        let run = all.find_subcommand("run").unwrap();
        let exists = |name: &str| {
            let mut options = run.get_arguments().filter_map(|option| option.get_long());
            options.any(|long| format!("--{long}") == name)
        };
        for (theirs, ours) in tips() {
            let option = ours.strip_prefix("use ");
            assert!(option.is_none_or(exists), "{ours}");
            assert!(!theirs.split(' ').any(exists), "{theirs}");
        }
    }

    #[test]
    fn a_file_in_place_of_a_command_points_to_run() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let said = said(&[path, "-m", "m 1"]);
        let expected = format!("tip: paceline run {path} -m 'm 1'");
        assert!(said.contains(&expected), "{said}");
    }

    #[test]
    fn commands_of_earlier_versions_point_to_their_place() {
        let said = said(&["push", "p.txt"]);
        assert!(said.contains("tip: paceline queue push"), "{said}");
    }

    #[test]
    fn a_path_is_as_short_as_it_can_be_from_here() {
        let here = env::current_dir().unwrap();
        assert_eq!(from_here(&here.join("a/b.txt")), Path::new("a/b.txt"));
        for path in [
            here.as_path(),
            Path::new("a.txt"),
            Path::new("/elsewhere/a.txt"),
        ] {
            assert_eq!(from_here(path), path);
        }
    }

    #[test]
    fn the_command_can_be_pasted_and_tells_no_secret() {
        let said = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            again(&words, "my p.txt", "--retry-failed")
        };
        let words = ["paceline", "run", "p.txt"].map(str::to_owned);
        assert_eq!(
            again(&words, "p.txt", "--via batch"),
            "paceline run p.txt --via batch"
        );
        assert_eq!(
            said(&[
                "paceline",
                "run",
                "my p.txt",
                "--restart",
                "--system",
                "it's"
            ]),
            r"paceline run 'my p.txt' --system 'it'\''s' --retry-failed"
        );
        let shortened = "paceline run 'my p.txt' … --retry-failed";
        assert_eq!(
            said(&["paceline", "--base-url", "http://a:b@c/v1"]),
            shortened
        );
        assert_eq!(
            said(&["paceline", "--base-url=http://c/v1?api-key=x"]),
            shortened
        );
    }
}
