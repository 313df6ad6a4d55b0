//! The record of a call: a line in the format of a results file, which `paceline report` reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::Value;

use crate::api::{Usage, usage_of};
use crate::journal::{Journal, JournalError, Record, RecordId};
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

    /// The body of an answer as it is recorded, if it is: of a stream the text.
    pub(super) fn body(&self, kept: KeptBody) -> Option<Json> {
        let text = self
            .bodies
            .then(|| String::from_utf8_lossy(&kept.bytes).into_owned())?;
        Some(Json::read(text).unwrap_or_else(|text| Json::from(Value::from(text))))
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
        record.id = RecordId::of(number, &self.started.to_le_bytes()).to_string();
        record.custom_id = format!("call-{number}");
        let path = request.path.split('?').next().unwrap_or_default(); // a query may hold a key
        record.prompt = match self.bodies {
            true => String::from_utf8_lossy(&request.body).into_owned(),
            false => format!("{} {path}", request.method),
        };
        if record.error.is_none() {
            record.text = Some(String::new());
            record.finish_reason = Some("stop".to_owned());
        }
        self.journal.lock().append(&record)
    }
}

/// What is kept of an answer, to find its usage and to record it: of a long one the beginning and the end, where APIs state
/// the usage of a stream.
#[derive(Default)]
pub(super) struct KeptBody {
    bytes: Vec<u8>,
}

impl KeptBody {
    /// Longer than the answers of chat models that come in one piece, and little for a thousand streams at once.
    const WHOLE: usize = 256 << 10;
    const BEGINNING: usize = 16 << 10;
    /// It must hold the last event of a stream whole.
    const END: usize = 64 << 10;

    pub(super) fn keep(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > Self::WHOLE {
            let end = self.bytes.len() - Self::END;
            self.bytes.drain(Self::BEGINNING..end);
        }
    }

    /// The tokens of the call, if the answer states them. A stream may state them several times, each time more.
    pub(super) fn usage(&self) -> Option<Usage> {
        let text = String::from_utf8_lossy(&self.bytes); // it may be cut in its middle
        let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let of_events = || events.filter_map(usage_in_event).reduce(Usage::most);
        usage_of(&text).or_else(of_events)
    }
}

/// The usage in an event: at its top, or in the message or response that it carries.
fn usage_in_event(event: &str) -> Option<Usage> {
    if !event.contains("\"usage") {
        return None;
    }
    let event: Value = serde_json::from_str(event).ok()?;
    let message = event.get("message").or(event.get("response"));
    usage_of(&message.unwrap_or(&event).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_a_stream_is_found_wherever_an_api_states_it() {
        let usage = |events: &[&str]| {
            let mut kept = KeptBody::default();
            for event in events {
                kept.keep(format!("data: {event}\n\n").as_bytes());
            }
            kept.usage().map(|usage| (usage.input, usage.output))
        };
        let filler = format!(r#"{{"delta":"{}"}}"#, "x".repeat(KeptBody::END * 2));
        let chat = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
        assert_eq!(
            usage(&[&filler, &filler, &filler, chat, "[DONE]"]),
            Some((9, 3))
        );
        let start =
            r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
        let delta = r#"{"type":"message_delta","usage":{"output_tokens":3}}"#;
        assert_eq!(
            usage(&[start, &filler, &filler, &filler, &filler, delta]),
            Some((9, 3))
        );
        let done = r#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"output_tokens":3}}}"#;
        assert_eq!(usage(&[done]), Some((9, 3)));
        assert_eq!(usage(&["[DONE]"]), None);
    }
}
