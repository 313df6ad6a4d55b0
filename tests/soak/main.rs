//! Thirty days in simulated time and ten minutes in real time: nothing drifts, nothing grows.

#[cfg(feature = "batch")]
mod batch;
#[cfg(feature = "cli")]
mod minutes;
mod permits;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAYS_30: Duration = Duration::from_secs(30 * 24 * 3600);

/// One test at a time, because each looks at what the whole process has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The memory of this process, in KiB; none where the system does not say.
fn memory() -> Option<usize> {
    memory_of("self")
}

/// The memory of the process of this number, or of the one that asks, in KiB.
fn memory_of(process: &str) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
