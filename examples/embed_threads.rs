//! Embedding 3: a pool inside a program that has threads of its own, cancelled by one of them.
//!
//! One thread of the program reads orders from a channel; another waits for somebody to press a key, which here happens
//! after the tenth order. Then running tasks finish, and what is queued is not begun. The limiter grants ten permits at
//! once and the next one in an hour, which nobody has to wait for.
//!
//! `cargo run --example embed_threads`

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use paceline::{CancelToken, Pool, Rate, RateLimiter};

fn main() {
    let cancel = CancelToken::new();
    let limiter = RateLimiter::new(Rate::every(Duration::from_secs(3600)).burst(10));
    let (orders, inbox) = mpsc::sync_channel(4);
    let (pressed, key) = mpsc::channel();

    // The program's own threads: one brings orders without end, one waits for the key.
    let source = thread::spawn(move || (1..).take_while(|n| orders.send(*n).is_ok()).count());
    let on_key = cancel.clone();
    let keyboard = thread::spawn(move || {
        key.recv().expect("somebody presses it");
        on_key.cancel(); // ends every wait for a permit, and the pool
    });

    let mut done = Vec::new();
    let mut without_permit = 0;
    let work = |order: u32| limiter.acquire_or_cancel(&cancel).map(|_permit| order * 2);
    let pool = Pool::new(3).cancel(&cancel);
    let _ = pool.for_each(inbox, work, |_, result| {
        match result.expect("no task panics") {
            Ok(result) => done.push(result),
            Err(_no_permit) => without_permit += 1,
        }
        if done.len() == 10 {
            _ = pressed.send(());
        }
        ControlFlow::<()>::Continue(())
    });
    keyboard.join().expect("the key was pressed");
    source.join().expect("nobody takes orders any more");

    println!("done: {}", done.len());
    println!("taken from the queue, but without a permit: {without_permit}");
    println!(
        "notice: the pool ended by itself, an hour's wait ended at once, and no thread is left."
    );
}
