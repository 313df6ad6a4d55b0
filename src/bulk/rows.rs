//! The rows of a batch that has ended: fetched into a file, found by their prompts, and read as if each were a response.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Bulk, BulkStatus, Part, unasked};
use crate::api::{Answer, CANCELLED, CallError, Class, Client, EXPIRED};
use crate::batch::Stop;
use crate::http::HttpResponse;
use crate::journal::RecordId;

/// The code of an error of the disk.
pub(super) const DISK: &str = "disk";

/// The rows of a batch, in a file that is removed with this value.
pub(crate) struct BulkRows {
    path: PathBuf,
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

#[derive(Deserialize)]
struct RowResponse<'a> {
    status_code: u16,
    request_id: Option<String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
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
        bulk.again(|| {
            let mut file = spool(path).map_err(disk)?;
            for name in &status.files {
                let body = bulk
                    .client
                    .call_beside(name, None)?
                    .into_body()
                    .into_reader();
                let mut body = BufReader::new(body);
                let mut line = Vec::new();
                while body.read_until(b'\n', &mut line).map_err(broken)? > 0 {
                    let hidden = bulk.client.hide(std::mem::take(&mut line));
                    file.write_all(&hidden).map_err(disk)?;
                }
            }
            let places = places(&mut file, part).map_err(disk)?;
            let twins = places.iter().filter(|_| asks_once);
            Ok(BulkRows {
                twins: twins.map(|(id, place)| (id.digest, *place)).collect(),
                places,
                path: path.to_owned(),
                file,
                lost: status.lost.clone(),
            })
        })
    }

    /// What became of a prompt.
    ///
    /// # Errors
    /// Why it has no answer.
    pub(crate) fn answer(
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
        let row: ResultRow<'_> =
            serde_json::from_slice(&line).map_err(|error| unreadable(error.to_string()))?;
        client.answer_to(request, row.response()?)
    }
}

fn spool(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
}

impl Drop for BulkRows {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl ResultRow<'_> {
    /// The response that the row would have had by itself.
    fn response(self) -> Result<HttpResponse, CallError> {
        let response = |status, body: &RawValue| HttpResponse {
            status,
            headers: Vec::new(),
            body: body.get().into(),
        };
        if let Some(row) = self.response {
            let id = row.request_id.map(|id| ("x-request-id".to_owned(), id));
            return Ok(HttpResponse {
                headers: id.into_iter().collect(),
                ..response(row.status_code, row.body)
            });
        }
        let error = self.error.unwrap_or_default();
        let code = error["code"].as_str().unwrap_or_default();
        match self.result {
            None if code == EXPIRED => Err(unasked(EXPIRED, "expired")),
            None if code == CANCELLED => Err(unasked(CANCELLED, "was cancelled")),
            None => {
                let message = error["message"]
                    .as_str()
                    .unwrap_or("the row has no response");
                Err(CallError::new(Class::Rejected, code, message))
            }
            Some(RowResult {
                message: Some(message),
                ..
            }) => Ok(response(200, message)),
            Some(RowResult {
                error: Some(error), ..
            }) => Ok(response(status_of(error.get()), error)),
            Some(result) if result.r#type == "expired" => Err(unasked(EXPIRED, "expired")),
            Some(_) => Err(unasked(CANCELLED, "was cancelled")),
        }
    }
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

/// Where the rows of a part are in a file of results.
fn places(file: &mut File, part: &Part) -> io::Result<HashMap<RecordId, (u64, usize)>> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let mut places = HashMap::new();
    let mut line = Vec::new();
    let mut start = 0;
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Ok(row) = serde_json::from_slice::<ResultRow<'_>>(&line)
            && let Some(id) = part.id_of(&row.custom_id)
        {
            places.insert(id, (start, line.len()));
        }
        start += line.len() as u64;
        line.clear();
    }
    Ok(places)
}

/// Whether the first row of a batch that has ended is of this part.
pub(super) fn is_of(client: &Client, status: &BulkStatus, part: &Part) -> Result<bool, CallError> {
    for name in &status.files {
        let body = client.call_beside(name, None)?.into_body().into_reader();
        let mut line = Vec::new();
        BufReader::new(body)
            .read_until(b'\n', &mut line)
            .map_err(broken)?;
        let row = serde_json::from_slice::<ResultRow<'_>>(&line);
        if row.is_ok_and(|row| part.id_of(&row.custom_id).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn broken(error: io::Error) -> CallError {
    let message = format!("the connection broke while results came: {error}");
    CallError::new(Class::Fault, "broken_connection", message)
}
