//! The Redis that is meant: its address from the arguments, its password from the environment.

use std::env;

use super::error::CommandError;
use crate::store::RedisUrl;

/// The variable with the password.
const PASSWORD: &str = "PACELINE_REDIS_PASSWORD";

pub(super) fn place(address: &str) -> Result<RedisUrl, CommandError> {
    let password = env::var(PASSWORD)
        .ok()
        .filter(|password| !password.is_empty());
    Ok(RedisUrl::parse(address, password.as_deref())?)
}
