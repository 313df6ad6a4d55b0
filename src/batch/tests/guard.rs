//! What a batch promises its guard: no call leaves without its consent, and each failed call is reported to it.

use super::*;
use crate::cancel::WaitError;
use crate::outcome::CallOutcome;

/// Opens after a while, or cancels the batch; refuses the first calls of a prompt. Notes how it is called.
#[derive(Debug)]
struct Doorman {
    opens: Option<Duration>,
    /// How often it refuses a prompt, by its text.
    turns_away: fn(&str) -> usize,
    notes: Notes,
}

/// Calls of the guard and of the server, in order.
type Notes = Arc<Mutex<Vec<String>>>;

impl Guard for Doorman {
    fn ready(&self, cancel: &CancelToken) -> Result<(), WaitError> {
        let Some(opens) = self.opens else {
            cancel.cancel();
            return Err(WaitError::Cancelled);
        };
        let left = opens.saturating_sub(
            cancel
                .clock()
                .wall()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap(),
        );
        cancel.sleep_until(cancel.clock().now() + left)
    }

    fn begin(&self, prompt: &Prompt) -> bool {
        let mut notes = self.notes.lock();
        let asked = |what: &str| {
            notes
                .iter()
                .filter(|note| **note == format!("{what} {}", prompt.text))
                .count()
        };
        let lets = asked("no") >= (self.turns_away)(&prompt.text);
        notes.push(format!(
            "{} {}",
            if lets { "begin" } else { "no" },
            prompt.text
        ));
        lets
    }

    fn failed(&self, prompt: &Prompt) {
        self.notes.lock().push(format!("failed {}", prompt.text));
    }
}

impl Doorman {
    fn open() -> Self {
        Doorman {
            opens: Some(Duration::ZERO),
            turns_away: |_| 0,
            notes: Notes::default(),
        }
    }

    /// Guards a batch. Returns its result and the notes.
    fn guard(
        self,
        settings: Settings,
        count: u32,
        answer: impl Fn(&str, usize) -> Result<&'static str, CallError> + Send + Sync + 'static,
    ) -> (Ran, Vec<String>) {
        let notes = self.notes.clone();
        let noted = move |prompt: &str, before: usize| {
            notes.lock().push(format!("call {prompt}"));
            answer(prompt, before)
        };
        let ran = run_guarded(settings, count, SECOND / 10, noted, Some(&self));
        (ran, std::mem::take(&mut *self.notes.lock()))
    }
}

#[test]
fn no_call_leaves_before_the_guard_is_ready_and_then_there_is_no_herd() {
    let doorman = Doorman {
        opens: Some(SECOND * 60),
        ..Doorman::open()
    };
    let (ran, _) = doorman.guard(with_workers(paced(60), 8), 20, |_, _| Ok("text"));
    assert_eq!((ran.summary.answered, ran.calls[0].0), (20, SECOND * 60));
    assert!(
        ran.calls
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= SECOND),
        "{:?}",
        ran.calls
    );
}

#[test]
fn a_cancelled_guard_lets_no_call_leave_and_leaves_the_prompts_to_another_run() {
    let doorman = Doorman {
        opens: None,
        ..Doorman::open()
    };
    let (ran, notes) = doorman.guard(with_workers(paced(60), 4), 20, |_, _| Ok("text"));
    assert!(
        matches!(ran.summary.stop, Some(Stop::Interrupted)),
        "{:?}",
        ran.summary.stop
    );
    assert!(
        ran.calls.is_empty() && ran.records.is_empty() && notes.is_empty(),
        "{notes:?}"
    );
}

#[test]
fn a_call_that_must_not_leave_waits_for_another_permit_and_is_no_attempt() {
    let doorman = Doorman {
        turns_away: |prompt| if prompt == "2" { 2 } else { 0 },
        ..Doorman::open()
    };
    let retry = Retry::new().retries(0);
    let settings = Settings {
        retry,
        ..with_workers(paced(60), 1)
    };
    let (ran, notes) = doorman.guard(settings, 2, |_, _| Ok("text"));
    assert_eq!(
        notes,
        ["begin 1", "call 1", "no 2", "no 2", "begin 2", "call 2"]
    );
    assert_eq!(
        ran.calls[1].0,
        SECOND * 3,
        "its first two permits were given up"
    );
    assert_eq!(
        (
            ran.summary.answered,
            ran.summary.calls,
            ran.records[1].attempts.len()
        ),
        (2, 2, 1)
    );
}

#[test]
fn each_failed_call_is_reported_before_the_next_one_begins_and_no_other_is() {
    let flaky = |prompt: &str, before| match (prompt, before) {
        ("1", 0) => Err(error(Class::Fault, 500, None)),
        ("1", 1) => Err(error(Class::RateLimited, 429, Some(SECOND))),
        ("2", _) => Err(error(Class::Rejected, 400, None)),
        _ => Ok("text"),
    };
    let (_, notes) = Doorman::open().guard(with_workers(paced(60), 1), 3, flaky);
    let failing = ["begin 1", "call 1", "failed 1"];
    let last = ["begin 3", "call 3"];
    let expected = [
        &failing[..],
        &failing,
        &failing[..2],
        &["begin 2", "call 2", "failed 2"],
        &last,
    ]
    .concat();
    assert_eq!(notes, expected);
}

#[test]
fn an_answer_that_does_not_fit_is_reported_once_as_a_failed_call_is() {
    let misfit_once = |_: &str, before| Ok(if before == 0 { "no JSON" } else { "text" });
    let (ran, notes) = Doorman::open().guard(with_workers(paced(60), 1), 1, misfit_once);
    let expected = ["begin 1", "call 1", "failed 1", "begin 1", "call 1"];
    assert_eq!(notes, expected);
    let outcomes = ran.records[0].attempts.iter().map(|call| call.outcome);
    assert!(outcomes.eq([CallOutcome::Misfit, CallOutcome::Answered]));
}
