//! Runs a batch: prompts in, paced and retried calls, one record per prompt out.
//!
//! Each worker takes a prompt through all its attempts. Every attempt takes a permit from the limiter. The record is
//! written before the prompt counts as done. A thread that finds a reason to stop the batch stores it and cancels: waits
//! end, calls in flight finish and are written, and unfinished prompts get no record, so that another run can send them.

mod allowance;
mod answers;
mod budget;
mod causes;
mod dedupe;
mod estimate;
mod event;
mod guard;
mod halt;
mod joined;
mod meter;
mod pacer;
mod patience;
mod price;
mod prompt_run;
mod resume;
/// Whole batches on simulated time, with a server and a disk that fail. It is no part of the library.
#[cfg(any(test, feature = "simulate"))]
#[doc(hidden)]
#[path = "../tests/simulation/mod.rs"]
pub mod simulation;
mod sink;
mod size;
mod snapshot;
mod stop;
mod view;

use std::cell::RefCell;
use std::error::Error;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::info;
use parking_lot::Mutex;

use crate::api::{Answer, Ask, CallError};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::journal::{Record, RecordId};
use crate::pacing::{CallLimiter, InFlight, KeyPermit, NoKeyPermit, RateLimit};
use crate::pool::{AddWorker, Panicked, Pool};
use crate::prompts::{Prompt, PromptError};
use crate::retry::{Attempt, Retry, Verdict};

pub(crate) use self::{
    answers::{Flag, Flags},
    causes::{Causes, FailureCause},
    guard::Guard,
    joined::MOST_BYTES,
    price::amount,
    size::{Density, FILE_BYTES, RequestSize},
    snapshot::Allowed,
};
pub use self::{
    event::{Event, PauseReason},
    halt::Halt,
    price::{MaxCost, Price},
    resume::Resume,
    snapshot::{Snapshot, Summary},
    stop::Stop,
    view::View,
};
pub(crate) use dedupe::Twins;
#[cfg(feature = "cli")]
pub(crate) use estimate::Estimate;
use joined::Parts;
use pacer::{Granted, Pacer};
use patience::Meaning;
#[cfg(feature = "cli")]
pub(crate) use prompt_run::CollectedRow;
use prompt_run::{Finished, Job, NoAnswer, PromptRun, failed};
use sink::Sink;
#[cfg(test)]
pub(crate) use snapshot::Pause;

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

/// A batch, ready to run.
#[derive(Debug)]
pub struct Batch<'a> {
    settings: Settings,
    /// One client per key; they differ in nothing else.
    asks: Vec<&'a dyn Ask>,
    pacer: Pacer,
    cancel: CancelToken,
    clock: Arc<dyn Clock>,
    resume: Resume,
    twins: Twins,
    per_call: usize,
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
        let view = Arc::new(View::new(clock.now(), settings.rate, asks.len()));
        let pacer = Pacer::new(settings, &asks, clock.clone(), view.clone());
        Batch {
            settings,
            asks,
            pacer,
            cancel,
            clock,
            resume: Resume::default(),
            twins: Twins::default(),
            per_call: 1,
            view,
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
        self.view.show(watch);
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
    pub(crate) fn joining(self, per_call: usize) -> Self {
        Batch { per_call, ..self }
    }

    /// Takes its permits from this limiter instead of its own [`KeyLimiter`](crate::pacing::KeyLimiter). The limiter
    /// must be on the same clock and have one key for each of the `asks`.
    #[must_use]
    pub fn limited_by(mut self, limiter: Arc<dyn CallLimiter>) -> Self {
        self.pacer.limiter = limiter;
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
        write: impl FnMut(&Record) -> Result<(), Box<dyn Error + Send + Sync>> + Send,
    ) -> Summary {
        let (workers, most) = self.workers().into_inner();
        self.view.workers_added(workers);
        let mut sink = Sink::new(write, &self.view, self.settings);
        let groups = joined::groups(self.jobs(prompts), self.per_call);
        let work = |group: Vec<Job>, add: &AddWorker<'_>| self.finish_group(group, add);
        let pool = Pool::new(workers).queue(self.queue(workers));
        let pool = pool.clock(self.clock.clone()).cancel(&self.cancel);
        thread::scope(|scope| {
            for (_, group) in pool.start(scope, most, groups, work, false) {
                let group = group.unwrap_or_else(|panic| panic.resume());
                for (prompt, record) in group.iter().flat_map(Finished::records) {
                    let written = sink.write(prompt, &record);
                    written.unwrap_or_else(|reason| self.stop_for(reason));
                }
            }
        });
        self.sum_up()
    }

    /// Makes the records of prompts whose answers are there already: the rows of a provider's batch. No call is made, and
    /// nothing is paced or retried.
    /// The batch stops where `row_of` says so.
    #[cfg(feature = "cli")]
    pub(crate) fn collect(
        self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
        mut row_of: impl FnMut(&RecordId, &[u8]) -> Result<CollectedRow, Stop>,
        write: impl FnMut(&Record) -> Result<(), Box<dyn Error + Send + Sync>>,
    ) -> Summary {
        let mut sink = Sink::new(write, &self.view, self.settings);
        for job in self.jobs(prompts) {
            let row = match row_of(&job.id, &job.request) {
                Ok(row) => row,
                Err(reason) => {
                    self.stop_for(reason);
                    break;
                }
            };
            let now = self.clock.now();
            let run = PromptRun::new(&job, &self.view, now);
            let record = run.collected(self.asks[0], row, now);
            let finished = Finished { job, record };
            for (prompt, record) in finished.records() {
                let written = sink.write(prompt, &record);
                written.unwrap_or_else(|reason| self.stop_for(reason));
            }
        }
        self.sum_up()
    }

    /// How many workers it starts with, and how many it may have.
    fn workers(&self) -> RangeInclusive<usize> {
        let workers = match self.settings.workers {
            Some(workers) => workers.get()..=workers.get(),
            None => workers_for(&self.settings.rate, self.asks.len()),
        };
        let most = self.settings.most_workers.max(1);
        most.min(*workers.start())..=most.min(*workers.end())
    }

    /// How many prompts wait for a worker. With a guard, further prompts stay at their source, where another process may
    /// take them sooner.
    fn queue(&self, workers: usize) -> usize {
        match self.guard {
            Some(_) => workers,
            None => workers.max(ahead(&self.settings.rate)),
        }
    }

    fn sum_up(self) -> Summary {
        let end = self.view.at(self.clock.now());
        let interrupted = self.cancel.is_cancelled().then_some(Stop::Interrupted);
        let mut stop = self.stop.into_inner().or(interrupted);
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
        let found = self.pacer.found(self.asks.len());
        Summary {
            end,
            found,
            left,
            stop,
        }
    }

    /// The prompts still to do, until the batch is stopped.
    fn jobs(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    ) -> impl Iterator<Item = Job> + Send {
        let going = prompts.take_while(|_| !self.cancel.is_cancelled());
        let jobs = going.map(|prompt| self.job(prompt.map_err(Stop::Input)?));
        let good = jobs.map_while(|job| job.map_err(|reason| self.stop_for(reason)).ok());
        good.flatten()
    }

    /// A prompt as a job; `None` if it is done.
    fn job(&self, prompt: Prompt) -> Result<Option<Job>, Stop> {
        let unchanged = self.resume.unchanged(prompt.line);
        if unchanged.map_or(Ok(false), |id| self.skip_if_done(&id))? {
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
            settings: self.resume.settings_of(&prompt),
            prompt,
            id,
            request,
            pulled: self.clock.now(),
            twins,
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

    /// Runs the prompts of a group in one call, or in several smaller groups if one of them spoils it.
    fn finish_group(&self, mut group: Vec<Job>, add: &AddWorker<'_>) -> Vec<Finished> {
        if group.len() < 2 {
            let jobs = group.into_iter();
            return jobs.map(|job| self.finish(job, add)).collect();
        }
        let whole = self.finish(joined::join(&group), add).record;
        match joined::take_apart(whole, &group) {
            Parts::Records(records) => joined::finished(group, records),
            Parts::Unknown(whole) => {
                let rest = group.split_off(group.len() / 2);
                let mut finished = self.finish_group(group, add);
                finished.extend(self.finish_group(rest, add));
                joined::add_calls(finished.first_mut(), *whole);
                finished
            }
        }
    }

    /// Runs one prompt and makes its record. A panic fails this prompt only; its attempts are lost.
    fn finish(&self, job: Job, add: &AddWorker<'_>) -> Finished {
        let run = AssertUnwindSafe(|| self.run_prompt(&job, add));
        let record = catch_unwind(run).unwrap_or_else(|panic| {
            let message = Panicked(panic).to_string();
            Some(failed(&job, "panic".to_owned(), message))
        });
        Finished { job, record }
    }

    /// Runs one prompt through all its attempts.
    fn run_prompt(&self, job: &Job, add: &AddWorker<'_>) -> Option<Record> {
        let run = RefCell::new(PromptRun::new(job, &self.view, self.clock.now()));
        let mut again = None;
        let attempt = |_: &Attempt<'_>| {
            let starved = run.borrow().starved_for(self.clock.now());
            let asked = again.as_ref().unwrap_or(&job.request);
            if let Some(other) = starved.and_then(|time| self.asks[0].fallback(asked, time)) {
                again = Some(other);
            }
            let request = again.as_ref().unwrap_or(&job.request);
            let mut granted = self.acquire(job, request)?;
            self.add_worker_if_short(add);
            let answer = self.call(request, &mut granted, &run);
            let answer = self.report(&granted.permit, &run.borrow(), request, answer)?;
            let Some(misfit) = self.asks[0].misfit(&answer) else {
                return Ok(answer);
            };
            again = Some(self.asks[0].request_again(&job.request, &answer, &misfit));
            Err(self.misfit(answer, misfit, &mut run.borrow_mut()))
        };
        let seed = self.settings.seed ^ job.prompt.line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let retry = self.settings.retry.patience(Duration::MAX); // `max_wait` counts for all prompts together
        let call = retry.call(|failed: &NoAnswer| failed.verdict, attempt);
        let call = call.on_retry(|failed| run.borrow_mut().retrying(failed));
        let ended = call.cancel(&self.cancel).seed(seed).run();
        run.into_inner().finish(ended)
    }

    /// Takes a permit that the guard agrees to.
    fn acquire(&self, job: &Job, request: &[u8]) -> Result<Granted<'_>, NoAnswer> {
        loop {
            if let Some(guard) = self.guard {
                guard.ready(&self.cancel).map_err(NoKeyPermit::from)?;
            }
            let granted = self.pacer.acquire(request, &self.cancel);
            let granted = granted.inspect_err(|none| {
                if let NoKeyPermit::Unreachable(why) = none {
                    self.stop_for(Stop::Lost(why.clone()));
                }
            })?;
            if self.guard.is_none_or(|guard| guard.begin(&job.prompt)) {
                return Ok(granted);
            }
            self.pacer.not_sent(&granted.permit);
        }
    }

    /// Makes one call.
    fn call(
        &self,
        request: &[u8],
        granted: &mut Granted<'_>,
        run: &RefCell<PromptRun<'_>>,
    ) -> Result<Answer, CallError> {
        let permit = &granted.permit;
        let started_at = self.wall_at(permit.granted_at());
        let in_flight = self.view.calls(permit.granted_at());
        let ask = self.asks[permit.key()];
        let answer = ask.ask_reporting(request, &|| self.pacer.limiter.sent(permit));
        drop(in_flight);
        let now = self.clock.now();
        run.borrow_mut().called(granted, started_at, now, &answer);
        self.pacer.ended(granted, now, &answer);
        answer
    }

    /// Wall time at `instant`. It is not read when the call starts: a thread that is slow to read it would make two calls
    /// look closer than they were.
    fn wall_at(&self, instant: Instant) -> SystemTime {
        self.clock.wall() - (self.clock.now() - instant)
    }

    /// Adds a worker if prompts wait but no worker waits for the next permit: it would go unused.
    fn add_worker_if_short(&self, add: &AddWorker<'_>) {
        if self.pacer.wants_workers() && add() {
            let workers = self.view.workers_added(1);
            self.view.tell(Event::WorkerAdded { workers });
        }
    }

    /// Reports an answer or a failure to the limiter, and returns what it means for the prompt.
    fn report(
        &self,
        permit: &KeyPermit,
        run: &PromptRun<'_>,
        request: &[u8],
        answer: Result<Answer, CallError>,
    ) -> Result<Answer, NoAnswer> {
        let error = match answer {
            Ok(answer) => {
                self.pacer.answered(permit, request, &answer);
                self.mind_the_cost();
                return Ok(answer);
            }
            Err(error) => error,
        };
        if let Some(guard) = self.guard {
            guard.failed(&run.job.prompt);
        }
        let mut verdict = run.verdict(&error, self.settings.timeout_retries);
        match self.pacer.failed(permit, &error) {
            Meaning::Prompt => {}
            Meaning::Retired => verdict = Verdict::RateLimited(Some(Duration::ZERO)),
            Meaning::WaitTooLong => verdict = Verdict::Stop,
            Meaning::Stop(reason) => self.stop_for(reason),
        }
        let error = Some(Box::new(error));
        Err(NoAnswer { error, verdict })
    }

    /// An answer that does not fit the schema is as good as none, but it is paid for.
    fn misfit(&self, answer: Answer, misfit: String, run: &mut PromptRun<'_>) -> NoAnswer {
        let error = Box::new(CallError::misfit(answer, misfit));
        if let Some(guard) = self.guard {
            guard.failed(&run.job.prompt);
        }
        NoAnswer {
            verdict: run.misfit(&error, self.settings.schema_retries),
            error: Some(error),
        }
    }

    /// Stops the batch once the answers have reached the cost limit.
    fn mind_the_cost(&self) {
        let limit = self.settings.max_cost;
        let spent = limit.and_then(|limit| limit.spent(self.view.count(|counts| counts.tokens)));
        if let (Some(spent), Some(MaxCost { most, .. })) = (spent, limit) {
            self.stop_for(Stop::Spent { spent, most });
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
