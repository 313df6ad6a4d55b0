//! Embedding 6: a limiter of your own for a batch, here one with a budget of calls.
//!
//! It wraps the batch's own limiter, and hands all reports on to it: answers, 429s, limits that the server states.
//!
//! `cargo run --example embed_pace`

mod practice_room;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use paceline::api::{ApiKind, Ask, Client, Params};
use paceline::batch::{Batch, Settings};
use paceline::clock::SystemClock;
use paceline::pacing::{
    CallLimiter, CallReport, KeyLimiter, KeyLimits, KeyPermit, NoKeyPermit, RateLimit, Reaction,
};
use paceline::prompts::Prompt;
use paceline::{CancelToken, Rate};
use practice_room::{PracticeRoom, RPM, topics};

/// A limiter, and a number of calls.
#[derive(Debug)]
struct Budget {
    limiter: KeyLimiter,
    calls_left: AtomicU32,
}

impl CallLimiter for Budget {
    fn acquire(&self, tokens: u32, cancel: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let permit = self.limiter.acquire(tokens, cancel)?;
        let one_less = |left: u32| left.checked_sub(1);
        let paid = self
            .calls_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        let spent = |_| NoKeyPermit::Unreachable("the budget of calls is spent".into());
        paid.map(|_| permit).map_err(spent)
    }

    fn report(&self, permit: &KeyPermit, report: &CallReport) -> Reaction {
        self.limiter.report(permit, report)
    }

    fn waiting(&self) -> usize {
        self.limiter.waiting()
    }
}

fn main() {
    let room = PracticeRoom::open();
    let client = Client::new(
        ApiKind::Chat.api(),
        Some(&room.base_url()),
        None,
        Params::default(),
    );
    let limits = KeyLimits {
        rate: RateLimit::Fixed(Rate::per_minute(RPM.get())),
        tokens: None,
    };
    let budget = Budget {
        limiter: KeyLimiter::new(SystemClock, [limits]),
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
        .limited_by(Arc::new(budget))
        .run(prompts, |_record| Ok(()));
    println!(
        "stopped: {}",
        summary
            .stop
            .expect("twenty topics are more than eight calls")
    );
    room.notice("eight calls were paid for, and eight were made.");
}
