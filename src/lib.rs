//! Paceline: see the README.
pub mod backoff;
pub mod cancel;
pub mod clock;
pub mod limiter;
pub mod pool;
pub mod retry;
pub use backoff::{Backoff, Jitter};
pub use cancel::{CancelToken, Cancelled};
pub use limiter::{Rate, RateLimiter};
pub use retry::{Retry, Verdict};
