//! A worker of a queue: it provides the prompts, stores the records, and sends heartbeats. Making the calls is left to
//! `batch`.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use log::{debug, info, warn};
use parking_lot::Mutex;
use redis::streams::StreamId;

use super::health::{ConnectionHealth, Role};
use super::link::{QueueLink, script};
use super::taken::TakenPrompts;
use super::{Queue, QueueError};
use crate::batch::Guard;
use crate::cancel::{CancelToken, WaitError};
use crate::journal::{JournalError, Record, RecordId};
use crate::prompts::{Prompt, PromptError};
use crate::store::StoreError;

/// The options of a worker: plain data.
#[derive(Clone, Debug)]
pub(crate) struct JoinOptions {
    /// The name of the worker, which must be unique.
    pub(crate) name: String,
    /// The request that it sends for an empty prompt: all workers of a queue send the same.
    pub(crate) request: String,
    /// Whether it has a model to send prompts to; if not, each prompt needs its own request body.
    pub(crate) has_model: bool,
    /// Join even if the other workers send another request.
    pub(crate) keep: bool,
    /// When its last heartbeat is this old, other workers hand on its prompts.
    pub(crate) claim_after: Duration,
    /// Stay when the queue is empty, and wait for more prompts.
    pub(crate) stay: bool,
    /// How long Redis may be away before the worker gives up.
    pub(crate) patience: Duration,
}

/// One process that works on a queue.
#[derive(Debug)]
pub(crate) struct Worker {
    queue: Queue,
    options: JoinOptions,
    taken: Mutex<TakenPrompts>,
    health: ConnectionHealth,
    /// The token of the batch, cancelled when the worker cannot continue.
    cancel: CancelToken,
    dropped: AtomicU64,
    lost: Mutex<Option<QueueError>>,
}

impl Queue {
    /// Joins the workers of this queue. The worker cancels `cancel` when it cannot continue.
    ///
    /// # Errors
    /// [`QueueError::Missing`] if the queue does not exist; [`QueueError::OtherRequest`] if the other workers send another
    /// request; [`QueueError::Store`].
    pub(crate) fn join(
        &self,
        options: JoinOptions,
        cancel: CancelToken,
    ) -> Result<Worker, QueueError> {
        let worker = Worker {
            queue: self.clone(),
            health: ConnectionHealth::new(self.0.clone(), options.patience),
            options,
            taken: Mutex::default(),
            cancel,
            dropped: AtomicU64::new(0),
            lost: Mutex::default(),
        };
        let alive_for = worker.alive_for();
        let request = &worker.options.request;
        let keep: &[u8] = if worker.options.keep { b"1" } else { b"0" };
        let args = [
            worker.name(),
            alive_for.as_bytes(),
            request.as_bytes(),
            keep,
        ];
        let theirs: Option<String> = self.link().run(&script::JOIN, &args)?;
        match theirs {
            None => Err(QueueError::Missing(self.clone())),
            Some(theirs) if theirs.is_empty() => Ok(worker),
            Some(theirs) => Err(QueueError::OtherRequest {
                theirs,
                ours: worker.options.request,
            }),
        }
    }
}

impl Worker {
    /// How long one request waits for a prompt. After it, the worker checks whether the queue is done.
    const WAIT: Duration = Duration::from_millis(250);
    /// How soon a worker notices that its batch was cancelled.
    const TICK: Duration = Duration::from_millis(100);
    /// How often a worker checks that the queue still exists, at least.
    const CHECK: Duration = Duration::from_secs(1);

    /// Sends heartbeats while `work` runs; then hands back the prompts that are left, and leaves the queue.
    pub(crate) fn while_alive<T>(&self, work: impl FnOnce() -> T) -> T {
        let over = CancelToken::on(self.cancel.clock().clone());
        let done = thread::scope(|scope| {
            scope.spawn(|| {
                if let Err(error) = self.beat(&over) {
                    self.give_up(error);
                }
            });
            let done = work();
            over.cancel();
            done
        });
        self.leave();
        done
    }

    /// The prompts of the queue, each taken when it is asked for. Ends when the queue has no unfinished prompt, unless the
    /// worker is to stay, or when the batch is cancelled.
    pub(crate) fn prompts(&self) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
        let mut feed = PromptFeed {
            worker: self,
            link: self.queue.link(),
            fetched: VecDeque::new(),
            lost_reply: false,
        };
        std::iter::from_fn(move || {
            feed.next().unwrap_or_else(|error| {
                self.give_up(error);
                None
            })
        })
    }

    /// Stores records for the batch, one at a time: each is stored and its prompt removed from the queue, both or neither.
    /// Waits while Redis is away.
    ///
    /// # Errors
    /// Of the function: [`JournalError::Write`] if the queue is gone, or Redis has been away for longer than the patience.
    pub(crate) fn sink(&self) -> impl FnMut(&Record) -> Result<(), JournalError> + Send {
        let mut link = self.queue.link();
        move |record| {
            self.store(&mut link, record).map_err(|error| {
                let written = self.cannot_write(&error);
                self.give_up(error);
                written
            })
        }
    }

    /// The number of this worker's records that were dropped because another worker was first.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The error of the queue that stopped the worker, if any, and whether the queue is gone with all that was in it.
    pub(crate) fn lost(&self) -> Option<(JournalError, bool)> {
        let lost = self.lost.lock();
        let error = lost.as_ref()?;
        let is_gone = matches!(error, QueueError::Removed(_));
        Some((self.cannot_write(error), is_gone))
    }

    fn name(&self) -> &[u8] {
        self.options.name.as_bytes()
    }

    /// For how many milliseconds a heartbeat counts.
    fn alive_for(&self) -> String {
        self.options.claim_after.as_millis().to_string()
    }

    fn cannot_write(&self, error: &QueueError) -> JournalError {
        JournalError::Write {
            to: format!("the queue {}", self.queue),
            source: io::Error::other(error.to_string()),
        }
    }

    fn store(&self, link: &mut QueueLink, record: &Record) -> Result<(), QueueError> {
        let id: RecordId = record.id.parse().map_err(|error| link.foreign(error))?;
        let entry = self.taken.lock().entry(id.line);
        let entry = entry.unwrap_or_else(|| "0-0".to_owned());
        let json = serde_json::to_vec(record).map_err(|error| link.foreign(error))?;
        let line = id.line.to_string();
        let answered: &[u8] = if record.text.is_some() { b"1" } else { b"0" };
        let args = [
            self.name(),
            entry.as_bytes(),
            line.as_bytes(),
            answered,
            &json,
        ];
        // Not cancelled with the batch: an answer that was paid for is kept until it can be stored.
        let never = CancelToken::on(self.cancel.clock().clone());
        let store = || link.run(&script::STORE, &args);
        match self.health.call(Role::Store, &never, store)? {
            -1 => return Err(link.removed()),
            0 => {
                let id = &record.custom_id;
                info!("another worker finished {id} first: this record is dropped");
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.taken.lock().finish(id.line);
        Ok(())
    }

    /// Keeps the first error, and stops the batch.
    fn give_up(&self, error: QueueError) {
        if !matches!(error, QueueError::Store(StoreError::Cancelled)) {
            self.lost.lock().get_or_insert(error);
            self.cancel.cancel();
        }
    }

    /// Sends heartbeats until `over` is cancelled. Once the batch is cancelled, hands back the prompts that have not begun.
    fn beat(&self, over: &CancelToken) -> Result<(), QueueError> {
        let now = || over.clock().now();
        let mut link = self.queue.link();
        let mut handed_back = false;
        let beat = self.options.claim_after / 4;
        let check = beat.min(Self::CHECK);
        let mut next_beat = now();
        let mut next_check = now();
        while over.sleep(Self::TICK.min(check)).is_ok() {
            if self.cancel.is_cancelled() && !handed_back {
                handed_back = true;
                self.hand_back(&mut link, over)?;
            } else if now() >= next_beat {
                next_beat = now() + beat;
                self.heartbeat(&mut link, over)?;
            } else if now() >= next_check {
                next_check = now() + check;
                self.health.call(Role::Beat, over, || link.left())?;
            }
        }
        Ok(())
    }

    fn heartbeat(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let alive_for = self.alive_for();
        let args = [self.name(), alive_for.as_bytes()];
        let beat = || link.run(&script::BEAT, &args);
        match self.health.call(Role::Beat, over, beat)? {
            -1 => return Err(link.removed()),
            0 => {}
            handed_on => {
                info!("a worker sends no heartbeats: {handed_on} of its prompts are handed on");
            }
        }
        Ok(())
    }

    fn hand_back(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let entries = self.taken.lock().close();
        if !entries.is_empty() {
            let mut args = vec![self.name()];
            args.extend(entries.iter().map(|entry| entry.as_bytes()));
            let hand_back = || link.run(&script::HAND_BACK, &args);
            let back: i64 = self.health.call(Role::Beat, over, hand_back)?;
            debug!("{back} prompts are handed back");
        }
        Ok(())
    }

    /// Hands back all that is left, and leaves. If that fails, other workers hand it on when the heartbeats are overdue.
    fn leave(&self) {
        /// `hand_back.lua` hands back this many at a time.
        const CHUNK: i64 = 200;
        let mut link = self.queue.link();
        loop {
            match link.run::<i64>(&script::HAND_BACK, &[self.name()]) {
                Ok(CHUNK..) => {}
                Ok(_) => return,
                Err(error) => {
                    let after = self.options.claim_after;
                    return warn!(
                        "cannot leave the queue: {error}; other workers take its prompts after {after:?}"
                    );
                }
            }
        }
    }
}

impl Guard for Worker {
    /// Calls wait while Redis is away: their answers could not be stored.
    fn ready(&self, cancel: &CancelToken) -> Result<(), WaitError> {
        /// How soon calls continue once Redis is back.
        const TICK: Duration = Duration::from_millis(50);
        while self.health.is_away() {
            cancel.sleep(TICK)?;
        }
        cancel.check()
    }

    fn begin(&self, prompt: &Prompt) -> bool {
        !self.health.is_away() && self.taken.lock().begin(prompt.line)
    }

    fn failed(&self, prompt: &Prompt) {
        self.taken.lock().failed(prompt.line);
    }
}

/// Takes prompts from the queue, one by one.
struct PromptFeed<'a> {
    worker: &'a Worker,
    link: QueueLink,
    /// Entries that were taken and not passed on yet.
    fetched: VecDeque<StreamId>,
    /// A reply may have been lost, and entries with it: the queue must be asked for them.
    lost_reply: bool,
}

impl PromptFeed<'_> {
    /// The next prompt; `None` when no more will come.
    fn next(&mut self) -> Result<Option<Result<Prompt, PromptError>>, QueueError> {
        while !self.worker.cancel.is_cancelled() {
            if self.fetched.is_empty() {
                self.fetch()?;
            }
            let Some(entry) = self.fetched.pop_front() else {
                if self.is_over()? {
                    break;
                }
                continue;
            };
            if let Some(prompt) = self.accept(&entry)? {
                let is_usable = prompt.body.is_some() || self.worker.options.has_model;
                let no_body = PromptError::no_model(prompt.line);
                return Ok(Some(if is_usable { Ok(prompt) } else { Err(no_body) }));
            }
        }
        Ok(None)
    }

    /// Takes one new prompt, or, after a broken connection, all entries of this worker whose reply was lost.
    fn fetch(&mut self) -> Result<(), QueueError> {
        let PromptFeed {
            worker,
            link,
            fetched,
            lost_reply,
        } = self;
        let name = &worker.options.name;
        let entries = worker.health.call(Role::Take, &worker.cancel, || {
            let reply = match *lost_reply {
                true => link.taken(name),
                false => link.take(name, Worker::WAIT),
            };
            *lost_reply |= reply.is_err();
            reply
        })?;
        *lost_reply = false;
        let taken = worker.taken.lock();
        fetched.extend(entries.into_iter().filter(|entry| !taken.has(&entry.id)));
        Ok(())
    }

    /// The prompt of an entry, if it is unfinished and this worker has not taken it before.
    fn accept(&mut self, entry: &StreamId) -> Result<Option<Prompt>, QueueError> {
        let prompt: Prompt = self.link.field(entry, "prompt")?;
        let was_handed_on = entry.contains_key("again");
        if was_handed_on && !self.is_unfinished(entry, prompt.line)? {
            return Ok(None);
        }
        let is_new = self.worker.taken.lock().take(prompt.line, entry.id.clone());
        Ok(is_new.then_some(prompt))
    }

    /// Whether a prompt that was handed on has no record yet. If it has one, its entry is removed.
    fn is_unfinished(&mut self, entry: &StreamId, line: u64) -> Result<bool, QueueError> {
        let line = line.to_string();
        let args = [entry.id.as_bytes(), line.as_bytes()];
        let unfinished: u64 = self.call(|link| link.run(&script::AGAIN, &args))?;
        Ok(unfinished > 0)
    }

    /// Whether no more prompts will come.
    fn is_over(&mut self) -> Result<bool, QueueError> {
        if self.worker.options.stay {
            return Ok(false);
        }
        let (left, pushing) = self.call(QueueLink::left)?;
        Ok(left == 0 && !pushing)
    }

    fn call<T>(
        &mut self,
        ask: impl Fn(&mut QueueLink) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let health = &self.worker.health;
        health.call(Role::Take, &self.worker.cancel, || ask(&mut self.link))
    }
}
