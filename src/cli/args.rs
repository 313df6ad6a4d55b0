//! Every command and option, with its default and its help. What they mean is resolved in [`setup`](super::setup).

mod compare;
mod cost;
mod export;
mod gate;
mod learn;
mod manual;
mod plan;
mod practice;
#[cfg(feature = "redis")]
mod queue;
mod report;
mod run;
mod tips;
mod values;

use super::error::CommandError;
use clap::{ArgAction, Parser, Subcommand};

pub(super) use compare::{CompareArgs, Scenario};
pub(super) use cost::{CostArgs, RecordedCostArgs};
pub(super) use export::{ExportArgs, ExportOptions};
pub(super) use gate::GateArgs;
pub(super) use learn::LearnArgs;
pub(super) use manual::{CompletionsArgs, ManualArgs};
pub(super) use plan::PlanArgs;
pub(super) use practice::PracticeArgs;
#[cfg(feature = "redis")]
pub(super) use queue::{PullArgs, PushArgs, QueueAction, QueueUrl, StatusArgs, WorkArgs};
pub(super) use report::ReportArgs;
pub(super) use run::{CallArgs, RateArgs, ReadingArgs, RunArgs, ServerArgs};
pub(super) use tips::{command_line, from_here, parse, quoted};
pub(super) use values::{LogFormat, RpmArg, ShowProgress, jitter};

/// Runs a file of prompts through an LLM API at the rate that the API allows.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = include_str!("args/help/paceline.txt")
)]
pub(super) struct CommandLine {
    #[command(subcommand)]
    pub(super) command: Command,

    /// Log every call (-vv: more); RUST_LOG overrides this
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,

    /// Print nothing but errors
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a batch: one prompt a line in, one record a prompt out
    Run(Box<RunArgs>),
    /// Tell what a run would send, how long it takes and what it costs
    ///
    /// It also tells what limits the run and how many workers it needs. Nothing is sent.
    Plan(Box<PlanArgs>),
    /// Export results as a table, a document or text, in input order
    Export(ExportArgs),
    /// Report what happened: prompts, calls, rate, where the time went
    Report(ReportArgs),
    /// Share one batch among many machines, through a queue on Redis
    #[cfg(feature = "redis")]
    #[command(
        subcommand,
        after_help = include_str!("args/help/queue.txt")
    )]
    Queue(QueueAction),
    /// Open a local door to an API, to pace the calls of other programs
    Gate(GateArgs),
    /// Compare fixed sleeps, backoff and a paced pool, in simulated time
    Compare(CompareArgs),
    /// Serve a rate-limited practice API, as each provider does
    Practice(PracticeArgs),
    /// Serve a page to play with the pattern, in simulated time
    Learn(LearnArgs),
    /// Write shell completions to standard output
    Completions(CompletionsArgs),
    /// Write the manual as man pages
    Manual(ManualArgs),
}

impl Command {
    /// Finds the price of the model where it is to be taken from a list.
    pub(super) fn find_price(&mut self) -> Result<(), CommandError> {
        let (cost, model) = match self {
            Command::Run(args) => (&mut args.calls.cost, &args.calls.request.model),
            Command::Plan(args) => (&mut args.run.calls.cost, &args.run.calls.request.model),
            #[cfg(feature = "redis")]
            Command::Queue(QueueAction::Work(args)) => {
                (&mut args.calls.cost, &args.calls.request.model)
            }
            Command::Report(args) => (&mut args.costs.cost, &args.costs.model),
            Command::Export(args) => (&mut args.costs.cost, &args.costs.model),
            _ => return Ok(()),
        };
        cost.find_price(model.as_deref())
    }

    /// How the log of this command is to be written.
    pub(super) fn log_format(&self) -> LogFormat {
        match self {
            Command::Run(args) => args.calls.watch.log_format,
            #[cfg(feature = "redis")]
            Command::Queue(QueueAction::Work(args)) => args.calls.watch.log_format,
            _ => LogFormat::Text,
        }
    }
}

#[cfg(test)]
mod tests;
