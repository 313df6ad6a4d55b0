//! The Redis that is meant: its address from the arguments, its password from the environment.

use std::env;

#[cfg(feature = "redis")]
use super::error::CommandError;
#[cfg(feature = "redis")]
use crate::store::RedisUrl;

/// The password, which is not an argument because every user of the machine can see those.
pub(super) fn password() -> Option<String> {
    let password = env::var("PACELINE_REDIS_PASSWORD").ok();
    password.filter(|password| !password.is_empty())
}

#[cfg(feature = "redis")]
pub(super) fn url(address: &str) -> Result<RedisUrl, CommandError> {
    Ok(RedisUrl::parse(address, password().as_deref())?)
}
