//! One pace for the processes of one machine: their rosters in a small file, under the lock of the operating system.
//!
//! The file has one line of a fixed length for each pace. Whoever exchanges a message locks the file, reads, writes its
//! line and unlocks, in some microseconds; nobody sleeps or calls anybody meanwhile. A process that is killed there
//! leaves the lock to the next, and perhaps a torn line, which its checksum gives away: it is written anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::warn;
use sha2::{Digest, Sha256};

use super::hex;
use super::{Board, BoardError, Roster, RosterReply, RosterRequest};

/// The file, and the names of the lanes in it.
#[derive(Debug)]
pub struct FileBoard {
    path: PathBuf,
    names: Vec<String>,
    stamp: fn() -> Stamp,
}

/// What time it is, for all processes of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which start of the machine the time counts from: two that differ have nothing to do with each other.
    pub boot: u64,
    /// Microseconds since then. Nobody sets this clock.
    pub now: u64,
    /// Microseconds since 1970, as far as is known.
    pub wall: u64,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    name: String,
    boot: u64,
    wall: u64,
    roster: Roster,
}

impl FileBoard {
    /// A board in the file at `path`, with a key for each of these names. Nothing is touched yet.
    #[must_use]
    pub fn new(path: &Path, names: Vec<String>) -> Self {
        FileBoard {
            path: path.to_owned(),
            names,
            stamp: Stamp::now,
        }
    }

    /// The same by another clock, for tests.
    #[must_use]
    pub fn at(self, stamp: fn() -> Stamp) -> Self {
        FileBoard { stamp, ..self }
    }

    fn away(&self, error: &io::Error) -> BoardError {
        BoardError::Away(format!(
            "cannot use {} to share the pace: {error}",
            self.path.display()
        ))
    }

    /// The file at the path, locked: not one that somebody has just deleted or replaced.
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
        file.take(Line::MOST + 1)
            .read_to_end(&mut text)
            .map_err(|error| self.away(&error))?;
        let begins = text.starts_with(Line::MAGIC) || Line::MAGIC.starts_with(&text);
        let is_ours = begins || text.iter().all(|byte| *byte == 0); // zeros may be left by a crash of the machine
        if !is_ours || text.len() as u64 > Line::MOST {
            let why = format!(
                "{} is no file that a pace is shared through: name another",
                self.path.display()
            );
            return Err(BoardError::Useless(why));
        }
        Ok(text)
    }

    /// The roster of this name, and where its line begins.
    fn find(
        &self,
        text: &mut Vec<u8>,
        name: &str,
        stamp: Stamp,
        request: &RosterRequest,
    ) -> Result<(u64, Roster), BoardError> {
        let lines: Option<Vec<Line>> = text.chunks(Line::LENGTH).map(Line::read).collect();
        let torn = lines.is_none();
        let lines = lines.unwrap_or_default();
        if torn {
            let path = self.path.display();
            warn!(
                "{path} was damaged, as by a crash of the machine: it begins anew, a turn from now"
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
                "{} is in use on another machine: a file shares a pace among the processes of one; share a Redis",
                self.path.display()
            );
            return Err(BoardError::Useless(why));
        }
        let roster = if line.boot == stamp.boot {
            line.roster
        } else {
            fresh()
        };
        Ok(((number * Line::LENGTH) as u64, roster))
    }

    fn write(file: &mut File, at: u64, line: &Line) -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&line.text())
    }
}

impl Board for FileBoard {
    fn exchange(&self, key: usize, request: &RosterRequest) -> Result<RosterReply, BoardError> {
        let name = &self.names[key];
        let mut file = self.open().map_err(|error| self.away(&error))?;
        let mut text = self.text(&mut file)?;
        // Only now: a time from before the wait for the lock would be earlier than what is in the file.
        let stamp = (self.stamp)();
        let (at, mut roster) = self.find(&mut text, name, stamp, request)?;
        let reply = roster.exchange(stamp.now, request);
        let line = Line {
            name: name.clone(),
            boot: stamp.boot,
            wall: stamp.wall,
            roster,
        };
        if text.is_empty() {
            file.set_len(0).map_err(|error| self.away(&error))?;
        }
        Self::write(&mut file, at, &line).map_err(|error| self.away(&error))?;
        Ok(reply) // the lock goes with the file
    }
}

impl Line {
    const MAGIC: &[u8] = b"paceline pace 1 ";
    const LENGTH: usize = 384;
    /// A file with more than so many bytes is none of ours.
    const MOST: u64 = 256 * Self::LENGTH as u64;
    /// Who wrote within this time of now is there now, in microseconds.
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

    /// None: it is torn, or none of ours.
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
        let mut roster = Roster::new(next);
        (roster.free, roster.shift, roster.serial, roster.passed) = (free, shift, serial, passed);
        (roster.step, roster.step_seen, roster.paused_until) = (step, step_seen, paused_until);
        (roster.pauses, roster.seen) = (pauses, seen);
        Some(Line {
            name: name.to_owned(),
            boot,
            wall,
            roster,
        })
    }

    /// Another machine writes here at the same time: it counts from another start, and has written since ours.
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
    /// By the clock that counts from the start of the machine and goes on while it sleeps, where there is one; else by
    /// the calendar's.
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

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
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

/// A number for this start of the machine; 0 where there is none to be had.
fn boot() -> u64 {
    static BOOT: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let number = |id: String| u64::from_str_radix(&hex(&Sha256::digest(id.trim())), 16).ok();
    *BOOT.get_or_init(|| read().and_then(number).unwrap_or(0))
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (opened, there) = (file.metadata()?, std::fs::metadata(path));
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())))
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests;
