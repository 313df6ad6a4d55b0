//! Which Redis is meant: the address from the arguments, the password from the environment.

use std::env;

use super::unusable::Unusable;
use crate::store::Place;

/// Where the password is.
const PASSWORD: &str = "PACELINE_REDIS_PASSWORD";

pub(super) fn place(address: &str) -> Result<Place, Unusable> {
    let password = env::var(PASSWORD)
        .ok()
        .filter(|password| !password.is_empty());
    Ok(Place::parse(address, password.as_deref())?)
}
