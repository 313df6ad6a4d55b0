//! One pace for the processes of many machines: each message is one Lua script, one round trip, on the server's clock.

use std::time::Duration;

use parking_lot::Mutex;
use redis::{Connection, RedisResult, Script};

use super::{Board, BoardError, Claim, RosterReply, RosterRequest, Want};
use crate::store::{Link, Place, StoreError};

/// A Redis, and the keys of the lanes there.
#[derive(Debug)]
pub struct RedisBoard {
    place: Place,
    keys: Vec<String>,
    script: Script,
    /// Those that nobody is using: a thread takes one and brings it back, so that none waits for another's answer.
    links: Mutex<Vec<Link>>,
}

impl RedisBoard {
    /// A message takes no longer than this.
    const ANSWER_WITHIN: Duration = Duration::from_secs(2);

    /// A board at this place, with a key for each of these names. Nobody is asked yet.
    #[must_use]
    pub fn new(place: Place, names: &[String]) -> Self {
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
        arguments(request, now).iter().for_each(|argument| {
            call.arg(*argument);
        });
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
            Err(_) => self.links.lock().clear(), // what broke one broke all
        }
        answer.map_err(|error: StoreError| match error.is_passing() {
            true => BoardError::Away(error.to_string()),
            false => BoardError::Useless(error.to_string()),
        })
    }
}

/// As the script reads them.
fn arguments(request: &RosterRequest, now: u64) -> [u64; 10] {
    let claim = request.claim.unwrap_or_default();
    let want = match request.want {
        Want::Look => 0,
        Want::Pass { and_next } => 1 + u64::from(and_next),
        Want::GiveBack => 3,
    };
    let (pause, late) = (request.pause.unwrap_or(0), request.late.unwrap_or(0));
    [
        request.step,
        request.slack,
        claim.serial,
        claim.at,
        claim.shift,
        claim.pauses,
        want,
        pause,
        late,
        now,
    ]
}

fn reply(numbers: [u64; 10]) -> RosterReply {
    let [
        passed,
        serial,
        at,
        shift,
        claimed_holds,
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
        pauses: claimed_holds,
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
