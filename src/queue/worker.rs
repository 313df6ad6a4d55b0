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

use super::link::{QueueLink, script};
use super::taken::TakenPrompts;
use super::{Queue, QueueError};
use crate::batch::Guard;
use crate::cancel::{CancelToken, WaitError};
use crate::journal::{Record, RecordId};
use crate::prompts::{Prompt, PromptError};
use crate::share::PlaceHealth;
use crate::text::duration;

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
    /// Tells this queue from a later one of the same name.
    queue_id: String,
    options: JoinOptions,
    taken: Mutex<TakenPrompts>,
    outage: PlaceHealth,
    /// The token of the batch, cancelled when the worker cannot continue.
    cancel: CancelToken,
    dropped: AtomicU64,
    lost: Mutex<Option<QueueError>>,
}

impl Queue {
    /// Joins the workers of this queue. The worker cancels `cancel` when it cannot continue.
    ///
    /// # Errors
    /// [`QueueError::Gone`] if the queue does not exist; [`QueueError::OtherRequest`] if the other workers send another
    /// request; [`QueueError::Store`].
    pub(crate) fn join(
        &self,
        options: JoinOptions,
        cancel: CancelToken,
    ) -> Result<Worker, QueueError> {
        let mut worker = Worker {
            queue: self.clone(),
            queue_id: String::new(),
            outage: self.outage(options.patience),
            options,
            taken: Mutex::default(),
            cancel,
            dropped: AtomicU64::new(0),
            lost: Mutex::default(),
        };
        let options = &worker.options;
        let alive_for = worker.alive_for();
        let args = (&options.name, alive_for, &options.request, options.keep);
        let (theirs, queue_id): (String, String) = self.link().run(&script::JOIN, args)?;
        if !theirs.is_empty() {
            let ours = worker.options.request;
            return Err(QueueError::OtherRequest { theirs, ours });
        }
        worker.queue_id = queue_id;
        Ok(worker)
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
    /// Of the function: [`Worker::lost`] has it. The queue is gone, or Redis has been away for longer than the patience.
    pub(crate) fn sink(&self) -> impl FnMut(&Record) -> io::Result<()> + Send {
        let mut link = self.queue.link();
        move |record| {
            let stored = self.store(&mut link, record);
            stored.map_err(|error| {
                self.give_up(error);
                io::Error::other("the queue is lost")
            })
        }
    }

    /// The number of this worker's records that were dropped because another worker was first.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The error of the queue that stopped the worker, if any.
    pub(crate) fn lost(&self) -> Option<QueueError> {
        self.lost.lock().take()
    }

    /// For how many milliseconds a heartbeat counts.
    fn alive_for(&self) -> u64 {
        self.options.claim_after.as_millis() as u64
    }

    fn store(&self, link: &mut QueueLink, record: &Record) -> Result<(), QueueError> {
        let id: RecordId = record.id.parse().map_err(|error| link.foreign(error))?;
        let entry = self.taken.lock().entry(id.line);
        let entry = entry.unwrap_or_else(|| "0-0".to_owned());
        let json = serde_json::to_vec(record).map_err(|error| link.foreign(error))?;
        let is_answer = record.text.is_some();
        let name = &self.options.name;
        let args = (&self.queue_id, name, entry, id.line, is_answer, json);
        // Not cancelled with the batch: an answer that was paid for is kept until it can be stored.
        let never = CancelToken::on(self.cancel.clock().clone());
        let store = |link: &mut QueueLink| link.run(&script::STORE, &args);
        let is_first: bool = link.patiently(&self.outage, &never, store)?;
        if !is_first {
            let id = &record.custom_id;
            info!("another worker finished {id} first: this record is dropped");
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.taken.lock().finish(id.line);
        Ok(())
    }

    /// Keeps the first error, and stops the batch.
    fn give_up(&self, error: QueueError) {
        if !matches!(error, QueueError::Cancelled) {
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
                link.patiently(&self.outage, over, |link| link.left(&self.queue_id))?;
            }
        }
        Ok(())
    }

    fn heartbeat(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let args = (&self.queue_id, &self.options.name, self.alive_for());
        let beat = |link: &mut QueueLink| link.run(&script::BEAT, args);
        let handed_on: u64 = link.patiently(&self.outage, over, beat)?;
        if handed_on > 0 {
            info!("a worker sends no heartbeats: {handed_on} of its prompts are handed on");
        }
        Ok(())
    }

    fn hand_back(&self, link: &mut QueueLink, over: &CancelToken) -> Result<(), QueueError> {
        let entries = self.taken.lock().close();
        if !entries.is_empty() {
            let args = (&self.options.name, entries);
            let hand_back = |link: &mut QueueLink| link.run(&script::HAND_BACK, &args);
            let back: i64 = link.patiently(&self.outage, over, hand_back)?;
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
            match link.run::<i64>(&script::HAND_BACK, &self.options.name) {
                Ok(CHUNK..) => {}
                Ok(_) => return,
                Err(error) => {
                    let after = duration(self.options.claim_after);
                    return warn!(
                        "cannot leave the queue: {error}; other workers take its prompts after {after}"
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
        while self.outage.is_away() {
            cancel.sleep(TICK)?;
        }
        cancel.check()
    }

    fn begin(&self, prompt: &Prompt) -> bool {
        !self.outage.is_away() && self.taken.lock().begin(prompt.line)
    }

    fn failed(&self, prompt: &Prompt) {
        self.taken.lock().set_in_flight(prompt.line, false);
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
            match self.fetched.pop_front() {
                None if self.is_over()? => break,
                None => {}
                Some(entry) => {
                    if let Some(prompt) = self.accept(&entry)? {
                        let is_usable = prompt.body.is_some() || self.worker.options.has_model;
                        let no_body = PromptError::no_model(prompt.line);
                        return Ok(Some(if is_usable { Ok(prompt) } else { Err(no_body) }));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes one new prompt, or, after a broken connection, all entries of this worker whose reply was lost.
    fn fetch(&mut self) -> Result<(), QueueError> {
        let (name, mut lost_reply) = (&self.worker.options.name, self.lost_reply);
        let entries = self.ask(|link| {
            let reply = link.take(name, (!lost_reply).then_some(Worker::WAIT));
            lost_reply |= reply.is_err();
            reply
        })?;
        self.lost_reply = false;
        let taken = self.worker.taken.lock();
        let new = entries.into_iter().filter(|entry| !taken.has(&entry.id));
        self.fetched.extend(new);
        Ok(())
    }

    /// The prompt of an entry, if it is unfinished and this worker has not taken it before.
    fn accept(&mut self, entry: &StreamId) -> Result<Option<Prompt>, QueueError> {
        let prompt: Prompt = self.link.field(entry, "prompt")?;
        let args = (&entry.id, prompt.line);
        let is_unfinished = |link: &mut QueueLink| link.run(&script::AGAIN, args);
        // A prompt that was handed on may have a record by now. Then the script removes its entry.
        if entry.contains_key("again") && !self.ask(is_unfinished)? {
            return Ok(None);
        }
        let is_new = self.worker.taken.lock().take(prompt.line, entry.id.clone());
        Ok(is_new.then_some(prompt))
    }

    /// Whether no more prompts will come.
    fn is_over(&mut self) -> Result<bool, QueueError> {
        if self.worker.options.stay {
            return Ok(false);
        }
        let queue_id = &self.worker.queue_id;
        let (left, pushing) = self.ask(|link| link.left(queue_id))?;
        Ok(left == 0 && !pushing)
    }

    fn ask<T>(
        &mut self,
        ask: impl FnMut(&mut QueueLink) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        let Worker { outage, cancel, .. } = self.worker;
        self.link.patiently(outage, cancel, ask)
    }
}
