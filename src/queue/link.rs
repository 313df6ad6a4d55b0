//! The connection to a queue: its keys, its commands and its scripts.

use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use redis::{Cmd, FromRedisValue, Script, ToRedisArgs};
use serde::de::DeserializeOwned;

use super::status::Status;
use super::{Queue, QueueError};
use crate::cancel::CancelToken;
use crate::journal::Record;
use crate::share::PlaceHealth;
use crate::store::{Link, StoreError};

/// A connection to one queue, for one thread.
#[derive(Debug)]
pub(crate) struct QueueLink {
    pub(super) queue: Queue,
    link: Link,
    keys: [String; 8],
}

/// The consumer group of the prompts. `common.lua` has the same name.
const GROUP: &str = "workers";
/// The longest time for a reply. Longer than any command of this file blocks.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// For a script that takes none.
pub(super) const NO_ARGS: Option<&str> = None;

impl Queue {
    /// A connection of its own.
    pub(crate) fn link(&self) -> QueueLink {
        let keys = [
            "prompts", "records", "seen", "done", "meta", "workers", "last", "failures",
        ];
        QueueLink {
            queue: self.clone(),
            link: Link::new(self.0.clone(), REPLY_WITHIN),
            keys: keys.map(|part| self.0.key(&format!("queue:{part}"))),
        }
    }
}

impl QueueLink {
    /// Asks for something, and asks again while Redis is away.
    ///
    /// # Errors
    /// [`QueueError::Away`]; [`QueueError::Cancelled`]; any error that does not pass.
    pub(crate) fn patiently<T>(
        &mut self,
        outage: &PlaceHealth,
        cancel: &CancelToken,
        mut ask: impl FnMut(&mut Self) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        Ok(outage.call(cancel, QueueError::is_passing, || ask(self))?)
    }

    /// Runs a script on the queue's keys.
    pub(super) fn run<T: FromRedisValue>(
        &mut self,
        script: &Script,
        args: impl ToRedisArgs,
    ) -> Result<T, QueueError> {
        let mut call = script.key(&self.keys[..]);
        let call = call.arg(args);
        let answer = self.link.ask(|connection| call.invoke(connection));
        answer.map_err(|error| self.explain(error))
    }

    /// The state of the queue.
    ///
    /// # Errors
    /// [`QueueError::Gone`] if it does not exist.
    pub(crate) fn status(&mut self) -> Result<Status, QueueError> {
        let json: String = self.run(&script::STATUS, NO_ARGS)?;
        self.parse(&json)
    }

    /// The number of unfinished prompts, and whether a push is in progress.
    pub(super) fn left(&mut self, queue_id: &str) -> Result<(u64, bool), QueueError> {
        self.run(&script::LEFT, queue_id)
    }

    /// Takes the next prompt for this worker, and waits for one for up to `wait`. Without it: all entries that this worker
    /// has taken and not finished, also those whose reply was lost.
    pub(super) fn take(
        &mut self,
        worker: &str,
        wait: Option<Duration>,
    ) -> Result<Vec<StreamId>, QueueError> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg(&["GROUP", GROUP, worker]);
        if let Some(wait) = wait {
            command.arg(&["COUNT", "1", "BLOCK"]).arg(millis(wait));
        }
        let first = if wait.is_some() { ">" } else { "0" };
        self.read(command.arg(&["STREAMS", &self.keys[0], first]))
    }

    /// The records after the entry `last`, which then names the last one of them; 50 at most. Without any, waits for one
    /// for up to `wait`.
    pub(crate) fn records(
        &mut self,
        last: &mut String,
        wait: Option<Duration>,
    ) -> Result<Vec<Record>, QueueError> {
        let mut command = redis::cmd("XREAD");
        command.arg(&["COUNT", "50"]);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(millis(wait));
        }
        let entries = self.read(command.arg(&["STREAMS", &self.keys[1], last]))?;
        let records = entries.iter().map(|entry| self.field(entry, "record"));
        let records = records.collect::<Result<_, _>>()?;
        if let Some(entry) = entries.last() {
            last.clone_from(&entry.id);
        }
        Ok(records)
    }

    fn read(&mut self, command: &Cmd) -> Result<Vec<StreamId>, QueueError> {
        let reply = self.link.ask(|connection| command.query(connection));
        let reply: Option<StreamReadReply> = reply.map_err(|error| self.explain(error))?;
        let streams = reply.map(|reply| reply.keys).unwrap_or_default();
        Ok(streams.into_iter().flat_map(|stream| stream.ids).collect())
    }

    /// A field of an entry, which holds JSON.
    pub(super) fn field<T: DeserializeOwned>(
        &self,
        entry: &StreamId,
        name: &str,
    ) -> Result<T, QueueError> {
        let json: Option<String> = entry.get(name);
        let json = json.ok_or_else(|| self.foreign(format!("an entry without a {name}")))?;
        self.parse(&json)
    }

    fn parse<T: DeserializeOwned>(&self, json: &str) -> Result<T, QueueError> {
        serde_json::from_str(json).map_err(|error| self.foreign(error))
    }

    fn explain(&self, error: StoreError) -> QueueError {
        /// What a script, a command and a wait end with when the queue is gone.
        const GONE: [&str; 3] = ["GONE", "NOGROUP", "UNBLOCKED"];
        match &error {
            StoreError::Refused(_, why) if GONE.iter().any(|code| why.contains(code)) => {
                QueueError::Gone(self.queue.clone())
            }
            _ => QueueError::Store(error),
        }
    }

    /// The error for data that this version cannot read.
    pub(super) fn foreign(&self, problem: impl ToString) -> QueueError {
        QueueError::Foreign {
            queue: self.queue.clone(),
            problem: problem.to_string(),
        }
    }
}

/// In milliseconds, at least 1: `BLOCK 0` would wait for ever.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The scripts that run on the server. Each describes its arguments and its result in its first lines.
pub(super) mod script {
    use std::sync::LazyLock;

    use redis::Script;

    macro_rules! scripts {
        ($($name:ident: $file:literal),* $(,)?) => {
            $(pub(in crate::queue) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(concat!(include_str!("common.lua"), include_str!($file))));)*
        };
    }

    scripts! {
        PUSH: "push.lua",
        PUSHED: "pushed.lua",
        JOIN: "join.lua",
        BEAT: "beat.lua",
        AGAIN: "again.lua",
        STORE: "store.lua",
        HAND_BACK: "hand_back.lua",
        RETRY: "retry.lua",
        STATUS: "status.lua",
        LEFT: "left.lua",
        REMOVE: "remove.lua",
    }
}
