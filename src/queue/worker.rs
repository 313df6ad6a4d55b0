//! Working on a queue: its prompts as an iterator, its records as a writer, and the signs of life in between.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use log::{debug, info, warn};
use parking_lot::Mutex;
use redis::streams::StreamId;

use super::entry;
use super::link::{Link, field, script};
use super::taken::Taken;
use super::weather::{Errand, Weather};
use super::{Queue, QueueError};
use crate::batch::Guard;
use crate::cancel::{CancelToken, Cancelled};
use crate::journal::{JournalError, Record, RecordId};
use crate::prompts::{Prompt, PromptError};
use crate::store::StoreError;

/// How a worker joins a queue: plain data.
#[derive(Clone, Debug)]
pub struct Joining {
    /// Its name, which no other worker has.
    pub name: String,
    /// What it would send for an empty prompt: all workers of a queue send the same.
    pub request: String,
    /// Whether it knows a model to ask: if not, every prompt must bring its own body.
    pub has_model: bool,
    /// Send another request than the other workers.
    pub keep: bool,
    /// When it has given no sign of life for so long, the others hand on what it has.
    pub claim_after: Duration,
    /// Stay when the queue is empty, for what is still to come.
    pub stay: bool,
    /// The longest that Redis may be away.
    pub patience: Duration,
}

/// One process that works on a queue.
#[derive(Debug)]
pub struct Worker {
    queue: Queue,
    joining: Joining,
    taken: Mutex<Taken>,
    weather: Weather,
    storing: Mutex<Link>,
    /// The batch's: thrown when there is no going on.
    cancel: CancelToken,
    dropped: AtomicU64,
    lost: Mutex<Option<Arc<QueueError>>>,
}

impl Queue {
    /// Joins those who work on it.
    ///
    /// # Errors
    /// [`QueueError::Missing`]; [`QueueError::OtherRequest`]; [`QueueError::Store`]
    pub fn join(&self, joining: Joining, cancel: CancelToken) -> Result<Worker, QueueError> {
        let mut link = self.link();
        let promise = joining.claim_after.as_millis().to_string();
        let keep: &[u8] = if joining.keep { b"1" } else { b"0" };
        let args = [
            joining.name.as_bytes(),
            promise.as_bytes(),
            joining.request.as_bytes(),
            keep,
        ];
        let theirs: Option<String> = link.run(&script::JOIN, &args)?;
        let theirs = theirs.ok_or_else(|| self.missing())?;
        if !theirs.is_empty() {
            return Err(QueueError::OtherRequest {
                theirs,
                ours: joining.request,
            });
        }
        let (weather, storing) = (Weather::new(joining.patience), Mutex::new(link));
        let (queue, taken, dropped, lost) = (
            self.clone(),
            Mutex::default(),
            AtomicU64::new(0),
            Mutex::default(),
        );
        Ok(Worker {
            queue,
            joining,
            taken,
            weather,
            storing,
            cancel,
            dropped,
            lost,
        })
    }
}

impl Worker {
    /// How long to wait for a prompt at a time: after so long it is noticed that there will be none.
    const LOOK: Duration = Duration::from_millis(250);

    /// Gives signs of life while this is done; then hands back what is left, and leaves.
    pub fn while_alive<T>(&self, work: impl FnOnce() -> T) -> T {
        let over = CancelToken::default();
        let done = thread::scope(|scope| {
            scope.spawn(|| self.beat(&over));
            let done = work();
            over.cancel();
            done
        });
        self.leave();
        done
    }

    /// The queue's prompts, as many at a time as are asked for, until it is empty and nobody works on one any more.
    pub fn prompts(&self) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
        let mut feed = Feed {
            worker: self,
            link: self.queue.link(),
            given: VecDeque::new(),
            broken: false,
        };
        std::iter::from_fn(move || feed.next().unwrap_or_else(|error| self.give_up(error)))
    }

    /// Stores a record and takes its prompt out of the queue, both or neither. Waits while Redis is away.
    ///
    /// # Errors
    /// [`JournalError::Write`]: the queue is gone, or Redis has been away for too long.
    pub fn store(&self, record: &Record) -> Result<(), JournalError> {
        self.try_store(record)
            .map_err(|error| self.cannot_write(error))
    }

    /// Records of this worker that were dropped because another's had come first.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why there was no going on, if that was the queue's fault.
    #[must_use]
    pub fn lost(&self) -> Option<JournalError> {
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
        let mut link = self.storing.lock();
        let id: RecordId = record.id.parse().map_err(|error| link.foreign(error))?;
        let entry = self
            .taken
            .lock()
            .entry(id.line)
            .unwrap_or_else(|| "0-0".to_owned());
        let json = serde_json::to_string(record).map_err(|error| link.foreign(error))?;
        let (line, answered): (_, &[u8]) = (
            id.line.to_string(),
            if record.text.is_some() { b"1" } else { b"0" },
        );
        let name = self.joining.name.as_bytes();
        let args = [
            name,
            entry.as_bytes(),
            line.as_bytes(),
            answered,
            json.as_bytes(),
        ];
        // Never called off: an answer that is paid for is kept until it can be stored.
        let never = CancelToken::default();
        match self.insist(Errand::Store, &never, &mut link, |link| {
            link.run(&script::STORE, &args)
        })? {
            -1 => return Err(link.removed()),
            0 => {
                info!(
                    "another worker has finished {} before: this record is dropped",
                    record.custom_id
                );
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        self.taken.lock().finish(id.line);
        Ok(())
    }

    /// Asks until there is an answer, or until nobody wants to know any more. What is asked bears being done twice.
    fn insist<T>(
        &self,
        errand: Errand,
        until: &CancelToken,
        link: &mut Link,
        mut ask: impl FnMut(&mut Link) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        loop {
            let now = || self.cancel.clock().now();
            let error = match ask(link) {
                Err(QueueError::Store(error)) => error,
                answered => {
                    self.weather.is_good(errand, now(), link.place());
                    return answered;
                }
            };
            let again = self.weather.is_bad(errand, now(), error)?;
            if until.sleep_until(again).is_err() {
                self.weather.is_of_no_interest(errand);
                return Err(StoreError::Cancelled.into());
            }
        }
    }

    /// There is no going on: says so once to whoever looks, and stops the batch.
    fn give_up<T>(&self, error: QueueError) -> Option<T> {
        if matches!(error, QueueError::Store(StoreError::Cancelled)) {
            return None;
        }
        self.lost.lock().get_or_insert_with(|| Arc::new(error));
        self.cancel.cancel();
        None
    }

    /// Gives signs of life until it is over, and hands back what is not begun once the batch is stopped.
    fn beat(&self, over: &CancelToken) {
        let (mut link, mut handed_back) = (self.queue.link(), false);
        let (tick, beat) = (Duration::from_millis(100), self.joining.claim_after / 4);
        let look = beat.min(Duration::from_secs(1));
        let (mut next_look, mut next_beat) = (over.clock().now(), over.clock().now());
        while over
            .sleep_until(over.clock().now() + tick.min(look))
            .is_ok()
        {
            let now = over.clock().now();
            let done = if self.cancel.is_cancelled() && !handed_back {
                handed_back = true;
                self.hand_back(&mut link, over)
            } else if now >= next_beat {
                next_beat = now + beat;
                self.give_sign(&mut link, over)
            } else if now >= next_look {
                next_look = now + look;
                self.insist(Errand::Beat, over, &mut link, Link::left)
                    .map(drop)
            } else {
                Ok(())
            };
            if let Err(error) = done {
                self.give_up::<()>(error);
                return;
            }
        }
    }

    fn give_sign(&self, link: &mut Link, over: &CancelToken) -> Result<(), QueueError> {
        let promise = self.joining.claim_after.as_millis().to_string();
        let args = [self.joining.name.as_bytes(), promise.as_bytes()];
        match self.insist(Errand::Beat, over, link, |link| {
            link.run(&script::BEAT, &args)
        })? {
            -1 => Err(link.removed()),
            0 => Ok(()),
            handed_on => {
                info!("a worker gives no sign of life: {handed_on} of its prompts are handed on");
                Ok(())
            }
        }
    }

    fn hand_back(&self, link: &mut Link, over: &CancelToken) -> Result<(), QueueError> {
        let entries = self.taken.lock().close();
        if entries.is_empty() {
            return Ok(());
        }
        let args: Vec<_> = [&self.joining.name]
            .into_iter()
            .chain(&entries)
            .map(|arg| arg.as_bytes())
            .collect();
        let back: i64 = self.insist(Errand::Beat, over, link, |link| {
            link.run(&script::HAND_BACK, &args)
        })?;
        debug!("{back} prompts are handed back");
        Ok(())
    }

    /// Whatever is still in hand goes back at once. If that fails, it does so when the signs of life have ceased.
    fn leave(&self) {
        const AT_ONCE: i64 = 200;
        let mut link = self.queue.link();
        loop {
            match link.run::<i64>(&script::HAND_BACK, &[self.joining.name.as_bytes()]) {
                Ok(AT_ONCE..) => {}
                Ok(_) => return,
                Err(error) => return warn!("cannot leave the queue: {error}"),
            }
        }
    }
}

impl Guard for Worker {
    /// A call is made only while its answer could be stored.
    fn ready(&self, cancel: &CancelToken) -> Result<(), Cancelled> {
        const LOOK: Duration = Duration::from_millis(50);
        while self.weather.is_away() {
            cancel.sleep_until(cancel.clock().now() + LOOK)?;
        }
        if cancel.is_cancelled() {
            Err(Cancelled::Cancelled)
        } else {
            Ok(())
        }
    }

    fn begin(&self, prompt: &Prompt) -> bool {
        !self.weather.is_away() && self.taken.lock().begin(prompt.line)
    }

    fn failed(&self, prompt: &Prompt) {
        self.taken.lock().failed(prompt.line);
    }
}

/// Takes prompts out of the queue, one by one.
struct Feed<'a> {
    worker: &'a Worker,
    link: Link,
    given: VecDeque<StreamId>,
    /// A question was not answered: what it may have given us must be looked for.
    broken: bool,
}

impl Feed<'_> {
    /// The next prompt; none when there will be no more.
    fn next(&mut self) -> Result<Option<Result<Prompt, PromptError>>, QueueError> {
        while !self.worker.cancel.is_cancelled() {
            if self.given.is_empty() {
                self.fetch()?;
            }
            match self.given.pop_front() {
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

    /// One prompt that is new, and after a broken connection whatever was given to us and did not arrive.
    fn fetch(&mut self) -> Result<(), QueueError> {
        let Feed {
            worker,
            link,
            given,
            broken,
        } = self;
        let name = &worker.joining.name;
        let entries = worker.insist(Errand::Take, &worker.cancel, link, |link| {
            let asked = if *broken {
                link.taken(name)
            } else {
                link.take(name, Worker::LOOK)
            };
            *broken |= asked.is_err();
            asked
        })?;
        if std::mem::take(broken) {
            let taken = worker.taken.lock();
            given.extend(entries.into_iter().filter(|entry| !taken.has(&entry.id)));
        } else {
            given.extend(entries);
        }
        Ok(())
    }

    /// The prompt of an entry, if it is still to do.
    fn accept(&mut self, entry: &StreamId) -> Result<Option<Prompt>, QueueError> {
        let json =
            field(entry, "prompt").ok_or_else(|| self.link.foreign("an entry without a prompt"))?;
        let prompt = entry::read(&json).map_err(|error| self.link.foreign(error))?;
        let line = prompt.line.to_string();
        if field(entry, "again").is_some() {
            let args = [entry.id.as_bytes(), line.as_bytes()];
            let ask = |link: &mut Link| link.run::<u64>(&script::AGAIN, &args);
            if self
                .worker
                .insist(Errand::Take, &self.worker.cancel, &mut self.link, ask)?
                == 0
            {
                return Ok(None);
            }
        }
        let is_new = self.worker.taken.lock().take(prompt.line, entry.id.clone());
        Ok(is_new.then_some(prompt))
    }

    fn usable(&self, prompt: Prompt) -> Result<Prompt, PromptError> {
        let usable = prompt.body.is_some() || self.worker.joining.has_model;
        if usable {
            Ok(prompt)
        } else {
            Err(PromptError::NoBody { line: prompt.line })
        }
    }

    fn is_over(&mut self) -> Result<bool, QueueError> {
        if self.worker.joining.stay {
            return Ok(false);
        }
        let (left, pushing) = self.worker.insist(
            Errand::Take,
            &self.worker.cancel,
            &mut self.link,
            Link::left,
        )?;
        Ok(left == 0 && !pushing)
    }
}
