//! What threads meet at, as the model checker schedules it: takes the place of `src/sync.rs`.
//!
//! Each lock, unlock, load, store, park, unpark, send and receive is a point at which any other thread may go on. The
//! only stand-in of our own is the bounded channel.

use std::fmt::{self, Debug};

pub(crate) use shuttle::sync::MutexGuard;
pub(crate) use shuttle::sync::atomic;

pub(crate) mod channel {
    pub(crate) use crate::channel::{
        Receiver, RecvTimeoutError, Select, SendError, Sender, TrySendError, bounded,
    };
}

/// A lock that is not poisoned by a panic, as that of `parking_lot`.
#[derive(Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex(…)") // looking inside would be one more step of the schedule
    }
}

pub(crate) mod thread {
    pub(crate) use shuttle::thread::{
        Scope, ScopedJoinHandle, Thread, ThreadId, current, park, park_timeout, scope,
    };
    use std::io;

    /// The checker's own builder makes no scoped threads.
    pub(crate) struct Builder;

    impl Builder {
        pub(crate) fn new() -> Self {
            Builder
        }

        pub(crate) fn name(self, _name: String) -> Self {
            self
        }

        pub(crate) fn spawn_scoped<'scope, T: Send + 'scope>(
            self,
            scope: &'scope Scope<'scope, '_>,
            body: impl FnOnce() -> T + Send + 'scope,
        ) -> io::Result<ScopedJoinHandle<'scope, T>> {
            Ok(scope.spawn(body))
        }
    }
}
