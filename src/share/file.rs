//! One rate for the processes of one machine: their rosters are in a small file, under a file lock.
//!
//! The file has one line of fixed length for each shared rate. An exchange locks the file, reads it, writes its line and
//! unlocks it, in a few microseconds, without sleeping or using a network. A process that is killed meanwhile loses the
//! lock, and may leave a torn line. The line's checksum shows that, and the file is started again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::warn;
use sha2::{Digest, Sha256};

use super::{Board, BoardError, Roster, RosterReply, RosterRequest};
use super::{hex, micros};

/// A roster file, and the names of this process's keys in it.
#[derive(Debug)]
pub struct FileBoard {
    path: PathBuf,
    names: Vec<String>,
    stamp: fn() -> Stamp,
}

/// The time, the same for all processes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Identifies the boot that the time counts from. Times of different boots cannot be compared.
    pub boot: u64,
    /// Microseconds since the boot. This clock cannot be set.
    pub now: u64,
    /// Microseconds since 1970, by the wall clock.
    pub wall: u64,
}

/// The content of one line.
#[derive(Debug, PartialEq, Eq)]
struct RosterLine {
    name: String,
    boot: u64,
    wall: u64,
    roster: Roster,
}

impl FileBoard {
    /// A board in the file at `path`, with one key for each of the `names`. The file is not opened yet.
    #[must_use]
    pub fn new(path: &Path, names: Vec<String>) -> Self {
        FileBoard {
            path: path.to_owned(),
            names,
            stamp: Stamp::now,
        }
    }

    /// Uses another clock, for tests.
    #[must_use]
    pub fn at(self, stamp: fn() -> Stamp) -> Self {
        FileBoard { stamp, ..self }
    }

    fn away(&self, error: &io::Error) -> BoardError {
        BoardError::Away(format!(
            "cannot share the rate through {}: {error}",
            self.path.display()
        ))
    }

    /// Opens and locks the file at the path, and tries again if it was deleted or replaced meanwhile.
    fn open(&self) -> io::Result<File> {
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&self.path)?;
            file.lock()?;
            if is_at(&file, &self.path)? {
                return Ok(file);
            }
        }
    }

    fn text(&self, file: &mut File) -> Result<Vec<u8>, BoardError> {
        let mut text = Vec::new();
        file.take(RosterLine::MOST + 1)
            .read_to_end(&mut text)
            .map_err(|error| self.away(&error))?;
        let begins = text.starts_with(RosterLine::MAGIC) || RosterLine::MAGIC.starts_with(&text);
        let is_ours = begins || text.iter().all(|byte| *byte == 0); // a crash of the machine may leave zeros
        if !is_ours || text.len() as u64 > RosterLine::MOST {
            let why = format!(
                "{} is not a file for sharing a rate: name another file",
                self.path.display()
            );
            return Err(BoardError::Useless(why));
        }
        Ok(text)
    }

    /// The roster with this name, and the offset of its line.
    fn find(
        &self,
        text: &mut Vec<u8>,
        name: &str,
        stamp: Stamp,
        request: &RosterRequest,
    ) -> Result<(u64, Roster), BoardError> {
        let lines: Option<Vec<RosterLine>> = text
            .chunks(RosterLine::LENGTH)
            .map(RosterLine::read)
            .collect();
        let torn = lines.is_none();
        let lines = lines.unwrap_or_default();
        if torn {
            let path = self.path.display();
            warn!(
                "{path} is damaged, perhaps by a crash of the machine: it is started again, and the next call waits an interval"
            );
            text.clear();
        }
        let fresh = || match torn || request.claim.is_some() {
            true => Roster::after_loss(stamp.now, request.step),
            false => Roster::new(stamp.now),
        };
        let Some(number) = lines.iter().position(|line| line.name == name) else {
            return Ok((text.len() as u64, fresh()));
        };
        let line = &lines[number];
        if line.is_elsewhere(stamp) {
            let why = format!(
                "{} is in use on another machine: a file can share a rate only on one machine, use Redis instead",
                self.path.display()
            );
            return Err(BoardError::Useless(why));
        }
        let roster = if line.boot == stamp.boot {
            line.roster
        } else {
            fresh()
        };
        Ok(((number * RosterLine::LENGTH) as u64, roster))
    }

    fn write(file: &mut File, at: u64, line: &RosterLine) -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&line.text())
    }
}

impl Board for FileBoard {
    fn exchange(&self, key: usize, request: &RosterRequest) -> Result<RosterReply, BoardError> {
        let name = &self.names[key];
        let mut file = self.open().map_err(|error| self.away(&error))?;
        let mut text = self.text(&mut file)?;
        // Read the time only now: before the wait for the lock, it could be earlier than the times in the file.
        let stamp = (self.stamp)();
        let (at, mut roster) = self.find(&mut text, name, stamp, request)?;
        let reply = roster.exchange(stamp.now, request);
        let line = RosterLine {
            name: name.clone(),
            boot: stamp.boot,
            wall: stamp.wall,
            roster,
        };
        if text.is_empty() {
            file.set_len(0).map_err(|error| self.away(&error))?;
        }
        Self::write(&mut file, at, &line).map_err(|error| self.away(&error))?;
        Ok(reply) // closing the file unlocks it
    }
}

impl RosterLine {
    const MAGIC: &[u8] = b"paceline pace 1 ";
    const LENGTH: usize = 384;
    /// A file of ours has at most this many bytes: 256 lines.
    const MOST: u64 = 256 * Self::LENGTH as u64;
    /// A process that wrote within this time is still running, in microseconds.
    const PRESENT: u64 = 60_000_000;

    fn text(&self) -> Vec<u8> {
        let r = &self.roster;
        let numbers = [
            self.boot,
            self.wall,
            r.next,
            r.free,
            r.shift,
            r.serial,
            r.passed,
            r.step,
            r.step_seen,
            r.paused_until,
            r.pauses,
            r.seen,
        ];
        let numbers = numbers.map(|number| number.to_string()).join(" ");
        let said = format!("paceline pace 1 {} {numbers}", self.name);
        let mut line = format!("{said} {}", sum(&said));
        line.extend(std::iter::repeat_n(
            ' ',
            Self::LENGTH.saturating_sub(line.len() + 1),
        ));
        line.push('\n');
        line.into_bytes()
    }

    /// `None` if the line is torn or is not ours.
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() == Self::LENGTH)?;
        let (said, found) = text.trim_end().rsplit_once(' ')?;
        let said_rest = said
            .as_bytes()
            .strip_prefix(Self::MAGIC)
            .filter(|_| sum(said) == found)?;
        let (name, numbers) = std::str::from_utf8(said_rest).ok()?.split_once(' ')?;
        let numbers: Option<Vec<u64>> = numbers
            .split(' ')
            .map(|number| number.parse().ok())
            .collect();
        let [
            boot,
            wall,
            next,
            free,
            shift,
            serial,
            passed,
            step,
            step_seen,
            paused_until,
            pauses,
            seen,
        ] = numbers?[..]
        else {
            return None;
        };
        let roster = Roster {
            next,
            free,
            shift,
            serial,
            passed,
            step,
            step_seen,
            paused_until,
            pauses,
            seen,
        };
        Some(RosterLine {
            name: name.to_owned(),
            boot,
            wall,
            roster,
        })
    }

    /// Whether another machine uses the file now: the line is from another boot, and was written after ours.
    fn is_elsewhere(&self, stamp: Stamp) -> bool {
        let started = stamp.wall.saturating_sub(stamp.now);
        self.boot != stamp.boot
            && self.wall > started
            && self.wall.abs_diff(stamp.wall) < Self::PRESENT
    }
}

fn sum(text: &str) -> String {
    hex(&Sha256::digest(text))
}

impl Stamp {
    /// The time now: by the clock that counts from the boot, including suspended time, or else by the wall clock.
    #[must_use]
    pub fn now() -> Self {
        let wall = micros(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        );
        Stamp {
            boot: boot(),
            now: since_start().map_or(wall, micros),
            wall,
        }
    }
}

#[cfg(unix)]
fn since_start() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;
    clock_gettime(CLOCK).ok().map(Duration::from)
}

#[cfg(not(unix))]
fn since_start() -> Option<Duration> {
    None
}

/// A number that identifies this boot; 0 if the system has none.
fn boot() -> u64 {
    static BOOT: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let number = |id: String| u64::from_str_radix(&hex(&Sha256::digest(id.trim())), 16).ok();
    *BOOT.get_or_init(|| read().and_then(number).unwrap_or(0))
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    let there = std::fs::metadata(path);
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())))
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests;
