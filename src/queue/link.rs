//! The connection to a queue: its keys, its commands and its scripts. Retrying is left to `health`.

use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use redis::{Connection, FromRedisValue, RedisResult, Script};

use super::QueueError;
use super::status::Status;
use crate::store::{self, RedisUrl, StoreError};

/// A connection to one queue, for one thread.
#[derive(Debug)]
pub(super) struct QueueLink {
    link: store::Link,
    keys: [String; 8],
}

/// The consumer group of the prompts. `common.lua` has the same name.
const GROUP: &str = "workers";
/// The longest time for a reply. Longer than any command of this file blocks.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

impl QueueLink {
    pub(super) fn to(url: RedisUrl) -> Self {
        let keys = [
            "prompts", "records", "seen", "done", "meta", "workers", "last", "failures",
        ];
        let keys = keys.map(|part| url.key(&format!("queue:{part}")));
        QueueLink {
            link: store::Link::new(url, REPLY_WITHIN),
            keys,
        }
    }

    pub(super) fn url(&self) -> &RedisUrl {
        self.link.url()
    }

    /// Runs a script on the queue's keys.
    pub(super) fn run<T: FromRedisValue>(
        &mut self,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<T, QueueError> {
        let mut call = script.prepare_invoke();
        for key in &self.keys {
            call.key(key);
        }
        for arg in args {
            call.arg(*arg);
        }
        self.ask(|connection| call.invoke(connection))
    }

    /// The state of the queue; `None` if it does not exist.
    pub(super) fn status(&mut self) -> Result<Option<Status>, QueueError> {
        let row: Option<_> = self.run(&script::STATUS, &[])?;
        Ok(row.map(Status::of))
    }

    /// The number of unfinished prompts, and whether a push is in progress.
    pub(super) fn left(&mut self) -> Result<(u64, bool), QueueError> {
        let left: Option<_> = self.run(&script::LEFT, &[])?;
        left.ok_or_else(|| self.removed())
    }

    /// Takes the next prompt for this worker; waits for one for up to `wait`.
    pub(super) fn take(
        &mut self,
        worker: &str,
        wait: Duration,
    ) -> Result<Vec<StreamId>, QueueError> {
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(GROUP)
            .arg(worker)
            .arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(millis(wait));
        command.arg("STREAMS").arg(&self.keys[0]).arg(">");
        Ok(entries(self.ask(|connection| command.query(connection))?))
    }

    /// All entries that this worker has taken and not finished, also those whose reply was lost.
    pub(super) fn taken(&mut self, worker: &str) -> Result<Vec<StreamId>, QueueError> {
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(GROUP)
            .arg(worker)
            .arg("STREAMS")
            .arg(&self.keys[0])
            .arg("0");
        Ok(entries(self.ask(|connection| command.query(connection))?))
    }

    /// The records after the entry `after`, 50 at most. Without any, waits for one for up to `wait`.
    pub(super) fn records(
        &mut self,
        after: &str,
        wait: Option<Duration>,
    ) -> Result<Vec<StreamId>, QueueError> {
        const AT_ONCE: usize = 50;
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(AT_ONCE);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(millis(wait));
        }
        command.arg("STREAMS").arg(&self.keys[1]).arg(after);
        Ok(entries(self.ask(|connection| command.query(connection))?))
    }

    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut Connection) -> RedisResult<T>,
    ) -> Result<T, QueueError> {
        self.link.ask(ask).map_err(|error| match &error {
            StoreError::Refused { why, .. } if why.contains("NOGROUP") => self.removed(),
            _ => QueueError::Store(error),
        })
    }

    /// The error for a queue that no longer exists.
    pub(super) fn removed(&self) -> QueueError {
        QueueError::Removed(self.url().clone().into())
    }

    /// The error for data that this version cannot read.
    pub(super) fn foreign(&self, problem: impl ToString) -> QueueError {
        QueueError::Foreign {
            queue: self.url().clone().into(),
            problem: problem.to_string(),
        }
    }
}

/// In milliseconds, at least 1: `BLOCK 0` would wait for ever.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn entries(reply: Option<StreamReadReply>) -> Vec<StreamId> {
    let streams = reply.map(|reply| reply.keys).unwrap_or_default();
    streams.into_iter().flat_map(|stream| stream.ids).collect()
}

/// A field of an entry, as text.
pub(super) fn field(entry: &StreamId, name: &str) -> Option<String> {
    entry
        .map
        .get(name)
        .and_then(|value| String::from_redis_value_ref(value).ok())
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
