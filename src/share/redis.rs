//! Keeps shared rates in Redis, for the processes of many machines.
//!
//! An exchange reads the state and the server's time, decides, and sets the new state if the old one is still there. If
//! another process was faster, the exchange decides again on what that process left.

use std::time::Duration;

use parking_lot::Mutex;
use redis::Script;

use super::rate::{RateReply, RateRequest, SharedRate};
use super::{RateStore, ShareError};
use crate::store::{Link, RedisUrl, StoreError};

/// A Redis server, and the keys of this process's rates there.
#[derive(Debug)]
pub(super) struct RedisRates {
    url: RedisUrl,
    keys: Vec<String>,
    script: Script,
    /// Idle connections. A thread takes one and puts it back, so that no thread waits for another one's reply.
    links: Mutex<Vec<Link>>,
}

/// The value of a key, as it was at the server's time in microseconds.
struct Found {
    value: String,
    now: u64,
}

impl RedisRates {
    /// Time-out of one reply. Much longer than Redis takes, and short enough to notice soon that it is away.
    const REPLY_WITHIN: Duration = Duration::from_secs(2);
    /// An exchange that another process overtakes this often is given up: the caller comes back after a backoff.
    const TRIES: u32 = 100;

    /// Rates at this URL, one for each of the `names`. It does not connect yet.
    pub(super) fn new(url: RedisUrl, names: &[String]) -> Self {
        let key = |name| url.key(&format!("rate:{name}"));
        RedisRates {
            keys: names.iter().map(key).collect(),
            url,
            script: Script::new(include_str!("compare_and_set.lua")),
            links: Mutex::default(),
        }
    }

    /// Sets the value if `old` is still there; if not, returns what is there.
    fn compare_and_set(
        &self,
        link: &mut Link,
        key: &str,
        old: &str,
        new: &str,
        kept_for: Duration,
    ) -> Result<Option<Found>, StoreError> {
        let mut call = self.script.prepare_invoke();
        call.key(key).arg(old).arg(new);
        call.arg(kept_for.as_millis().max(1) as u64);
        let there: Option<(String, u64, u64)> = link.ask(|connection| call.invoke(connection))?;
        Ok(there.map(|(value, seconds, micros)| Found {
            value,
            now: seconds * 1_000_000 + micros,
        }))
    }

    fn decide(
        &self,
        link: &mut Link,
        key: &str,
        request: &RateRequest,
    ) -> Result<RateReply, ShareError> {
        // No rate has this value, so the first call only reads.
        let mut found = self.compare_and_set(link, key, "-", "", Duration::ZERO)?;
        for _ in 0..Self::TRIES {
            let Some(Found { value, now }) = found else {
                break;
            };
            let rate = match value.is_empty() {
                true => SharedRate::in_place_of_none(now, request),
                false => serde_json::from_str(&value).map_err(|error| self.foreign(key, &error))?,
            };
            let mut next: SharedRate = rate;
            let reply = next.exchange(now, request);
            let kept_for = Duration::from_micros(next.matters_until() - now);
            let text = serde_json::to_string(&next).map_err(|error| self.foreign(key, &error))?;
            found = self.compare_and_set(link, key, &value, &text, kept_for)?;
            if found.is_none() {
                return Ok(reply);
            }
        }
        Err(ShareError::Away(format!(
            "other processes change the rate at {} all the time",
            self.url
        )))
    }

    fn foreign(&self, key: &str, error: &serde_json::Error) -> ShareError {
        ShareError::Unusable(format!(
            "the key {key} in Redis at {} holds no rate that this version can read ({error}): use another ?name=NAME",
            self.url
        ))
    }
}

impl RateStore for RedisRates {
    fn exchange(&self, key: usize, request: &RateRequest) -> Result<RateReply, ShareError> {
        let idle = self.links.lock().pop();
        let mut link = idle.unwrap_or_else(|| Link::new(self.url.clone(), Self::REPLY_WITHIN));
        let reply = self.decide(&mut link, &self.keys[key], request);
        self.links.lock().push(link);
        reply
    }
}

impl From<StoreError> for ShareError {
    fn from(error: StoreError) -> Self {
        match error.is_passing() {
            true => ShareError::Away(error.to_string()),
            false => ShareError::Unusable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
