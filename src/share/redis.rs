//! Keeps shared rates in Redis, for the processes of many machines.
//!
//! An exchange reads the state and the server's time, decides, and sets the new state if the old one is still there. If
//! another process was faster, it begins again after a jittered delay. A request that changes nothing sets nothing.

use std::time::Duration;

use parking_lot::Mutex;
use redis::Script;

use super::rate::{RateReply, RateRequest, SharedRate};
use super::{RateStore, ShareError};
use crate::backoff::{Backoff, Jitter};
use crate::clock::{Clock, SystemClock};
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

impl RedisRates {
    /// Time-out of one reply. Much longer than Redis takes, and short enough to notice soon that it is away.
    const REPLY_WITHIN: Duration = Duration::from_secs(2);
    /// An exchange that another process overtakes this often is given up: the caller comes back after a backoff.
    const TRIES: usize = 100;
    /// The delay after a lost race: about as long as an exchange at first. Its jitter sends the losers one by one.
    const AFTER_LOSS: Backoff = Backoff::new()
        .base(Duration::from_micros(100))
        .max(Duration::from_millis(20))
        .jitter(Jitter::Full);

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

    /// The value, and the server's time in microseconds.
    fn look(link: &mut Link, key: &str) -> Result<(String, u64), StoreError> {
        let mut look = redis::pipe();
        look.cmd("TIME").cmd("GET").arg(key);
        let found = link.ask(|connection| look.query(connection));
        let ((seconds, micros), value): ((u64, u64), Option<String>) = found?;
        Ok((value.unwrap_or_default(), seconds * 1_000_000 + micros))
    }

    fn decide(
        &self,
        link: &mut Link,
        key: &str,
        request: &RateRequest,
    ) -> Result<RateReply, ShareError> {
        for delay in Self::AFTER_LOSS.delays(rand::random()).take(Self::TRIES) {
            let (value, now) = Self::look(link, key)?;
            let before = match value.is_empty() {
                true => SharedRate::in_place_of_none(now, request),
                false => serde_json::from_str(&value).map_err(|error| self.foreign(key, &error))?,
            };
            let mut rate = before;
            let reply = rate.exchange(now, request);
            if !value.is_empty() && !rate.is_news_after(&before) {
                return Ok(reply);
            }
            let text = serde_json::to_string(&rate).map_err(|error| self.foreign(key, &error))?;
            let kept_for = rate.matters_until().saturating_sub(now) / 1000 + 1;
            let mut set = self.script.prepare_invoke();
            set.key(key).arg(&value).arg(text).arg(kept_for);
            if link.ask(|connection| set.invoke(connection))? {
                return Ok(reply);
            }
            SystemClock.sleep_until(SystemClock.now() + delay);
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
