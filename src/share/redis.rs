//! Keeps shared rates in Redis, for the processes of many machines.
//!
//! Each exchange is one call of a script that decides on the server, by its clock, as [`SharedRate`](super::rate::SharedRate)
//! does. A test compares the two. The measured reason for the twin: when Redis only compared and set what this process
//! had decided, four processes took 11,000 permits a second in place of 28,000, the slowest in a hundred waited 3 ms in
//! place of 0.3 ms, and a thousand processes used 5 % of a rate of 60,000 a minute in place of 85 %
//! (`cargo bench --bench shared`, two cores).

use std::time::Duration;

use parking_lot::Mutex;
use redis::Script;

use super::rate::{Purpose, RateReply, RateRequest, Reservation};
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

impl RedisRates {
    /// Time-out of an exchange. Much longer than Redis takes, and short enough to notice soon that it is away.
    const REPLY_WITHIN: Duration = Duration::from_secs(2);

    /// Rates at this URL, one for each of the `names`. It does not connect yet.
    pub(super) fn new(url: RedisUrl, names: &[String]) -> Self {
        let key = |name| url.key(&format!("rate:{name}"));
        RedisRates {
            keys: names.iter().map(key).collect(),
            url,
            script: Script::new(include_str!("rate.lua")),
            links: Mutex::default(),
        }
    }

    /// One call of the script; `now` is the time for tests, 0 for the server's.
    fn call(
        &self,
        link: &mut Link,
        key: usize,
        request: &RateRequest,
        now: u64,
    ) -> Result<RateReply, StoreError> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.keys[key]);
        for argument in arguments(request, now) {
            call.arg(argument);
        }
        link.ask(|connection| call.invoke(connection)).map(reply)
    }
}

impl RateStore for RedisRates {
    fn exchange(&self, key: usize, request: &RateRequest) -> Result<RateReply, ShareError> {
        let idle = self.links.lock().pop();
        let mut link = idle.unwrap_or_else(|| Link::new(self.url.clone(), Self::REPLY_WITHIN));
        let reply = self.call(&mut link, key, request, 0);
        self.links.lock().push(link);
        Ok(reply?)
    }
}

/// The arguments of the script.
fn arguments(request: &RateRequest, now: u64) -> [u64; 10] {
    let reserved = request.reserved.unwrap_or_default();
    let ask = match request.ask {
        Purpose::Look => 0,
        Purpose::Permit { and_next } => 1 + u64::from(and_next),
        Purpose::GiveBack => 3,
    };
    [
        request.interval,
        request.slack,
        reserved.serial,
        reserved.at,
        reserved.delay,
        reserved.pauses,
        ask,
        request.pause.unwrap_or(0),
        request.late.unwrap_or(0),
        now,
    ]
}

/// The reply of the script, whose numbers are in this order.
fn reply(numbers: [u64; 10]) -> RateReply {
    let mut numbers = numbers.into_iter();
    let mut next = || numbers.next().unwrap_or_default();
    let taken = next();
    let reserved = Reservation {
        serial: next(),
        at: next(),
        delay: next(),
        pauses: next(),
    };
    RateReply {
        taken: (taken > 0).then_some(taken),
        reserved: (reserved.serial > 0).then_some(reserved),
        due_in: next(),
        paused_for: next(),
        pauses: next(),
        began: next() > 0,
        interval: next(),
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
