//! A fixed set of worker threads over a bounded queue: inputs from an iterator, outputs as an iterator.
//!
//! A feeder thread pulls the inputs, one by one and only when there is room; the workers take them from a bounded
//! channel; what they make comes out in the order of completion. Nobody runs ahead: when the outputs are not taken,
//! the workers wait, and then the feeder. The threads are scoped, so the work may borrow.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::clock::{Clock, Participant, SystemClock};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::channel::{Receiver, Select, SendError, Sender, TrySendError, bounded};
use crate::sync::thread::{self, Scope};

/// How many workers, and how many inputs wait for them: plain data.
///
/// # Default
/// 4 workers, and no more; as many inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The workers at the start.
    pub start: NonZeroUsize,
    /// The most there may be after [`Crew::hire`].
    pub most: NonZeroUsize,
    /// The inputs that are pulled before a worker has time for them. With more, workers that are quick find the queue empty
    /// less often; with fewer, less is held that others could have had.
    pub queue: NonZeroUsize,
}

impl Size {
    /// Always this many workers, and as many inputs in the queue.
    #[must_use]
    pub fn fixed(workers: NonZeroUsize) -> Self {
        Size {
            start: workers,
            most: workers,
            queue: workers,
        }
    }
}

impl Default for Size {
    fn default() -> Self {
        Size::fixed(NonZeroUsize::new(4).expect("4 is not 0"))
    }
}

/// A task panicked; its worker went on with the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// What it panicked with.
    pub message: String,
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task panicked: {}", self.message)
    }
}

impl std::error::Error for Panicked {}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(payload: Box<dyn Any + Send>) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let message = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Panicked {
            message: message.unwrap_or_else(|| "no message".to_owned()),
        }
    }
}

/// Runs `work` on every input in `workers` threads; yields each input with what became of it, in order of completion.
///
/// The threads end when the inputs do, or when the outputs are dropped: what is running then is finished, what is
/// queued is not begun.
///
/// ```
/// use paceline::pool;
/// use std::num::NonZeroUsize;
///
/// let lengths: usize = std::thread::scope(|scope| {
///     let words = ["a", "steady", "pace"];
///     let outputs = pool::run(scope, NonZeroUsize::new(2).unwrap(), words, |word| word.len());
///     outputs.map(|(_word, length)| length.unwrap()).sum()
/// });
/// assert_eq!(lengths, 11);
/// ```
///
/// # Panics
/// If the operating system gives no thread at all.
pub fn run<'scope, I, T, F>(
    scope: &'scope Scope<'scope, '_>,
    workers: NonZeroUsize,
    inputs: I,
    work: F,
) -> Outputs<I::Item, T>
where
    I: IntoIterator,
    I::IntoIter: Send + 'scope,
    I::Item: Send + 'scope,
    T: Send + 'scope,
    F: Fn(&I::Item) -> T + Send + Sync + 'scope,
{
    run_on(
        Arc::new(SystemClock),
        scope,
        Size::fixed(workers),
        inputs,
        move |input, _crew| work(input),
    )
}

/// The same on a given clock, for a crew that may grow while it works.
///
/// # Panics
/// If the operating system gives no thread at all.
pub fn run_on<'scope, I, T, F>(
    clock: Arc<dyn Clock>,
    scope: &'scope Scope<'scope, '_>,
    size: Size,
    inputs: I,
    work: F,
) -> Outputs<I::Item, T>
where
    I: IntoIterator,
    I::IntoIter: Send + 'scope,
    I::Item: Send + 'scope,
    T: Send + 'scope,
    F: Fn(&I::Item, &Crew<'_>) -> T + Send + Sync + 'scope,
{
    start(clock, scope, size, inputs, work, |_| true)
}

/// The same for work that hands its results on by itself: only the inputs whose tasks panicked come out, so that the
/// calling thread is not woken for each.
///
/// # Panics
/// If the operating system gives no thread at all.
pub fn run_aside<'scope, I, F>(
    clock: Arc<dyn Clock>,
    scope: &'scope Scope<'scope, '_>,
    size: Size,
    inputs: I,
    work: F,
) -> Outputs<I::Item, ()>
where
    I: IntoIterator,
    I::IntoIter: Send + 'scope,
    I::Item: Send + 'scope,
    F: Fn(&I::Item, &Crew<'_>) + Send + Sync + 'scope,
{
    start(clock, scope, size, inputs, work, Result::is_err)
}

fn start<'scope, I, T, F>(
    clock: Arc<dyn Clock>,
    scope: &'scope Scope<'scope, '_>,
    size: Size,
    inputs: I,
    work: F,
    wanted: fn(&Result<T, Panicked>) -> bool,
) -> Outputs<I::Item, T>
where
    I: IntoIterator,
    I::IntoIter: Send + 'scope,
    I::Item: Send + 'scope,
    T: Send + 'scope,
    F: Fn(&I::Item, &Crew<'_>) -> T + Send + Sync + 'scope,
{
    let ((to_workers, jobs), (hungry, hunger)) = (bounded(size.queue.get()), bounded(1));
    let (done, outputs) = bounded(size.start.get());
    let stopped = Arc::new(AtomicBool::new(false));
    let seat = clock.enlist().join();
    let feeder = Feeder {
        clock: clock.clone(),
        to_workers,
        hunger,
        _done: done.clone(),
    };
    let shop = Shop {
        clock: clock.clone(),
        jobs,
        hungry,
        done,
        wanted,
        work,
        stopped: stopped.clone(),
        size,
        hired: AtomicUsize::new(0),
    };
    let shop = Arc::new(shop);
    for _ in 0..size.start.get() {
        Shop::hire(&shop, scope);
    }
    assert!(
        shop.hired.load(Ordering::SeqCst) > 0,
        "the operating system gives no thread"
    );
    let (inputs, feeders_seat) = (inputs.into_iter(), clock.enlist());
    scope.spawn(move || feeder.feed(feeders_seat, inputs));
    Outputs {
        clock,
        outputs,
        stopped,
        _seat: seat,
        _on_one_thread: PhantomData,
    }
}

type Output<I, T> = (I, Result<T, Panicked>);

/// What comes out of a pool, in order of completion: each input, and what was made of it.
///
/// Dropping it stops the pool, and returns when the tasks that were running are finished. It belongs to the thread
/// that made it.
#[derive(Debug)]
pub struct Outputs<I, T> {
    clock: Arc<dyn Clock>,
    outputs: Receiver<Output<I, T>>,
    stopped: Arc<AtomicBool>,
    _seat: Participant,
    _on_one_thread: PhantomData<*const ()>,
}

impl<I, T> Iterator for Outputs<I, T> {
    type Item = Output<I, T>;

    fn next(&mut self) -> Option<Self::Item> {
        receive(&*self.clock, &self.outputs)
    }
}

impl<I, T> Drop for Outputs<I, T> {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        while self.next().is_some() {}
    }
}

/// The workers, as a task sees them.
pub struct Crew<'a> {
    hire: &'a dyn Fn() -> bool,
    queued: &'a dyn Fn() -> usize,
}

impl Crew<'_> {
    /// Adds a worker, unless there are as many as there may be. Returns whether it did.
    pub fn hire(&self) -> bool {
        (self.hire)()
    }

    /// How many inputs wait in the queue for a worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        (self.queued)()
    }
}

impl fmt::Debug for Crew<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crew")
    }
}

/// The thread that pulls the inputs.
struct Feeder<I, T> {
    clock: Arc<dyn Clock>,
    to_workers: Sender<I>,
    /// The workers say that half of the queue is gone.
    hunger: Receiver<()>,
    /// Not used, only kept: the outputs end when the feeder, too, has ended.
    _done: Sender<Output<I, T>>,
}

impl<I, T> Feeder<I, T> {
    fn feed(self, seat: Participant, mut inputs: impl Iterator<Item = I>) {
        let _seat = seat.join();
        let feeder = self;
        while inputs.next().is_some_and(|input| feeder.give(input)) {}
    }

    /// Puts an input into the queue. Where that is full it waits until half of it is gone: it is woken once for many
    /// inputs, and not for each. False: nobody takes any more.
    fn give(&self, mut input: I) -> bool {
        loop {
            input = match self.to_workers.try_send(input) {
                Ok(()) => return true,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(input)) => input,
            };
            if receive(&*self.clock, &self.hunger).is_none() {
                return false;
            }
        }
    }
}

/// What the workers share.
struct Shop<I, T, F> {
    clock: Arc<dyn Clock>,
    jobs: Receiver<I>,
    hungry: Sender<()>,
    done: Sender<Output<I, T>>,
    /// What is handed out; the rest is dropped.
    wanted: fn(&Result<T, Panicked>) -> bool,
    work: F,
    stopped: Arc<AtomicBool>,
    size: Size,
    /// Workers so far; none leaves before the end.
    hired: AtomicUsize,
}

impl<I, T, F> Shop<I, T, F>
where
    I: Send,
    T: Send,
    F: Fn(&I, &Crew<'_>) -> T + Send + Sync,
{
    /// Adds a worker, if there may be one more and the system gives a thread.
    fn hire<'scope>(shop: &Arc<Self>, scope: &'scope Scope<'scope, '_>) -> bool
    where
        Self: 'scope,
    {
        let most = shop.size.most.get();
        let one_more = |hired| (hired < most).then_some(hired + 1);
        let Ok(number) = shop
            .hired
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
        else {
            return false;
        };
        let seat = shop.clock.enlist();
        let worker = shop.clone();
        let body = move || worker.serve(seat, scope);
        let spawned = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn_scoped(scope, body);
        if let Err(error) = &spawned {
            shop.hired.fetch_sub(1, Ordering::SeqCst);
            log::warn!("no further worker: the system gives no thread: {error}");
        }
        spawned.is_ok()
    }

    /// A worker's life: take a job, do it, hand it out.
    fn serve<'scope>(self: Arc<Self>, seat: Participant, scope: &'scope Scope<'scope, '_>)
    where
        Self: 'scope,
    {
        let _seat = seat.join();
        let shop = self;
        let crew = Crew {
            hire: &|| Shop::hire(&shop, scope),
            queued: &|| shop.jobs.len(),
        };
        while let Some(input) = shop.take() {
            if shop.stopped.load(Ordering::SeqCst) {
                break;
            }
            let output = catch_unwind(AssertUnwindSafe(|| (shop.work)(&input, &crew)))
                .map_err(Panicked::from);
            if (shop.wanted)(&output) && send(&*shop.clock, &shop.done, (input, output)).is_err() {
                break;
            }
        }
    }

    fn take(&self) -> Option<I> {
        let input = receive(&*self.clock, &self.jobs)?;
        if self.jobs.len() <= self.size.queue.get() / 2 {
            _ = self.hungry.try_send(()); // it has been told already
        }
        Some(input)
    }
}

/// Takes a message, on real or simulated time; `None` when no more will come.
fn receive<M>(clock: &dyn Clock, channel: &Receiver<M>) -> Option<M> {
    clock.poll(&mut || {
        let mut select = Select::new();
        select.recv(channel);
        select.try_ready().is_ok()
    });
    channel.recv().ok()
}

/// Hands a message on, on real or simulated time.
fn send<M>(clock: &dyn Clock, channel: &Sender<M>, message: M) -> Result<(), SendError<M>> {
    clock.poll(&mut || {
        let mut select = Select::new();
        select.send(channel);
        select.try_ready().is_ok()
    });
    channel.send(message)
}

#[cfg(test)]
mod tests;
