//! Why a batch stopped, in a sentence, and what to do next: which option helps, and how to continue.

use super::args::{CallArgs, CostArgs};
use super::format::{counted, duration, grouped, one_line, time_of_day};
use super::style::{Emphasis, Text};
use crate::api::CallError;
use crate::batch::{FailureCause, Stop, Summary};
use crate::journal::JournalError;
use crate::outcome::CallOutcome;

/// Where the records go. It decides how a run can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "redis"),
    expect(dead_code, reason = "the queue needs Redis")
)]
pub(super) enum Destination {
    File,
    Stdout,
    /// The programs that called through the gate.
    Callers,
    Queue,
    /// Records and prompts of a queue, which stay where they are.
    Copied,
    /// It no longer exists.
    GoneQueue,
}

/// What it means that a queue no longer exists.
pub(super) const GONE: &str = "its prompts and the records that were not pulled are lost with it; files that were \
                               pulled before stay. Push the input again to send all its prompts again";

impl Destination {
    /// How to go on after a stop.
    pub(super) fn again(self) -> &'static str {
        match self {
            Destination::File => "run the same command again; it continues where it stopped",
            Destination::Stdout => {
                "start again, with -o FILE: a run whose results go to standard output cannot be continued"
            }
            Destination::Callers => {
                "open the gate again; the programs that lost a call make it again"
            }
            Destination::Queue => {
                "run the same command again; unfinished prompts are back in the queue"
            }
            Destination::Copied => "run the same command again; it continues",
            Destination::GoneQueue => GONE,
        }
    }
}

/// Adds the reason, what helps, and what to do then, on a line each.
pub(super) fn explain(
    stop: &Stop,
    summary: &Summary,
    args: &CallArgs,
    destination: Destination,
    text: &mut Text,
) {
    match stop {
        Stop::Interrupted => text.add(Emphasis::Paused, "stopped: "),
        Stop::AllAlike { .. } | Stop::Unreachable(_) => text.add(Emphasis::Alarm, "error: "),
        _ => text.add(Emphasis::Alarm, "error: stopped: "),
    }
    text.add(
        Emphasis::Plain,
        one_line(&reason(stop, summary, &args.cost)),
    );
    if let Stop::AllAlike { cause } = stop {
        text.add(
            Emphasis::Plain,
            format!("\n  {}", one_line(&cause.to_string())),
        );
    }
    if let Some(help) = help(stop, args, destination) {
        text.add_label("help", help);
    }
    text.add_label("then", then(stop, summary, destination));
}

/// If all prompts failed for one reason, but were too few to stop for: what to check.
pub(super) fn if_all_failed_alike(summary: &Summary, args: &CallArgs) -> Option<String> {
    match summary.failed_prompts.list.as_slice() {
        [cause] if summary.answered == 0 && summary.failed > 1 => {
            Some(advice(cause, args.request.model.as_deref()))
        }
        _ => None,
    }
}

fn reason(stop: &Stop, summary: &Summary, cost: &CostArgs) -> String {
    match stop {
        Stop::AllAlike { cause } => {
            let count = grouped(cause.count);
            let unsent = summary.left.filter(|left| *left > 0);
            let unsent = unsent.map(|left| format!("; {} were not sent", grouped(left)));
            let unsent = unsent.unwrap_or_default();
            format!("the first {count} prompts all failed for one reason{unsent}")
        }
        Stop::Unreachable(error) => format!("the server cannot be reached: {}", error.message),
        Stop::Missing { announced, missing } => format!(
            "the input ended early: {} of {} are missing, as if the file was cut while it was read",
            grouped(*missing),
            counted(*announced, "prompt")
        ),
        Stop::Held {
            waited,
            more,
            error,
        } => {
            let waited = duration(*waited);
            let more = more.map_or_else(String::new, |more| {
                format!(", and asks us to wait another {}", duration(more))
            });
            format!("the server has given no answer for {waited}{more} ({error})")
        }
        Stop::Broken(error) => {
            format!("for a minute, more than a tenth of the calls have failed ({error})")
        }
        Stop::Halted {
            failed,
            finished,
            halt,
        } => format!("{failed} of {finished} prompts have failed, and --halt is {halt}"),
        Stop::Spent { spent, most } => {
            let [spent, most] = [spent, most].map(|amount| cost.money(*amount));
            format!("the answers have cost {spent}, and --max-cost is {most}")
        }
        _ => stop.to_string(),
    }
}

/// What helps.
fn help(stop: &Stop, args: &CallArgs, destination: Destination) -> Option<String> {
    let help = match stop {
        Stop::Held { more, .. } => {
            let back = match more {
                None => "later".to_owned(),
                Some(more) => time_of_day(*more),
            };
            format!("come back {back}, or wait longer with --max-wait")
        }
        Stop::AllAlike { cause } => advice(cause, args.request.model.as_deref()),
        Stop::Unreachable(_) => {
            "is the address right, and is the network up? See --base-url and the proxy variables"
                .into()
        }
        Stop::Missing { .. } => "complete the input".into(),
        Stop::Refused(error) => refused(error, args),
        Stop::Spent { .. } => {
            "a further run may spend as much again; --max-cost sets another amount".into()
        }
        Stop::Halted { .. } if destination == Destination::File => {
            "their records say why; --retry-failed sends those prompts, too".into()
        }
        Stop::Sink(error) => return not_written(error.downcast_ref(), destination),
        Stop::Changed { .. } => {
            "keep the earlier answers with --keep, or start again with --restart".into()
        }
        Stop::Input(_) => "fix the input from that line on".into(),
        _ => return None,
    };
    Some(help)
}

/// What helps when a record could not be written.
fn not_written(error: Option<&JournalError>, destination: Destination) -> Option<String> {
    let help = match (error, destination) {
        (_, Destination::Queue) => {
            "nothing is lost: a prompt whose answer could not be stored goes to another worker"
        }
        (Some(JournalError::Folder(_)), _) => "check --out-dir; the results have that answer, too",
        (Some(JournalError::Damaged(_)), _) => {
            "find out which program did that; lost answers are asked for again"
        }
        (_, Destination::File) => {
            "make room, or move the results to another disk and name them with -o"
        }
        _ => return None,
    };
    Some(help.to_owned())
}

/// What to check when the server accepts no call.
fn refused(error: &CallError, args: &CallArgs) -> String {
    let server = &args.server;
    let key = match server.key_env.as_slice() {
        [] => format!("${}", server.api.api().key_env()),
        names => format!("${}", names.join(", $")),
    };
    match (error.status, error.code.as_str()) {
        (_, "untrusted") => "trust another certificate authority with --ca-cert FILE".into(),
        (_, "proxy_refused") => "check the proxy in $HTTPS_PROXY, or its user and password".into(),
        (_, "unsendable") | (Some(300..=399 | 404), _) => "is --base-url right?".into(),
        (Some(401), _) => format!("is the key in {key} right for this server?"),
        _ => format!("check the credit and the rights of the key in {key}"),
    }
}

/// What to check when prompts of this model fail in this way.
pub(super) fn advice(cause: &FailureCause, model: Option<&str>) -> String {
    let says = |word| cause.code.contains(word) || cause.message.contains(word);
    let model = model.filter(|_| says("model"));
    let model = model.map(one_line);
    match (cause.outcome, cause.status) {
        (CallOutcome::Rejected, _) if says("context_length") || says("context length") => {
            "shorten these prompts, or use a model with a longer context: -m".to_owned()
        }
        (CallOutcome::Rejected, Some(400 | 404)) if let Some(model) = model => {
            format!("is -m {model} right?")
        }
        (CallOutcome::Rejected, Some(404 | 405)) => {
            "is the address right? See --base-url and --api".to_owned()
        }
        (CallOutcome::Rejected, Some(402 | 403)) => {
            "may this key use this model? See -m and --key-env".to_owned()
        }
        (CallOutcome::Rejected, Some(413)) => "the prompts are too large for this server".to_owned(),
        (CallOutcome::Rejected, _) => {
            "does the server take this request? See -m, --max-tokens, --temperature, --system and --param"
                .to_owned()
        }
        (CallOutcome::Unreadable, _) => {
            "is this the API that --api names? See --base-url, too".to_owned()
        }
        (CallOutcome::Misfit, _) => {
            "can this model answer in JSON? See --schema, --schema-retries and --max-tokens".to_owned()
        }
        (CallOutcome::Timeout, _) => "is the server slow? Give it more time with --timeout".to_owned(),
        (CallOutcome::Connection, _) => "is the address right? See --base-url".to_owned(),
        _ => "is the server well, and is -m right?".to_owned(),
    }
}

fn then(stop: &Stop, summary: &Summary, destination: Destination) -> String {
    let again = destination.again();
    match stop {
        Stop::Broken(_) | Stop::Lost(_) => format!("when that works again, {again}"),
        Stop::AllAlike { .. } if destination == Destination::File => {
            let retry = match summary.before.answered {
                0 => "",
                _ => ", and --retry-failed sends those prompts, too",
            };
            format!(
                "run the same command with that mended; it continues by itself \
                 (--keep-going sends the rest all the same){retry}"
            )
        }
        _ => again.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::super::args::{Command, CommandLine};
    use super::*;
    use crate::api::Class;

    fn args() -> CallArgs {
        let line = CommandLine::parse_from(["paceline", "run", "p.txt", "-m", "gpt-9"]);
        let Command::Run(args) = line.command else {
            unreachable!()
        };
        args.calls
    }

    fn explained(stop: &Stop, summary: &Summary, destination: Destination) -> String {
        let mut text = Text::default();
        explain(stop, summary, &args(), destination, &mut text);
        text.paint(false)
    }

    fn said(stop: &Stop, destination: Destination) -> String {
        explained(stop, &Summary::default(), destination)
    }

    fn error(status: Option<u16>, code: &str) -> Box<CallError> {
        Box::new(CallError {
            class: Class::RateLimited,
            status,
            code: code.into(),
            message: "slow".into(),
            request_id: None,
            retry_after: None,
            hints: Box::default(),
            maybe_billed: false,
            body: None,
        })
    }

    #[test]
    fn a_spent_amount_names_its_option_and_how_to_continue() {
        let stop = Stop::Spent {
            spent: 0.11,
            most: 0.1,
        };
        let expected = "error: stopped: the answers have cost $0.11, and --max-cost is $0.1\n  \
                        help: a further run may spend as much again; --max-cost sets another amount\n  \
                        then: run the same command again; it continues where it stopped";
        assert_eq!(said(&stop, Destination::File), expected);
    }

    #[test]
    fn a_halt_names_its_rule_and_the_way_to_try_the_failed_again() {
        let stop = Stop::Halted {
            failed: 5,
            finished: 40,
            halt: "5".parse().unwrap(),
        };
        let text = said(&stop, Destination::File);
        let expected = "error: stopped: 5 of 40 prompts have failed, and --halt is 5\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("--retry-failed"), "{text}");
        let text = said(&stop, Destination::Queue);
        let end = "unfinished prompts are back in the queue";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn results_on_standard_output_cannot_be_continued() {
        let text = said(&Stop::Interrupted, Destination::Stdout);
        let is_right = text.contains("-o FILE") && !text.contains("continues");
        assert!(
            text.starts_with("stopped: interrupted\n") && is_right,
            "{text}"
        );
    }

    #[test]
    fn a_wait_in_the_servers_hands_says_when_to_come_back_if_that_is_known() {
        let held = |more| Stop::Held {
            waited: Duration::from_secs(900),
            more,
            error: error(Some(429), "rate_limit_exceeded"),
        };
        let text = said(&held(Some(Duration::from_secs(20))), Destination::File);
        let reason = "no answer for 15 min, and asks us to wait another 20 s";
        assert!(text.contains(reason), "{text}");
        let help = " (in 20 s), or wait longer with --max-wait";
        assert!(
            text.contains("  help: come back at ") && text.contains(help),
            "{text}"
        );
        let text = said(&held(None), Destination::File);
        assert!(text.contains("  help: come back later, or"), "{text}");
        let text = said(&held(Some(Duration::MAX)), Destination::File);
        assert!(text.contains("  help: come back in "), "{text}");
    }

    #[test]
    fn a_refusal_says_what_to_check() {
        let table = [
            (
                Some(401),
                "key_refused",
                "is the key in $OPENAI_API_KEY right",
            ),
            (Some(429), "insufficient_quota", "check the credit"),
            (Some(301), "redirect", "is --base-url right?"),
            (None, "untrusted", "--ca-cert FILE"),
        ];
        for (status, code, expected) in table {
            let text = said(&Stop::Refused(error(status, code)), Destination::File);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn what_all_failed_for_is_told_with_what_to_check() {
        let cause = |outcome, status, message: &str| {
            FailureCause::new(outcome, Some(status), "code", message)
        };
        let missing = cause(CallOutcome::Rejected, 404, "The model does not exist.\u{7}");
        let stop = Stop::AllAlike {
            cause: Box::new(FailureCause {
                count: 20,
                ..missing.clone()
            }),
        };
        let summary = Summary {
            left: Some(1_280),
            ..Summary::default()
        };
        let expected = "error: the first 20 prompts all failed for one reason; 1,280 were not sent\n  \
             404 code: The model does not exist.\u{fffd}\n  help: is -m gpt-9 right?\n  \
             then: run the same command with that mended; it continues by itself \
             (--keep-going sends the rest all the same)";
        assert_eq!(explained(&stop, &summary, Destination::File), expected);
        let no_page = cause(CallOutcome::Rejected, 404, "no such page");
        let large = cause(CallOutcome::Rejected, 400, "max_tokens: too large");
        let html = cause(CallOutcome::Unreadable, 200, "<html>");
        let long = cause(
            CallOutcome::Rejected,
            400,
            "This model's maximum context length is 9",
        );
        let table = [
            (long, "shorten these prompts"),
            (missing, "is -m gpt-9 right?"),
            (no_page, "--base-url"),
            (large, "--max-tokens"),
            (html, "--api"),
        ];
        for (cause, expected) in table {
            let said = advice(&cause, Some("gpt-9"));
            assert!(said.contains(expected), "{said}");
        }
    }
}
