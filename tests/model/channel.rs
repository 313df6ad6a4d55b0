//! A bounded channel on the checker's semaphores, with the promises of `crossbeam-channel`: first in, first out; a send
//! waits for room and a receive for a message; what was sent before the last sender went is received.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use shuttle::future::batch_semaphore::{BatchSemaphore, Fairness};

#[derive(Debug)]
struct Shared<M> {
    /// The checker does not see this lock: no thread stops while it holds it.
    state: Mutex<State<M>>,
    /// A permit for each place that is free; plenty when all receivers have gone.
    room: BatchSemaphore,
    /// A permit for each message; plenty when all senders have gone.
    messages: BatchSemaphore,
}

#[derive(Debug)]
struct State<M> {
    messages: VecDeque<M>,
    senders: usize,
    receivers: usize,
}

#[derive(Debug)]
pub(crate) struct Sender<M>(Arc<Shared<M>>);

#[derive(Debug)]
pub(crate) struct Receiver<M>(Arc<Shared<M>>);

/// All receivers have gone; here is the message back.
#[derive(Debug)]
pub(crate) struct SendError<M>(pub(crate) M);

#[derive(Debug)]
pub(crate) enum TrySendError<M> {
    /// There is no room.
    Full(M),
    /// All receivers have gone.
    Disconnected(M),
}

/// All senders have gone, and all messages are received.
#[derive(Debug)]
pub(crate) struct RecvError;

/// As [`RecvError`], or nothing came in time.
#[derive(Debug, PartialEq)]
pub(crate) enum RecvTimeoutError {
    Timeout,
    Disconnected,
}

/// More permits than anybody takes.
const PLENTY: usize = 1_000;

pub(crate) fn bounded<M>(capacity: usize) -> (Sender<M>, Receiver<M>) {
    assert!(capacity > 0, "a channel without room is not modelled");
    let state = Mutex::new(State {
        messages: VecDeque::new(),
        senders: 1,
        receivers: 1,
    });
    let permits = |count| BatchSemaphore::new(count, Fairness::StrictlyFair);
    let shared = Arc::new(Shared {
        state,
        room: permits(capacity),
        messages: permits(0),
    });
    (Sender(shared.clone()), Receiver(shared))
}

impl<M> Sender<M> {
    pub(crate) fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.0.room.acquire_blocking(1).expect("nobody closes it");
        self.put(message)
    }

    pub(crate) fn try_send(&self, message: M) -> Result<(), TrySendError<M>> {
        if self.0.room.try_acquire(1).is_err() {
            return Err(TrySendError::Full(message));
        }
        self.put(message)
            .map_err(|SendError(message)| TrySendError::Disconnected(message))
    }

    fn put(&self, message: M) -> Result<(), SendError<M>> {
        let mut state = self.0.state.lock();
        if state.receivers == 0 {
            return Err(SendError(message));
        }
        state.messages.push_back(message);
        drop(state);
        self.0.messages.release(1);
        Ok(())
    }
}

impl<M> Receiver<M> {
    pub(crate) fn recv(&self) -> Result<M, RecvError> {
        self.0
            .messages
            .acquire_blocking(1)
            .expect("nobody closes it");
        let message = self.0.state.lock().messages.pop_front().ok_or(RecvError)?;
        self.0.room.release(1);
        Ok(message)
    }

    /// Used by simulated time only, which the models do not use.
    pub(crate) fn recv_timeout(&self, _timeout: Duration) -> Result<M, RecvTimeoutError> {
        self.recv()
            .map_err(|RecvError| RecvTimeoutError::Disconnected)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.state.lock().messages.is_empty()
    }
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Sender(self.0.clone())
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        let is_last = state.senders == 0;
        drop(state);
        if is_last {
            self.0.messages.release(PLENTY);
        }
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.receivers -= 1;
        let is_last = state.receivers == 0;
        let left = if is_last {
            std::mem::take(&mut state.messages)
        } else {
            VecDeque::new()
        };
        drop(state);
        drop(left);
        if is_last {
            self.0.room.release(PLENTY);
        }
    }
}

/// Used on simulated time only, which the models do not use.
pub(crate) struct Select;

impl Select {
    pub(crate) fn new() -> Self {
        Select
    }

    pub(crate) fn recv<M>(&mut self, _channel: &Receiver<M>) {}

    pub(crate) fn send<M>(&mut self, _channel: &Sender<M>) {}

    pub(crate) fn try_ready(&mut self) -> Result<(), RecvError> {
        Ok(())
    }
}
