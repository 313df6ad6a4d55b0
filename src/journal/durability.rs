//! When records are taken to the disk itself.
//!
//! A write reaches the memory of the system: there it survives the end of this process, however abrupt, but not a power
//! cut. Only a sync takes it to the disk. Here is the decision when to sync; the journal does it.

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

/// Decides when to sync.
#[derive(Debug)]
pub(super) struct SyncTimer {
    durability: Durability,
    /// When the oldest write was made that has not been synced.
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

    /// When the next sync is due; `None` if there is nothing to sync.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.durability {
            Durability::Always => self.dirty_since,
            Durability::Interval => self.dirty_since.map(|since| since + Self::PERIOD),
            Durability::Never => None,
        }
    }

    /// Whether a sync is due now. If so, it counts as done.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.dirty_since = None;
        }
        is_due
    }

    /// Whether a sync is needed at the end. If so, it counts as done.
    pub(super) fn take_last(&mut self) -> bool {
        let is_due = self.due().is_some();
        self.dirty_since = None;
        is_due
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
        assert!(!timer.take_due(start) && timer.take_due(due));
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
            if timer.take_due(now) {
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
        assert!(!timer.take_last());
        timer.written(Instant::now());
        assert!(timer.take_last() && !timer.take_last());
    }

    #[test]
    fn always_is_after_each_write_and_never_is_never() {
        let now = Instant::now();
        let mut always = SyncTimer::new(Durability::Always);
        let mut never = SyncTimer::new(Durability::Never);
        for _ in 0..3 {
            always.written(now);
            never.written(now);
            assert!(always.take_due(now) && !never.take_due(now + SECOND * 3600));
        }
        assert!(!always.take_last() && !never.take_last());
    }

    #[test]
    fn a_durability_reads_as_it_is_written() {
        for name in ["always", "interval", "never"] {
            assert_eq!(name.parse::<Durability>().unwrap().to_string(), name);
        }
        assert!("Always".parse::<Durability>().is_err());
    }
}
