//! Exercise 6: out of quota is not out of pace.
//!
//! "Retry on everything" looks careful. But a topic that the API rejects stays rejected, and an account without credit
//! stays without, though its 429 looks like any other. The queue, the workers, the limiter and the retry are the
//! library's; what is missing is the judgement. Write [`judge_yours`]. `cargo run --example exercise_6`

#![allow(dead_code, unused)] // until it is solved

mod classroom;

use std::ops::ControlFlow;
use std::process::ExitCode;

use crate::classroom::judge::{self, Exercise};
use crate::classroom::{
    Behaviour, CALLS_A_MINUTE, Classroom, Failure, SECOND, WORKERS, seed, topics,
};
use paceline::{CancelToken, Pool, Rate, RateLimiter, Retry, Verdict};

/// What to do about a failure; a cancelled batch ends at once.
type Judge = fn(&Failure, batch: &CancelToken) -> Verdict;

fn retry_on_everything(_failure: &Failure, _batch: &CancelToken) -> Verdict {
    Verdict::Retry
}

/// Four kinds of failure: too fast (429), passing (503), rejected (400), and no credit left (`insufficient_quota`).
fn judge_yours(failure: &Failure, batch: &CancelToken) -> Verdict {
    // ---- yours: begin
    todo!()
    // ---- yours: end
}

fn ask_for_all(room: &Classroom, judge: Judge) {
    let limiter = RateLimiter::builder()
        .rate(Rate::per_minute(CALLS_A_MINUTE))
        .clock(room.clock.clone())
        .build();
    let batch = CancelToken::on(room.clock.clone());
    let write = |topic: String| {
        let call = Retry::new().call(|failure| judge(failure, &batch), |_| room.call(&topic));
        call.limiter(&limiter)
            .cancel(&batch)
            .seed(seed(&topic))
            .run()
    };
    let pool = Pool::new(WORKERS).clock(room.clock.clone()).cancel(&batch);
    let _ = pool.for_each(topics(), write, |_number, done| {
        if let Err(panicked) = done {
            panicked.resume();
        }
        ControlFlow::<()>::Continue(())
    });
}

pub(crate) fn main() -> ExitCode {
    let exercise = Exercise {
        number: 6,
        behaviour: Behaviour {
            fails_every: Some(7),
            stranger_at: Some(30 * SECOND),
            bad_topic: Some("topic 9"),
            credit: 120,
            ..Behaviour::default()
        },
        rules: |seen| {
            let (rejected, unpaid) = (judge::count(seen, '!'), judge::count(seen, '$'));
            let repeated =
                format!("topic 9 was rejected {rejected} times: it is wrong, and stays so.");
            let goes_on = format!(
                "{unpaid} calls came when there was no credit: each worker needs one to notice."
            );
            let rules = [
                judge::answers_all(seen, 120),
                judge::refused_at_most(seen, 1),
                (rejected != 1).then_some(repeated),
                (unpaid > WORKERS).then_some(goes_on),
            ];
            rules.into_iter().flatten().collect()
        },
        hint: "Verdict has a word for each kind. Where no call can succeed any more, cancel the batch.",
    };
    exercise.run(
        |room| ask_for_all(room, retry_on_everything),
        |room| ask_for_all(room, judge_yours),
    )
}
