//! What a run says to people at its beginning and its end, and its exit status.

use std::time::Duration;

use log::kv::Value;

use super::Exit;
use super::plan::Plan;
use crate::batch::{Before, Flags, Resume, Stop, Summary, Tokens, amount};
use crate::journal::JournalError;
use crate::report::counted;

pub(super) fn beginning(plan: &Plan, count: Option<u64>, resume: &Resume) -> String {
    let count = count.map_or_else(|| "prompts".to_owned(), |count| counted(count, "prompt"));
    let pace = plan.rpm.map_or_else(
        || "as fast as it lets us".to_owned(),
        |rpm| format!("at {rpm} calls a minute"),
    );
    let each = match plan.clients.len() {
        1 => String::new(),
        keys => format!(" with each of {keys} keys"),
    };
    let server = if plan.practice.is_some() {
        " (the practice server, not a model)"
    } else {
        ""
    };
    let mut lines = vec![format!(
        "{count} to {}{server}, {pace}{each}",
        plan.clients[0].url()
    )];
    lines.extend(done(resume));
    lines.join("\n")
}

/// What is on record already.
fn done(resume: &Resume) -> Option<String> {
    let answered = resume.index.answered();
    let failed = resume.index.len() - answered;
    let again = match (failed, resume.retry_failed) {
        (0, _) => String::new(),
        (_, true) => ", which are run again".to_owned(),
        (_, false) => ", which --retry-failed runs again".to_owned(),
    };
    (!resume.index.is_empty())
        .then(|| format!("on record already: {answered} answered, {failed} failed{again}"))
}

pub(super) fn end(plan: &Plan, summary: &Summary) -> String {
    let mut lines = outcome(plan, summary);
    lines.push(match &plan.output {
        Some(path) => format!("results: {}", path.display()),
        None => "results: standard output".to_owned(),
    });
    lines.extend(
        summary
            .stop
            .as_ref()
            .map(|stop| why(stop, plan.output.is_some())),
    );
    lines.join("\n")
}

/// What came of it, in numbers.
pub(super) fn outcome(plan: &Plan, summary: &Summary) -> Vec<String> {
    if summary.calls == 0 && summary.stop.is_none() {
        return vec!["nothing was left to send".to_owned()];
    }
    let known = [
        Some(prompts(summary)),
        with_those_before(summary),
        Some(calls(summary)),
        pace(plan, summary),
        cost(plan, summary),
    ];
    known.into_iter().flatten().collect()
}

/// Together with what earlier runs had done.
fn with_those_before(summary: &Summary) -> Option<String> {
    let Before {
        answered, failed, ..
    } = summary.before;
    let (all_answered, all_failed) = (answered + summary.answered, failed + summary.failed);
    (answered + failed > 0).then(|| {
        format!("with those of earlier runs: {all_answered} answered, {all_failed} failed")
    })
}

pub(super) fn exit(summary: &Summary) -> Exit {
    match (&summary.stop, summary.failed + summary.before.failed) {
        (Some(Stop::Interrupted), _) => Exit::Interrupted,
        (Some(_), _) => Exit::Stopped,
        (None, 0) => Exit::Answered,
        (None, _) => Exit::SomeFailed,
    }
}

fn prompts(summary: &Summary) -> String {
    let Summary {
        answered,
        failed,
        took,
        ..
    } = *summary;
    format!(
        "{answered} answered{}, {failed} failed, in {}",
        flags(summary.flags),
        seconds(took)
    )
}

/// What is to be said about the answers, in brackets; usually nothing.
fn flags(flags: Flags) -> String {
    if flags == Flags::default() {
        String::new()
    } else {
        format!(" ({flags}: see finish_reason)")
    }
}

fn calls(summary: &Summary) -> String {
    let Summary {
        calls,
        throttled,
        faults,
        ..
    } = *summary;
    format!(
        "{}: {throttled} refused as too fast (429), {faults} failed otherwise",
        counted(calls, "call")
    )
}

/// The pace that was kept. Of a moment there is nothing to say, unless a pace was asked for.
fn pace(plan: &Plan, summary: &Summary) -> Option<String> {
    const MOMENT: Duration = Duration::from_secs(1);
    let achieved = summary
        .calls_a_minute()
        .filter(|_| plan.rpm.is_some() || summary.took >= MOMENT)?;
    let limit = plan.rpm.map_or_else(String::new, |rpm| {
        format!(" of {}", rpm as usize * plan.clients.len())
    });
    let found = summary.found.map_or_else(String::new, |found| {
        format!(" (found about {found:.0} allowed)")
    });
    let shared = if plan.shared {
        ", which are shared"
    } else {
        ""
    };
    Some(format!(
        "{achieved:.0}{limit} calls a minute{shared}{found}"
    ))
}

/// What the answers cost, as far as they say.
fn cost(plan: &Plan, summary: &Summary) -> Option<String> {
    let (price, Tokens { input, output }) = (plan.price?, summary.tokens);
    let silent = match summary.unmetered {
        0 => String::new(),
        answers => format!(
            ", and {} that did not say what they cost",
            counted(answers, "answer")
        ),
    };
    let cost = amount(price.cost(summary.tokens));
    Some(format!(
        "cost {cost}: {input} tokens in, {output} out, at {price} a million{silent}"
    ))
}

/// The same for tools.
pub(super) fn numbers(plan: &Plan, summary: &Summary) -> Vec<(&'static str, Value<'static>)> {
    let stopped = summary
        .stop
        .as_ref()
        .map(|_| ("stopped", Value::from(true)));
    let cost = plan
        .price
        .map(|price| ("cost", price.cost(summary.tokens).into()));
    let numbers = [
        ("answered", summary.answered.into()),
        ("failed", summary.failed.into()),
        ("calls", summary.calls.into()),
        ("refused", summary.throttled.into()),
        ("faults", summary.faults.into()),
        ("took_ms", (summary.took.as_millis() as u64).into()),
        ("tokens_in", summary.tokens.input.into()),
        ("tokens_out", summary.tokens.output.into()),
    ];
    numbers.into_iter().chain(cost).chain(stopped).collect()
}

/// Why the batch stopped, and what to do next. Only a file can be gone on with.
fn why(stop: &Stop, in_a_file: bool) -> String {
    let resume = match in_a_file {
        true => "run the same command again to go on where it stopped",
        false => "begin again, with -o FILE: what went to standard output cannot be gone on with",
    };
    let next = match stop {
        Stop::Held { come_back, .. } => {
            let at = jiff::Timestamp::try_from(*come_back)
                .map_or_else(|_| "later".to_owned(), |at| format!("at {at:.0}"));
            format!("come back {at}, or be more patient with --max-wait; {resume}")
        }
        Stop::Broken(_) | Stop::Lost(_) => format!("when it is well again, {resume}"),
        Stop::Refused(_) => format!("put that right; then {resume}"),
        Stop::Halted { .. } if in_a_file => {
            format!("their records say why; {resume}, with --retry-failed to try those again")
        }
        Stop::Journal(JournalError::Folder(_)) => {
            format!("the results have that answer, too: see to --out-dir, and {resume}")
        }
        Stop::Journal(_) if in_a_file => {
            format!(
                "make room, and {resume}; or move the results to where there is room, and say so with -o"
            )
        }
        Stop::Changed { .. } => {
            "take the old answers as they are with --keep, or begin anew with --restart".to_owned()
        }
        Stop::Input(_) => format!("mend the input from that line on; then {resume}"),
        Stop::Spent { .. } => format!("{resume}, with as much again or another --max-cost"),
        Stop::Halted { .. } | Stop::Journal(_) | Stop::Interrupted => resume.to_owned(),
    };
    format!("stopped: {}\n{next}", what(stop))
}

pub(super) fn what(stop: &Stop) -> String {
    match stop {
        Stop::Held {
            waited,
            more,
            error,
            ..
        } => {
            let wait = match more.is_zero() {
                true => String::new(),
                false => format!(", and says to wait another {}", seconds(*more)),
            };
            format!(
                "the server has given no answer for {}{wait} ({error})",
                seconds(*waited)
            )
        }
        _ => stop.to_string(),
    }
}

pub(super) fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let table = [
            (2_600, "2.6 s"),
            (59_940, "59.9 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
        ];
        for (ms, expected) in table {
            assert_eq!(seconds(Duration::from_millis(ms)), expected);
        }
        assert_eq!(
            (counted(1, "call"), counted(0, "call")),
            ("1 call".into(), "0 calls".into())
        );
    }
}
