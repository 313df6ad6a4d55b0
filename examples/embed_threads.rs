//! Embedding 3: a pool inside a program that has threads of its own, called off by one of them.
//!
//! A program reads orders from a channel in a thread of its own, and another thread waits for somebody to press a key;
//! here it presses it itself, after the tenth order. What is under way is finished; what is queued is not begun. The
//! limiter grants ten turns at once and the next in an hour, which nobody has to sit out.
//!
//! `cargo run --example embed_threads`

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use paceline::{CancelToken, Rate, RateLimiter, pool};

fn main() {
    let cancel = CancelToken::default();
    let hourly = Rate::every(Duration::from_secs(3600)).with_burst(NonZeroU32::new(10).unwrap());
    let limiter = RateLimiter::new(hourly);
    let ((orders, inbox), (pressed, key)) = (mpsc::sync_channel(4), mpsc::channel());

    // The program's own threads: one brings orders without end, one waits for the key.
    let source = thread::spawn(move || (1..).take_while(|n| orders.send(*n).is_ok()).count());
    let from_outside = cancel.clone();
    let keyboard = thread::spawn(move || {
        key.recv().expect("somebody presses it");
        from_outside.cancel(); // ends every wait for a turn, now
    });

    let (mut done, mut undone) = (Vec::new(), 0);
    thread::scope(|scope| {
        let work = |order: &u32| limiter.wait_unless(&cancel).map(|_turn| order * 2);
        // The pool ends when the orders do, and they end when it is called off.
        let orders = inbox.into_iter().take_while(|_| !cancel.is_cancelled());
        for (order, result) in pool::run(scope, NonZeroUsize::new(3).unwrap(), orders, work) {
            match result.expect("the work does not panic") {
                Ok(result) => done.push((order, result)),
                Err(_no_turn) => undone += 1,
            }
            if done.len() == 10 {
                _ = pressed.send(());
            }
        }
    });
    keyboard.join().expect("it was pressed");
    source.join().expect("nobody takes orders any more");

    println!("done: {}", done.len());
    println!("taken from the queue, but without a turn: {undone}");
    println!(
        "notice: the pool ended by itself, an hour's wait ended at once, and no thread is left."
    );
}
