//! The rows of a batch that has ended: fetched into a file, found by their prompts, and read as if each were a response.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Bulk, BulkStatus, Part, unasked};
use crate::api::{Answer, CANCELLED, CallError, Class, Client, EXPIRED};
use crate::batch::{CollectedRow, Stop};
use crate::clock::{Clock, SystemClock};
use crate::http::{HttpResponse, decompressed};
use crate::journal::RecordId;
use crate::json::repaired;

/// The code of an error of the disk.
pub(super) const DISK: &str = "disk";

/// The rows of a batch that has ended.
pub(crate) struct BulkRows {
    /// Its name and its times are those of each row.
    batch: String,
    started_at: SystemTime,
    took: Duration,
    /// It has no name any more, and goes with this value.
    file: File,
    /// Where the row of each prompt is, and its length in bytes.
    places: HashMap<RecordId, (u64, usize)>,
    /// The same by the digest of the request, if equal requests were asked once.
    twins: HashMap<u64, (u64, usize)>,
    lost: CallError,
}

/// A row in the words of either provider.
#[derive(Deserialize)]
struct ResultRow<'a> {
    #[serde(borrow)]
    custom_id: Cow<'a, str>,
    #[serde(borrow)]
    response: Option<RowResponse<'a>>,
    error: Option<Value>,
    #[serde(borrow)]
    result: Option<RowResult<'a>>,
}

/// Its fields are read in whatever types they come.
#[derive(Deserialize)]
struct RowResponse<'a> {
    #[serde(default)]
    status_code: Value,
    #[serde(default)]
    request_id: Value,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct RowResult<'a> {
    r#type: String,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl BulkRows {
    /// Fetches the rows of a batch that has ended.
    ///
    /// # Errors
    /// The reason to stop.
    pub(crate) fn fetch(
        bulk: &Bulk<'_>,
        status: &BulkStatus,
        part: &Part,
        path: &Path,
        asks_once: bool,
    ) -> Result<Self, Stop> {
        let disk = |error: io::Error| {
            let message = format!("cannot write to {}: {error}", path.display());
            CallError::new(Class::Fatal, DISK, message)
        };
        let started_at = UNIX_EPOCH + Duration::from_secs(part.noted_at.try_into().unwrap_or(0));
        let took = SystemClock.wall().duration_since(started_at);
        bulk.again(|| {
            let mut rows = BulkRows {
                batch: part.batch.clone().unwrap_or_default(),
                started_at,
                took: took.clone().unwrap_or_default(),
                file: spool(path).map_err(disk)?,
                places: HashMap::new(),
                twins: HashMap::new(),
                lost: status.lost.clone(),
            };
            let mut end = 0;
            for name in &status.files {
                each_line(bulk.client, name, |line| {
                    let line = bulk.client.hide(line);
                    if let Some(id) = id_in(&line, part) {
                        let place = (end, line.len());
                        rows.places.insert(id, place);
                        rows.twins.extend(asks_once.then_some((id.digest, place)));
                    }
                    end += line.len() as u64;
                    rows.file.write_all(&line).map_err(disk)?;
                    Ok(ControlFlow::Continue(()))
                })?;
            }
            Ok(rows)
        })
    }

    /// What became of a prompt.
    pub(crate) fn row(&mut self, client: &Client, id: &RecordId, request: &[u8]) -> CollectedRow {
        CollectedRow {
            batch: self.batch.clone(),
            started_at: self.started_at,
            took: self.took,
            answer: self.answer(client, id, request),
        }
    }

    fn answer(
        &mut self,
        client: &Client,
        id: &RecordId,
        request: &[u8],
    ) -> Result<Answer, CallError> {
        let place = self.places.get(id).or_else(|| self.twins.get(&id.digest));
        let (start, length) = *place.ok_or_else(|| self.lost.clone())?;
        let mut line = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(start));
        let read = read.and_then(|_| self.file.read_exact(&mut line));
        let unreadable = |why: String| CallError::new(Class::Fault, "unreadable_body", why);
        read.map_err(|error| unreadable(error.to_string()))?;
        let response = with_row(&line, |row| row.response());
        let response = response.ok_or_else(|| unreadable("its row is not JSON".to_owned()))?;
        client.answer_to(request, response?)
    }
}

/// A file that is written and read back; its name is removed at once, so that nothing of it can be left behind.
fn spool(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    let file = options.open(path)?;
    fs::remove_file(path)?;
    Ok(file)
}

impl ResultRow<'_> {
    /// The response that the row would have had by itself.
    fn response(self) -> Result<HttpResponse, CallError> {
        let response = |status, body| HttpResponse {
            status,
            headers: Vec::new(),
            body: body_of(body),
        };
        if let Some(row) = self.response {
            let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
            let id = Some(text(&row.request_id)).filter(|_| !row.request_id.is_null());
            let status = text(&row.status_code).parse::<f64>();
            let id = id.map(|id| ("x-request-id".to_owned(), id));
            return Ok(HttpResponse {
                status: status.map_or(200, |status| status as u16),
                headers: id.into_iter().collect(),
                body: row.body.map(body_of).unwrap_or_default(),
            });
        }
        let result = self.result.unwrap_or_default();
        if let Some(message) = result.message {
            return Ok(response(200, message));
        }
        if let Some(error) = result.error {
            return Ok(response(status_of(error.get()), error));
        }
        let error = self.error.unwrap_or_default();
        match error["code"].as_str().unwrap_or(&result.r#type) {
            "expired" | EXPIRED => Err(unasked(EXPIRED)),
            "canceled" | CANCELLED => Err(unasked(CANCELLED)),
            code => {
                let message = error["message"].as_str().or(error.as_str());
                let message = message.unwrap_or("the row has no response");
                Err(CallError::new(Class::Rejected, code, message))
            }
        }
    }
}

/// A body, which may be JSON in a text.
fn body_of(body: &RawValue) -> Vec<u8> {
    let text = serde_json::from_str::<String>(body.get());
    text.unwrap_or_else(|_| body.get().to_owned()).into_bytes()
}

/// What `read` makes of a row. A broken one is repaired: its answer is paid for.
fn with_row<T>(line: &[u8], read: impl Fn(ResultRow<'_>) -> T) -> Option<T> {
    let row = serde_json::from_slice(line).map(&read);
    row.or_else(|_| serde_json::from_str(&repaired(line)).map(&read))
        .ok()
}

/// The status that comes with an error of Anthropic.
fn status_of(error: &str) -> u16 {
    let error: Value = serde_json::from_str(error).unwrap_or_default();
    match error["error"]["type"].as_str().or(error["type"].as_str()) {
        Some("authentication_error") => 401,
        Some("billing_error") => 402,
        Some("permission_error") => 403,
        Some("not_found_error") => 404,
        Some("request_too_large") => 413,
        Some("rate_limit_error") => 429,
        Some("api_error") => 500,
        Some("overloaded_error") => 529,
        _ => 400,
    }
}

/// Gives each line of a file of results to `take`, until that has enough.
fn each_line(
    client: &Client,
    file: &str,
    mut take: impl FnMut(Vec<u8>) -> Result<ControlFlow<()>, CallError>,
) -> Result<(), CallError> {
    /// In bytes: as much as the largest answer that is read, and what is around it.
    const LONGEST: usize = 33 << 20;
    let broken = |error: io::Error| {
        let message = format!("the connection broke while results came: {error}");
        CallError::new(Class::Fault, "broken_connection", message)
    };
    let body = client.call_beside(file, None)?.into_body();
    let mut body = decompressed(body.into_reader()).map_err(broken)?;
    loop {
        let mut line = Vec::new();
        let mut most = body.by_ref().take(LONGEST as u64);
        most.read_until(b'\n', &mut line).map_err(broken)?;
        if line.len() == LONGEST {
            let message = format!("a row of the results is larger than {LONGEST} bytes");
            return Err(CallError::new(Class::Rejected, "too_large", message));
        }
        let is_end = !line.ends_with(b"\n");
        if is_end {
            line.push(b'\n');
        }
        if take(line)?.is_break() || is_end {
            return Ok(());
        }
    }
}

/// The prompt of a row, if it is of this part.
fn id_in(line: &[u8], part: &Part) -> Option<RecordId> {
    with_row(line, |row| part.id_of(&row.custom_id))?
}

/// Whether the first row of a batch that has ended is of this part.
pub(super) fn is_of(client: &Client, status: &BulkStatus, part: &Part) -> Result<bool, CallError> {
    let mut is_of = false;
    for name in &status.files {
        each_line(client, name, |line| {
            is_of |= id_in(&line, part).is_some();
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(is_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_in_whatever_types_and_however_broken_it_comes() {
        let part = Part::new();
        let id: RecordId = "pl_1_0123456789abcdef".parse().unwrap();
        let row = |response: &str| {
            let name = part.row_name(&id);
            format!("{{\"custom_id\":\"{name}\",\"response\":{response},\"error\":null}}")
                .into_bytes()
        };
        let whole = row(r#"{"status_code":200,"body":{"a":"b#"}}"#);
        let parts: Vec<_> = whole.split(|byte| *byte == b'#').collect();
        let cut = parts.join(b"\xf0\x9f".as_slice());
        for line in [
            row(r#"{"status_code":200,"request_id":7,"body":{"a":"b"}}"#),
            row(r#"{"status_code":"200","request_id":"r","body":{"a":"b"}}"#),
            row(r#"{"status_code":200.0,"body":{"a":"b"}}"#),
            row(r#"{"body":"{\"a\":\"b\"}"}"#),
            row(r#"{"status_code":200,"body":{"a":"b","logprob":NaN}}"#),
            [
                b"\xef\xbb\xbf".to_vec(),
                row(r#"{"status_code":200,"body":{"a":"b"}}"#),
            ]
            .concat(),
            cut,
        ] {
            let shown = String::from_utf8_lossy(&line).into_owned();
            assert_eq!(id_in(&line, &part), Some(id), "{shown}");
            let response = with_row(&line, |row| row.response()).unwrap().unwrap();
            assert_eq!(response.status, 200, "{shown}");
            assert!(response.body.starts_with(br#"{"a":"b"#), "{shown}");
        }
    }

    #[test]
    fn an_error_may_be_a_text() {
        let row = br#"{"custom_id":"a","response":null,"error":"too bad"}"#;
        let error = with_row(row, |row| row.response()).unwrap().unwrap_err();
        assert_eq!(error.message, "too bad");
    }
}
