//! Why a batch stopped, in a sentence, and what to do next: which option helps, and how to continue.

use std::time::Duration;

use super::format::{counted, duration, grouped, money, one_line};
use crate::batch::{FailureCause, Stop, Summary};
use crate::journal::JournalError;
use crate::outcome::CallOutcome;

/// Where the records go. It decides how a run can be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    File,
    Stdout,
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "the queue needs Redis")
    )]
    Queue,
    /// It no longer exists.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "the queue needs Redis")
    )]
    GoneQueue,
}

/// What it means that a queue no longer exists.
pub(super) const GONE: &str = "its prompts and the records that were not pulled are lost with it; files that were \
                               pulled before stay. Push the input again to send all its prompts again";

/// The reason on the first line, what to do next on the last.
pub(super) fn explain(
    stop: &Stop,
    to: Destination,
    summary: &Summary,
    model: Option<&str>,
) -> String {
    let next = next(stop, to);
    match stop {
        Stop::AllAlike { cause } => {
            let unsent = summary.left.map_or_else(String::new, |left| {
                format!("; {} were not sent", grouped(left))
            });
            let retry = match summary.before.answered {
                0 => "",
                _ => ", and --retry-failed sends those prompts, too",
            };
            format!(
                "error: the first {} prompts all failed for one reason{unsent}\n  {}\n  help: {}\n  then: {next}{retry}",
                cause.count,
                one_line(&cause.to_string()),
                advice(cause, model)
            )
        }
        Stop::Unreachable(error) => format!(
            "error: the server cannot be reached: {}\n  help: is the address right, and is the network up? \
             See --base-url and the proxy variables\n  then: {next}",
            one_line(&error.message)
        ),
        _ => format!("stopped: {}\n{next}", one_line(&reason(stop))),
    }
}

/// If all prompts failed for one reason, but were too few to stop for: what to check.
pub(super) fn if_all_failed_alike(summary: &Summary, model: Option<&str>) -> Option<String> {
    match summary.failed_prompts.list.as_slice() {
        [cause] if summary.answered == 0 && summary.failed > 1 => Some(advice(cause, model)),
        _ => None,
    }
}

/// What to check when every prompt fails in this way.
fn advice(cause: &FailureCause, model: Option<&str>) -> String {
    let says = |word| cause.code.contains(word) || cause.message.contains(word);
    let model = model.filter(|_| says("model")).map(one_line);
    match (cause.outcome, cause.status) {
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
        (CallOutcome::Timeout, _) => "is the server slow? Give it more time with --timeout".to_owned(),
        (CallOutcome::Connection, _) => "is the address right? See --base-url".to_owned(),
        _ => "is the server well, and is -m right?".to_owned(),
    }
}

fn reason(stop: &Stop) -> String {
    match stop {
        Stop::Held {
            waited,
            more,
            error,
            ..
        } => {
            let more = more.map_or_else(String::new, |more| {
                format!(", and asks us to wait another {}", duration(more))
            });
            format!(
                "the server has given no answer for {}{more} ({error})",
                duration(*waited)
            )
        }
        Stop::Broken(error) => {
            format!("for a minute, more than a tenth of the calls have failed ({error})")
        }
        Stop::Halted {
            failed,
            finished,
            halt,
        } => format!("{failed} of {finished} prompts have failed, and --halt is {halt}"),
        Stop::Spent { spent, most } => format!(
            "the answers have cost {}, and --max-cost is {}",
            money(*spent),
            money(*most)
        ),
        Stop::Changed { line } => format!(
            "line {line} is on record with another request: the prompt, the model or a parameter has changed"
        ),
        Stop::Interrupted => "interrupted".to_owned(),
        Stop::Missing { announced, missing } => format!(
            "the input ended early: {} of {} are missing, as if the file was cut while it was read",
            grouped(*missing),
            counted(*announced, "prompt")
        ),
        Stop::Refused(error) | Stop::Unreachable(error) => error.to_string(),
        Stop::AllAlike { .. } => stop.to_string(),
        Stop::Journal(error) => error.to_string(),
        Stop::Input(error) => error.to_string(),
        Stop::Lost(why) => why.clone(),
    }
}

fn next(stop: &Stop, destination: Destination) -> String {
    let again = match destination {
        Destination::File => "run the same command again; it continues where it stopped",
        Destination::Stdout => {
            "start again, with -o FILE: a run whose results go to standard output cannot be continued"
        }
        Destination::Queue => {
            "run the same command again; unfinished prompts are back in the queue"
        }
        Destination::GoneQueue => GONE,
    };
    match (stop, destination) {
        (Stop::Held { more, .. }, _) => {
            let when = more.map_or_else(|| "later".to_owned(), come_back);
            format!("come back {when}, or wait longer with --max-wait; {again}")
        }
        (Stop::AllAlike { .. }, Destination::File) => {
            "run the same command with that mended; it continues by itself \
             (--keep-going sends the rest all the same)"
                .to_owned()
        }
        (Stop::Missing { .. }, _) => format!("complete the input, then {again}"),
        (Stop::Broken(_) | Stop::Lost(_), _) => format!("when that works again, {again}"),
        (Stop::Refused(_) | Stop::Unreachable(_) | Stop::AllAlike { .. }, _) => {
            format!("fix that, then {again}")
        }
        (Stop::Input(_), _) => format!("fix the input from that line on, then {again}"),
        (Stop::Spent { .. }, _) => {
            format!("{again}, up to the same amount once more or another --max-cost")
        }
        (Stop::Halted { .. }, Destination::File) => {
            format!("their records say why; {again}, and --retry-failed sends those prompts, too")
        }
        (Stop::Journal(_), Destination::Queue) => {
            "nothing is lost: a prompt whose answer could not be stored goes to another worker"
                .to_owned()
        }
        (Stop::Journal(JournalError::Folder(_)), _) => {
            format!("the results have that answer, too: check --out-dir, then {again}")
        }
        (Stop::Journal(JournalError::Damaged(_)), _) => {
            format!(
                "find out which program did that, then {again}; lost answers are asked for again"
            )
        }
        (Stop::Journal(_), Destination::File) => format!(
            "make room, then {again}; or move the results to another disk and name them with -o"
        ),
        (Stop::Changed { .. }, _) => {
            "keep the earlier answers with --keep, or start again with --restart".to_owned()
        }
        (Stop::Halted { .. } | Stop::Journal(_) | Stop::Interrupted, _) => again.to_owned(),
    }
}

/// `at 2026-11-27T17:04:00Z (in 2 h)`; a time that no calendar has is left out.
fn come_back(more: Duration) -> String {
    let within = format!("in {}", duration(more));
    let at = jiff::SignedDuration::try_from(more).ok();
    match at.and_then(|more| jiff::Timestamp::now().checked_add(more).ok()) {
        Some(at) => format!("at {at:.0} ({within})"),
        None => within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CallError, Class};

    #[test]
    fn a_spent_amount_names_its_option_and_how_to_continue() {
        let stop = Stop::Spent {
            spent: 0.11,
            most: 0.1,
        };
        let expected = "stopped: the answers have cost $0.11, and --max-cost is $0.1\n\
                        run the same command again; it continues where it stopped, up to the same amount once more or \
                        another --max-cost";
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
        let expected = "stopped: 5 of 40 prompts have failed, and --halt is 5\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("--retry-failed"), "{text}");
        let text = said(&stop, Destination::Queue);
        assert!(
            text.ends_with("unfinished prompts are back in the queue"),
            "{text}"
        );
    }

    #[test]
    fn results_on_standard_output_cannot_be_continued() {
        let text = said(&Stop::Interrupted, Destination::Stdout);
        assert!(
            text.contains("-o FILE") && !text.contains("continues"),
            "{text}"
        );
    }

    #[test]
    fn a_wait_in_the_servers_hands_says_when_to_come_back_if_that_is_known() {
        let held = |more| Stop::Held {
            waited: Duration::from_secs(900),
            more,
            error: Box::new(CallError {
                class: Class::RateLimited,
                status: Some(429),
                code: "rate_limit_exceeded".into(),
                message: "slow".into(),
                request_id: None,
                retry_after: more,
                hints: Box::default(),
                maybe_billed: false,
                body: None,
            }),
        };
        let text = said(&held(Some(Duration::from_secs(60))), Destination::File);
        assert!(
            text.contains("no answer for 15 min, and asks us to wait another 1 min"),
            "{text}"
        );
        assert!(
            text.contains("come back at 20") && text.contains("Z (in 1 min)"),
            "{text}"
        );
        let text = said(&held(None), Destination::File);
        assert!(
            text.contains("\ncome back later, or wait longer with --max-wait"),
            "{text}"
        );
        let text = said(&held(Some(Duration::MAX)), Destination::File);
        assert!(
            text.contains("come back in ") && !text.contains("come back at"),
            "{text}"
        );
    }

    #[test]
    fn what_all_failed_for_is_told_with_what_to_check() {
        let mut summary = Summary::default();
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
        summary.left = Some(1_280);
        let said = explain(&stop, Destination::File, &summary, Some("gpt-9"));
        let expected = "error: the first 20 prompts all failed for one reason; 1,280 were not sent\n  \
             404 code: The model does not exist.\u{fffd}\n  help: is -m gpt-9 right?\n  \
             then: run the same command with that mended; it continues by itself \
             (--keep-going sends the rest all the same)";
        assert_eq!(said, expected);
        let table = [
            (missing, "is -m gpt-9 right?"),
            (
                cause(CallOutcome::Rejected, 404, "no such page"),
                "--base-url",
            ),
            (
                cause(CallOutcome::Rejected, 400, "max_tokens: too large"),
                "--max-tokens",
            ),
            (cause(CallOutcome::Unreadable, 200, "<html>"), "--api"),
        ];
        for (cause, expected) in table {
            let said = advice(&cause, Some("gpt-9"));
            assert!(said.contains(expected), "{said}");
        }
    }

    fn said(stop: &Stop, to: Destination) -> String {
        explain(stop, to, &Summary::default(), None)
    }
}
