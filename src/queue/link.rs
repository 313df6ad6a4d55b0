//! A connection to a queue's server, and what is asked over it.

use std::time::Duration;

use redis::streams::{StreamId, StreamReadReply};
use redis::{Connection, FromRedisValue, RedisResult, Script};

use super::QueueError;
use super::status::Status;
use crate::store::{self, Place, StoreError};

/// A connection to one queue.
#[derive(Debug)]
pub(super) struct Link {
    link: store::Link,
    keys: [String; 8],
}

/// The consumer group; the scripts know it by this name, too.
const GROUP: &str = "workers";
/// An answer takes no longer, beyond what it was asked to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Link {
    pub(super) fn to(place: Place) -> Self {
        let keys = [
            "prompts", "records", "seen", "done", "meta", "workers", "last", "failures",
        ];
        let keys = keys.map(|part| place.key(&format!("queue:{part}")));
        Link {
            link: store::Link::new(place, ANSWER_WITHIN),
            keys,
        }
    }

    pub(super) fn place(&self) -> &Place {
        self.link.place()
    }

    /// Runs a script on the queue's keys.
    pub(super) fn run<T: FromRedisValue>(
        &mut self,
        script: &Script,
        args: &[&[u8]],
    ) -> Result<T, QueueError> {
        let mut call = script.prepare_invoke();
        self.keys.iter().for_each(|key| {
            call.key(key);
        });
        args.iter().for_each(|arg| {
            call.arg(*arg);
        });
        self.ask(|connection| call.invoke(connection))
    }

    /// How the queue stands; none if there is none.
    pub(super) fn status(&mut self) -> Result<Option<Status>, QueueError> {
        let row: Option<_> = self.run(&script::STATUS, &[])?;
        Ok(row.map(Status::of))
    }

    /// How many prompts are not finished, and whether more are being put in.
    pub(super) fn left(&mut self) -> Result<(u64, bool), QueueError> {
        let left: Option<_> = self.run(&script::LEFT, &[])?;
        left.ok_or_else(|| self.removed())
    }

    /// The next prompt for this worker. Waits for one so long.
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

    /// All that this worker has taken and not finished, whether it knows of it or not.
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

    /// The records after this one; waits so long if there is none yet.
    pub(super) fn records(
        &mut self,
        after: &str,
        wait: Option<Duration>,
    ) -> Result<Vec<StreamId>, QueueError> {
        const AT_ONCE: usize = 50;
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(AT_ONCE);
        wait.iter().for_each(|wait| {
            command.arg("BLOCK").arg(millis(*wait));
        });
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

    pub(super) fn removed(&self) -> QueueError {
        QueueError::Removed(self.place().clone().into())
    }

    pub(super) fn foreign(&self, problem: impl ToString) -> QueueError {
        QueueError::Foreign {
            queue: self.place().clone().into(),
            problem: problem.to_string(),
        }
    }
}

/// Longer than nothing, which would mean for ever.
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

/// What is run on the server. Each says at its head what it does, takes and returns.
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
