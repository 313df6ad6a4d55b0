//! Paceline: see the README.
#[cfg(feature = "wire")]
pub mod api;
pub mod backoff;
#[cfg(feature = "wire")]
pub mod batch;
pub mod cancel;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
#[cfg(feature = "wire")]
pub mod hints;
#[cfg(feature = "wire")]
pub mod http;
#[cfg(feature = "wire")]
pub mod journal;
pub mod limiter;
pub mod pool;
#[cfg(feature = "cli")]
pub mod practice;
#[cfg(feature = "wire")]
pub mod prompts;
pub mod retry;
pub use backoff::{Backoff, Jitter};
pub use cancel::{CancelToken, Cancelled};
pub use limiter::{Rate, RateLimiter};
pub use retry::{Retry, Verdict};
