//! Calls a rate-limited API from blocking OS threads, at exactly the pace the API allows.
//!
//! # The problem
//!
//! A script asks an API two hundred questions at once, and most of them are refused: `429 Too Many Requests`. It
//! sleeps five seconds and tries again; so do all its threads, and they are refused together, in waves. A longer sleep
//! makes fewer waves and takes hours.
//!
//! # The pattern
//!
//! Four parts end the waves, and none of them needs an async runtime:
//!
//! * a **queue** and a fixed set of **workers**: [`pool::run`];
//! * a **limiter**, through which every call takes its turn, at one steady pace: [`RateLimiter`];
//! * a **retry**, for the calls that fail all the same: [`Retry`];
//! * a **backoff** with jitter, so that those who failed together do not come back together: [`Backoff`].
//!
//! ```
//! use paceline::{RateLimiter, Retry, Verdict, pool};
//! use std::num::{NonZeroU32, NonZeroUsize};
//!
//! fn call_api(topic: &str) -> Result<String, u16> {
//!     Ok(format!("An article about {topic}")) // your client; here an error is a status
//! }
//!
//! let topics = ["bees", "bread", "bicycles"];
//! let limiter = RateLimiter::per_minute(NonZeroU32::new(6_000).unwrap());
//! let retry = Retry::default(); // waits min(1 s * 2^n + U(0, 1 s), 60 s), five times
//! let judge = |status: &u16| match status {
//!     429 => Verdict::Throttled(None), // called too fast: no fault of this topic
//!     500.. => Verdict::Retry,
//!     _ => Verdict::Stop,
//! };
//! std::thread::scope(|scope| {
//!     let articles = pool::run(scope, NonZeroUsize::new(4).unwrap(), topics, |topic| {
//!         // A retry takes a turn, too; and one that is throttled holds everyone.
//!         retry.paced(&limiter, judge, |_try| call_api(topic))
//!     });
//!     for (topic, article) in articles {
//!         println!("{topic}: {article:?}"); // in order of completion
//!     }
//! });
//! ```
//!
//! # How many workers?
//!
//! As many as there are calls in flight, which is the rate times the latency (Little's law), and one that waits in
//! line: at 600 calls a minute that take 2 seconds each, 600 / 60 x 2 + 1 = 21. Fewer leave turns unused, more only
//! wait.
//!
//! # When not to use it
//!
//! * Somebody waits for each answer, as in a chat: there a refusal must be answered at once, not paced.
//! * The program is async already: use that runtime's timers and semaphores.
//! * Tomorrow will do: the providers' own batch endpoints are cheaper.
//!
//! # The house
//!
//! Six floors; a file imports only from floors below its own, or from files to its left.
//!
//! | floor | rooms |
//! |---|---|
//! | 0 time | `sync` → [`clock`] → [`cancel`] |
//! | 1 pace | [`backoff`] → [`limiter`] → [`retry`] |
//! | 2 work | [`pool`] |
//! | 3 wire | `names` → `outcome` → `hints` → `http` → `store` → `share` → `api` |
//! | 4 batch | `prompts` → `journal` → `batch` → `queue` |
//! | 5 face | `practice`, `cli` |
//!
//! Floors 0 to 2 know nothing of HTTP, JSON or language models: with `default-features = false` they are all there is.
//! The feature `batch` adds floors 3 and 4, the feature `cli` the command line, `redis` what many machines share; by
//! default all are on.
//!
//! Time comes in as an argument everywhere: on a [`clock::SimClock`] the same threads run in simulated time, and a
//! batch of twenty minutes is tested in milliseconds.

#[cfg(feature = "batch")]
pub mod api;
pub mod backoff;
#[cfg(feature = "batch")]
pub mod batch;
pub mod cancel;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod clock;
#[cfg(feature = "batch")]
pub mod hints;
#[cfg(feature = "batch")]
pub mod http;
#[cfg(feature = "batch")]
pub mod journal;
#[cfg(feature = "batch")]
pub mod json;
pub mod limiter;
#[cfg(feature = "batch")]
mod names;
#[cfg(feature = "batch")]
mod outcome;
pub mod pool;
#[cfg(feature = "practice")]
pub mod practice;
#[cfg(feature = "batch")]
pub mod prompts;
#[cfg(feature = "redis")]
pub mod queue;
pub mod retry;
#[cfg(feature = "batch")]
pub mod share;
#[cfg(feature = "redis")]
pub mod store;
mod sync;

pub use backoff::{Backoff, Jitter};
pub use cancel::{CancelToken, Cancelled};
pub use clock::Clock;
pub use limiter::{Pace, Rate, RateLimiter};
#[cfg(feature = "batch")]
pub use names::UnknownName;
#[cfg(feature = "batch")]
pub use outcome::CallOutcome;
pub use retry::{Retry, Verdict};

/// For what tests of the library have in common with those of the program.
#[cfg(test)]
extern crate self as paceline;

/// Compiles and runs the README's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
