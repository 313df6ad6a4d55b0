//! `paceline report`: reads results and writes what happened, as text, JSON or a page.

use std::io::{self, Write};
use std::path::Path;

use super::numbers::{AuditedLimit, Report};
use crate::cli::args::ReportArgs;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::logging::inform;
use crate::cli::output;
use crate::cli::template::TextLook;

pub(in crate::cli) fn run(args: &ReportArgs) -> Result<Exit, CommandError> {
    let to = args.html.as_deref().unwrap_or(Path::new("-"));
    output::not_the_results(to, &args.results)?;
    let report = read(args)?;
    if report.torn_bytes > 0 {
        inform(output::torn_line(report.torn_bytes));
    }
    let exit = output::write_out(to, |to| write(&report, args, to))?;
    if !output::is_dash(to) {
        inform(format!(
            "the page is in {}: open it in a browser",
            to.display()
        ));
    }
    Ok(exit)
}

fn read(args: &ReportArgs) -> Result<Report, CommandError> {
    let mut results = output::open_results(&args.results)?;
    let limit = args.rpm.map(|calls_a_minute| AuditedLimit {
        calls_a_minute,
        burst: args.burst,
    });
    let report = Report::read(&mut results, limit);
    let report = report.map_err(CommandError::file("", &args.results))?;
    Ok(report.priced(args.costs.cost.price))
}

fn write(report: &Report, args: &ReportArgs, to: &mut dyn Write) -> io::Result<()> {
    let currency = &args.costs.cost.currency;
    if args.html.is_some() {
        let name = args.results.file_name().unwrap_or(args.results.as_os_str());
        let page = report.to_html(&name.to_string_lossy(), currency);
        to.write_all(page?.as_bytes())
    } else if args.json {
        serde_json::to_writer(&mut *to, report)?;
        writeln!(to)
    } else {
        let text = report.to_text(currency, TextLook::of_stdout())?;
        writeln!(to, "{text}")
    }
}
