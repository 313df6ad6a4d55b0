//! The program: the arguments become a resolved plan, the plan is carried out, and its end becomes an exit status.
//!
//! Results go to the results file or to standard output; everything for people goes to standard error.

mod args;
mod bulk;
mod compare;
mod endpoints;
mod error;
mod exit;
mod export;
mod fields;
/// The parsers, for the fuzzer. It is no part of the library.
#[cfg(all(any(test, fuzzing), feature = "redis"))]
#[path = "../../fuzz/door/mod.rs"]
pub mod fuzz;
mod gate;
mod input;
mod learn;
mod limits;
mod logging;
mod manual;
mod output;
mod oversize;
mod page;
mod plan;
mod practice;
mod prices;
mod progress;
#[cfg(feature = "redis")]
mod pull;
#[cfg(feature = "redis")]
mod push;
#[cfg(feature = "redis")]
mod queue;
mod report;
mod results;
mod run;
mod schema;
mod session;
mod setup;
mod share;
mod signals;
mod statistics;
mod stop;
mod summary;
mod template;
#[cfg(feature = "redis")]
mod work;

use std::process::ExitCode;

use args::Command;
use error::CommandError;
use exit::Exit;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let line = args::parse();
    logging::start(line.verbose, line.quiet, line.command.log_format());
    signals::prepare();
    dispatch(line.command)
        .unwrap_or_else(CommandError::tell)
        .into()
}

fn dispatch(mut command: Command) -> Result<Exit, CommandError> {
    command.find_price()?;
    match command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Report(args) => report::run(&args),
        #[cfg(feature = "redis")]
        Command::Queue(action) => queue::run(action),
        Command::Gate(args) => gate::serve(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Practice(args) => practice::serve(&args),
        Command::Learn(args) => learn::serve(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Manual(args) => manual::manual(&args),
    }
}
