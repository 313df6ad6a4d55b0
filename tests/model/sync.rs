//! What threads meet at, as the model checker schedules it: takes the place of `src/sync.rs`.
//!
//! Each lock, unlock, load, store, park, unpark, send and receive is a point at which any other thread may go on. The
//! only stand-in of our own is the bounded channel.

use std::collections::HashMap;
use std::fmt::{self, Debug};

use shuttle::thread::ThreadId;

pub(crate) use shuttle::sync::MutexGuard;
pub(crate) use shuttle::sync::atomic;

pub(crate) mod channel {
    pub(crate) use crate::channel::{
        Receiver, RecvTimeoutError, Select, SendError, Sender, bounded,
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
        let guard = self.0.lock();
        note_arrival();
        guard.unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The checker does not see this lock: no thread stops while it holds it.
static ARRIVALS: parking_lot::Mutex<Option<Arrivals>> = parking_lot::Mutex::new(None);

#[derive(Default)]
struct Arrivals {
    count: u64,
    /// By thread; `None` if it has not arrived yet.
    numbers: HashMap<ThreadId, Option<u64>>,
}

/// Runs `acquire`, whose first lock must be that of the line: its thread arrives when it has got it. Returns the number
/// of the arrival, too.
pub(crate) fn arriving<T>(acquire: impl FnOnce() -> T) -> (u64, T) {
    let this = shuttle::thread::current().id();
    let comes = |arrivals: &mut Arrivals| arrivals.numbers.insert(this, None);
    comes(ARRIVALS.lock().get_or_insert_default());
    let result = acquire();
    let mut arrivals = ARRIVALS.lock();
    let number = arrivals.as_mut().and_then(|all| all.numbers.remove(&this));
    (number.flatten().expect("it took a lock"), result)
}

fn note_arrival() {
    let mut arrivals = ARRIVALS.lock();
    let Some(Arrivals { count, numbers }) = &mut *arrivals else {
        return;
    };
    if numbers.is_empty() {
        return;
    }
    if let Some(number @ None) = numbers.get_mut(&shuttle::thread::current().id()) {
        *count += 1;
        *number = Some(*count);
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
