//! Embedding 5: a whole batch inside your program, with its progress as it happens.
//!
//! The batch brings its own queue, workers, limiter and retries; you bring the prompts, take the records, and watch.
//!
//! `cargo run --example embed_progress`

mod practice_room;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use paceline::api::{ApiKind, Ask, Client, Params};
use paceline::batch::{Batch, Event, Settings};
use paceline::clock::{Clock, SystemClock};
use paceline::pacing::RateLimit;
use paceline::prompts::Prompt;
use paceline::{CancelToken, Rate};
use practice_room::{PracticeRoom, RPM, topics};

fn main() {
    let room = PracticeRoom::open();
    let params = Params {
        model: "any".into(),
        ..Params::default()
    };
    let client = Client::new(ApiKind::Chat.api(), Some(&room.base_url()), None, params);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = Settings {
        rate: RateLimit::Fixed(Rate::per_minute(RPM.get())),
        ..Settings::default()
    };
    let batch = Batch::new(
        settings,
        [&client as &dyn Ask],
        clock.clone(),
        CancelToken::default(),
    );

    // A view shows how the batch stands, whenever you look, from any thread: plain numbers.
    let view = batch.view();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    // And any function of an event will do to watch. The threads that work call it: it must be quick.
    let watch = move |event: &Event<'_>| match event {
        Event::Attempt { error: None, .. } => _ = counted.fetch_add(1, Ordering::Relaxed),
        Event::Paused { wait, .. } => println!("everyone pauses for {wait:?}"),
        Event::Done { .. } => {
            let now = view.at(clock.now());
            println!(
                "{} of {} done",
                now.answered + now.failed,
                now.total.unwrap_or_default()
            );
        }
        _ => {}
    };

    let topics = topics(20);
    let prompts = topics
        .iter()
        .zip(1..)
        .map(|(topic, line)| Ok(Prompt::new(line, topic)));
    let batch = batch.expecting(topics.len() as u64).watched_by(watch);
    let mut records = Vec::new();
    let summary = batch.run(prompts, |record| {
        records.push(record.clone()); // or write it, as `Journal` does
        Ok(())
    });
    println!("answered: {}", summary.answered);
    println!("answers that were seen: {}", calls.load(Ordering::Relaxed));
    println!("records: {}", records.len());
    println!(
        "notice: a callback for what happens, a view for how it stands, a record for each prompt."
    );
}
