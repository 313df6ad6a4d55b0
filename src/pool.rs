//! A fixed set of worker threads over a bounded queue: inputs from an iterator, outputs as they are made.
//!
//! A feeder thread pulls the inputs, one by one and only while there is room; the workers take them from a bounded
//! channel; what they make comes out on the calling thread. Nothing runs ahead: a worker begins another input only when
//! the caller is done with an output. So if the program dies, what it had not dealt with is at most one input of each
//! worker. The threads are scoped: the work may borrow.
//!
//! ```text
//! inputs -> feeder -> [ queue ] -> workers -> [ done ] -> caller
//!                                     ^                     |
//!                                     +----- [ settled ] <--+   a message for each output that the caller is done with
//! ```

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use crate::cancel::CancelToken;
use crate::clock::{Clock, Participant};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::channel::{Receiver, Select, SendError, Sender, bounded};
use crate::sync::thread::{self, Scope};

/// Runs a closure on every input, in a fixed number of threads.
///
/// # Default
/// A queue as long as there are workers, no token, real time.
///
/// ```
/// use paceline::Pool;
/// use std::ops::ControlFlow;
///
/// let mut lengths = Vec::new();
/// let words = ["a", "steady", "pace"];
/// let _ = Pool::new(2).for_each(words, |word| word.len(), |number, length| {
///     lengths.push((number, length.unwrap())); // on this thread, in order of completion
///     ControlFlow::<()>::Continue(())
/// });
/// lengths.sort();
/// assert_eq!(lengths, [(0, 1), (1, 6), (2, 4)]);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a pool does nothing until it is given work"]
pub struct Pool {
    workers: usize,
    queue: usize,
    cancel: Option<CancelToken>,
    clock: Option<Arc<dyn Clock>>,
}

impl Pool {
    /// A pool of this many workers. To keep a rate you need rate x latency of them (Little's law), and one more that
    /// waits for the next permit: more only wait, fewer leave permits unused.
    ///
    /// # Panics
    /// If `workers` is 0.
    pub fn new(workers: usize) -> Self {
        assert!(workers > 0, "a pool needs a worker");
        Pool {
            workers,
            queue: workers,
            cancel: None,
            clock: None,
        }
    }

    /// Sets how many inputs may wait for a worker.
    ///
    /// # Panics
    /// If `inputs` is 0.
    pub fn queue(mut self, inputs: usize) -> Self {
        assert!(inputs > 0, "a queue needs room for an input");
        self.queue = inputs;
        self
    }

    /// Ends the pool when this token ends: inputs that no worker has begun are dropped, running tasks finish. Give the
    /// same token to the waits of the tasks. An input iterator that blocks is not interrupted.
    ///
    /// ```
    /// use paceline::{CancelToken, Pool};
    /// use std::ops::ControlFlow;
    ///
    /// let token = CancelToken::new();
    /// let mut last = 0;
    /// let _ = Pool::new(2).cancel(&token).for_each(0.., |n| n * 2, |number, _| {
    ///     last = number;
    ///     token.cancel(); // an endless input ends
    ///     ControlFlow::<()>::Continue(())
    /// });
    /// assert!(last < 10);
    /// ```
    pub fn cancel(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets the clock, for tests in simulated time. The default is the token's, or else the
    /// [`SystemClock`](crate::clock::SystemClock).
    pub fn clock(mut self, clock: impl Into<Arc<dyn Clock>>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// Runs `work` on every input; hands each output to `each`, on the calling thread, in order of completion, with the
    /// number of its input from 0. Breaks off when `each` does: running tasks finish, and their outputs are dropped.
    ///
    /// # Panics
    /// If the input iterator panics, or the operating system gives no thread at all.
    pub fn for_each<I: Send, T: Send, B>(
        &self,
        inputs: impl IntoIterator<Item = I, IntoIter: Send>,
        work: impl Fn(I) -> T + Send + Sync,
        mut each: impl FnMut(usize, Result<T, Panicked>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        thread::scope(|scope| {
            let mut outputs = self.map(scope, inputs, work);
            outputs.try_for_each(|(number, output)| each(number, output))
        })
    }

    /// Runs `work` on every input; yields the outputs in order of completion, each with the number of its input.
    ///
    /// # Panics
    /// If the operating system gives no thread at all.
    ///
    /// ```
    /// use paceline::Pool;
    ///
    /// let longest = std::thread::scope(|scope| {
    ///     let outputs = Pool::new(2).map(scope, ["a", "steady", "pace"], |word| word.len());
    ///     outputs.map(|(_number, length)| length.unwrap()).max()
    /// });
    /// assert_eq!(longest, Some(6));
    /// ```
    pub fn map<'scope, I: Send + 'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        inputs: impl IntoIterator<Item = I, IntoIter: Send + 'scope>,
        work: impl Fn(I) -> T + Send + Sync + 'scope,
    ) -> Outputs<'scope, T> {
        let work = move |input, _: &AddWorker<'_>| work(input);
        self.start(scope, self.workers, inputs.into_iter(), work, false)
    }

    /// The same in order of the inputs. An output that is not due waits, in memory, for those before it; at most workers +
    /// queue inputs are ahead of the one that is due. A cancelled pool leaves out the inputs that it has not begun.
    ///
    /// # Panics
    /// If the operating system gives no thread at all.
    ///
    /// ```
    /// use paceline::Pool;
    ///
    /// std::thread::scope(|scope| {
    ///     let squares = Pool::new(4).map_in_order(scope, 0.., |n: u64| n * n); // an endless iterator
    ///     let first: Vec<_> = squares.take(5).map(|(_, square)| square.unwrap()).collect();
    ///     assert_eq!(first, [0, 1, 4, 9, 16]);
    /// });
    /// ```
    pub fn map_in_order<'scope, I: Send + 'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        inputs: impl IntoIterator<Item = I, IntoIter: Send + 'scope>,
        work: impl Fn(I) -> T + Send + Sync + 'scope,
    ) -> Outputs<'scope, T> {
        let work = move |input, _: &AddWorker<'_>| work(input);
        self.start(scope, self.workers, inputs.into_iter(), work, true)
    }

    /// Starts the threads. The pool may grow to `most` workers, if that is more than it has: a task adds one when it sees
    /// that one is missing.
    pub(crate) fn start<'scope, I: Send + 'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        most: usize,
        inputs: impl Iterator<Item = I> + Send + 'scope,
        work: impl Fn(I, &AddWorker<'_>) -> T + Send + Sync + 'scope,
        in_order: bool,
    ) -> Outputs<'scope, T> {
        let stop = CancelToken::for_task(self.cancel.as_ref(), self.clock.as_ref(), None);
        let participant = stop.clock().enlist().join();
        let most = most.max(self.workers);
        let ahead = if in_order { self.queue } else { 0 };
        let (to_workers, jobs) = bounded(self.queue);
        let (done, outputs) = bounded(most);
        let (settle, settled) = bounded(most + ahead);
        (0..ahead).for_each(|_| _ = settle.send(()));
        let crew = Arc::new(Crew {
            jobs,
            done,
            settled,
            work: Box::new(work),
            stop: stop.clone(),
            most,
            count: AtomicUsize::new(0),
        });
        let added = (0..self.workers).filter(|_| Crew::add_worker(&crew, scope));
        assert!(added.count() > 0, "the operating system gives no thread");
        feed(inputs, to_workers, stop.clone(), scope);
        Outputs {
            outputs,
            settle,
            owes: false,
            next: in_order.then_some(0),
            early: BTreeMap::new(),
            stop,
            _participant: participant,
            _bound: PhantomData,
        }
    }
}

/// Starts the thread that pulls the inputs.
fn feed<'scope, I: Send + 'scope>(
    inputs: impl Iterator<Item = I> + Send + 'scope,
    to_workers: Sender<(usize, I)>,
    stop: CancelToken,
    scope: &'scope Scope<'scope, '_>,
) {
    let participant = stop.clock().enlist();
    scope.spawn(move || {
        let _participant = participant.join();
        let to_workers = to_workers; // closes before this thread leaves the clock
        for input in inputs.enumerate() {
            if stop.is_cancelled() || send(stop.clock(), &to_workers, input).is_err() {
                break;
            }
        }
    });
}

/// A task panicked; its worker went on with the next input.
///
/// ```
/// use paceline::Pool;
///
/// std::thread::scope(|scope| {
///     let mut outputs = Pool::new(1).map(scope, [1, 0], |n| 10 / n);
///     assert_eq!(outputs.next().unwrap().1.unwrap(), 10);
///     let panicked = outputs.next().unwrap().1.unwrap_err();
///     assert_eq!(panicked.message(), "attempt to divide by zero");
/// });
/// ```
pub struct Panicked(pub(crate) Box<dyn Any + Send>);

impl Panicked {
    /// What it panicked with, as text.
    #[must_use]
    pub fn message(&self) -> &str {
        let text = self.0.downcast_ref::<&str>().copied();
        let string = || self.0.downcast_ref::<String>().map(String::as_str);
        text.or_else(string).unwrap_or("a panic without a message")
    }

    /// Panics with the same payload on this thread.
    pub fn resume(self) -> ! {
        resume_unwind(self.0)
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panicked").field(&self.message()).finish()
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task panicked: {}", self.message())
    }
}

impl std::error::Error for Panicked {}

type Output<T> = (usize, Result<T, Panicked>);

/// What comes out of a pool: the number of each input, from 0, and what was made of it.
///
/// Dropping it stops the pool, and returns when the running tasks have finished. It belongs to the thread that made
/// it.
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// std::thread::scope(|scope| {
///     paceline::Pool::new(4).map(scope, 0..100, |n| n); // dropped at once: most inputs are never begun
/// });
/// ```
#[derive(Debug)]
#[must_use = "dropping the outputs stops the pool"]
pub struct Outputs<'scope, T> {
    outputs: Receiver<Output<T>>,
    /// Lets a worker go on, for each output that the caller is done with.
    settle: Sender<()>,
    /// An output was taken, and the caller has not come back yet.
    owes: bool,
    /// The number of the next output, where they come in order.
    next: Option<usize>,
    /// Outputs that wait for those before them. Inputs are begun in order, and what was begun comes out: there are no gaps.
    early: BTreeMap<usize, Result<T, Panicked>>,
    stop: CancelToken,
    _participant: Participant,
    /// It must not leave the scope whose threads it waits for, nor the thread that made it.
    _bound: PhantomData<(&'scope (), *const ())>,
}

impl<T> Outputs<'_, T> {
    /// The next output in the order that is wanted.
    fn due(&mut self) -> Option<Output<T>> {
        let Some(next) = &mut self.next else {
            return receive(self.stop.clock(), &self.outputs);
        };
        while !self.early.contains_key(next) {
            let (number, output) = receive(self.stop.clock(), &self.outputs)?;
            self.early.insert(number, output);
        }
        *next += 1;
        self.early.pop_first()
    }
}

impl<T> Iterator for Outputs<'_, T> {
    type Item = Output<T>;

    /// The caller is done with the output before.
    fn next(&mut self) -> Option<Output<T>> {
        if self.owes {
            let _ = send(self.stop.clock(), &self.settle, ());
        }
        let output = self.due();
        self.owes = output.is_some();
        output
    }
}

impl<T> Drop for Outputs<'_, T> {
    fn drop(&mut self) {
        self.stop.cancel();
        while self.next().is_some() {}
    }
}

/// Adds a worker if an input waits in the queue and there may be one more. Returns whether it did.
pub(crate) type AddWorker<'a> = dyn Fn() -> bool + 'a;

type Work<'scope, I, T> = dyn Fn(I, &AddWorker<'_>) -> T + Send + Sync + 'scope;

/// What the workers share.
struct Crew<'scope, I, T> {
    jobs: Receiver<(usize, I)>,
    done: Sender<Output<T>>,
    /// A message for each output that the caller is done with, and for each that may be ahead of the one that is due.
    settled: Receiver<()>,
    work: Box<Work<'scope, I, T>>,
    /// No further input is to be begun.
    stop: CancelToken,
    most: usize,
    /// Workers so far; none leaves before the end.
    count: AtomicUsize,
}

impl<'scope, I: Send + 'scope, T: Send + 'scope> Crew<'scope, I, T> {
    /// Adds a worker, if there may be one more and the system gives a thread.
    fn add_worker(crew: &Arc<Self>, scope: &'scope Scope<'scope, '_>) -> bool {
        let order = Ordering::SeqCst;
        let one_more = |count| (count < crew.most).then_some(count + 1);
        let Ok(number) = crew.count.fetch_update(order, order, one_more) else {
            return false;
        };
        let participant = crew.stop.clock().enlist();
        let worker = crew.clone();
        let thread = thread::Builder::new().name(format!("worker-{number}"));
        let spawned = thread.spawn_scoped(scope, move || worker.serve(participant, scope));
        if let Err(error) = &spawned {
            crew.count.fetch_sub(1, order);
            log::warn!("no further worker: the operating system gives no thread: {error}");
        }
        spawned.is_ok()
    }

    /// A worker's life: take an input, work on it, hand the output out.
    fn serve(self: Arc<Self>, participant: Participant, scope: &'scope Scope<'scope, '_>) {
        let _participant = participant.join();
        let crew = self; // the channels close before this thread leaves the clock
        let clock = crew.stop.clock();
        let add = || !crew.jobs.is_empty() && Crew::add_worker(&crew, scope);
        while let Some((number, input)) = crew.job() {
            let work = || (crew.work)(input, &add);
            let output = catch_unwind(AssertUnwindSafe(work)).map_err(Panicked);
            let is_sent = send(clock, &crew.done, (number, output)).is_ok();
            if !is_sent || receive(clock, &crew.settled).is_none() {
                break;
            }
        }
    }

    /// The next input to begin.
    fn job(&self) -> Option<(usize, I)> {
        if self.stop.is_cancelled() {
            return None;
        }
        receive(self.stop.clock(), &self.jobs)
    }
}

/// Takes a message, on real or simulated time; `None` when no more will come.
fn receive<M>(clock: &Arc<dyn Clock>, channel: &Receiver<M>) -> Option<M> {
    clock.poll(&mut || {
        let mut select = Select::new();
        select.recv(channel);
        select.try_ready().is_ok()
    });
    channel.recv().ok()
}

/// Hands a message on, on real or simulated time.
fn send<M>(clock: &Arc<dyn Clock>, channel: &Sender<M>, message: M) -> Result<(), SendError<M>> {
    clock.poll(&mut || {
        let mut select = Select::new();
        select.send(channel);
        select.try_ready().is_ok()
    });
    channel.send(message)
}

#[cfg(test)]
mod tests;
