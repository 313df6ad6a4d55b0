//! The record of a call: a line in the format of a results file, which `paceline report` reads.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

use crate::journal::{Journal, JournalError, Record, RecordId};
use crate::json::Json;
use crate::practice::wire::WireRequest;

/// Where the calls are recorded.
#[derive(Debug)]
pub(crate) struct RecordFile {
    journal: Mutex<Journal>,
    /// Whether requests and answers are recorded as well.
    bodies: bool,
    /// The number of the next line.
    next: AtomicU64,
}

impl RecordFile {
    /// Continues a file with `written` lines.
    pub(crate) fn new(journal: Journal, written: usize, bodies: bool) -> Self {
        RecordFile {
            journal: Mutex::new(journal),
            bodies,
            next: AtomicU64::new(written as u64 + 1),
        }
    }

    /// The body of an answer as it is recorded, if it is.
    pub(super) fn body(&self, body: String) -> Option<Json> {
        let json = || Json::read(body).unwrap_or_else(|text| Json::from(Value::from(text)));
        self.bodies.then(json)
    }

    /// Writes the line of a request.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(
        &self,
        request: &WireRequest,
        mut record: Record,
    ) -> Result<(), JournalError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Another gate may have written a line of this number.
        record.id = RecordId::of(number, &rand::random::<[u8; 8]>()).to_string();
        record.custom_id = format!("call-{number}");
        let path = request.path.split('?').next().unwrap_or_default(); // a query may hold a key
        record.prompt = match self.bodies {
            true => String::from_utf8_lossy(&request.body).into_owned(),
            false => format!("{} {path}", request.method),
        };
        if record.error.is_none() {
            record.text = Some(String::new());
            record.finish_reason = Some("not_read".to_owned());
        }
        self.journal.lock().append(&record)
    }
}
