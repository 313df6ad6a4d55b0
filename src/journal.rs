//! The results file: JSON lines, append-only, one whole line a finished prompt, in order of completion.
//!
//! A record is a superset of the OpenAI Batch output line, so tools for that format read it. It is written before its
//! prompt counts as done.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// What became of one prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// Names this prompt and this request: see [`record_id`].
    pub id: String,
    /// The prompt's name: `line-17`.
    pub custom_id: String,
    /// What was asked.
    pub prompt: String,
    /// What was answered; none if the prompt failed.
    pub text: Option<String>,
    /// Why the answer ended: `stop`, `length` and so on.
    pub finish_reason: Option<String>,
    /// The last response, if one came.
    pub response: Option<Reply>,
    /// Why the prompt failed.
    pub error: Option<Fault>,
    /// Every call that was made for it, in order.
    pub attempts: Vec<Attempt>,
}

/// The server's response as it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reply {
    /// The HTTP status.
    pub status_code: u16,
    /// The server's name for the call.
    pub request_id: Option<String>,
    /// The JSON it sent.
    pub body: Option<Value>,
}

/// Why a prompt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// In a word.
    pub code: String,
    /// In a sentence.
    pub message: String,
}

/// One call: what it waited for, and how it ended. Times are whole milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// Counts from 1.
    pub n: u32,
    /// Which key it was made with, from 0.
    pub key: usize,
    /// When it was sent, by the calendar.
    #[serde(serialize_with = "rfc3339")]
    pub started_at: SystemTime,
    /// How long the prompt lay in the queue before a worker took it.
    #[serde(rename = "queued_ms", serialize_with = "millis")]
    pub queued: Duration,
    /// How long it waited for its turn.
    #[serde(rename = "paced_ms", serialize_with = "millis")]
    pub paced: Duration,
    /// How long the call took.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
    /// The HTTP status, if a response came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended, in a word.
    pub outcome: &'static str,
    /// How long the server said to wait.
    #[serde(
        rename = "retry_after_ms",
        serialize_with = "some_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after: Option<Duration>,
    /// How long the next attempt was put off.
    #[serde(rename = "backoff_ms", serialize_with = "some_millis", skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
    /// The server's name for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    match jiff::Timestamp::try_from(*time) {
        Ok(time) => serializer.collect_str(&format_args!("{time:.3}")),
        Err(error) => Err(serde::ser::Error::custom(error)),
    }
}

fn whole_millis(duration: &Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(whole_millis(duration))
}

fn some_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.as_ref().map(whole_millis).serialize(serializer)
}

/// Names a prompt by its place in the input and the request that is sent for it: `pl_17_` and 16 hexadecimal digits of
/// the request's SHA-256. The same place with another model or another text is another record, and the same text in
/// another place too.
#[must_use]
pub fn record_id(line: u64, request: &[u8]) -> String {
    let digest = Sha256::digest(request);
    let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("pl_{line}_{digits}")
}

/// The results cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file holds something already, and it is not overwritten.
    #[error("{} is there already, and results are never overwritten: move it away, or write elsewhere with -o", .0.display())]
    Exists(PathBuf),
    /// The file cannot be opened.
    #[error("cannot write results to {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A record cannot be written. What was written before is whole.
    #[error("cannot write to {to}: {source}")]
    Write {
        /// The file, or standard output.
        to: String,
        /// What went wrong.
        source: io::Error,
    },
}

/// Appends records, each with one write.
#[derive(Debug)]
pub struct Journal {
    sink: Sink,
    /// The line being made; kept to use its memory again.
    line: Vec<u8>,
}

#[derive(Debug)]
enum Sink {
    /// A file, and how long it is: up to there its lines are whole.
    File {
        file: File,
        path: PathBuf,
        length: u64,
    },
    Stdout(io::Stdout),
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::File { path, .. } => path.display().fmt(f),
            Sink::Stdout(_) => f.write_str("standard output"),
        }
    }
}

impl Journal {
    /// Writes to a file that does not exist yet, or is empty.
    ///
    /// # Errors
    /// [`JournalError::Exists`] or [`JournalError::Open`].
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let open = || -> io::Result<(File, u64)> {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        match open() {
            Ok((file, 0)) => Ok(Journal::to(Sink::File { file, path: path.to_owned(), length: 0 })),
            Ok(_) => Err(JournalError::Exists(path.to_owned())),
            Err(source) => Err(JournalError::Open { path: path.to_owned(), source }),
        }
    }

    /// Writes to standard output.
    #[must_use]
    pub fn stdout() -> Self {
        Journal::to(Sink::Stdout(io::stdout()))
    }

    fn to(sink: Sink) -> Self {
        Journal { sink, line: Vec::new() }
    }

    /// Writes one record as one line with one write.
    ///
    /// # Errors
    /// [`JournalError::Write`]. Half a line that reached a file is cut off again.
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.line.clear();
        let made = serde_json::to_writer(&mut self.line, record).map_err(io::Error::from);
        self.line.push(b'\n');
        made.and_then(|()| self.sink.write(&self.line))
            .map_err(|source| JournalError::Write { to: self.sink.to_string(), source })
    }
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(line).and_then(|()| stdout.flush())
            }
            Sink::File { file, length, path } => {
                if let Err(error) = file.write_all(line) {
                    if let Err(cut) = file.set_len(*length) {
                        log::error!("cannot cut off the half line at the end of {}: {cut}", path.display());
                    }
                    return Err(error);
                }
                *length += line.len() as u64;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fs;

    fn record(n: u32) -> Record {
        let attempt = Attempt {
            n: 1,
            key: 0,
            started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_687_200_123),
            queued: Duration::ZERO,
            paced: Duration::from_millis(412),
            took: Duration::from_micros(655_900),
            status: Some(429),
            outcome: "rate_limited",
            retry_after: Some(Duration::from_secs(1)),
            backoff: Some(Duration::from_millis(1204)),
            request_id: Some("req_1".into()),
        };
        Record {
            id: "pl_1".into(),
            custom_id: format!("line-{n}"),
            prompt: "a\u{2028}b\nc".into(),
            text: None,
            finish_reason: None,
            response: Some(Reply { status_code: 429, request_id: None, body: None }),
            error: Some(Fault { code: "rate_limited".into(), message: "slow down".into() }),
            attempts: vec![attempt],
        }
    }

    #[test]
    fn a_record_is_one_line_as_the_design_gives_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        let mut journal = Journal::create(&path).unwrap();
        journal.append(&record(1)).unwrap();
        journal.append(&record(2)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.split_terminator('\n').map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        let expected = json!({
            "id": "pl_1", "custom_id": "line-1", "prompt": "a\u{2028}b\nc", "text": null, "finish_reason": null,
            "response": {"status_code": 429, "request_id": null, "body": null},
            "error": {"code": "rate_limited", "message": "slow down"},
            "attempts": [{"n": 1, "key": 0, "started_at": "2026-11-26T10:00:00.123Z", "queued_ms": 0,
                "paced_ms": 412, "took_ms": 655, "status": 429, "outcome": "rate_limited",
                "retry_after_ms": 1000, "backoff_ms": 1204, "request_id": "req_1"}],
        });
        assert_eq!(lines[0], expected);
    }

    #[test]
    fn results_are_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        Journal::create(&path).unwrap().append(&record(1)).unwrap();
        assert!(matches!(Journal::create(&path), Err(JournalError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn an_empty_file_is_as_good_as_none_and_a_folder_is_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Journal::create(file.path()).is_ok());
        assert!(matches!(Journal::create(Path::new("/")), Err(JournalError::Open { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error() {
        let full = Journal::create(Path::new("/dev/full")).unwrap().append(&record(1)).unwrap_err();
        assert!(full.to_string().starts_with("cannot write to /dev/full: No space left"), "{full}");
    }

    #[test]
    fn an_id_tells_places_and_requests_apart() {
        let ids =
            [(1, "a"), (2, "a"), (1, "b"), (11, "")].map(|(line, text)| record_id(line, text.as_bytes()));
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(record_id(1, b"a"), ids[0]);
        assert_eq!(ids[0], "pl_1_ca978112ca1bbdca", "the beginning of the well-known digest of \"a\"");
    }
}
