//! Why a batch stopped, in a sentence, and what to do next: which option helps, and how to continue.

use super::format::{duration, money};
use crate::batch::Stop;
use crate::journal::JournalError;

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
}

/// The reason on the first line, what to do next on the second.
pub(super) fn explain(stop: &Stop, destination: Destination) -> String {
    format!("stopped: {}\n{}", reason(stop), next(stop, destination))
}

fn reason(stop: &Stop) -> String {
    match stop {
        Stop::Held {
            waited,
            more,
            error,
            ..
        } => {
            let more = match more.is_zero() {
                true => String::new(),
                false => format!(", and asks us to wait another {}", duration(*more)),
            };
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
        Stop::Refused(error) => error.to_string(),
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
    };
    match (stop, destination) {
        (Stop::Held { come_back, .. }, _) => {
            let at = jiff::Timestamp::try_from(*come_back)
                .map_or_else(|_| "later".to_owned(), |at| format!("at {at:.0}"));
            format!("come back {at}, or wait longer with --max-wait; {again}")
        }
        (Stop::Broken(_) | Stop::Lost(_), _) => format!("when that works again, {again}"),
        (Stop::Refused(_), _) => format!("fix that, then {again}"),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_spent_amount_names_its_option_and_how_to_continue() {
        let stop = Stop::Spent {
            spent: 0.11,
            most: 0.1,
        };
        let expected = "stopped: the answers have cost $0.11, and --max-cost is $0.1\n\
                        run the same command again; it continues where it stopped, up to the same amount once more or \
                        another --max-cost";
        assert_eq!(explain(&stop, Destination::File), expected);
    }

    #[test]
    fn a_halt_names_its_rule_and_the_way_to_try_the_failed_again() {
        let stop = Stop::Halted {
            failed: 5,
            finished: 40,
            halt: "5".parse().unwrap(),
        };
        let said = explain(&stop, Destination::File);
        let expected = "stopped: 5 of 40 prompts have failed, and --halt is 5\n";
        assert!(said.starts_with(expected), "{said}");
        assert!(said.contains("--retry-failed"), "{said}");
        let said = explain(&stop, Destination::Queue);
        assert!(
            said.ends_with("unfinished prompts are back in the queue"),
            "{said}"
        );
    }

    #[test]
    fn results_on_standard_output_cannot_be_continued() {
        let said = explain(&Stop::Interrupted, Destination::Stdout);
        assert!(
            said.contains("-o FILE") && !said.contains("continues"),
            "{said}"
        );
    }

    #[test]
    fn a_wait_in_the_servers_hands_says_when_to_come_back() {
        let error = crate::api::CallError {
            class: crate::api::Class::RateLimited,
            status: Some(429),
            code: "rate_limit_exceeded".into(),
            message: "slow".into(),
            request_id: None,
            retry_after: None,
            hints: Box::default(),
            maybe_billed: false,
            body: None,
        };
        let stop = Stop::Held {
            waited: Duration::from_secs(900),
            more: Duration::from_secs(60),
            come_back: std::time::UNIX_EPOCH,
            error: Box::new(error),
        };
        let said = explain(&stop, Destination::File);
        assert!(
            said.contains("no answer for 15 min, and asks us to wait another 1 min"),
            "{said}"
        );
        assert!(
            said.contains("come back at 1970-01-01T00:00:00Z, or wait longer with --max-wait"),
            "{said}"
        );
    }
}
