//! Keeps shared rates in a small file, for the processes of one machine.
//!
//! An exchange locks the file, reads it, writes it and unlocks it, in a few microseconds, without sleeping or using a
//! network. A process that is killed meanwhile loses the lock, and may leave a torn file. The checksum shows that, and the
//! file is started again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::warn;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rate::{RateReply, RateRequest, SharedRate};
use super::{RateStore, ShareError, hex, micros};
use crate::clock::{Clock, SystemClock};
use crate::files;

/// A file of rates, and the names of this process's rates in it. Times are microseconds since 1970: a clock that is set
/// allows no burst, as in Redis.
#[derive(Debug)]
pub(super) struct RateFile {
    path: PathBuf,
    names: Vec<String>,
    /// The wall clock; tests have their own.
    clock: Arc<dyn Clock>,
    boot: Boot,
    /// How long an exchange waits for the lock.
    lock_within: Duration,
}

/// The run of a machine.
#[derive(Clone, Copy, Debug, Default)]
struct Boot {
    /// 0 if the system has none.
    id: u64,
    /// When it began.
    began: u64,
}

/// What the file holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct SavedRates {
    /// The boot of the machine that wrote it.
    boot: u64,
    /// By name.
    rates: BTreeMap<String, SharedRate>,
}

impl RateFile {
    /// The file begins with these words, whatever version wrote it.
    const MAGIC: &str = "paceline pace ";
    /// The version of the format, between the words and the checksum.
    const VERSION: &str = "3";
    /// A file of ours has at most this many bytes: some 300 rates.
    const MOST: u64 = 100_000;
    /// Ours are held for microseconds, so the lock is another program's, and it is time to say so.
    const LOCK_WITHIN: Duration = Duration::from_secs(3);
    /// A process that wrote within this time is still running, in microseconds.
    const PRESENT: u64 = 60_000_000;

    /// Rates in the file at `path`, one for each of the `names`. The file is not opened yet.
    pub(super) fn new(path: &Path, names: &[String]) -> Self {
        RateFile {
            path: path.to_owned(),
            names: names.to_owned(),
            clock: SystemClock.into(),
            boot: Boot::now(),
            lock_within: Self::LOCK_WITHIN,
        }
    }

    fn cannot_share(&self, why: impl std::fmt::Display) -> String {
        let path = self.path.display();
        format!("cannot share the rate through {path}: {why}")
    }

    fn away(&self, error: io::Error) -> ShareError {
        ShareError::Away(self.cannot_share(error))
    }

    fn unusable(&self) -> ShareError {
        let path = self.path.display();
        let why = "is not a file for sharing a rate: name another file";
        ShareError::Unusable(format!("{path} {why}"))
    }

    /// Opens and locks the file at the path, and tries again if it was deleted or replaced meanwhile.
    fn open(&self) -> Result<File, ShareError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        loop {
            // To open a pipe would wait for ever.
            if self.path.metadata().is_ok_and(|found| !found.is_file()) {
                return Err(self.unusable());
            }
            let file = options.open(&self.path).map_err(|error| self.away(error))?;
            let is_ours = files::lock(&file, self.lock_within).map_err(|error| self.away(error))?;
            if !is_ours {
                let why = "another program has locked this file";
                return Err(ShareError::Locked(self.cannot_share(why)));
            }
            if files::is_at(&self.path, &file).map_err(|error| self.away(error))? {
                return Ok(file);
            }
        }
    }

    /// The rates in the file; `None` if it is damaged.
    fn read(&self, file: &mut File) -> Result<Option<SavedRates>, ShareError> {
        let mut text = Vec::new();
        let read = file.take(Self::MOST + 1).read_to_end(&mut text);
        read.map_err(|error| self.away(error))?;
        let magic = Self::MAGIC.as_bytes();
        let begins = text.starts_with(magic) || magic.starts_with(&text);
        let is_ours = begins || text.iter().all(|byte| *byte == 0); // a crash of the machine may leave zeros
        if !is_ours || text.len() as u64 > Self::MOST {
            return Err(self.unusable());
        }
        match text.is_empty() {
            true => Ok(Some(SavedRates::default())),
            false => Ok(parse(&text)),
        }
    }

    fn write(file: &mut File, rates: &SavedRates) -> io::Result<()> {
        let json = serde_json::to_string(rates)?;
        let sum = sum(&json);
        let text = format!("{}{} {sum} {json}\n", Self::MAGIC, Self::VERSION);
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    }

    /// The state of a rate at this time.
    fn find(
        &self,
        saved: Option<&SavedRates>,
        name: &str,
        now: u64,
        request: &RateRequest,
    ) -> Result<SharedRate, ShareError> {
        let Some(saved) = saved else {
            warn!(
                "{} is damaged, perhaps by a crash of the machine: it is started again, and the next call waits an interval",
                self.path.display()
            );
            return Ok(SharedRate::after_loss(now, request.interval));
        };
        let rate = saved.rates.get(name);
        let is_elsewhere = |rate: &&SharedRate| {
            let is_present = rate.seen().abs_diff(now) < Self::PRESENT;
            saved.boot != self.boot.id && rate.seen() > self.boot.began && is_present
        };
        match rate.filter(is_elsewhere) {
            Some(_) => Err(ShareError::Unusable(format!(
                "{} is in use on another machine: a file can share a rate only on one machine, use Redis instead",
                self.path.display()
            ))),
            None => Ok(rate
                .copied()
                .unwrap_or_else(|| SharedRate::in_place_of_none(now, request))),
        }
    }
}

impl RateStore for RateFile {
    fn exchange(&self, key: usize, request: &RateRequest) -> Result<RateReply, ShareError> {
        let name = &self.names[key];
        let mut file = self.open()?;
        let found = self.read(&mut file)?;
        // Read the time only now: before the wait for the lock, it could be earlier than the times in the file.
        let now = since_1970(self.clock.wall());
        let mut rate = self.find(found.as_ref(), name, now, request)?;
        let reply = rate.exchange(now, request);
        let mut rates = found.unwrap_or_default().rates;
        rates.retain(|_, saved| saved.matters_until() > now);
        rates.insert(name.clone(), rate);
        let boot = self.boot.id;
        let written = Self::write(&mut file, &SavedRates { boot, rates });
        written.map_err(|error| self.away(error))?;
        Ok(reply) // closing the file unlocks it
    }
}

/// The rates in such a text; `None` if it is torn, or of another version.
fn parse(text: &[u8]) -> Option<SavedRates> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix(RateFile::MAGIC)?.strip_suffix('\n')?;
    let text = text.strip_prefix(RateFile::VERSION)?.strip_prefix(' ')?;
    let (found, json) = text.split_once(' ')?;
    let rates = serde_json::from_str(json).ok()?;
    (sum(json) == found).then_some(rates)
}

fn sum(text: &str) -> String {
    hex(&Sha256::digest(text))
}

impl Boot {
    /// The present one, on Linux.
    fn now() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let began = std::fs::metadata("/proc/1").and_then(|first| first.modified());
        let number = |id: String| u64::from_str_radix(&hex(&Sha256::digest(id.trim())), 16).ok();
        Boot {
            id: id.and_then(number).unwrap_or(0),
            began: began.map_or(0, since_1970),
        }
    }
}

fn since_1970(time: SystemTime) -> u64 {
    micros(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests;
