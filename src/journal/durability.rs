//! When what is written reaches the disk itself.
//!
//! A write reaches the system's memory: there it survives the end of this process, however abrupt, but not a power cut.
//! Only a sync takes it to the disk.
//!
//! Once a second needs a thread of its own: the writer may have nothing more to write for a long time, and what it
//! wrote last must not wait for that. Besides, a sync takes its time, and the writer need not wait either.

use std::fmt::{self, Debug};
use std::fs::File;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

use crate::clock::Clock;

/// What a power cut may cost. The end of the process alone, by `kill -9` too, costs nothing in any case.
///
/// # Default
/// [`Interval`](Durability::Interval)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: each record is on the disk before its prompt counts as done.
    Always,
    /// The last second.
    #[default]
    Interval,
    /// What the system had not yet come round to: half a minute, typically.
    Never,
}

impl Durability {
    const NAMES: [(&'static str, Self); 3] = [
        ("always", Durability::Always),
        ("interval", Durability::Interval),
        ("never", Durability::Never),
    ];
}

/// A text that names no [`Durability`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("give always, interval or never")]
pub struct ParseDurabilityError;

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    fn from_str(text: &str) -> Result<Self, ParseDurabilityError> {
        let named = Self::NAMES.iter().find(|(name, _)| *name == text);
        named
            .map(|(_, durability)| *durability)
            .ok_or(ParseDurabilityError)
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES
            .iter()
            .find(|(_, durability)| durability == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

/// Something that can be synced: a file, or what a test puts in its place.
pub(super) trait Disk: Debug + Send + Sync {
    fn sync(&self) -> io::Result<()>;
}

impl Disk for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Carries a [`Durability`] out.
#[derive(Debug)]
pub(super) enum Syncing {
    Always(Box<dyn Disk>),
    Interval(Syncer),
    Never,
}

impl Syncing {
    pub(super) fn start(
        durability: Durability,
        disk: impl Disk + 'static,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        match durability {
            Durability::Always => Ok(Syncing::Always(Box::new(disk))),
            Durability::Interval => Syncer::start(Box::new(disk), clock).map(Syncing::Interval),
            Durability::Never => Ok(Syncing::Never),
        }
    }

    /// Something is about to be written: has all gone well so far?
    pub(super) fn before(&self) -> io::Result<()> {
        if let Syncing::Interval(syncer) = self {
            syncer.failure()
        } else {
            Ok(())
        }
    }

    /// Something has been written.
    pub(super) fn after(&self) -> io::Result<()> {
        match self {
            Syncing::Always(disk) => disk.sync(),
            Syncing::Interval(syncer) => {
                syncer.written();
                Ok(())
            }
            Syncing::Never => Ok(()),
        }
    }

    /// Nothing more will be written.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Syncing::Never) {
            Syncing::Interval(syncer) => syncer.end(),
            Syncing::Always(_) | Syncing::Never => Ok(()),
        }
    }
}

/// A thread that syncs within a second of each write.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    disk: Box<dyn Disk>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the oldest write was made that has not been synced.
    dirty: Option<Instant>,
    /// Why a sync failed; said once.
    failure: Option<io::Error>,
    /// Nothing more will be written.
    ended: bool,
    /// The thread has done all it had to.
    done: bool,
}

impl Syncer {
    /// A little under a second, so that the sync is done by then.
    const PERIOD: Duration = Duration::from_millis(900);

    fn start(disk: Box<dyn Disk>, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let seat = clock.enlist();
        let shared = Arc::new(Shared {
            disk,
            clock,
            state: Mutex::default(),
        });
        let on_thread = shared.clone();
        let work = move || {
            let _seat = seat.join();
            on_thread.work();
            on_thread.state.lock().done = true;
        };
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(work)?;
        Ok(Syncer { shared, thread })
    }

    fn failure(&self) -> io::Result<()> {
        self.shared.state.lock().failure.take().map_or(Ok(()), Err)
    }

    fn written(&self) {
        let now = self.shared.clock.now();
        let mut state = self.shared.state.lock();
        let was_clean = state.dirty.is_none();
        state.dirty.get_or_insert(now);
        drop(state);
        if was_clean {
            self.shared.clock.unpark(self.thread.thread());
        }
    }

    /// Ends the thread, which syncs a last time.
    fn end(self) -> io::Result<()> {
        let Syncer { shared, thread } = self;
        shared.state.lock().ended = true;
        shared.clock.unpark(thread.thread());
        shared.clock.poll(&mut || shared.state.lock().done);
        let _ = thread.join();
        let failure = shared.state.lock().failure.take();
        failure.map_or(Ok(()), Err)
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let now = self.clock.now();
            let (due, ended) = self.state.lock().next();
            match due {
                Some(due) if ended || due <= now => self.sync(),
                None if ended => return,
                due => self.clock.park_until(due),
            }
        }
    }

    /// Syncs, with no lock held: writing goes on meanwhile.
    fn sync(&self) {
        self.state.lock().dirty = None;
        if let Err(error) = self.disk.sync() {
            self.state.lock().failure.get_or_insert(error);
        }
    }
}

impl State {
    /// When the next sync is due, and whether it is the last.
    fn next(&self) -> (Option<Instant>, bool) {
        (self.dirty.map(|since| since + Syncer::PERIOD), self.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;
    use std::sync::atomic::{AtomicBool, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    /// Notes the simulated time of each sync.
    #[derive(Clone, Debug)]
    struct Probe {
        clock: SimClock,
        syncs: Arc<Mutex<Vec<Duration>>>,
        broken: Arc<AtomicBool>,
    }

    impl Disk for Probe {
        fn sync(&self) -> io::Result<()> {
            self.syncs.lock().push(self.clock.elapsed());
            if self.broken.load(Ordering::SeqCst) {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        }
    }

    /// Runs a story on an enlisted thread, with a probe to write to.
    fn play(
        durability: Durability,
        story: impl FnOnce(&SimClock, &Probe, &mut Syncing) + Send,
    ) -> Vec<Duration> {
        let clock = SimClock::new();
        let probe = Probe {
            clock: clock.clone(),
            syncs: Arc::default(),
            broken: Arc::default(),
        };
        let seat = clock.enlist();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _seat = seat.join();
                let mut syncing =
                    Syncing::start(durability, probe.clone(), Arc::new(clock.clone())).unwrap();
                story(&clock, &probe, &mut syncing);
            });
        });
        std::mem::take(&mut *probe.syncs.lock())
    }

    fn pass(clock: &SimClock, time: Duration) {
        clock.sleep_until(clock.now() + time);
    }

    #[test]
    fn a_single_write_is_synced_within_a_second_though_nothing_follows() {
        let syncs = play(Durability::Interval, |clock, _, syncing| {
            pass(clock, SECOND * 10);
            syncing.after().unwrap();
            pass(clock, SECOND * 3600);
        });
        assert_eq!(syncs, [SECOND * 10 + Syncer::PERIOD]);
    }

    #[test]
    fn many_writes_are_synced_once_a_second_and_none_waits_longer() {
        let syncs = play(Durability::Interval, |clock, _, syncing| {
            for _ in 0..100 {
                syncing.after().unwrap();
                pass(clock, SECOND / 10);
            }
        });
        assert!((10..=12).contains(&syncs.len()), "{syncs:?}");
        assert!(
            syncs.windows(2).all(|pair| pair[1] - pair[0] <= SECOND),
            "{syncs:?}"
        );
    }

    #[test]
    fn the_end_syncs_what_is_left_and_only_that() {
        let syncs = play(Durability::Interval, |clock, _, syncing| {
            pass(clock, SECOND);
            syncing.after().unwrap();
            syncing.end().unwrap();
        });
        assert_eq!(syncs, [SECOND]);
        assert!(play(Durability::Interval, |_, _, syncing| syncing.end().unwrap()).is_empty());
    }

    #[test]
    fn a_failed_sync_is_said_before_the_next_write_or_at_the_end() {
        play(Durability::Interval, |clock, probe, syncing| {
            probe.broken.store(true, Ordering::SeqCst);
            syncing.after().unwrap();
            assert!(syncing.before().is_ok());
            pass(clock, SECOND);
            assert_eq!(
                syncing.before().unwrap_err().kind(),
                io::ErrorKind::StorageFull
            );
            syncing.after().unwrap();
            assert_eq!(
                syncing.end().unwrap_err().kind(),
                io::ErrorKind::StorageFull
            );
        });
    }

    #[test]
    fn always_is_after_each_write_and_never_is_never() {
        let story = |clock: &SimClock, probe: &Probe, syncing: &mut Syncing| {
            for _ in 0..3 {
                syncing.after().unwrap();
                pass(clock, SECOND);
            }
            probe.broken.store(true, Ordering::SeqCst);
            assert_eq!(
                syncing.after().is_err(),
                matches!(syncing, Syncing::Always(_))
            );
            syncing.end().unwrap();
        };
        assert_eq!(
            play(Durability::Always, story),
            [Duration::ZERO, SECOND, SECOND * 2, SECOND * 3]
        );
        assert!(play(Durability::Never, story).is_empty());
    }

    #[test]
    fn a_durability_reads_as_it_is_written() {
        for name in ["always", "interval", "never"] {
            assert_eq!(name.parse::<Durability>().unwrap().to_string(), name);
        }
        assert!("Always".parse::<Durability>().is_err());
    }
}
