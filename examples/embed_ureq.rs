//! Embedding 1: the limiter and the retry around an HTTP client of your own, here `ureq`.
//!
//! The limiter is given twice the rate that the server allows. So the server answers some calls with 429 and says when
//! to come back; that pauses every thread, and not only the one that was refused.
//!
//! `cargo run --example embed_ureq`

mod practice_room;

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use paceline::{Pool, Rate, RateLimiter, Retry, Verdict};
use practice_room::{PracticeRoom, RPM, topics};

/// What went wrong with a call, as far as it matters for the next.
enum CallFailure {
    Status(u16, Option<String>),
    /// No answer at all.
    Broken,
}

/// A verdict for each failure. An API whose quota errors are 429s, too, needs one more case here: they are final.
fn judge(failure: &CallFailure) -> Verdict {
    match failure {
        CallFailure::Broken => Verdict::Retry,
        CallFailure::Status(status, retry_after) => {
            Verdict::of_http(*status, retry_after.as_deref(), SystemTime::now())
        }
    }
}

/// One call. The client takes no status for an error, because the headers are wanted.
fn ask(
    agent: &ureq::Agent,
    url: &str,
    topic: &str,
    time: Option<Duration>,
) -> Result<String, CallFailure> {
    let body = format!(r#"{{"model":"any","messages":[{{"role":"user","content":"{topic}"}}]}}"#);
    let request = agent.post(url).header("content-type", "application/json");
    let request = request.config().timeout_global(time).build();
    let mut response = request.send(body).map_err(|_| CallFailure::Broken)?;
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.and_then(|value| Some(value.to_str().ok()?.to_owned()));
    match response.status().as_u16() {
        200 => response
            .body_mut()
            .read_to_string()
            .map_err(|_| CallFailure::Broken),
        status => Err(CallFailure::Status(status, retry_after)),
    }
}

fn main() {
    let room = PracticeRoom::open();
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let limiter = RateLimiter::new(Rate::per_minute(RPM.get() * 2));
    let retry = Retry::new().within(Duration::from_secs(60)); // an endless 429 ends, too
    let write = |topic: String| {
        retry
            .call(judge, |attempt| {
                ask(&agent, &room.url(), &topic, attempt.remaining())
            })
            .limiter(&limiter)
            .run()
    };
    let mut lost = 0;
    let _ = Pool::new(4).for_each(topics(12), write, |_, article| {
        lost += u32::from(!matches!(article, Ok(Ok(_))));
        ControlFlow::<()>::Continue(())
    });
    println!("lost: {lost}");
    room.notice(
        "a 429 pauses all four threads for as long as the server says, and costs no retry.",
    );
}
