//! Why a batch stopped, what helps, and how to go on. The words are in the templates; here is what they show.

use std::error::Error;
use std::fmt::Display;

use serde::Serialize;
use serde_json::{Value, json};

use super::args::CallArgs;
use super::error::CommandError;
use super::exit::Exit;
use super::logging::render;
use crate::batch::{FailureCause, Stop, Summary};
use crate::journal::JournalError;
use crate::outcome::CallOutcome;
use crate::text::{millis, time_of_day};

/// Where the records go. It decides how a command can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(
    not(any(test, feature = "redis")),
    expect(dead_code, reason = "the queue needs Redis")
)]
#[serde(rename_all = "snake_case")]
pub(super) enum Destination {
    File,
    Stdout,
    /// A file, through a provider's batch.
    Bulk,
    /// The programs that called through the gate.
    Callers,
    Queue,
    /// The queue no longer exists.
    GoneQueue,
    /// Prompts go into a queue.
    Pushed,
    /// Records come out of a queue.
    Pulled,
    /// The state of a queue goes to the screen.
    Watched,
}

/// The reason, what helps, and what to do then, on a line each. `more` is what the template shows of this kind.
fn lines(kind: &str, said: &str, to: Destination, more: Value) -> String {
    let mut view = json!({"kind": kind, "said": said, "to": to});
    if let (Some(view), Value::Object(more)) = (view.as_object_mut(), more) {
        view.extend(more);
    }
    let text = render(include_str!("stop/text.txt"), &view);
    text.trim_start_matches('\n').to_owned()
}

/// The end of a command that runs no batch, with the way to go on. The kind is `at_once`, `interrupted`, `input`, `queue` or
/// `results`.
pub(super) fn ended(kind: &str, said: impl Display, to: Destination) -> CommandError {
    let text = lines(kind, &said.to_string(), to, Value::Null);
    let exit = match kind {
        "at_once" | "interrupted" => Exit::Interrupted,
        _ => Exit::Stopped,
    };
    CommandError::early(exit, Some(text))
}

/// How a batch ended, if that needs more than its figures: why it stopped, or what all its prompts failed for; what helps,
/// and what to do then.
pub(super) fn explain(summary: &Summary, args: &CallArgs, to: Destination) -> Option<String> {
    let key = match args.server.key_env.as_slice() {
        [] => format!("${}", args.server.api.api().key_env()),
        names => format!("${}", names.join(", $")),
    };
    let advice = |cause: &FailureCause| advice(cause, args.request.model.as_deref(), &key);
    let (kind, more) = match (&summary.stop, all_failed_for(summary)) {
        (Some(stop), _) => facts(stop, summary, args, advice),
        // Its cause stands among the figures.
        (None, Some(cause)) => ("alike", json!({"advice": advice(cause)})),
        (None, None) => return None,
    };
    let said = summary.stop.as_ref().map(Stop::to_string);
    Some(lines(kind, &said.unwrap_or_default(), to, more))
}

/// Why all prompts failed, if that is one reason for several. They were too few to stop for it.
pub(super) fn all_failed_for(summary: &Summary) -> Option<&FailureCause> {
    match summary.failed_prompts.list.as_slice() {
        [cause] if summary.answered == 0 && summary.failed > 1 => Some(cause),
        _ => None,
    }
}

/// The kind of a stop, and what its text needs beside the stop's own words.
fn facts(
    stop: &Stop,
    summary: &Summary,
    args: &CallArgs,
    advice: impl Fn(&FailureCause) -> String,
) -> (&'static str, Value) {
    let money = |amount: &f64| args.cost.money(*amount);
    match stop {
        Stop::Refused(error) => {
            let outcome = match error.is_of_another_server() {
                true => CallOutcome::Unreadable,
                false => CallOutcome::Fatal,
            };
            let cause = FailureCause::new(outcome, error.status, &error.code, &error.message);
            ("refused", json!({"advice": advice(&cause)}))
        }
        Stop::Held {
            waited,
            more,
            error,
        } => {
            let back = more.map_or_else(|| "later".to_owned(), time_of_day);
            let (waited, more, why) = (millis(*waited), more.map(millis), error.to_string());
            let more = json!({"waited_ms": waited, "more_ms": more, "back": back, "why": why});
            ("held", more)
        }
        Stop::AllAlike { count, cause } => {
            let more = json!({
                "count": count,
                "why": cause,
                "advice": summary.failed_prompts.list.first().map(advice),
                "left": summary.left,
                "answered_before": summary.before - summary.failed_before,
            });
            ("all_alike", more)
        }
        Stop::Missing { announced, missing } => (
            "missing",
            json!({"announced": announced, "missing": missing}),
        ),
        Stop::Halted { .. } => ("halted", Value::Null),
        Stop::Spent { spent, most } => {
            ("spent", json!({"spent": money(spent), "most": money(most)}))
        }
        Stop::Unreachable(_) => ("unreachable", Value::Null),
        Stop::Sink(error) => (unwritten(&**error), Value::Null),
        Stop::Broken(_) => ("broken", Value::Null),
        Stop::Lost(_) => ("lost", Value::Null),
        Stop::Changed { .. } => ("changed", Value::Null),
        Stop::Input(_) => ("input", Value::Null),
        Stop::Interrupted => ("interrupted", Value::Null),
    }
}

/// The kind of an error of the results.
fn unwritten(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(JournalError::Folder { .. }) => "folder",
        Some(JournalError::Damaged(_)) => "damaged",
        _ => "sink",
    }
}

/// What to check when prompts of this model, or calls with this key, fail in this way.
pub(super) fn advice(cause: &FailureCause, model: Option<&str>, key: &str) -> String {
    let view = json!({
        "outcome": cause.outcome,
        "status": cause.status,
        "code": cause.code,
        "message": cause.message,
        "model": model,
        "key": key,
    });
    render(include_str!("stop/advice.txt"), &view)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::super::args::{Command, CommandLine};
    use super::*;
    use crate::api::{CallError, Class};

    fn args() -> CallArgs {
        let line = CommandLine::parse_from(["paceline", "run", "p.txt", "-m", "gpt-9"]);
        let Command::Run(args) = line.command else {
            unreachable!()
        };
        args.calls
    }

    fn explained(summary: &Summary, destination: Destination) -> String {
        explain(summary, &args(), destination).unwrap()
    }

    fn said(stop: Stop, destination: Destination) -> String {
        let summary = Summary {
            stop: Some(stop),
            ..Summary::default()
        };
        explained(&summary, destination)
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
        assert_eq!(said(stop, Destination::File), expected);
    }

    #[test]
    fn a_halt_names_its_rule_and_the_way_to_try_the_failed_again() {
        let stop = || Stop::Halted {
            failed: 5,
            finished: 40,
            halt: "5".parse().unwrap(),
        };
        let text = said(stop(), Destination::File);
        let expected = "error: stopped: 5 of 40 prompts have failed, and --halt is 5\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("--retry-failed"), "{text}");
        let text = said(stop(), Destination::Queue);
        let end = "unfinished prompts are back in the queue";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn results_on_standard_output_cannot_be_continued() {
        let text = said(Stop::Interrupted, Destination::Stdout);
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
        let text = said(held(Some(Duration::from_secs(20))), Destination::File);
        let reason = "no answer for 15 min, and asks us to wait another 20 s";
        assert!(text.contains(reason), "{text}");
        let help = " (in 20 s), or wait longer with --max-wait";
        assert!(
            text.contains("  help: come back at ") && text.contains(help),
            "{text}"
        );
        let text = said(held(None), Destination::File);
        assert!(text.contains("  help: come back later, or"), "{text}");
        let text = said(held(Some(Duration::MAX)), Destination::File);
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
            let text = said(Stop::Refused(error(status, code)), Destination::File);
            assert!(text.contains(expected), "{text}");
        }
        let long = CallError {
            message: "the header authorization is too long".into(),
            ..*error(None, "unsendable")
        };
        let text = said(Stop::Refused(Box::new(long)), Destination::File);
        assert!(
            text.contains("is the key in $OPENAI_API_KEY right"),
            "{text}"
        );
    }

    #[test]
    fn what_all_failed_for_is_told_with_what_to_check() {
        let cause = |outcome, status, message: &str| {
            FailureCause::new(outcome, Some(status), "code", message)
        };
        let missing = cause(CallOutcome::Rejected, 404, "The model does not exist.\u{7}");
        let stop = Stop::AllAlike {
            count: 20,
            cause: missing.to_string(),
        };
        let mut summary = Summary {
            stop: Some(stop),
            left: Some(1_280),
            ..Summary::default()
        };
        summary.end.failed_prompts.list = vec![missing.clone()];
        let expected = "error: the first 20 prompts all failed for one reason; 1,280 were not sent\n  \
             404 code: The model does not exist.\u{fffd}\n  help: is -m gpt-9 right?\n  \
             see: docs/troubleshooting.md#the-first-20-prompts-all-failed-for-one-reason\n  \
             then: run the same command with that mended; it continues by itself \
             (--keep-going sends the rest all the same)";
        assert_eq!(explained(&summary, Destination::File), expected);
        summary.stop = None; // they were too few to stop for
        summary.end.failed = 20;
        let expected = "  help: is -m gpt-9 right?\n  \
             see: docs/troubleshooting.md#the-first-20-prompts-all-failed-for-one-reason\n  \
             then: run the same command with that mended; it sends them again";
        assert_eq!(explained(&summary, Destination::File), expected);
        summary.end.answered = 1;
        assert_eq!(explain(&summary, &args(), Destination::File), None);
        let no_page = cause(CallOutcome::Rejected, 404, "no such page");
        let large = cause(CallOutcome::Rejected, 400, "max_tokens: too large");
        let unsupported = "max_tokens is too large: this model supports at most 16384";
        let unsupported = cause(CallOutcome::Rejected, 400, unsupported);
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
            (unsupported, "--max-tokens"),
            (html, "--api"),
        ];
        for (cause, expected) in table {
            let said = advice(&cause, Some("gpt-9"), "");
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn every_stop_says_how_to_go_on_wherever_the_records_go() {
        let broken = || error(None, "no_connection");
        let stops = || {
            vec![
                Stop::Broken(broken()),
                Stop::Unreachable(broken()),
                Stop::Refused(error(Some(429), "insufficient_quota")),
                Stop::Held {
                    waited: Duration::MAX,
                    more: None,
                    error: broken(),
                },
                Stop::AllAlike {
                    count: 20,
                    cause: "a panic".to_owned(),
                },
                Stop::Halted {
                    failed: 1,
                    finished: 1,
                    halt: "5%".parse().unwrap(),
                },
                Stop::Spent {
                    spent: 0.0,
                    most: 0.0,
                },
                Stop::Missing {
                    announced: 9,
                    missing: 1,
                },
                Stop::Sink("disk full".into()),
                Stop::Sink(Box::new(JournalError::Damaged("r.jsonl".into()))),
                Stop::Changed { line: 7 },
                Stop::Lost("no Redis".into()),
                Stop::Interrupted,
            ]
        };
        use Destination::*;
        for to in [
            File, Stdout, Callers, Queue, GoneQueue, Pushed, Pulled, Watched,
        ] {
            for stop in stops() {
                let text = said(stop, to);
                assert_eq!(text.matches("\n  then: ").count(), 1, "{text}");
            }
        }
    }
}
