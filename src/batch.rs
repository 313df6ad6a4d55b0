//! Runs a batch: prompts in, paced and retried calls, one record per prompt out.
//!
//! Each worker takes a prompt through all its attempts. Every attempt takes a permit from the limiter. The record is
//! written before the prompt counts as done. A thread that finds a reason to stop the batch stores it and cancels: waits
//! end, calls in flight finish and are written, and unfinished prompts get no record, so that another run can send them.

mod calls;
mod dedupe;
mod event;
mod failures;
mod joined;
mod price;
mod prompt_run;
mod resume;
/// Whole batches on simulated time, with a server and a disk that fail. It is no part of the library.
#[cfg(any(test, feature = "simulate"))]
#[doc(hidden)]
#[path = "../tests/simulation/mod.rs"]
pub mod simulation;
mod snapshot;
mod stop;
mod tally;
mod tokens;
mod view;

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Debug;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant};

use log::info;
use parking_lot::Mutex;

use crate::api::Ask;
use crate::cancel::{CancelToken, WaitError};
use crate::clock::Clock;
use crate::journal::{JournalError, Record, RecordError, RecordId};
use crate::pacing::{CallLimiter, InFlight, KeyLimiter, KeyLimits, RateLimit};
use crate::pool::{AddWorker, Panicked, Pool};
use crate::prompts::{Prompt, PromptError};
use crate::retry::{Attempt, GaveUp, Retry};

pub use self::{
    event::{Event, PauseReason},
    price::{MaxCost, Price},
    resume::Resume,
    snapshot::{Snapshot, Summary},
    stop::{Halt, Stop},
    view::View,
};
pub(crate) use self::{
    joined::most_bytes,
    price::amount,
    snapshot::Allowed,
    tally::{Causes, FailureCause, Flag, Flags},
    tokens::{Density, FILE_BYTES, RequestSize},
};
pub(crate) use dedupe::Twins;
use failures::Failures;
#[cfg(feature = "cli")]
pub(crate) use prompt_run::CollectedRow;
use prompt_run::{Finished, Job, NoAnswer, PromptRun, unanswered};
#[cfg(test)]
pub(crate) use snapshot::Pause;
pub(crate) use tokens::TokenMeter;

/// How to run a batch: plain data.
///
/// # Default
/// * `rate`: [`RateLimit::Adaptive`], as fast as the server allows
/// * `tokens`: the limit that the server states, or no limit
/// * `workers`: as many as the rate needs (Little's law)
/// * `most_workers`: no limit
/// * `retry`: [`Retry::default`]
/// * `timeout_retries`: 1
/// * `schema_retries`: 1
/// * `max_wait`: 15 minutes
/// * `halt`: none
/// * `max_cost`: none
/// * `keep_going`: no
/// * `seed`: 0
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The rate of the calls with each key.
    pub rate: RateLimit,
    /// Tokens per minute that each key may use; `None`: the limit that the server states.
    pub tokens: Option<NonZeroU32>,
    /// A fixed number of workers; `None`: start with what the rate needs, and grow while permits wait for workers.
    pub workers: Option<NonZeroUsize>,
    /// Never more workers than this.
    pub most_workers: usize,
    /// How faults are retried.
    pub retry: Retry,
    /// How often a prompt is sent again after a call that timed out, or broke after it was sent: each
    /// may have been billed. They spend no other retries.
    pub timeout_retries: u32,
    /// How often a prompt is asked again after an answer that does not fit its schema. They spend no other retries.
    pub schema_retries: u32,
    /// The batch stops when the server has kept it waiting this long without a single answer.
    pub max_wait: Duration,
    /// The batch stops when this many prompts have failed; `None`: it does not.
    pub halt: Option<Halt>,
    /// The batch stops when the answers have cost this much; `None`: no limit.
    pub max_cost: Option<MaxCost>,
    /// The batch goes on though its first 20 prompts all fail for one reason and none is answered.
    pub keep_going: bool,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rate: RateLimit::Adaptive,
            tokens: None,
            workers: None,
            most_workers: usize::MAX,
            retry: Retry::new(),
            timeout_retries: 1,
            schema_retries: 1,
            max_wait: Duration::from_secs(15 * 60),
            halt: None,
            max_cost: None,
            keep_going: false,
            seed: 0,
        }
    }
}

impl Settings {
    /// Whether too many prompts have failed, or the answers have cost too much.
    fn check(&self, counts: &Snapshot) -> Result<(), Stop> {
        /// A few prompts may fail alike by chance; 20 cost little.
        const SAMPLE: u64 = 20;
        let (answered, failed) = (counts.answered, counts.failed);
        // If the first prompts all failed for one reason, so will the others: a wrong model, path or parameter.
        if let [cause] = counts.failed_prompts.list.as_slice()
            && (answered, failed) == (0, SAMPLE)
            && !self.keep_going
        {
            let cause = cause.to_string();
            return Err(Stop::AllAlike {
                count: failed,
                cause,
            });
        }
        let spent = self.max_cost.and_then(|limit| limit.spent(counts.tokens));
        if let (Some(spent), Some(MaxCost { most, .. })) = (spent, self.max_cost) {
            return Err(Stop::Spent { spent, most });
        }
        let finished = failed + answered;
        match self.halt {
            Some(halt) if halt.is_reached(failed, finished) => Err(Stop::Halted {
                failed,
                finished,
                halt,
            }),
            _ => Ok(()),
        }
    }
}

/// How many workers a batch starts with, and how many it may have: those that a rate needs for all keys together: rate x latency (Little's law) for a latency of one second, plus
/// one that waits in line, but 8 at most at the start. The batch adds workers while nobody waits for a permit and more
/// calls may be in flight.
pub(crate) fn workers_for(rate: &RateLimit, keys: usize) -> RangeInclusive<usize> {
    const START: usize = 8;
    let start = match rate {
        RateLimit::Fixed(rate) if !rate.interval().is_zero() => {
            let in_flight = keys as f64 / rate.interval().as_secs_f64();
            (in_flight.ceil() as usize + 1).clamp(2, START)
        }
        _ => START,
    };
    start..=InFlight::MOST
}

/// How many prompts to pull ahead: those that leave within 10 ms. With fewer, the workers of a very fast batch would find
/// the queue empty before the feeder wakes. 64 are enough at every rate that was measured.
fn ahead(rate: &RateLimit) -> usize {
    const WITHIN: Duration = Duration::from_millis(10);
    const MOST: u128 = 64;
    let RateLimit::Fixed(rate) = rate else {
        return 0;
    };
    let leave = WITHIN.as_nanos() / rate.interval().as_nanos().max(1);
    leave.min(MOST) as usize
}

/// An error of the function that takes the records.
type SinkError = Box<dyn Error + Send + Sync>;

/// Decides whether a call may leave, so that no call is made whose answer could not be stored.
pub(crate) trait Guard: Debug + Sync {
    /// Waits until calls may be made.
    ///
    /// # Errors
    /// [`WaitError`] if the token ends first.
    fn ready(&self, cancel: &CancelToken) -> Result<(), WaitError>;

    /// The call of this prompt has its permit and is about to leave. Returns false if it must not leave now; the permit is
    /// given up, and the guard is asked again.
    fn begin(&self, prompt: &Prompt) -> bool;

    /// A call of this prompt failed. The prompt may wait a while for its retry.
    fn failed(&self, prompt: &Prompt);
}

/// Where the prompts of a batch come from, if they may come slowly.
pub(crate) trait PromptSource: Debug + Sync {
    /// Waits for the next prompt until then. Returns false if it has not come, and true if none will.
    fn is_coming(&self, by: Instant) -> bool;
}

/// A batch, ready to run.
#[derive(Debug)]
pub struct Batch<'a> {
    settings: Settings,
    /// One client per key; they differ in nothing else.
    asks: Vec<&'a dyn Ask>,
    limiter: Arc<dyn CallLimiter>,
    /// The limit of the calls in flight; `None` if the settings give the number of workers, which is the limit then.
    in_flight: Option<InFlight>,
    tokens: Mutex<TokenMeter>,
    failures: Mutex<Failures>,
    cancel: CancelToken,
    clock: Arc<dyn Clock>,
    resume: Resume,
    twins: Twins,
    /// The most prompts in one call; fewer once the server has refused as many.
    per_call: AtomicUsize,
    source: Option<&'a dyn PromptSource>,
    view: Arc<View>,
    guard: Option<&'a dyn Guard>,
    stop: Mutex<Option<Stop>>,
}

impl<'a> Batch<'a> {
    /// A batch that sends its calls through `asks`. To stop it from outside, cancel the token; it must be on `clock`.
    ///
    /// Several `asks` are the same API with several keys. Each key has its own rate.
    ///
    /// # Panics
    /// If `asks` is empty.
    #[must_use]
    pub fn new(
        settings: Settings,
        asks: impl IntoIterator<Item = &'a dyn Ask>,
        clock: Arc<dyn Clock>,
        cancel: CancelToken,
    ) -> Self {
        let asks: Vec<_> = asks.into_iter().collect();
        assert!(!asks.is_empty(), "a batch needs at least one API client");
        let keys = asks.len();
        let limits = KeyLimits {
            rate: settings.rate,
            tokens: settings.tokens,
        };
        let tokens = TokenMeter::new(asks[0].counting(), settings.tokens, keys);
        Batch {
            settings,
            limiter: Arc::new(KeyLimiter::new(clock.clone(), vec![limits; keys])),
            in_flight: (settings.workers.is_none()).then(|| InFlight::new(clock.clone())),
            tokens: Mutex::new(tokens),
            failures: Mutex::new(Failures::new(settings, keys)),
            view: Arc::new(View::new(clock.clone(), settings.rate, keys)),
            asks,
            cancel,
            clock,
            resume: Resume::default(),
            twins: Twins::default(),
            per_call: AtomicUsize::new(1),
            source: None,
            guard: None,
            stop: Mutex::new(None),
        }
    }

    /// Announces how many prompts there are, including those of earlier runs. If fewer come, the summary's `stop` is
    /// [`Stop::Missing`].
    #[must_use]
    pub fn expecting(self, total: u64) -> Self {
        self.view.count(|counts| counts.total = Some(total));
        self
    }

    /// Calls `watch` with each event. The workers call it, so it must return quickly. Only the first watcher counts.
    ///
    /// ```
    /// use paceline::batch::Event;
    ///
    /// fn watch(event: &Event<'_>) {
    ///     if let Event::Paused { wait, .. } = event {
    ///         eprintln!("a pause of {wait:?}");
    ///     }
    /// }
    /// # fn all(batch: paceline::batch::Batch<'_>) {
    /// let batch = batch.watched_by(watch);
    /// # }
    /// ```
    #[must_use]
    pub fn watched_by(self, watch: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.view.watch(watch);
        self
    }

    /// A live view of the batch. It stays valid after the batch has ended.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Continues from earlier results.
    #[must_use]
    pub fn resuming(self, resume: Resume) -> Self {
        let tokens = resume.index.usage;
        self.view.count(|counts| counts.earlier_tokens = tokens);
        Batch { resume, ..self }
    }

    /// Asks identical requests once.
    #[cfg(feature = "cli")]
    pub(crate) fn asking_once(self, twins: Twins) -> Self {
        Batch { twins, ..self }
    }

    /// Sends as many prompts in one call, where their requests differ only in their input: embeddings.
    #[cfg(feature = "cli")]
    pub(crate) fn joining(self, per_call: usize, source: &'a dyn PromptSource) -> Self {
        Batch {
            per_call: AtomicUsize::new(per_call),
            source: Some(source),
            ..self
        }
    }

    /// Takes its permits from this limiter instead of its own [`KeyLimiter`]. The limiter
    /// must be on the same clock and have one key for each of the `asks`.
    #[must_use]
    pub fn limited_by(mut self, limiter: Arc<dyn CallLimiter>) -> Self {
        self.limiter = limiter;
        self
    }

    /// Asks this guard before each call.
    pub(crate) fn guarded(mut self, guard: &'a dyn Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Runs the prompts, and passes each record to `write`, one at a time, in order of completion. Its first error stops
    /// the batch.
    ///
    /// If the batch stops early, the summary says why; finished prompts have been written.
    pub fn run(
        self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
        write: impl FnMut(&Record) -> Result<(), SinkError> + Send,
    ) -> Summary {
        let rate = &self.settings.rate;
        let workers = match self.settings.workers {
            Some(workers) => workers.get()..=workers.get(),
            None => workers_for(rate, self.asks.len()),
        };
        let at_most = |workers: &usize| self.settings.most_workers.clamp(1, *workers);
        let (workers, most) = (at_most(workers.start()), at_most(workers.end()));
        // With a guard, further prompts stay at their source, where another process may take them sooner.
        let queue = match self.guard {
            Some(_) => workers,
            None => workers.max(ahead(rate)),
        };
        self.view.count(|counts| counts.workers = workers as u64);
        let mut write = self.writer(write);
        let groups = self.groups(self.jobs(prompts));
        let work = |group: Vec<Job>, add: &AddWorker<'_>| self.finish_group(group, add);
        let pool = Pool::new(workers).queue(queue);
        let pool = pool.clock(self.clock.clone()).cancel(&self.cancel);
        thread::scope(|scope| {
            for (_, group) in pool.start(scope, most, groups, work, false) {
                let group = group.unwrap_or_else(|panic| panic.resume());
                group.iter().for_each(&mut write);
            }
        });
        self.sum_up()
    }

    /// Makes the records of prompts whose answers are there already: the rows of a provider's batch. No call is made, and
    /// nothing is paced or retried. If `rows_of` gives a reason to stop, the batch stops there.
    #[cfg(feature = "cli")]
    pub(crate) fn collect(
        self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
        mut rows_of: impl FnMut(&RecordId, &[u8]) -> Result<Vec<CollectedRow>, Stop>,
        write: impl FnMut(&Record) -> Result<(), SinkError>,
    ) -> Summary {
        let mut write = self.writer(write);
        for job in self.jobs(prompts).flatten() {
            let rows = match rows_of(&job.id, &job.request) {
                Ok(rows) => rows,
                Err(reason) => {
                    self.stop_for(reason);
                    break;
                }
            };
            let run = PromptRun::new(&job, &self.view, self.clock.now());
            let record = run.collected(self.asks[0], rows);
            write(&Finished { job, record });
        }
        self.sum_up()
    }

    /// Writes and counts the records of finished prompts, one at a time, on the thread that owns the results.
    ///
    /// The pool hands over the next prompt only after this one is written. So at any instant, unwritten answers are only
    /// those that workers hold, and the one that is being written.
    fn writer(
        &self,
        mut write: impl FnMut(&Record) -> Result<(), SinkError>,
    ) -> impl FnMut(&Finished) {
        // After a record that could not be written no others are, or records would be missing in the middle.
        let mut is_broken = false;
        move |finished| {
            for (prompt, record) in finished.records() {
                if is_broken {
                    return;
                }
                let written = write(&record);
                // If only the answer's own file could not be written, its record is in the journal, and others can follow.
                is_broken = written.as_ref().is_err_and(|error| {
                    !matches!(error.downcast_ref(), Some(JournalError::Folder { .. }))
                });
                if !is_broken {
                    self.view.count(|counts| counts.written(&record));
                    let answered = record.text.is_some();
                    self.view.tell(Event::Done { prompt, answered });
                }
                let checked = || self.view.count(|counts| self.settings.check(counts));
                let checked = written.map_err(Stop::Sink).and_then(|()| checked());
                checked.unwrap_or_else(|reason| self.stop_for(reason));
            }
        }
    }

    fn sum_up(&self) -> Summary {
        let end = self.view.at(self.clock.now());
        let interrupted = self.cancel.is_cancelled().then_some(Stop::Interrupted);
        let mut stop = self.stop.lock().take().or(interrupted);
        let left = end.left();
        match (left, end.total) {
            // If the last prompt made the batch stop, nothing was left to stop.
            (Some(0), _) => {
                stop.take_if(|stop| matches!(stop, Stop::Spent { .. } | Stop::AllAlike { .. }));
            }
            (Some(missing), Some(announced)) if stop.is_none() => {
                stop = Some(Stop::Missing { announced, missing });
            }
            _ => {}
        }
        let found = (0..self.asks.len()).filter_map(|key| self.limiter.found(key));
        let found: Vec<_> = found.collect();
        Summary {
            end,
            found: (!found.is_empty()).then(|| found.iter().sum()),
            left,
            stop,
        }
    }

    /// The prompts, until the batch is stopped; `None` for those that are done.
    fn jobs(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    ) -> impl Iterator<Item = Option<Job>> + Send {
        let going = prompts.take_while(|_| !self.cancel.is_cancelled());
        let jobs = going.map(|prompt| self.job(prompt.map_err(Stop::Input)?));
        jobs.map_while(|job| job.map_err(|reason| self.stop_for(reason)).ok())
    }

    /// A prompt as a job; `None` if it is done.
    fn job(&self, prompt: Prompt) -> Result<Option<Job>, Stop> {
        if self.resume.is_compared
            && let Some(id) = self.resume.index.id_at(prompt.line)
            && self.skip_if_done(&id)?
        {
            return Ok(None);
        }
        let request = body(self.asks[0], &prompt).map_err(Stop::Input)?;
        let id = record_id(self.asks[0], prompt.line, &request);
        if self.skip_if_done(&id)? {
            return Ok(None);
        }
        let is_left = |twin: &RecordId| matches!(self.resume.finished(twin), Ok(None));
        let twins = self.twins.of(&id, is_left);
        Ok(twins.map(|twins| Job {
            settings: match &prompt.body {
                None => self.resume.settings.clone(),
                Some(_) => None, // it may bring its own
            },
            prompt,
            id,
            request,
            pulled: self.clock.now(),
            twins,
            is_joined: false,
        }))
    }

    /// Whether a prompt is done, which is counted.
    fn skip_if_done(&self, id: &RecordId) -> Result<bool, Stop> {
        let status = self.resume.finished(id)?;
        if let Some(status) = status {
            self.view.count(|counts| {
                counts.before += 1;
                counts.failed_before += u64::from(!status.is_answered());
            });
        }
        Ok(status.is_some())
    }

    /// Runs one prompt and makes its record. A panic fails this prompt only; its attempts are lost.
    fn finish(&self, job: Job, add: &AddWorker<'_>) -> Finished {
        let run = AssertUnwindSafe(|| self.run_prompt(&job, add));
        let record = catch_unwind(run).unwrap_or_else(|panic| {
            let error = RecordError {
                code: "panic".to_owned(),
                message: Panicked(panic).to_string(),
            };
            Some(Record {
                error: Some(error),
                ..unanswered(&job)
            })
        });
        Finished { job, record }
    }

    /// Runs one prompt through all its attempts; `None` if the batch was stopped before it was done.
    fn run_prompt(&self, job: &Job, add: &AddWorker<'_>) -> Option<Record> {
        let run = RefCell::new(PromptRun::new(job, &self.view, self.clock.now()));
        let seed = self.settings.seed ^ job.prompt.line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let retry = self.settings.retry.patience(Duration::MAX); // `max_wait` counts for all prompts together
        let attempt = |_: &Attempt<'_>| self.attempt(&mut run.borrow_mut(), add);
        let call = retry.call(|failed: &NoAnswer| failed.verdict, attempt);
        let call = call.on_retry(|failed| run.borrow_mut().retrying(failed));
        let ended = call.cancel(&self.cancel).seed(seed).run();
        let run = run.into_inner();
        match ended {
            Ok(answer) => run.finish(Ok(answer)),
            // The failure was reported when its backoff began.
            Err(ended) if ended.why == GaveUp::Cancelled => None,
            Err(ended) => run.finish(Err(*ended.last?.error?)),
        }
    }

    /// Adds a worker if prompts wait but no worker waits for the next permit, which would go unused, or until another
    /// call may be in flight.
    fn add_worker_if_short(&self, add: &AddWorker<'_>) {
        let in_flight = self.in_flight.as_ref();
        let is_idle = in_flight.is_some_and(|calls| calls.waiting() == 0);
        if is_idle && self.limiter.waiting() == 0 && add() {
            let workers = self.view.count(|counts| {
                counts.workers += 1;
                counts.workers
            });
            self.view.tell(Event::WorkerAdded { workers });
        }
    }

    /// Stops the batch. Only the first reason is kept.
    fn stop_for(&self, reason: Stop) {
        let mut stop = self.stop.lock();
        let is_first = stop.is_none() && !self.cancel.is_cancelled();
        self.cancel.cancel();
        if is_first {
            info!(event = "stopping"; "stopping: {reason}");
            *stop = Some(reason);
        }
    }
}

/// The request body for a prompt: its own, or the one that the API client builds from its text and its row.
///
/// # Errors
/// The row has a file that cannot be read, or the API has no place for what it asks.
pub(crate) fn body(ask: &dyn Ask, prompt: &Prompt) -> Result<Vec<u8>, PromptError> {
    match &prompt.body {
        Some(body) => Ok(body.clone().into_bytes()),
        None if prompt.row.is_plain() => Ok(ask.request(&prompt.text)),
        None => ask
            .request_row(&prompt.text, &prompt.row)
            .map_err(|problem| PromptError::at(prompt.line, problem)),
    }
}

/// The id of the record for this request. The same body sent to another API, or to a model that is named only in the
/// URL, is a different request.
pub(crate) fn record_id(ask: &dyn Ask, line: u64, request: &[u8]) -> RecordId {
    match ask.mark() {
        "" => RecordId::of(line, request),
        mark => RecordId::of(line, &[mark.as_bytes(), b"\n", request].concat()),
    }
}

#[cfg(test)]
mod tests;
