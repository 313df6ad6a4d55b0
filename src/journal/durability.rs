//! When records are taken to the disk itself.
//!
//! A write reaches the memory of the system: there it survives the end of this process, however abrupt, but not a power
//! cut. Only a sync takes it to the disk. Here is the decision when to look after the file and sync it; the journal does it.

use std::time::{Duration, Instant};

use crate::names::named;

/// What a power cut may cost. The end of the process alone, even by `kill -9`, costs nothing in any case.
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
    /// What the system has not yet written: typically the last 30 seconds.
    Never,
}

named!(Durability {
    Always = "always",
    Interval = "interval",
    Never = "never",
});

/// Decides when to look after the file: to check that it is intact, and to sync it unless the durability is `Never`.
#[derive(Debug)]
pub(super) struct SyncTimer {
    durability: Durability,
    /// When the oldest write was made since the last look.
    dirty_since: Option<Instant>,
}

impl SyncTimer {
    /// A little under a second, so that the sync is done by then.
    const PERIOD: Duration = Duration::from_millis(900);

    pub(super) fn new(durability: Durability) -> Self {
        SyncTimer {
            durability,
            dirty_since: None,
        }
    }

    /// Something has been written.
    pub(super) fn written(&mut self, now: Instant) {
        self.dirty_since.get_or_insert(now);
    }

    /// When the next look is due; `None` if nothing was written since the last one.
    pub(super) fn due(&self) -> Option<Instant> {
        let period = match self.durability {
            Durability::Always => Duration::ZERO,
            Durability::Interval | Durability::Never => Self::PERIOD,
        };
        self.dirty_since.map(|since| since + period)
    }

    /// The next look is done. Whether a sync belongs to it.
    pub(super) fn take_sync(&mut self) -> bool {
        self.dirty_since.take().is_some() && self.durability != Durability::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_single_write_is_synced_within_a_second_though_nothing_follows() {
        let mut timer = SyncTimer::new(Durability::Interval);
        let start = Instant::now();
        assert_eq!(timer.due(), None);
        timer.written(start);
        let due = timer.due().unwrap();
        assert!(due < start + SECOND && due > start + SECOND / 2);
        assert!(timer.take_sync());
        assert_eq!(timer.due(), None);
    }

    #[test]
    fn many_writes_are_synced_once_a_second_and_none_waits_longer() {
        let mut timer = SyncTimer::new(Durability::Interval);
        let start = Instant::now();
        let mut syncs = Vec::new();
        for tenth in 0..100 {
            let now = start + SECOND / 10 * tenth;
            timer.written(now);
            if timer.due().is_some_and(|due| due <= now) && timer.take_sync() {
                syncs.push(now);
            }
        }
        assert!((9..=12).contains(&syncs.len()), "{syncs:?}");
        let mut pairs = syncs.windows(2);
        assert!(pairs.all(|pair| pair[1] - pair[0] <= SECOND), "{syncs:?}");
    }

    #[test]
    fn the_end_syncs_what_is_left_and_only_that() {
        let mut timer = SyncTimer::new(Durability::Interval);
        assert!(!timer.take_sync());
        timer.written(Instant::now());
        assert!(timer.take_sync() && !timer.take_sync());
    }

    #[test]
    fn always_is_after_each_write_and_never_is_never() {
        let now = Instant::now();
        let mut always = SyncTimer::new(Durability::Always);
        let mut never = SyncTimer::new(Durability::Never);
        for _ in 0..3 {
            always.written(now);
            never.written(now);
            assert_eq!(always.due(), Some(now));
            assert!(always.take_sync() && !never.take_sync());
        }
        assert!(!always.take_sync() && !never.take_sync());
    }

    #[test]
    fn a_durability_reads_as_it_is_written() {
        for name in ["always", "interval", "never"] {
            assert_eq!(name.parse::<Durability>().unwrap().to_string(), name);
        }
        assert!("Always".parse::<Durability>().is_err());
    }
}
