//! Ties it together: prompts in, paced and retried calls, one record a prompt out.
//!
//! Each worker takes a prompt through all its attempts, every one of which takes a turn at the limiter, and writes the
//! record before it takes the next prompt. Whoever meets a reason to stop the batch sets it and cancels: waits end, calls in flight
//! finish and are written, and prompts that were not finished get no record, so that another run can do them.

mod allowance;
mod attempts;
mod budget;
mod desk;
mod estimate;
mod event;
mod gauge;
mod guard;
mod halt;
mod meter;
mod pacer;
mod price;
mod resume;
mod size;
mod snapshot;
mod stop;
mod summary;
mod view;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use log::info;
use parking_lot::Mutex;

use crate::api::{Answer, Ask, CallError};
use crate::cancel::CancelToken;
use crate::clock::Clock;
use crate::journal::{JournalError, Record, RecordId};
use crate::limiter::{NoTurn, Pace, Tempo, Turn};
use crate::pool::{self, Crew, Size};
use crate::prompts::{Prompt, PromptError};
use crate::retry::Retry;

use attempts::{Course, Miss};
use desk::Desk;
pub use event::{Event, Origin, Watch, Why};
pub use guard::Guard;
pub use halt::{Halt, ParseHaltError};
use pacer::{Meaning, Pacer};
pub use price::{MaxCost, ParsePriceError, Price, Tokens, amount};
use resume::Passing;
pub use resume::{Before, Resume};
pub use size::{Density, RequestSize};
pub use snapshot::{Allowed, Hold, Snapshot};
pub use stop::Stop;
pub use summary::{Flag, Flags, Summary};
pub use view::View;

/// How a batch is run: plain data.
///
/// # Default
/// * `pace`: [`Tempo::Found`], as fast as the server lets us
/// * `tokens`: as many as the server says, or any number
/// * `workers`: as many as the rate needs ([`workers_for`])
/// * `retry`: [`Retry::default`]
/// * `max_wait`: 15 minutes
/// * `halt`: never
/// * `max_cost`: any
/// * `seed`: 0
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The pace of the calls made with each key.
    pub pace: Tempo,
    /// Tokens a minute that each key may use.
    pub tokens: Option<NonZeroU32>,
    /// A fixed number of workers; none: start with what the rate needs, and grow while turns wait for workers.
    pub workers: Option<NonZeroUsize>,
    /// How faults are retried.
    pub retry: Retry,
    /// The longest that the server may hold everyone, without one answer, before the batch stops.
    pub max_wait: Duration,
    /// How many prompts may fail before the batch stops.
    pub halt: Option<Halt>,
    /// What the answers may cost before the batch stops.
    pub max_cost: Option<MaxCost>,
    /// For the jitter.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let (pace, retry, max_wait) =
            (Tempo::Found, Retry::default(), Duration::from_secs(15 * 60));
        Settings {
            pace,
            tokens: None,
            workers: None,
            retry,
            max_wait,
            halt: None,
            max_cost: None,
            seed: 0,
        }
    }
}

/// The workers that a pace needs, for all keys together, by Little's law (rate x latency), for a latency of one second,
/// and one more that waits in line; it grows from there. To find a pace it begins with 8; without any it stays at 8.
#[must_use]
pub fn workers_for(pace: &Tempo, keys: usize) -> Size {
    const MOST: usize = 512;
    let count = |n: usize| NonZeroUsize::new(n.clamp(2, MOST)).expect("at least 2");
    match pace {
        Tempo::Kept(rate) if rate.interval.is_zero() => Size::fixed(count(8)),
        Tempo::Kept(rate) => {
            let in_flight = keys as f64 / rate.interval.as_secs_f64();
            Size {
                most: count(MOST),
                ..Size::fixed(count(in_flight.ceil() as usize + 1))
            }
        }
        _ => Size {
            most: count(MOST),
            ..Size::fixed(count(8))
        },
    }
}

/// The prompts that leave within some milliseconds: as many are pulled ahead, or the workers of a very fast batch would
/// find the queue empty before the feeder has woken.
fn ahead(pace: &Tempo) -> Option<NonZeroUsize> {
    const WITHIN: Duration = Duration::from_millis(10);
    const MOST: u128 = 64;
    let Tempo::Kept(rate) = pace else { return None };
    let leave = WITHIN.as_nanos() / rate.interval.as_nanos().max(1);
    NonZeroUsize::new(leave.min(MOST) as usize)
}

/// A batch, ready to run.
#[derive(Debug)]
pub struct Batch<'a> {
    settings: Settings,
    /// One for each key; they differ in nothing else.
    asks: Vec<&'a dyn Ask>,
    pacer: Pacer,
    cancel: CancelToken,
    clock: Arc<dyn Clock>,
    passing: Passing,
    view: Arc<View>,
    guard: Option<&'a dyn Guard>,
    stop: Mutex<Option<Stop>>,
}

/// A prompt on its way through the pool.
struct Job {
    prompt: Prompt,
    id: RecordId,
    /// The body to send: the same for each attempt.
    request: Vec<u8>,
    pulled: Instant,
}

impl<'a> Batch<'a> {
    /// A batch that asks here, on this clock; cancel the token, which must be on the same clock, to stop it from outside.
    ///
    /// Several `asks` are the same API with several keys: each has its own pace.
    ///
    /// # Panics
    /// If there is nobody to ask.
    #[must_use]
    pub fn new(
        settings: Settings,
        asks: impl IntoIterator<Item = &'a dyn Ask>,
        clock: Arc<dyn Clock>,
        cancel: CancelToken,
    ) -> Self {
        let asks: Vec<_> = asks.into_iter().collect();
        assert!(!asks.is_empty(), "there is nobody to ask");
        let view = Arc::new(View::new(clock.now(), settings.pace, asks.len()));
        let pacer = Pacer::new(
            settings,
            asks.len(),
            asks[0].counting(),
            clock.clone(),
            view.clone(),
        );
        let (passing, stop) = (Passing::default(), Mutex::new(None));
        Batch {
            settings,
            asks,
            pacer,
            cancel,
            clock,
            passing,
            view,
            guard: None,
            stop,
        }
    }

    /// Tells the view how many prompts there are, those of earlier runs among them.
    #[must_use]
    pub fn expecting(self, total: u64) -> Self {
        self.view.expect(total);
        self
    }

    /// Tells what happens, as it happens; the first who watches is told, and no other.
    #[must_use]
    pub fn watched_by(self, watch: Arc<dyn Watch>) -> Self {
        self.view.show(watch);
        self
    }

    /// How the batch stands, for as long as anybody wants to know.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.clone()
    }

    /// Goes on from earlier results.
    #[must_use]
    pub fn resuming(self, resume: Resume) -> Self {
        Batch {
            passing: Passing::new(resume),
            ..self
        }
    }

    /// Takes its turns here, in place of a [`RateLimiter`](crate::RateLimiter) of its own with a lane for each of the
    /// `asks`. It must be on the same clock.
    #[must_use]
    pub fn paced_by(self, pace: Arc<dyn Pace>) -> Self {
        Batch {
            pacer: self.pacer.at(pace),
            ..self
        }
    }

    /// Makes no call that this guard does not let pass.
    #[must_use]
    pub fn guarded(self, guard: &'a dyn Guard) -> Self {
        Batch {
            guard: Some(guard),
            ..self
        }
    }

    /// Runs the prompts; hands each finished one to `write`, one at a time, in order of completion.
    ///
    /// What stops the batch early is in the summary; what was finished by then has been written.
    pub fn run(
        self,
        prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
        write: impl FnMut(&Record) -> Result<(), JournalError> + Send,
    ) -> Summary {
        let desk = Mutex::new(Desk::new(
            write,
            self.settings.halt,
            Summary::new(self.clock.now()),
        ));
        let size = self.size();
        self.view.hired(size.start.get());
        let hand_in = |course: Course, prompt: &Prompt| {
            // What can be made before anybody waits for the desk is.
            let (account, record) = (course.account(), course.into_record(prompt));
            let mut desk = desk.lock();
            let before = (desk.summary.answered, desk.summary.failed);
            // Stops before the next in line hands in, who would go on to another prompt otherwise.
            desk.hand_in(account, record.as_ref())
                .into_iter()
                .for_each(|reason| self.stop_for(reason));
            let (answered, failed) = (desk.summary.answered, desk.summary.failed);
            self.view.done(answered, failed);
            drop(desk);
            if before != (answered, failed) {
                self.view.tell(Event::Done {
                    prompt,
                    answered: answered > before.0,
                });
            }
        };
        thread::scope(|scope| {
            let work = |job: &Job, crew: &Crew<'_>| hand_in(self.work(job, crew), &job.prompt);
            for (job, done) in
                pool::run_aside(self.clock.clone(), scope, size, self.jobs(prompts), work)
            {
                done.unwrap_or_else(|panic| hand_in(Course::panicked(&panic, job.id), &job.prompt));
            }
        });
        self.sum_up(desk.into_inner().summary)
    }

    /// As many workers as are set or needed. Prompts that are guarded wait where they come from, for others who may have
    /// time sooner.
    fn size(&self) -> Size {
        let auto = || workers_for(&self.settings.pace, self.asks.len());
        let size = self.settings.workers.map_or_else(auto, Size::fixed);
        match ahead(&self.settings.pace) {
            Some(ahead) if self.guard.is_none() => Size {
                queue: size.queue.max(ahead),
                ..size
            },
            _ => size,
        }
    }

    fn sum_up(self, mut summary: Summary) -> Summary {
        summary.ended(self.clock.now());
        summary.before = self.passing.before();
        summary.found = self.pacer.found(self.asks.len());
        (summary.tokens, summary.unmetered) = (self.view.tokens(), self.view.unmetered());
        let cancelled = self.cancel.is_cancelled();
        summary.stop = self
            .stop
            .into_inner()
            .or(cancelled.then_some(Stop::Interrupted));
        // The last answer may be the one that costs too much: then there is nothing to stop.
        let is_done = self.view.at(self.clock.now()).left() == Some(0);
        summary
            .stop
            .take_if(|stop| is_done && matches!(stop, Stop::Spent { .. }));
        summary
    }

    /// The prompts that are still to do, until the batch is stopped.
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

    /// A prompt as a job, unless it is done.
    fn job(&self, prompt: Prompt) -> Result<Option<Job>, Stop> {
        let request = body(self.asks[0], &prompt);
        let id = record_id(self.asks[0], prompt.line, &request);
        let to_do = self.passing.is_to_do(&id)?;
        if !to_do {
            self.view.passed_over();
        }
        Ok(to_do.then(|| Job {
            prompt,
            id,
            request,
            pulled: self.clock.now(),
        }))
    }

    /// One prompt, through all its attempts.
    fn work(&self, job: &Job, crew: &Crew<'_>) -> Course {
        let request = &job.request;
        let course = Mutex::new(Course::new(job.id, self.clock.now() - job.pulled));
        let seed = self.settings.seed ^ job.prompt.line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let judge = attempts::judge;
        let notify = |failure: &_| course.lock().put_off(failure, &job.prompt, &self.view);
        let outcome = self
            .settings
            .retry
            .trace(&self.cancel, seed, judge, notify, |n| {
                let (turn, paced) = self.take_turn(job)?;
                self.hire_if_short(crew);
                let started_at = self.wall_at(turn.at);
                let under_way = self.view.calls(turn.at);
                let answer = self.asks[turn.lane].ask(request);
                drop(under_way);
                let call = attempts::Call {
                    n,
                    turn,
                    paced,
                    started_at,
                    took: self.clock.now() - turn.at,
                };
                self.view.called(&answer, call.took);
                course.lock().called(call, &answer, &job.prompt, &self.view);
                if answer.is_err() {
                    self.guard
                        .iter()
                        .for_each(|guard| guard.failed(&job.prompt));
                }
                self.heed(turn, request, answer)
            });
        course.into_inner().ended(outcome)
    }

    /// A turn for a call that may leave, and how long it was waited for.
    fn take_turn(&self, job: &Job) -> Result<(Turn, Duration), Miss> {
        loop {
            self.guard
                .map_or(Ok(()), |guard| guard.ready(&self.cancel))?;
            let asked = self.clock.now();
            let waiting = self.view.waits();
            let turn = self
                .pacer
                .take(&job.request, &self.cancel)
                .map_err(|none| self.without_turn(none))?;
            drop(waiting);
            if self.guard.is_none_or(|guard| guard.begin(&job.prompt)) {
                return Ok((turn, turn.at - asked));
            }
            self.pacer.let_pass(turn);
        }
    }

    /// No prompt gets a turn any more: stops the batch, if nobody has.
    fn without_turn(&self, none: NoTurn) -> Miss {
        if let NoTurn::Lost(why) = none {
            self.stop_for(Stop::Lost(why));
        }
        Miss::Cancelled
    }

    /// What the calendar said at this instant: a thread that was slow to look must not make two calls seem closer than
    /// they were.
    fn wall_at(&self, instant: Instant) -> SystemTime {
        self.clock.wall() - (self.clock.now() - instant)
    }

    /// Adds a worker when nobody stands in line for the next turn though prompts wait: a turn would go unused.
    fn hire_if_short(&self, crew: &Crew<'_>) {
        if crew.queued() > 0 && self.pacer.wants_workers() && crew.hire() {
            self.view.tell(Event::Hired {
                workers: self.view.hired(1),
            });
        }
    }

    /// What an answer or a failure means for everyone, and for its prompt.
    fn heed(
        &self,
        turn: Turn,
        request: &[u8],
        answer: Result<Answer, CallError>,
    ) -> Result<Answer, Miss> {
        let error = match answer {
            Ok(answer) => {
                self.pacer.answered(turn, request, &answer);
                self.mind_the_cost();
                return Ok(answer);
            }
            Err(error) => error,
        };
        match self.pacer.failed(turn, &error) {
            Meaning::Nothing => Err(Miss::Call(error)),
            Meaning::Retired => Err(Miss::Retired(error)),
            Meaning::Stop(reason) => {
                self.stop_for(reason);
                Err(Miss::Call(error))
            }
        }
    }

    /// Stops once the answers have cost as much as they may.
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

    /// Stops the batch; the first reason counts.
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

/// The body to send for a prompt: its own, or the one that the API makes from its text.
#[must_use]
pub fn body(ask: &dyn Ask, prompt: &Prompt) -> Vec<u8> {
    prompt.body.as_ref().map_or_else(
        || ask.request(&prompt.text),
        |body| body.clone().into_bytes(),
    )
}

/// The name of the record for this request. The same body sent to another API, or to a model that only the address
/// names, is another request.
#[must_use]
pub fn record_id(ask: &dyn Ask, line: u64, request: &[u8]) -> RecordId {
    match ask.mark() {
        "" => RecordId::of(line, request),
        mark => RecordId::of(line, &[mark.as_bytes(), b"\n", request].concat()),
    }
}

#[cfg(test)]
mod tests;
