//! `paceline export`: writes what was made of the results, and says to people how many prompts there were.

use std::io::{self, IsTerminal, Write};

use super::{ExportError, ExportFormat, Exported, export};
use crate::batch::Flags;
use crate::cli::args::{ExportArgs, ExportOptions};
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::logging::inform;
use crate::cli::output;
use crate::text::{counted, grouped};

const NO_FORMAT: &str = "which format? Give --format csv, jsonl, md, txt or batch";
const AS_MARKDOWN: &str = "written as Markdown: --format chooses another format, -o FILE a file";

pub(in crate::cli) fn run(args: &ExportArgs) -> Result<Exit, CommandError> {
    let is_for_people = output::is_dash(&args.output) && io::stdout().is_terminal();
    let format = format(args, is_for_people)?;
    let options = ExportOptions {
        price: args.costs.cost.price,
        ..args.options.clone()
    };
    output::not_the_results(&args.output, &args.results)?;
    let mut results = output::open_results(&args.results)?;
    let export = |to: &mut dyn Write| export(&mut results, format, &options, to);
    match output::write_to(&args.output, export) {
        Ok(exported) => {
            if is_for_people && args.format.is_none() {
                inform(AS_MARKDOWN);
            }
            inform(summary(&exported, options.spreadsheet));
            Ok(Exit::Answered)
        }
        Err(ExportError::Write(source)) => output::write_failed(&args.output, &source),
        Err(error) => Err(CommandError::file("", &args.results)(error)),
    }
}

/// Without a format the ending of the file says it, and people get Markdown.
fn format(args: &ExportArgs, is_for_people: bool) -> Result<ExportFormat, CommandError> {
    let by_ending = || ExportFormat::of_file(&args.output);
    let for_people = is_for_people.then_some(ExportFormat::Md);
    let format = args.format.or_else(by_ending).or(for_people);
    format.ok_or_else(|| CommandError::usage(NO_FORMAT))
}

fn summary(exported: &Exported, is_safe: bool) -> String {
    let mut text = format!("{} answered", grouped(exported.answered));
    if exported.flags != Flags::default() {
        text += &format!(" ({}: see finish_reason)", exported.flags);
    }
    text += &format!(", {} failed", grouped(exported.failed));
    let left_out = exported.answered + exported.failed - exported.written;
    if left_out > 0 {
        text += &format!(", {} left out", grouped(left_out));
    }
    if exported.torn > 0 {
        text += &format!("\n{}", output::torn_line(exported.torn));
    }
    if exported.formulas > 0 && !is_safe {
        let cells = counted(exported.formulas, "cell");
        text +=
            &format!("\na spreadsheet program would run {cells} as formulas: add --spreadsheet");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cli::args::RecordedCostArgs;

    fn args(results: &Path, output: &Path) -> ExportArgs {
        ExportArgs {
            results: results.to_owned(),
            output: output.to_owned(),
            format: Some(ExportFormat::Txt),
            options: ExportOptions::default(),
            costs: RecordedCostArgs::default(),
        }
    }

    #[test]
    fn the_results_are_never_written_over_and_an_export_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let [results, output] = ["r.jsonl", "out.txt"].map(|name| folder.path().join(name));
        let record =
            "{\"id\":\"pl_1_ca978112ca1bbdca\",\"custom_id\":\"line-1\",\"text\":\"new\"}\n";
        fs::write(&results, record).unwrap();
        let name = folder.path().file_name().unwrap();
        let same = folder.path().join("../").join(name).join("r.jsonl");
        let error = run(&args(&results, &same)).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("holds the results themselves: name another file")
        );
        assert_eq!(error.exit, Exit::Usage);
        assert_eq!(fs::read_to_string(&results).unwrap(), record);
        assert_eq!(run(&args(&results, &output)).unwrap(), Exit::Answered);
        assert_eq!(fs::read_to_string(&output).unwrap(), "new\n");
        fs::write(&results, "oops\n").unwrap();
        assert_eq!(run(&args(&results, &output)).unwrap_err().exit, Exit::Usage);
        let old = fs::read_to_string(&output).unwrap();
        assert_eq!(old, "new\n", "the old export stays");
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "nothing is left behind");
        let nowhere = run(&args(&results, Path::new("/no/such/out.txt"))).unwrap_err();
        assert_eq!(nowhere.exit, Exit::Stopped);
    }

    #[test]
    fn people_get_markdown_and_programs_must_say_what_they_want() {
        let mut args = args(Path::new("r"), Path::new("-"));
        args.format = None;
        assert_eq!(format(&args, true).unwrap(), ExportFormat::Md);
        assert_eq!(format(&args, false).unwrap_err().to_string(), NO_FORMAT);
        args.format = Some(ExportFormat::Csv);
        assert_eq!(format(&args, true).unwrap(), ExportFormat::Csv);
    }

    #[test]
    fn the_summary_tells_what_was_left_out_and_what_is_odd() {
        let good = Exported {
            answered: 2_000,
            written: 2_000,
            ..Exported::default()
        };
        assert_eq!(summary(&good, false), "2,000 answered, 0 failed");
        let mut odd = Exported {
            failed: 3,
            torn: 17,
            formulas: 4,
            ..good
        };
        odd.flags.cut = 1;
        let text = summary(&odd, false);
        assert!(text.starts_with(
            "2,000 answered (1 cut at the most tokens: see finish_reason), 3 failed, 3 left out\n"
        ));
        assert!(
            text.contains("(17 bytes)") && text.contains("run 4 cells as formulas"),
            "{text}"
        );
        assert_eq!(summary(&odd, true).lines().count(), 2);
    }
}
