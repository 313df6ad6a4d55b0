//! The command line: what was typed becomes a plan, the plan is carried out, its end becomes an exit status.
//!
//! Results go to the results file or to standard output; everything for people goes to standard error.

mod args;
mod compare;
mod display;
mod earlier;
mod endpoints;
mod export;
mod forecast;
#[allow(
    dead_code,
    reason = "the rooms of the face switch over to it one by one"
)]
mod format;
mod input;
mod logging;
mod manual;
mod output;
mod oversize;
mod plan;
mod practice;
#[cfg(feature = "redis")]
mod pull;
#[cfg(feature = "redis")]
mod push;
#[cfg(feature = "redis")]
mod queue;
#[cfg(feature = "redis")]
mod redis;
mod report;
mod results;
mod run;
mod share;
mod summary;
mod unusable;
#[cfg(feature = "redis")]
mod work;

use std::fmt::Display;
use std::process::ExitCode;

use clap::Parser;
use log::Level;

use args::{Args, Command, LogFormat};
use output::OutputError;

/// How the program ends. The numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// Every prompt is answered.
    Answered = 0,
    /// All prompts are done, some of them failed: their records say why.
    SomeFailed = 1,
    /// Bad usage or bad input; nothing was sent.
    Usage = 2,
    /// Stopped early; the rest is still to do.
    Stopped = 3,
    /// Interrupted by Ctrl-C or a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Says something to people.
fn tell(text: &str) {
    logging::say(Level::Info, "said", text, &[]);
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> Exit {
    let args = Args::parse();
    let log_format = match &args.command {
        Command::Run(run) => run.watching.log_format,
        #[cfg(feature = "redis")]
        Command::Work(work) => work.calls.watching.log_format,
        _ => LogFormat::Text,
    };
    logging::start(args.verbose, args.quiet, log_format);
    match args.command {
        Command::Run(run) => or_say_why(run::run(*run, args.quiet), |_| Exit::Usage),
        Command::Plan(plan) => or_say_why(forecast::run(&plan, args.quiet), |_| Exit::Usage),
        Command::Export(export) => or_say_why(export::run(&export, args.quiet), OutputError::exit),
        Command::Report(report) => {
            or_say_why(report::run(&report, args.quiet), report::Failure::exit)
        }
        #[cfg(feature = "redis")]
        Command::Push(push) => or_say_why(push::run(&push, args.quiet), |_| Exit::Usage),
        #[cfg(feature = "redis")]
        Command::Work(work) => or_say_why(work::run(&work, args.quiet), |_| Exit::Usage),
        #[cfg(feature = "redis")]
        Command::Pull(pull) => or_say_why(pull::run(&pull, args.quiet), |_| Exit::Usage),
        #[cfg(feature = "redis")]
        Command::Queue(queue) => or_say_why(queue::run(&queue, args.quiet), |_| Exit::Usage),
        Command::Compare(compare) => or_say_why(compare::run(&compare), compare::Failure::exit),
        Command::Practice(practice) => or_say_why(practice::serve(&practice), |_| Exit::Usage),
        Command::Completions(shell) => {
            or_say_why(manual::completions(&shell), manual::Failure::exit)
        }
        Command::Manual(manual) => or_say_why(manual::manual(&manual), manual::Failure::exit),
    }
}

fn or_say_why<E: Display>(done: Result<Exit, E>, exit: impl FnOnce(&E) -> Exit) -> Exit {
    done.unwrap_or_else(|error| {
        logging::say(Level::Error, "error", &format!("paceline: {error}"), &[]);
        exit(&error)
    })
}
