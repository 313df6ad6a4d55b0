//! When records are taken to the disk itself.
//!
//! A write reaches the memory of the system: there it survives the end of this process, however abrupt, but not a power
//! cut. Only a sync takes it to the disk. Here is the decision when to look after the file and sync it; the journal does it.

use std::time::{Duration, Instant};

use crate::names::named;

named! {
    /// What a power cut may cost. The end of the process alone, even by `kill -9`, costs nothing in any case.
    ///
    /// # Default
    /// [`Interval`](Durability::Interval)
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Durability {
        /// Nothing: each record is on the disk before its prompt counts as done.
        Always = "always",
        /// At most one second's worth of records: a record is synced at once, unless there was a sync within the last second.
        #[default]
        Interval = "interval",
        /// What the system has not yet written: typically the last 30 seconds.
        Never = "never",
    }
}

/// Decides when to look after the file: to check that it is intact, and to sync it unless the durability is `Never`.
#[derive(Debug, Default)]
pub(super) struct SyncTimer {
    durability: Durability,
    /// When the oldest write was made since the last look.
    dirty_since: Option<Instant>,
    /// The earliest instant of the next look; `None` before the first.
    not_before: Option<Instant>,
}

impl SyncTimer {
    /// Time between two looks: a little under a second, so that the sync is done by then.
    const PERIOD: Duration = Duration::from_millis(900);

    pub(super) fn new(durability: Durability) -> Self {
        SyncTimer {
            durability,
            ..SyncTimer::default()
        }
    }

    /// Something has been written.
    pub(super) fn written(&mut self, now: Instant) {
        self.dirty_since.get_or_insert(now);
    }

    /// When the next look is due; `None` if nothing was written since the last one.
    pub(super) fn due(&self) -> Option<Instant> {
        let since = self.dirty_since?;
        self.not_before.max(Some(since))
    }

    /// A look is done now. Whether a sync belongs to it.
    pub(super) fn take_sync(&mut self, now: Instant) -> bool {
        let period = match self.durability {
            Durability::Always => Duration::ZERO,
            Durability::Interval | Durability::Never => Self::PERIOD,
        };
        self.not_before = Some(now + period);
        self.dirty_since.take().is_some() && self.durability != Durability::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_single_write_is_synced_at_once_though_nothing_follows() {
        let mut timer = SyncTimer::new(Durability::Interval);
        let start = Instant::now();
        for hour in 0..3 {
            let now = start + SECOND * 3600 * hour;
            assert_eq!(timer.due(), None);
            timer.written(now);
            assert_eq!(timer.due(), Some(now));
            assert!(timer.take_sync(now));
        }
    }

    #[test]
    fn many_writes_are_synced_once_a_second_and_none_waits_longer() {
        let mut timer = SyncTimer::new(Durability::Interval);
        let start = Instant::now();
        let mut syncs = Vec::new();
        for tenth in 0..100 {
            let now = start + SECOND / 10 * tenth;
            timer.written(now);
            assert!(timer.due().unwrap() < now + SECOND);
            if timer.due().is_some_and(|due| due <= now) && timer.take_sync(now) {
                syncs.push(now);
            }
        }
        assert!((10..=12).contains(&syncs.len()), "{syncs:?}");
        let mut pairs = syncs.windows(2);
        assert!(pairs.all(|pair| pair[1] - pair[0] <= SECOND), "{syncs:?}");
    }

    #[test]
    fn the_end_syncs_what_is_left_and_only_that() {
        let mut timer = SyncTimer::new(Durability::Interval);
        let now = Instant::now();
        assert!(!timer.take_sync(now));
        timer.written(now);
        assert!(timer.take_sync(now) && !timer.take_sync(now));
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
            assert!(always.take_sync(now) && !never.take_sync(now));
        }
        assert!(!always.take_sync(now) && !never.take_sync(now));
    }

    #[test]
    fn a_durability_reads_as_it_is_written() {
        for name in ["always", "interval", "never"] {
            assert_eq!(name.parse::<Durability>().unwrap().to_string(), name);
        }
        assert!("Always".parse::<Durability>().is_err());
    }
}
