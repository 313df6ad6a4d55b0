//! Runs a batch: prompts in, paced and retried calls, one record per prompt out.
//!
//! Each worker takes a prompt through all its attempts. Every attempt takes a permit from the limiter. The record is
//! written before the prompt counts as done. A thread that finds a reason to stop the batch stores it and cancels: waits
//! end, calls in flight finish and are written, and unfinished prompts get no record, so that another run can send them.

mod allowance;
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
mod summary;
mod view;

use std::cell::RefCell;
use std::error::Error;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
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
use crate::retry::{Attempt, Retry};

pub(crate) use self::{
    causes::Causes,
    guard::Guard,
    price::amount,
    resume::Before,
    size::{Density, RequestSize},
    snapshot::Allowed,
    summary::{Flag, Flags},
};
pub use self::{
    causes::FailureCause,
    event::{Event, Origin, PauseReason, Watch},
    halt::Halt,
    price::{MaxCost, Price},
    resume::Resume,
    snapshot::Snapshot,
    stop::Stop,
    summary::Summary,
    view::View,
};
pub(crate) use dedupe::Twins;
#[cfg(feature = "cli")]
pub(crate) use estimate::Estimate;
use joined::Parts;
use pacer::{Granted, Meaning, Pacer};
use patience::{Patience, PatienceRule};
use prompt_run::{Finished, Job, NoAnswer, PromptRun, Timing};
use resume::Passing;
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

/// How many workers a batch starts with, and how many it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct WorkerRange {
    /// Workers at the start.
    pub start: usize,
    /// Upper bound.
    pub most: usize,
}

/// The workers that a rate needs for all keys together: rate x latency (Little's law) for a latency of one second, plus
/// one that waits in line, but 8 at most at the start. The batch adds workers while nobody waits for a permit and more
/// calls may be in flight.
#[must_use]
pub(crate) fn workers_for(rate: &RateLimit, keys: usize) -> WorkerRange {
    const START: usize = 8;
    let start = match rate {
        RateLimit::Fixed(rate) if !rate.interval().is_zero() => {
            let in_flight = keys as f64 / rate.interval().as_secs_f64();
            (in_flight.ceil() as usize + 1).clamp(2, START)
        }
        _ => START,
    };
    WorkerRange {
        start,
        most: InFlight::MOST,
    }
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
    passing: Passing,
    twins: Twins,
    per_call: usize,
    view: Arc<View>,
    guard: Option<&'a dyn Guard>,
    patience: Mutex<PatienceRule>,
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
        let pacer = Pacer::new(
            settings,
            asks.len(),
            asks[0].counting(),
            clock.clone(),
            view.clone(),
        );
        Batch {
            settings,
            asks,
            pacer,
            cancel,
            clock,
            passing: Passing::default(),
            twins: Twins::default(),
            per_call: 1,
            view,
            guard: None,
            patience: Mutex::new(PatienceRule::new(settings.max_wait)),
            stop: Mutex::new(None),
        }
    }

    /// Announces how many prompts there are, including those of earlier runs. If fewer come, the summary's `stop` is
    /// [`Stop::Missing`].
    #[must_use]
    pub fn expecting(self, total: u64) -> Self {
        self.view.expect(total);
        self
    }

    /// Calls `watch` with each event. Only the first watcher counts; later ones are ignored.
    #[must_use]
    pub fn watched_by(self, watch: Arc<dyn Watch>) -> Self {
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
        self.view.earlier(resume.index.usage());
        Batch {
            passing: Passing::new(resume),
            ..self
        }
    }

    /// Asks identical requests once.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn asking_once(self, twins: Twins) -> Self {
        Batch { twins, ..self }
    }

    /// Sends as many prompts in one call, where their requests differ only in their input: embeddings.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn joining(self, per_call: usize) -> Self {
        Batch { per_call, ..self }
    }

    /// Takes its permits from this limiter instead of its own [`KeyLimiter`](crate::pacing::KeyLimiter). The limiter
    /// must be on the same clock and have one key for each of the `asks`.
    #[must_use]
    pub fn limited_by(self, limiter: Arc<dyn CallLimiter>) -> Self {
        Batch {
            pacer: self.pacer.with_limiter(limiter),
            ..self
        }
    }

    /// Asks this guard before each call.
    #[must_use]
    pub(crate) fn guarded(self, guard: &'a dyn Guard) -> Self {
        Batch {
            guard: Some(guard),
            ..self
        }
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
        let range = self.workers();
        self.view.workers_added(range.start);
        let mut sink = Sink::new(write, self.settings);
        let work = |group: Vec<Job>, add: &AddWorker<'_>| self.finish_group(group, add);
        let pool = Pool::new(range.start)
            .queue(self.queue(range))
            .clock(self.clock.clone());
        let _ = pool.cancel(&self.cancel).for_each_growing(
            range.most,
            joined::groups(self.jobs(prompts), self.per_call),
            work,
            |_, group| {
                for finished in group.unwrap_or_else(|panic| panic.resume()) {
                    self.record_all(&mut sink, &finished);
                }
                ControlFlow::<()>::Continue(())
            },
        );
        self.sum_up(sink.summary)
    }

    fn workers(&self) -> WorkerRange {
        let range = match self.settings.workers {
            Some(workers) => WorkerRange {
                start: workers.get(),
                most: workers.get(),
            },
            None => workers_for(&self.settings.rate, self.asks.len()),
        };
        let most = self.settings.most_workers.max(1);
        WorkerRange {
            start: range.start.min(most),
            most: range.most.min(most),
        }
    }

    /// How many prompts wait for a worker. With a guard, further prompts stay at their source, where another process may
    /// take them sooner.
    fn queue(&self, workers: WorkerRange) -> usize {
        match self.guard {
            Some(_) => workers.start,
            None => workers.start.max(ahead(&self.settings.rate)),
        }
    }

    /// Writes and counts a finished prompt.
    fn record<W>(&self, sink: &mut Sink<W>, finished: &Finished)
    where
        W: FnMut(&Record) -> Result<(), Box<dyn Error + Send + Sync>>,
    {
        let answered_before = sink.summary.answered;
        let failed_before = sink.summary.failed;
        if let Some(reason) = sink.take(finished) {
            self.stop_for(reason);
        }
        let answered = sink.summary.answered;
        let failed = sink.summary.failed;
        self.view.done(answered, failed);
        if answered > answered_before || failed > failed_before {
            self.view.tell(Event::Done {
                prompt: &finished.prompt,
                answered: answered > answered_before,
            });
        }
    }

    /// Writes a finished prompt, and copies for those with the same request.
    fn record_all<W>(&self, sink: &mut Sink<W>, finished: &Finished)
    where
        W: FnMut(&Record) -> Result<(), Box<dyn Error + Send + Sync>>,
    {
        self.record(sink, finished);
        for twin in &finished.twins {
            let record = finished.record.as_ref();
            let copy = Finished {
                record: record.map(|record| dedupe::copy(record, twin)),
                prompt: twin.clone(),
                twins: Vec::new(),
            };
            self.record(sink, &copy);
        }
    }

    fn sum_up(self, mut summary: Summary) -> Summary {
        summary.ended(&self.view, self.clock.now());
        summary.before = self.passing.before();
        summary.found = self.pacer.found(self.asks.len());
        let cancelled = self.cancel.is_cancelled();
        summary.stop = self
            .stop
            .into_inner()
            .or(cancelled.then_some(Stop::Interrupted));
        let end = self.view.at(self.clock.now());
        summary.left = end.left();
        // If the last prompt made the batch stop, nothing was left to stop.
        let was_done = |stop: &mut Stop| matches!(stop, Stop::Spent { .. } | Stop::AllAlike { .. });
        if summary.left == Some(0) {
            summary.stop.take_if(was_done);
        } else if let (None, Some(announced), Some(missing)) =
            (&summary.stop, end.total, end.left())
        {
            summary.stop = Some(Stop::Missing { announced, missing });
        }
        summary
    }

    /// The prompts still to do, until the batch is stopped.
    fn jobs(
        &self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    ) -> impl Iterator<Item = Job> + Send {
        let going = prompts.take_while(|_| !self.cancel.is_cancelled());
        let jobs = going.map(|prompt| {
            prompt
                .map_err(Stop::Input)
                .and_then(|prompt| self.job(prompt))
        });
        let good = jobs.map_while(|job| job.map_err(|reason| self.stop_for(reason)).ok());
        good.flatten()
    }

    /// A prompt as a job; `None` if it is done.
    fn job(&self, prompt: Prompt) -> Result<Option<Job>, Stop> {
        let request = body(self.asks[0], &prompt).map_err(Stop::Input)?;
        let id = record_id(self.asks[0], prompt.line, &request);
        if !self.passing.is_to_do(&id)? {
            self.view.passed_over();
            return Ok(None);
        }
        let Some(twins) = self.twins.of(&id, |twin| self.passing.is_left(twin)) else {
            return Ok(None);
        };
        Ok(Some(Job {
            settings: self.passing.settings(&prompt),
            prompt,
            id,
            request,
            pulled: self.clock.now(),
            twins,
        }))
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

    /// Runs one prompt and makes its record. A panic fails this prompt only.
    fn finish(&self, job: Job, add: &AddWorker<'_>) -> Finished {
        let run = AssertUnwindSafe(|| self.run_prompt(&job, add));
        match catch_unwind(run) {
            Ok(record) => Finished {
                prompt: job.prompt,
                record,
                twins: job.twins,
            },
            Err(panic) => Finished::panicked(job, Panicked(panic).to_string()),
        }
    }

    /// Runs one prompt through all its attempts.
    fn run_prompt(&self, job: &Job, add: &AddWorker<'_>) -> Option<Record> {
        let run = RefCell::new(PromptRun::new(job, &self.view, self.clock.now()));
        let mut again = None;
        let attempt = |_: &Attempt<'_>| {
            let request = again.as_ref().unwrap_or(&job.request);
            let (mut granted, paced) = self.acquire(job, request)?;
            self.add_worker_if_short(add);
            let answer = self.call(request, &mut granted, paced, &run);
            let answer = self.report(&granted.permit, job, request, answer)?;
            let Some(misfit) = self.asks[0].misfit(&answer) else {
                return Ok(answer);
            };
            again = Some(self.asks[0].request_again(&job.request, &answer, &misfit));
            Err(self.misfit(job, answer, misfit, &run))
        };
        let seed = self.settings.seed ^ job.prompt.line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let retry = self.settings.retry.patience(Duration::MAX); // `max_wait` counts for all prompts together
        let judge = |failed: &NoAnswer| run.borrow().verdict(failed, &self.settings);
        let call = retry.call(judge, attempt).cancel(&self.cancel).seed(seed);
        let ended = call
            .on_retry(|failed| run.borrow_mut().retrying(failed))
            .run();
        run.into_inner().finish(ended)
    }

    /// Takes a permit that the guard agrees to. Returns it and how long the prompt waited for it.
    fn acquire(&self, job: &Job, request: &[u8]) -> Result<(Granted<'_>, Duration), NoAnswer> {
        loop {
            if let Some(guard) = self.guard {
                guard.ready(&self.cancel).map_err(NoKeyPermit::from)?;
            }
            let asked = self.clock.now();
            let waiting = self.view.waits();
            let granted = self.pacer.acquire(request, &self.cancel);
            let granted = granted.inspect_err(|none| self.stop_if_unreachable(none))?;
            drop(waiting);
            if self.guard.is_none_or(|guard| guard.begin(&job.prompt)) {
                let paced = granted.permit.granted_at() - asked;
                return Ok((granted, paced));
            }
            self.pacer.not_sent(&granted.permit);
        }
    }

    fn stop_if_unreachable(&self, none: &NoKeyPermit) {
        if let NoKeyPermit::Unreachable(why) = none {
            self.stop_for(Stop::Lost(why.clone()));
        }
    }

    /// Makes one call.
    fn call(
        &self,
        request: &[u8],
        granted: &mut Granted<'_>,
        paced: Duration,
        run: &RefCell<PromptRun<'_>>,
    ) -> Result<Answer, CallError> {
        let permit = &granted.permit;
        let granted_at = permit.granted_at();
        let started_at = self.wall_at(granted_at);
        let in_flight = self.view.calls(granted_at);
        let answer = self.asks[permit.key()].ask_reporting(request, &|| self.pacer.sent(permit));
        drop(in_flight);
        let timing = Timing {
            sent: granted_at,
            started_at,
            paced,
            took: self.clock.now() - granted_at,
        };
        let took = timing.took;
        run.borrow_mut().called(permit, timing, &answer);
        self.pacer.ended(granted, took, &answer);
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
            self.view.tell(Event::WorkerAdded {
                workers: self.view.workers_added(1),
            });
        }
    }

    /// Reports an answer or a failure to the limiter, and returns what it means for the prompt.
    fn report(
        &self,
        permit: &KeyPermit,
        job: &Job,
        request: &[u8],
        answer: Result<Answer, CallError>,
    ) -> Result<Answer, NoAnswer> {
        let error = match answer {
            Ok(answer) => {
                self.pacer.answered(permit, request, &answer);
                self.patience.lock().answered();
                self.mind_the_cost();
                return Ok(answer);
            }
            Err(error) => error,
        };
        if let Some(guard) = self.guard {
            guard.failed(&job.prompt);
        }
        match self.pacer.failed(permit, &error) {
            Meaning::Nothing => {}
            Meaning::Retired => return Err(NoAnswer::KeyRetired(error)),
            Meaning::Stop(reason) => self.stop_for(reason),
        }
        Err(self.lose_patience(permit.granted_at(), error))
    }

    /// An answer that does not fit the schema is as good as none, but it is paid for.
    fn misfit(
        &self,
        job: &Job,
        answer: Answer,
        misfit: String,
        run: &RefCell<PromptRun<'_>>,
    ) -> NoAnswer {
        let error = CallError::misfit(answer, misfit);
        run.borrow_mut().misfit(&error);
        if let Some(guard) = self.guard {
            guard.failed(&job.prompt);
        }
        NoAnswer::Misfit(error)
    }

    /// Stops the batch, or fails the prompt, if waiting will not help.
    fn lose_patience(&self, sent: Instant, error: CallError) -> NoAnswer {
        let patience = self.patience.lock().failed(&error, sent, self.clock.now());
        match patience {
            Patience::Left => NoAnswer::Call(error),
            Patience::OutForPrompt => NoAnswer::WaitTooLong(error),
            Patience::Out(reason) => {
                self.stop_for(reason);
                NoAnswer::Call(error)
            }
        }
    }

    /// Stops the batch once the answers have reached the cost limit.
    fn mind_the_cost(&self) {
        if let Some(max_cost) = self.settings.max_cost
            && let Some(spent) = max_cost.spent(self.view.tokens())
        {
            self.stop_for(Stop::Spent {
                spent,
                most: max_cost.most,
            });
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
#[must_use]
pub(crate) fn record_id(ask: &dyn Ask, line: u64, request: &[u8]) -> RecordId {
    match ask.mark() {
        "" => RecordId::of(line, request),
        mark => RecordId::of(line, &[mark.as_bytes(), b"\n", request].concat()),
    }
}

#[cfg(test)]
mod tests;
