//! Embedding 1: the limiter and the retry around an HTTP client of your own, here `ureq`.
//!
//! The limiter is told twice the pace that the server allows. So the first calls too many are refused; the server says
//! until when, and that holds every thread, and not only the one that was refused.
//!
//! `cargo run --example embed_ureq`

mod classroom;

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use classroom::{Classroom, RPM, topics};
use paceline::{RateLimiter, Retry, Verdict, pool};

/// What went wrong with a call, as far as it matters for the next.
enum Failure {
    /// Refused for coming too fast, and for how long.
    TooFast(Option<Duration>),
    /// Another status.
    Status(u16),
    /// No answer at all.
    Broken,
}

/// A verdict for each failure.
fn judge(failure: &Failure) -> Verdict {
    match failure {
        Failure::TooFast(wait) => Verdict::Throttled(*wait), // spends no retry, and holds everyone
        Failure::Broken | Failure::Status(500..) => Verdict::Retry,
        Failure::Status(_) => Verdict::Stop,
    }
}

/// One call with the client; statuses are no errors to it, because their headers are wanted.
fn ask(agent: &ureq::Agent, url: &str, topic: &str) -> Result<String, Failure> {
    let body = format!(r#"{{"model":"any","messages":[{{"role":"user","content":"{topic}"}}]}}"#);
    let request = agent.post(url).header("content-type", "application/json");
    let mut response = request.send(body).map_err(|_| Failure::Broken)?;
    let seconds = || {
        response
            .headers()
            .get("retry-after")?
            .to_str()
            .ok()?
            .parse()
            .ok()
    };
    match response.status().as_u16() {
        200 => response
            .body_mut()
            .read_to_string()
            .map_err(|_| Failure::Broken),
        429 => Err(Failure::TooFast(seconds().map(Duration::from_secs))),
        status => Err(Failure::Status(status)),
    }
}

fn main() {
    let room = Classroom::open();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let too_fast = NonZeroU32::new(RPM.get() * 2).unwrap();
    let (limiter, retry) = (RateLimiter::per_minute(too_fast), Retry::default());
    let write =
        |topic: &String| retry.paced(&limiter, judge, |_try| ask(&agent, &room.url(), topic));
    std::thread::scope(|scope| {
        let articles = pool::run(scope, NonZeroUsize::new(4).unwrap(), topics(12), write);
        let lost = articles
            .filter(|(_, article)| !matches!(article, Ok(Ok(_))))
            .count();
        println!("lost: {lost}");
    });
    room.notice(
        "a refusal holds all four threads, as long as the server says, and costs no topic a retry.",
    );
}
