//! The record of a call: a line in the format of a results file, which `paceline report` reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::json;

use crate::api::Usage;
use crate::journal::{
    Journal, JournalError, Record, RecordAttempt, RecordError, RecordId, RecordResponse,
};
use crate::json::Json;
use crate::practice::wire::WireRequest;

/// Where the calls are recorded.
#[derive(Debug)]
pub(crate) struct RecordFile {
    journal: Mutex<Journal>,
    /// Whether requests and answers are recorded as well.
    bodies: bool,
    /// Tells the lines of one gate from those of another that wrote the same file.
    started: u128,
    /// The number of the next line.
    next: AtomicU64,
}

/// What became of a request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) usage: Option<Usage>,
    /// The beginning of the answer's body.
    pub(super) body: Vec<u8>,
    pub(super) error: Option<RecordError>,
}

impl Outcome {
    /// There was no answer from the API.
    pub(super) fn failed(code: &str, message: &str) -> Self {
        Outcome {
            error: Some(RecordError {
                code: code.to_owned(),
                message: message.to_owned(),
            }),
            ..Outcome::default()
        }
    }
}

impl RecordFile {
    /// Continues a file with `written` lines.
    pub(crate) fn new(journal: Journal, written: usize, bodies: bool) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        RecordFile {
            journal: Mutex::new(journal),
            bodies,
            started: started.unwrap_or_default().as_millis(),
            next: AtomicU64::new(written as u64 + 1),
        }
    }

    /// Writes the line of a request.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(
        &self,
        request: &WireRequest,
        attempts: Vec<RecordAttempt>,
        outcome: Outcome,
    ) -> Result<(), JournalError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut prompt = format!("{} {}", request.method, without_query(&request.path));
        if self.bodies {
            prompt = String::from_utf8_lossy(&request.body).into_owned();
        }
        let answered = outcome.error.is_none();
        let body = match self.bodies {
            true => Json::read(String::from_utf8_lossy(&outcome.body).into_owned()).ok(),
            false => outcome.usage.map(|usage| {
                let usage = json!({
                    "input_tokens": usage.input,
                    "input_tokens_details": {"cached_tokens": usage.cached},
                    "output_tokens": usage.output,
                    "output_tokens_details": {"reasoning_tokens": usage.reasoning},
                });
                Json::from(json!({"usage": usage}))
            }),
        };
        let record = Record {
            id: RecordId::of(number, &self.started.to_le_bytes()).to_string(),
            custom_id: format!("call-{number}"),
            prompt,
            text: answered.then(String::new),
            finish_reason: answered.then(|| "stop".to_owned()),
            response: outcome.status.map(|status_code| RecordResponse {
                status_code,
                request_id: outcome.request_id,
                body,
            }),
            error: outcome.error,
            attempts,
            settings: None,
            columns: serde_json::Map::new(),
            same_as: None,
        };
        self.journal.lock().append(&record)
    }
}

/// A path alone: a query may hold a key.
fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
