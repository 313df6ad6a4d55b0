//! One rate for several processes: through a file on one machine, or through Redis on many.
//!
//! [`ShareOptions::connect`] makes a limiter for a batch. The decision is in `rate`; a `RateStore` keeps the state of each rate
//! where all processes can reach it: `file` or `redis`.

mod file;
mod health;
mod limiter;
mod rate;
#[cfg(feature = "redis")]
mod redis;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use health::{AwayError, PlaceHealth};
pub use limiter::ShareOptions;
use rate::{RateReply, RateRequest};

/// Keeps the state of shared rates where several processes can reach it.
trait RateStore: Send + Sync + fmt::Debug {
    /// Changes the state of a rate by one request, and returns the reply. Takes a few seconds at most.
    ///
    /// # Errors
    /// [`ShareError`] if there is no reply; the request may have arrived.
    fn exchange(&self, key: usize, request: &RateRequest) -> Result<RateReply, ShareError>;
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
enum ShareError {
    /// Another program has locked the file.
    Locked(String),
    /// The place cannot be reached, and perhaps can be later.
    Away(String),
    /// The place cannot be used until somebody fixes it.
    Unusable(String),
}

/// The store at a place: a URL is Redis, anything else is a file.
fn store(options: &ShareOptions) -> Result<Arc<dyn RateStore>, ShareError> {
    let ShareOptions { place, names, .. } = options;
    match place.contains("://") {
        true => in_redis(options),
        false => Ok(Arc::new(file::RateFile::new(Path::new(place), names))),
    }
}

#[cfg(feature = "redis")]
fn in_redis(options: &ShareOptions) -> Result<Arc<dyn RateStore>, ShareError> {
    let url = crate::store::RedisUrl::parse(&options.place, options.password.as_deref())?;
    Ok(Arc::new(redis::RedisRates::new(url, &options.names)))
}

#[cfg(not(feature = "redis"))]
fn in_redis(_options: &ShareOptions) -> Result<Arc<dyn RateStore>, ShareError> {
    Err(ShareError::Unusable(
        "this program was built without the feature redis: share a file, or build it with that feature"
            .to_owned(),
    ))
}

/// The name of a shared rate: a hash of the server and the key, 16 hexadecimal digits. It reveals neither.
pub(crate) fn name(server: &str, key: &str) -> String {
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

/// Whole microseconds, the unit of a shared rate.
fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
