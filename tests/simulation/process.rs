//! One process of a story: it opens the journal, runs the batch, and ends in its own way.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::{Disk, DiskFault};
use super::server::SimServer;
use crate::api::Ask;
use crate::batch::{Batch, Event, Resume, Settings, Summary};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SimClock};
use crate::journal::{Durability, Journal, JournalError, Opened};
use crate::prompts::{Prompt, PromptError};

/// How a process ends: plain data. Events count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Fate {
    /// With its last prompt.
    #[default]
    Ends,
    /// It is asked to stop at this event.
    Stopped(u64),
    /// It is killed at this event: what it wrote stays.
    Killed(u64),
    /// The power goes at this event: what was not synced may be lost, or be zeros.
    LosesPower(u64),
}

impl Fate {
    /// Whether calls in flight may be lost with it.
    pub(super) fn is_death(self) -> bool {
        matches!(self, Fate::Killed(_) | Fate::LosesPower(_))
    }
}

/// One process: plain data.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessPlan {
    pub(super) fate: Fate,
    pub(super) disk: DiskFault,
    pub(super) durability: Durability,
    pub(super) settings: Settings,
    pub(super) seed: u64,
}

impl ProcessPlan {
    /// A process that meets no faults.
    pub(super) fn healthy(settings: Settings) -> Self {
        ProcessPlan {
            fate: Fate::Ends,
            disk: DiskFault::None,
            durability: Durability::Interval,
            settings,
            seed: 0,
        }
    }
}

/// How the process ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) summary: Summary,
    pub(super) events: u64,
    pub(super) writes: u64,
    /// When it was killed or stopped, or its disk failed.
    pub(super) fell: Option<Duration>,
    /// Bytes of half a line that it found.
    pub(super) torn: u64,
}

/// What the watcher, the disk and the process share.
struct Life {
    plan: ProcessPlan,
    clock: SimClock,
    server: Arc<SimServer>,
    cancel: CancelToken,
    path: std::path::PathBuf,
    state: Mutex<LifeState>,
}

#[derive(Default)]
struct LifeState {
    events: u64,
    fell: Option<Duration>,
    /// What is in the file after the death.
    left: Option<Vec<u8>>,
}

impl Life {
    fn see(&self, disk: &Disk) {
        let mut state = self.state.lock();
        state.events += 1;
        let now = state.events;
        drop(state);
        match self.plan.fate {
            Fate::Stopped(at) if at == now => self.fall(),
            Fate::Killed(at) if at == now => self.die(disk, false),
            Fate::LosesPower(at) if at == now => self.die(disk, true),
            _ => {}
        }
    }

    /// From now on no call begins.
    fn fall(&self) {
        let now = self.clock.elapsed();
        self.state.lock().fell.get_or_insert(now);
        self.cancel.cancel();
    }

    fn die(&self, disk: &Disk, without_power: bool) {
        let mut left = fs::read(&self.path).unwrap_or_default();
        if without_power {
            lose(&mut left, disk.synced() as usize, self.plan.seed);
        }
        disk.die();
        self.die_with(left);
    }

    /// Nothing that the process still does reaches the server or the file.
    fn die_with(&self, left: Vec<u8>) {
        self.server.set_deaf(true);
        self.state.lock().left.get_or_insert(left);
        self.fall();
    }
}

/// Loses some of the bytes that were not synced: they are gone, or zeros.
fn lose(bytes: &mut Vec<u8>, synced: usize, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let kept = chance.random_range(synced.min(bytes.len())..=bytes.len());
    let zeros = chance.random_range(kept..=bytes.len());
    bytes.truncate(zeros);
    bytes[kept..].fill(0);
}

/// Runs one process on these results.
pub(super) fn run(
    plan: ProcessPlan,
    clock: &SimClock,
    server: &Arc<SimServer>,
    path: &Path,
    prompts: u64,
) -> Result<Ran, JournalError> {
    let Opened {
        mut journal,
        index,
        torn,
    } = Journal::open(path, plan.durability)?;
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let life = Arc::new(Life {
        plan,
        clock: clock.clone(),
        server: server.clone(),
        cancel: CancelToken::on(on.clone()),
        path: path.to_owned(),
        state: Mutex::default(),
    });
    let disk = disk(&life);
    journal.on_disk(disk.faults());
    server.set_deaf(false);
    let asks = [&**server as &dyn Ask];
    let watch = {
        let (life, disk) = (life.clone(), disk.clone());
        move |_: &Event<'_>| life.see(&disk)
    };
    let batch = Batch::new(plan.settings, asks, on, life.cancel.clone())
        .expecting(prompts)
        .watched_by(watch)
        .resuming(Resume {
            index,
            ..Resume::default()
        });
    let input = (1..=prompts).map(|n| Ok::<_, PromptError>(Prompt::new(n, n.to_string())));
    let write = |record: &_| journal.append(record).map_err(Into::into);
    let once = Mutex::new(Some((batch, input, write)));
    let mut summaries = clock.run(1, |_| {
        let (batch, input, write) = once.lock().take().expect("the only thread");
        batch.run(input, write)
    });
    let summary = summaries.remove(0);
    let _ = journal.finish(); // a disk that cannot sync has fallen already
    let state = life.state.lock();
    if let Some(left) = &state.left {
        fs::write(path, left).expect("the simulation can write its own file");
    }
    Ok(Ran {
        summary,
        events: state.events,
        writes: disk.writes(),
        fell: state.fell,
        torn,
    })
}

fn disk(life: &Arc<Life>) -> Arc<Disk> {
    let length = fs::metadata(&life.path).map_or(0, |file| file.len());
    let life = life.clone();
    Disk::new(life.plan.disk, length, move |is_killed| {
        if is_killed {
            life.die_with(fs::read(&life.path).unwrap_or_default());
        } else {
            // The batch stops by itself: it is told by the error.
            let now = life.clock.elapsed();
            life.state.lock().fell.get_or_insert(now);
        }
    })
}
