//! Calls a rate-limited API from blocking OS threads, at the rate the API allows.
//!
//! # The problem
//!
//! A script sends an API two hundred prompts at once, and most of them are answered `429 Too Many Requests`. It sleeps
//! five seconds and tries again; so do all its threads, and they are refused together, in waves. A longer sleep makes
//! fewer waves and takes hours.
//!
//! # The pattern
//!
//! Four parts end the waves, and none of them needs an async runtime:
//!
//! * a **queue** and a fixed set of **workers**: [`Pool`];
//! * a **limiter** that grants each call a permit, one interval apart: [`RateLimiter`];
//! * a **retry** for the calls that fail all the same: [`Retry`];
//! * a **backoff** with jitter, so that calls that failed together do not come back together: [`Backoff`].
//!
//! ```
//! use paceline::{Pool, Rate, RateLimiter, Retry, Verdict};
//! use std::ops::ControlFlow;
//!
//! /// Your client; here an error is a status.
//! fn call_api(topic: &str, attempt: u32) -> Result<String, u16> {
//!     match (topic, attempt) {
//!         ("bread", 1) => Err(503), // a fault that passes
//!         ("bombs", _) => Err(400), // no attempt will succeed
//!         _ => Ok(format!("an article about {topic}")),
//!     }
//! }
//!
//! let topics = ["bees", "bread", "bombs"];
//! let limiter = RateLimiter::new(Rate::per_minute(6_000));
//! let retry = Retry::new(); // five retries, after min(1 s * 2^n + U(0, 1 s), 60 s)
//! # let retry = retry.backoff(paceline::Backoff::new().max(std::time::Duration::from_millis(1)));
//! let judge = |status: &u16| match status {
//!     429 => Verdict::RateLimited(None), // too fast, which is no fault of this topic: everyone pauses
//!     500.. => Verdict::Retry,
//!     _ => Verdict::Stop,
//! };
//! let write = |topic: &str| {
//!     let call = retry.call(judge, |attempt| call_api(topic, attempt.number()));
//!     let call = call.limiter(&limiter); // each attempt takes a permit, retries too
//!     call.on_retry(|failed| println!("{topic}: {}, again in {:?}", failed.error, failed.wait)).run()
//! };
//! # let mut outcomes = std::collections::BTreeMap::new();
//! let _ = Pool::new(4).for_each(topics, write, |number, article| {
//!     let topic = topics[number]; // on this thread, in order of completion
//!     # outcomes.insert(topic, article.as_ref().unwrap().as_ref().map_err(|failed| failed.last).cloned());
//!     match article.unwrap() { // an error here is a panic of `write`
//!         Ok(text) => println!("{topic}: {text}"),
//!         Err(failed) => println!("{topic}: {failed}: {:?}", failed.last),
//!     }
//!     ControlFlow::<()>::Continue(())
//! });
//! # assert_eq!(outcomes["bread"].as_deref(), Ok("an article about bread"));
//! # assert_eq!(outcomes["bombs"], Err(Some(400)));
//! ```
//!
//! It prints, for example:
//!
//! ```text
//! bees: an article about bees
//! bread: 503, again in 1.4s
//! bombs: gave up at attempt 1 after 1.5µs: another attempt would fail as well: Some(400)
//! bread: an article about bread
//! ```
//!
//! # How do I …
//!
//! **… stop on Ctrl-C?** Give one [`CancelToken`] to the pool and to the calls, and cancel it in the signal handler:
//! every wait ends at once, running calls finish.
//!
//! ```
//! # use paceline::{CancelToken, Pool, Rate, RateLimiter, Retry, Verdict};
//! # use std::ops::ControlFlow;
//! # let limiter = RateLimiter::new(Rate::unlimited());
//! let cancel = CancelToken::new();
//! let handler = {
//!     let cancel = cancel.clone();
//!     move || cancel.cancel() // as in ctrlc::set_handler(handler)
//! };
//! let judge = |status: &u16| if *status >= 500 { Verdict::Retry } else { Verdict::Stop };
//! let call = |n: u32| {
//!     let call = Retry::new().call(judge, |_| Ok::<_, u16>(n));
//!     call.limiter(&limiter).cancel(&cancel).run()
//! };
//! let _ = Pool::new(4).cancel(&cancel).for_each(0.., call, |_, _| {
//!     handler(); // somebody presses Ctrl-C
//!     ControlFlow::<()>::Continue(())
//! });
//! ```
//!
//! **… bound the total time?** [`Retry::within`] bounds the wait in line, pauses and backoffs together;
//! [`Attempt::remaining`](retry::Attempt::remaining) is the time for the client's own time-out. An endless 429 also ends
//! with the retry's [patience](Retry::patience). [`CancelToken::within`] bounds any set of waits, and
//! [`RateLimiter::acquire_timeout`] one.
//!
//! **… test in simulated time?** Make the limiter on a [`SimClock`](clock::SimClock), and a pool with [`Pool::clock`]; an
//! hour takes milliseconds.
//!
//! ```
//! use paceline::{Rate, RateLimiter, Retry, Verdict, clock::SimClock};
//!
//! let clock = SimClock::new();
//! let rate = Rate::per_second(1).exact();
//! let limiter = RateLimiter::builder().rate(rate).clock(clock.clone()).build();
//! let done = clock.run(8, |n| {
//!     let flaky = |attempt: &paceline::retry::Attempt<'_>| match attempt.number() {
//!         1 => Err(503),
//!         _ => Ok(n),
//!     };
//!     let call = Retry::new().call(|_| Verdict::Retry, flaky);
//!     call.limiter(&limiter).seed(7).run().unwrap()
//! });
//! assert_eq!(done, [0, 1, 2, 3, 4, 5, 6, 7]);
//! assert_eq!(clock.elapsed().as_secs(), 15); // 16 permits, a second apart
//! ```
//!
//! **… pause everyone?** [`RateLimiter::pause`], also for threads that are asleep in line. A 429 does it by itself,
//! through [`Permit::rate_limited`] or [`Verdict::RateLimited`].
//!
//! **… have one limiter per customer?** [`limiter::Keyed`]. Clones of a [`RateLimiter`] are the same limiter.
//!
//! **… measure?** [`RateLimiter::stats`] counts permits, 429s and waits; [`Call::on_retry`](retry::Call::on_retry) sees
//! each failure.
//!
//! **… judge an HTTP status?** [`Verdict::of_http`] reads `Retry-After`, too. Exhausted credit is a 429 at some APIs:
//! judge that first, as [`Verdict::Stop`].
//!
//! **… count tokens, use several keys, find a limit that nobody states, share a rate between processes?** The feature
//! `batch` does, in [`pacing`] and [`share`], and runs whole files of prompts: [`batch`].
//!
//! # How many workers?
//!
//! As many as there are calls in flight, which is the rate times the latency (Little's law), and one that waits in line:
//! at 600 calls a minute that take 2 seconds each, 600 / 60 x 2 + 1 = 21. Fewer leave permits unused, more only wait.
//!
//! # When not to use it
//!
//! * Somebody waits for each answer, as in a chat: a 429 must be answered at once there, not paced.
//! * The program is async already: use that runtime's timers and semaphores.
//! * Tomorrow will do: the providers' own batch endpoints are cheaper.
//!
//! # Features
//!
//! | feature | adds | minimum Rust |
//! |---|---|---|
//! | none | the pattern, on `crossbeam-channel`, `log`, `parking_lot` and `rand` | 1.85 |
//! | `batch` | the APIs, the batch and its journal | 1.95 |
//! | `practice` | a rate-limited practice server, for tests | 1.95 |
//! | `redis` | a rate that many machines share, and with `cli` a queue | 1.95 |
//! | `cli` | the command line | 1.95 |
//!
//! `cli` and `redis` are on by default. What threads share, such as limiters, permits, tokens and clocks, is `Send` and
//! `Sync`.
//!
//! # The house
//!
//! Three storeys; a file imports only from storeys below its own, or from files before it on its own storey.
//!
//! | storey | rooms |
//! |---|---|
//! | pattern | `sync` → [`clock`] → [`cancel`] → [`backoff`] → [`limiter`] → [`retry`] → [`pool`] |
//! | runner | `names` → `text` → `values` → `files` → `outcome` → `json` → `hints` → `http` → `pacing` → `store` → `share` → `api` → `prompts` → `journal` → `batch` → `bulk` → `queue` |
//! | face | `practice` → `gate` → `cli` |
//!
//! The pattern has no HTTP client, and knows nothing of JSON or language models. Time comes in as an argument everywhere,
//! and so can the seed of everything random.

#![cfg_attr(docsrs, feature(doc_cfg))]
// The command line and its queue use more of the runner than an embedder sees.
#![cfg_attr(
    all(feature = "batch", not(all(feature = "cli", feature = "redis"))),
    allow(dead_code, unused_imports)
)]

#[cfg(feature = "batch")]
pub mod api;
pub mod backoff;
#[cfg(feature = "batch")]
pub mod batch;
#[cfg(feature = "cli")]
mod bulk;
pub mod cancel;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod clock;
#[cfg(feature = "batch")]
mod files;
#[cfg(feature = "cli")]
mod gate;
#[cfg(all(any(doc, doctest), feature = "cli"))]
pub mod guide;
#[cfg(feature = "batch")]
mod hints;
#[cfg(feature = "batch")]
mod http;
#[cfg(feature = "batch")]
pub mod journal;
#[cfg(feature = "batch")]
mod json;
pub mod limiter;
#[cfg(feature = "batch")]
mod names;
#[cfg(feature = "batch")]
mod outcome;
#[cfg(feature = "batch")]
pub mod pacing;
pub mod pool;
#[cfg(feature = "practice")]
pub mod practice;
#[cfg(feature = "batch")]
pub mod prompts;
#[cfg(all(feature = "redis", feature = "cli"))]
mod queue;
pub mod retry;
#[cfg(feature = "batch")]
pub mod share;
#[cfg(feature = "redis")]
mod store;
mod sync;
#[cfg(feature = "batch")]
mod text;
#[cfg(feature = "cli")]
mod values;

pub use backoff::{Backoff, Jitter};
pub use cancel::{CancelToken, WaitError};
pub use clock::Clock;
pub use limiter::{Permit, Rate, RateLimiter};
pub use pool::Pool;
pub use retry::{Retry, Verdict};

/// For what tests of the library have in common with those of the program.
#[cfg(test)]
extern crate self as paceline;
