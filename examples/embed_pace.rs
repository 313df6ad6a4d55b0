//! Embedding 6: a pace of your own for a batch, here one with a budget of calls.
//!
//! It has a limiter inside, which hears all that it does not handle itself: answers, refusals, limits that the server says.
//!
//! `cargo run --example embed_pace`

mod classroom;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use classroom::{Classroom, RPM, topics};
use paceline::api::{Ask, Chat, Client, Params};
use paceline::batch::{Batch, Settings};
use paceline::clock::SystemClock;
use paceline::http::{Http, HttpOptions};
use paceline::limiter::{NoTurn, Pace, Turn};
use paceline::prompts::Prompt;
use paceline::{CancelToken, RateLimiter};

/// A limiter, and so many calls.
#[derive(Debug)]
struct Budget {
    limiter: RateLimiter,
    calls_left: AtomicU32,
}

impl Pace for Budget {
    fn take(&self, tokens: u32, cancel: &CancelToken) -> Result<Turn, NoTurn> {
        let turn = self.limiter.wait_for(tokens, cancel)?;
        let one_less = |left: u32| left.checked_sub(1);
        let paid = self
            .calls_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        paid.map(|_| turn)
            .map_err(|_| NoTurn::Lost("the budget of calls is spent".into()))
    }

    fn inner(&self) -> Option<&dyn Pace> {
        Some(&self.limiter)
    }
}

fn main() {
    let room = Classroom::open();
    let http =
        Http::new(&HttpOptions::default()).expect("no certificates of our own are asked for");
    let client = Client::new(
        http,
        Box::new(Chat),
        Some(&room.base_url()),
        None,
        Params::default(),
    );
    let budget = Budget {
        limiter: RateLimiter::per_minute(RPM),
        calls_left: AtomicU32::new(8),
    };
    let clock = Arc::new(SystemClock);
    let batch = Batch::new(
        Settings::default(),
        [&client as &dyn Ask],
        clock,
        CancelToken::default(),
    );
    let topics = topics(20);
    let prompts = topics
        .iter()
        .zip(1..)
        .map(|(topic, line)| Ok(Prompt::new(line, topic)));
    let summary = batch
        .paced_by(Arc::new(budget))
        .run(prompts, |_record| Ok(()));
    println!(
        "stopped: {}",
        summary
            .stop
            .expect("twenty topics are more than eight calls")
    );
    room.notice("eight calls were paid for, and eight were made.");
}
