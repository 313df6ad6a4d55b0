//! One rate for several processes: through a file on one machine, or through Redis on many.
//!
//! Both are a [`Board`] for the [`SharedLimiter`]. The roster of each key has a name there, a hash of the server and the
//! key: processes with the same key share its rate, and processes with another key do not.

mod file;
#[cfg(feature = "redis")]
mod redis;
mod roster;
mod shared;

use std::time::Duration;

use sha2::{Digest, Sha256};

pub use file::{FileBoard, Stamp};
#[cfg(feature = "redis")]
pub use redis::RedisBoard;
pub use roster::{Claim, Roster, RosterReply, RosterRequest, Want};
pub use shared::{Board, BoardError, SharedLimiter};

/// The name of a shared rate: a hash of the server and the key, 16 hexadecimal digits. It reveals neither.
#[must_use]
pub fn name(server: &str, key: &str) -> String {
    hex(&Sha256::new()
        .chain_update(format!("paceline pace\n{server}\n"))
        .chain_update(key)
        .finalize())
}

/// The first eight bytes.
fn hex(bytes: &[u8]) -> String {
    bytes[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whole microseconds, as a roster counts time.
fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
