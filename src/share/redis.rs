//! One rate for the processes of many machines. Each exchange is one call of a Lua script, by the server's clock.

use std::time::Duration;

use parking_lot::Mutex;
use redis::{Connection, RedisResult, Script};

use super::{Board, BoardError, Claim, RosterReply, RosterRequest, Want};
use crate::store::{Link, RedisUrl, StoreError};

/// A Redis server, and the names of this process's keys there.
#[derive(Debug)]
pub struct RedisBoard {
    place: RedisUrl,
    keys: Vec<String>,
    script: Script,
    /// Idle connections. A thread takes one and puts it back, so that no thread waits for another one's reply.
    links: Mutex<Vec<Link>>,
}

impl RedisBoard {
    /// Time-out of an exchange.
    const ANSWER_WITHIN: Duration = Duration::from_secs(2);

    /// A board at this place, with one key for each of the `names`. It does not connect yet.
    #[must_use]
    pub fn new(place: RedisUrl, names: &[String]) -> Self {
        let keys = names
            .iter()
            .map(|name| place.key(&format!("pace:{name}")))
            .collect();
        let script = Script::new(include_str!("pace.lua"));
        RedisBoard {
            place,
            keys,
            script,
            links: Mutex::default(),
        }
    }

    fn call(
        &self,
        connection: &mut Connection,
        key: usize,
        request: &RosterRequest,
        now: u64,
    ) -> RedisResult<RosterReply> {
        let mut call = self.script.prepare_invoke();
        call.key(&self.keys[key]);
        for argument in arguments(request, now) {
            call.arg(argument);
        }
        call.invoke(connection).map(reply)
    }
}

impl Board for RedisBoard {
    fn exchange(&self, key: usize, request: &RosterRequest) -> Result<RosterReply, BoardError> {
        let idle = self.links.lock().pop();
        let mut link = idle.unwrap_or_else(|| Link::new(self.place.clone(), Self::ANSWER_WITHIN));
        let answer = link.ask(|connection| self.call(connection, key, request, 0));
        match &answer {
            Ok(_) => self.links.lock().push(link),
            Err(_) => self.links.lock().clear(), // an error of one connection affects all
        }
        answer.map_err(|error: StoreError| match error.is_passing() {
            true => BoardError::Away(error.to_string()),
            false => BoardError::Useless(error.to_string()),
        })
    }
}

/// The arguments of the script.
fn arguments(request: &RosterRequest, now: u64) -> [u64; 10] {
    let claim = request.claim.unwrap_or_default();
    let want = match request.want {
        Want::Look => 0,
        Want::Pass { and_next } => 1 + u64::from(and_next),
        Want::GiveBack => 3,
    };
    [
        request.step,
        request.slack,
        claim.serial,
        claim.at,
        claim.shift,
        claim.pauses,
        want,
        request.pause.unwrap_or(0),
        request.late.unwrap_or(0),
        now,
    ]
}

fn reply(numbers: [u64; 10]) -> RosterReply {
    let [
        passed,
        serial,
        at,
        shift,
        claimed_pauses,
        due_in,
        paused_for,
        pauses,
        began,
        step,
    ] = numbers;
    let claim = (serial > 0).then_some(Claim {
        serial,
        at,
        shift,
        pauses: claimed_pauses,
    });
    let passed = (passed > 0).then_some(passed);
    RosterReply {
        passed,
        claim,
        due_in,
        paused_for,
        pauses,
        began: began > 0,
        step,
    }
}

#[cfg(test)]
mod tests;
