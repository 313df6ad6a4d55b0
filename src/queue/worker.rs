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

use super::entry;
use super::health::{ConnectionHealth, Role};
use super::held::HeldPrompts;
use super::link::{QueueLink, field, script};
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
    held: Mutex<HeldPrompts>,
    health: ConnectionHealth,
    /// The link for storing records; taken out while it is used, so that no lock is held over a wait.
    storing: Mutex<Option<QueueLink>>,
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
        let mut link = self.link();
        let alive_for = options.claim_after.as_millis().to_string();
        let keep: &[u8] = if options.keep { b"1" } else { b"0" };
        let args = [
            options.name.as_bytes(),
            alive_for.as_bytes(),
            options.request.as_bytes(),
            keep,
        ];
        let theirs: Option<String> = link.run(&script::JOIN, &args)?;
        let theirs = theirs.ok_or_else(|| self.missing())?;
        if !theirs.is_empty() {
            return Err(QueueError::OtherRequest {
                theirs,
                ours: options.request,
            });
        }
        Ok(Worker {
            queue: self.clone(),
            health: ConnectionHealth::new(self.url.clone(), options.patience),
            options,
            held: Mutex::default(),
            storing: Mutex::new(Some(link)),
            cancel,
            dropped: AtomicU64::new(0),
            lost: Mutex::default(),
        })
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
            scope.spawn(|| self.beat(&over));
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
            taken: VecDeque::new(),
            lost_reply: false,
        };
        std::iter::from_fn(move || {
            feed.next().unwrap_or_else(|error| {
                self.give_up(error);
                None
            })
        })
    }

    /// Stores a record and removes its prompt from the queue, both or neither. Waits while Redis is away.
    ///
    /// # Errors
    /// [`JournalError::Write`] if the queue is gone, or Redis has been away for longer than the patience.
    pub(crate) fn store(&self, record: &Record) -> Result<(), JournalError> {
        self.try_store(record)
            .map_err(|error| self.cannot_write(error))
    }

    /// The number of this worker's records that were dropped because another worker was first.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The error of the queue that stopped the worker, if any. Returns it once.
    pub(crate) fn lost(&self) -> Option<JournalError> {
        self.lost
            .lock()
            .take()
            .map(|error| self.cannot_write(error))
    }

    fn cannot_write(&self, error: impl ToString) -> JournalError {
        let to = format!("the queue {}", self.queue.named());
        JournalError::Write {
            to,
            source: io::Error::other(error.to_string()),
        }
    }

    fn try_store(&self, record: &Record) -> Result<(), QueueError> {
        let stored = self.storing.lock().take();
        let mut link = stored.unwrap_or_else(|| self.queue.link());
        let done = self.store_by(&mut link, record);
        *self.storing.lock() = Some(link);
        done
    }

    fn store_by(&self, link: &mut QueueLink, record: &Record) -> Result<(), QueueError> {
        let id: RecordId = record.id.parse().map_err(|error| link.foreign(error))?;
        let entry = self.held.lock().entry(id.line);
        let entry = entry.unwrap_or_else(|| "0-0".to_owned());
        let json = serde_json::to_string(record).map_err(|error| link.foreign(error))?;
        let line = id.line.to_string();
        let answered: &[u8] = if record.text.is_some() { b"1" } else { b"0" };
        let args = [
            self.options.name.as_bytes(),
            entry.as_bytes(),
            line.as_bytes(),
            answered,
            json.as_bytes(),
        ];
        // Not cancelled with the batch: an answer that was paid for is kept until it can be stored.
        let never = CancelToken::on(self.cancel.clock().clone());
        let stored = self
            .health
            .call(Role::Store, &never, || link.run(&script::STORE, &args))?;
        match stored {
            -1 => return Err(link.removed()),
            0 => {
                let id = &record.custom_id;
                info!("another worker finished {id} first: this record is dropped");
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.held.lock().finish(id.line);
        Ok(())
    }

    /// Keeps the first error, and stops the batch.
    fn give_up(&self, error: QueueError) {
        if matches!(error, QueueError::Store(StoreError::Cancelled)) {
            return;
        }
        self.lost.lock().get_or_insert(error);
        self.cancel.cancel();
    }

    /// Sends heartbeats until `over` is cancelled. Once the batch is cancelled, hands back the prompts that have not begun.
    fn beat(&self, over: &CancelToken) {
        let now = || over.clock().now();
        let mut link = self.queue.link();
        let mut handed_back = false;
        let beat = self.options.claim_after / 4;
        let check = beat.min(Self::CHECK);
        let mut next_beat = now();
        let mut next_check = now();
        while over.sleep(Self::TICK.min(check)).is_ok() {
            let done = if self.cancel.is_cancelled() && !handed_back {
                handed_back = true;
                self.hand_back(&mut link, over)
            } else if now() >= next_beat {
                next_beat = now() + beat;
                self.heartbeat(&mut link, over)
            } else if now() >= next_check {
                next_check = now() + check;
                let left = self.health.call(Role::Beat, over, || link.left());
                left.map(drop)
            } else {
                Ok(())
            };
            if let Err(error) = done {
                self.give_up(error);
                return;
            }
        }
    }

    fn heartbeat(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let alive_for = self.options.claim_after.as_millis().to_string();
        let args = [self.options.name.as_bytes(), alive_for.as_bytes()];
        let beat = self
            .health
            .call(Role::Beat, over, || link.run(&script::BEAT, &args))?;
        match beat {
            -1 => Err(link.removed()),
            0 => Ok(()),
            handed_on => {
                info!("a worker sends no heartbeats: {handed_on} of its prompts are handed on");
                Ok(())
            }
        }
    }

    fn hand_back(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let entries = self.held.lock().close();
        if entries.is_empty() {
            return Ok(());
        }
        let mut args = vec![self.options.name.as_bytes()];
        args.extend(entries.iter().map(|entry| entry.as_bytes()));
        let back: i64 = self
            .health
            .call(Role::Beat, over, || link.run(&script::HAND_BACK, &args))?;
        debug!("{back} prompts are handed back");
        Ok(())
    }

    /// Hands back all that is left, and leaves. If that fails, other workers hand it on when the heartbeats are overdue.
    fn leave(&self) {
        /// `hand_back.lua` hands back this many at a time.
        const CHUNK: i64 = 200;
        let mut link = self.queue.link();
        loop {
            match link.run::<i64>(&script::HAND_BACK, &[self.options.name.as_bytes()]) {
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
        !self.health.is_away() && self.held.lock().begin(prompt.line)
    }

    fn failed(&self, prompt: &Prompt) {
        self.held.lock().failed(prompt.line);
    }
}

/// Takes prompts from the queue, one by one.
struct PromptFeed<'a> {
    worker: &'a Worker,
    link: QueueLink,
    /// Entries that were taken and not passed on yet.
    taken: VecDeque<StreamId>,
    /// A reply may have been lost, and entries with it: the queue must be asked for them.
    lost_reply: bool,
}

impl PromptFeed<'_> {
    /// The next prompt; `None` when no more will come.
    fn next(&mut self) -> Result<Option<Result<Prompt, PromptError>>, QueueError> {
        while !self.worker.cancel.is_cancelled() {
            if self.taken.is_empty() {
                self.fetch()?;
            }
            match self.taken.pop_front() {
                Some(entry) => {
                    if let Some(prompt) = self.accept(&entry)? {
                        return Ok(Some(self.usable(prompt)));
                    }
                }
                None if self.is_over()? => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Takes one new prompt, or, after a broken connection, all entries of this worker whose reply was lost.
    fn fetch(&mut self) -> Result<(), QueueError> {
        let PromptFeed {
            worker,
            link,
            taken,
            lost_reply,
        } = self;
        let name = &worker.options.name;
        let entries = worker.health.call(Role::Take, &worker.cancel, || {
            let reply = if *lost_reply {
                link.taken(name)
            } else {
                link.take(name, Worker::WAIT)
            };
            *lost_reply |= reply.is_err();
            reply
        })?;
        if std::mem::take(lost_reply) {
            let held = worker.held.lock();
            taken.extend(entries.into_iter().filter(|entry| !held.has(&entry.id)));
        } else {
            taken.extend(entries);
        }
        Ok(())
    }

    /// The prompt of an entry, if it is unfinished and this worker does not hold it yet.
    fn accept(&mut self, entry: &StreamId) -> Result<Option<Prompt>, QueueError> {
        let json = field(entry, "prompt");
        let json = json.ok_or_else(|| self.link.foreign("an entry without a prompt"))?;
        let prompt = entry::read(&json).map_err(|error| self.link.foreign(error))?;
        let was_handed_on = field(entry, "again").is_some();
        if was_handed_on && !self.is_unfinished(entry, prompt.line)? {
            return Ok(None);
        }
        let is_new = self.worker.held.lock().take(prompt.line, entry.id.clone());
        Ok(is_new.then_some(prompt))
    }

    /// Whether a prompt that was handed on has no record yet. If it has one, its entry is removed.
    fn is_unfinished(&mut self, entry: &StreamId, line: u64) -> Result<bool, QueueError> {
        let PromptFeed { worker, link, .. } = self;
        let line = line.to_string();
        let args = [entry.id.as_bytes(), line.as_bytes()];
        let unfinished = worker.health.call(Role::Take, &worker.cancel, || {
            link.run::<u64>(&script::AGAIN, &args)
        })?;
        Ok(unfinished > 0)
    }

    fn usable(&self, prompt: Prompt) -> Result<Prompt, PromptError> {
        let usable = prompt.body.is_some() || self.worker.options.has_model;
        if usable {
            Ok(prompt)
        } else {
            Err(PromptError::no_model(prompt.line))
        }
    }

    /// Whether no more prompts will come.
    fn is_over(&mut self) -> Result<bool, QueueError> {
        let PromptFeed { worker, link, .. } = self;
        if worker.options.stay {
            return Ok(false);
        }
        let (left, pushing) = worker
            .health
            .call(Role::Take, &worker.cancel, || link.left())?;
        Ok(left == 0 && !pushing)
    }
}
