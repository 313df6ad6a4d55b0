//! A simulated disk: it fails, tears a line, fills, or sees the program die, at the N-th write.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{DiskFaults, DiskStep};

/// What goes wrong with the disk, and at which write, from 1: plain data.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum DiskFault {
    #[default]
    None,
    /// Nothing of the line is written.
    Fails(u64),
    /// A part of the line is written, and it can be taken back.
    Tears(u64),
    /// A part of the line is written, and the disk takes nothing back: half a line stays.
    TearsForGood(u64),
    /// From this write on, the disk is full.
    Fills(u64),
    /// This sync fails.
    SyncFails(u64),
    /// The program is killed when a part of the line is written.
    KilledIn(u64),
}

impl DiskFault {
    /// Every kind of fault at the N-th write.
    pub(super) fn all(n: u64) -> [Self; 6] {
        [
            DiskFault::Fails(n),
            DiskFault::Tears(n),
            DiskFault::TearsForGood(n),
            DiskFault::Fills(n),
            DiskFault::SyncFails(n),
            DiskFault::KilledIn(n),
        ]
    }
}

#[derive(Debug, Default)]
struct DiskState {
    /// The bytes that are written, and those that are synced.
    written: u64,
    synced: u64,
    writes: u64,
    syncs: u64,
    /// A part of the line of this write is on the disk.
    is_torn: bool,
    is_dead: bool,
}

/// The disk as one process sees it.
pub(super) struct Disk {
    fault: DiskFault,
    state: Mutex<DiskState>,
    /// Called when the program is killed in the middle of a write, or the disk refuses one.
    ends: Box<dyn Fn(bool) + Send + Sync>,
}

impl Disk {
    /// `ends(true)` is called when the program is killed in a write, `ends(false)` when the disk fails.
    pub(super) fn new(
        fault: DiskFault,
        length: u64,
        ends: impl Fn(bool) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let state = DiskState {
            written: length,
            synced: length,
            ..DiskState::default()
        };
        Arc::new(Disk {
            fault,
            state: Mutex::new(state),
            ends: Box::new(ends),
        })
    }

    /// What the journal asks before each step.
    pub(super) fn faults(self: &Arc<Self>) -> DiskFaults {
        let disk = self.clone();
        DiskFaults(Arc::new(move |step| disk.may(step)))
    }

    /// The number of writes so far.
    pub(super) fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// What is surely on the disk, in bytes.
    pub(super) fn synced(&self) -> u64 {
        self.state.lock().synced
    }

    /// The program is dead: nothing that it still does reaches the disk.
    pub(super) fn die(&self) {
        self.state.lock().is_dead = true;
    }

    /// How many bytes this step may take. Only this decides about faults.
    fn may(&self, step: DiskStep) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.is_dead {
            return Err(io::Error::other("the program is dead"));
        }
        let allowed = match step {
            DiskStep::Write(length) => self.write(&mut state, length),
            DiskStep::Cut(length) => self.cut(&mut state, length),
            DiskStep::Sync => self.sync(&mut state),
        };
        let was_killed = matches!(self.fault, DiskFault::KilledIn(n) if state.writes == n);
        let is_killed = was_killed && allowed.is_err();
        drop(state);
        if allowed.is_err() {
            (self.ends)(is_killed);
        }
        allowed
    }

    fn write(&self, state: &mut DiskState, length: usize) -> io::Result<usize> {
        state.writes += u64::from(!state.is_torn);
        let is_torn = std::mem::take(&mut state.is_torn);
        let at = state.writes;
        let tears = match self.fault {
            DiskFault::Fails(n) if n == at => return Err(io::Error::other("the disk fails")),
            DiskFault::Tears(n) | DiskFault::TearsForGood(n) | DiskFault::KilledIn(n) => n == at,
            DiskFault::Fills(n) => n <= at,
            _ => false,
        };
        if tears && (is_torn || length < 2) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // A write may always take a part only; the rest follows in another.
        let part = if tears { length / 2 } else { length };
        state.is_torn = part < length;
        state.written += part as u64;
        Ok(part)
    }

    fn cut(&self, state: &mut DiskState, length: u64) -> io::Result<usize> {
        if matches!(self.fault, DiskFault::TearsForGood(n) if n == state.writes) {
            return Err(io::Error::other("the disk takes nothing back"));
        }
        state.written = length;
        Ok(0)
    }

    fn sync(&self, state: &mut DiskState) -> io::Result<usize> {
        state.syncs += 1;
        if self.fault == DiskFault::SyncFails(state.syncs) {
            return Err(io::Error::other("the disk cannot sync"));
        }
        state.synced = state.written;
        Ok(0)
    }
}
