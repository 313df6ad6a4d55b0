//! Lesson 7: the queue, the workers, the limiter and the retry, each in its place.
//!
//! `cargo run --example 7_all_together`

mod classroom;

use std::ops::ControlFlow;

use classroom::{Behaviour, CALLS_A_MINUTE, Classroom, SECOND, WORKERS, strip, topics};
use paceline::{CancelToken, Pool, Rate, RateLimiter, Retry, Verdict};

/// What to do about each failure. There is no default: some are not worth another attempt.
fn judge(status: &u16) -> Verdict {
    match status {
        429 => Verdict::RateLimited(None), // too fast: everyone pauses
        500.. => Verdict::Retry,           // this call failed: it backs off, alone
        _ => Verdict::Stop,
    }
}

fn main() {
    strip::predict(
        "Every seventh call fails, and after 30 s another program takes a permit. How many calls?",
    );
    let room = Classroom::with(Behaviour {
        fails_every: Some(7),
        stranger_at: Some(30 * SECOND),
        ..Behaviour::default()
    });
    let clock = room.clock.clone();
    let limiter = RateLimiter::builder()
        .rate(Rate::per_minute(CALLS_A_MINUTE))
        .clock(clock.clone())
        .build();
    let cancel = CancelToken::on(clock.clone());
    let write = |topic: String| {
        let call = Retry::new().call(judge, |_attempt| room.call_api(&topic));
        call.limiter(&limiter)
            .cancel(&cancel)
            .seed(classroom::seed(&topic))
            .run()
    };
    let pool = Pool::new(WORKERS).clock(clock);
    let _ = pool.for_each(topics(), write, |_number, _article| {
        ControlFlow::<()>::Continue(())
    });
    let score = strip::show("7 all together", &room.seen());
    println!(
        "answer: {} calls for {} articles. {} was refused.",
        score.calls, score.articles, score.refused
    );
    println!(
        "notice: a retry takes a permit like any other call, so a fault (x) disturbs nobody. After the 429 (#)"
    );
    println!(
        "everyone pauses and then goes on one interval apart: no wave. 234 calls at 10 a minute: 23.4 min."
    );
}
