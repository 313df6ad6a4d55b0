//! Where several processes keep one pace: in a file on one machine, in Redis for many.
//!
//! Both are a [`Board`] for the [`Shared`](SharedLimiter) pace; each lane's roster has a
//! name there, a hash of the server and the key, so that processes with the same key share and those with another do not.

mod file;
#[cfg(feature = "redis")]
mod redis;
mod roster;
mod shared;

use sha2::{Digest, Sha256};

pub use file::{FileBoard, Stamp};
#[cfg(feature = "redis")]
pub use redis::RedisBoard;
pub use roster::{Claim, Roster, RosterReply, RosterRequest, Want};
pub use shared::{Board, BoardError, SharedLimiter};

/// The name of a pace: what can be told of the server and the key without telling them, 16 hexadecimal digits.
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
