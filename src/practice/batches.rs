//! The batch endpoints of OpenAI and Anthropic: a batch is done some time after it was made, and its rows then are
//! answered, have failed or have expired, the same ones for the same seed.
//!
//! Everything is kept in memory. Limits and latencies do not apply, as they do not at the providers.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};

use super::ServerOptions;
use super::apis::{Dialect, Provider};
use super::errors::Problem;
use super::faults::{InjectedFault, random};
use super::script::ReceivedRequest;
use super::wire::WireReply;

/// The uploaded files and the batches, in order. Their places are in their ids.
#[derive(Debug, Default)]
pub(super) struct BatchStore {
    files: Vec<String>,
    batches: Vec<StoredBatch>,
}

#[derive(Debug)]
struct StoredBatch {
    dialect: Dialect,
    /// Names and bodies.
    rows: Vec<(String, Value)>,
    metadata: Value,
    created: Instant,
    created_at: Timestamp,
    is_cancelled: bool,
}

/// What became of a row: a status and a body, or why it was not asked.
type RowResult = Result<(u16, String), &'static str>;

impl BatchStore {
    /// How many batches there are, and their rows.
    pub(super) fn counts(&self) -> [u64; 2] {
        let rows = self.batches.iter().map(|batch| batch.rows.len());
        [self.batches.len() as u64, rows.sum::<usize>() as u64]
    }

    /// Answers a request to a batch endpoint; `None` for other paths.
    pub(super) fn answer(
        &mut self,
        options: &ServerOptions,
        request: &ReceivedRequest,
    ) -> Option<WireReply> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let path: Vec<_> = path.strip_prefix("/v1/")?.split('/').collect();
        let (provider, path) = match path.as_slice() {
            ["messages", "batches", ..] => (Provider::Anthropic, &path[1..]),
            ["batches" | "files", ..] => (Provider::OpenAi, &path[..]),
            _ => return None,
        };
        let body = &request.body;
        let answer = match (request.method.as_str(), path) {
            ("POST", ["files"]) => self.upload(body),
            ("GET", ["files", id, "content"]) => return self.content(options, id),
            ("POST", ["batches"]) => self.create(provider, body).map(|n| self.page(options, n)),
            ("GET", ["batches"]) => Ok(self.list(options, provider, query)),
            ("GET", ["batches", id]) => self.find(id).map(|n| self.page(options, n)),
            ("POST", ["batches", id, "cancel"]) => self.find(id).map(|n| {
                self.batches[n].is_cancelled = self.batches[n].is_open(options);
                self.page(options, n)
            }),
            ("GET", ["batches", id, "results"]) => return self.content(options, id),
            _ => return None,
        };
        let wrong = |(status, message): (u16, &str)| {
            provider.error(&Problem::Invalid(status, message.to_owned()), false)
        };
        Some(answer.map_or_else(wrong, |page| WireReply::new(200, page.to_string())))
    }

    /// Keeps the file of a form.
    fn upload(&mut self, form: &str) -> Result<Value, (u16, &'static str)> {
        let file = form
            .split_once("filename=")
            .and_then(|(_, rest)| rest.split_once("\r\n\r\n"));
        let file = file.and_then(|(_, rest)| rest.rsplit_once("\r\n--"));
        let (file, _) = file.ok_or((400, "the form has no file"))?;
        self.files.push(file.to_owned());
        let id = format!("file-{}", self.files.len() - 1);
        Ok(json!({"id": id, "object": "file", "purpose": "batch", "bytes": file.len()}))
    }

    fn create(&mut self, provider: Provider, body: &str) -> Result<usize, (u16, &'static str)> {
        let body: Value = serde_json::from_str(body).map_err(|_| (400, "the body is not JSON"))?;
        let (dialect, requests, field) = match provider {
            Provider::Anthropic => {
                let requests = body["requests"].as_array().cloned();
                (Dialect::Messages, requests, "params")
            }
            _ => {
                let dialect = body["endpoint"].as_str().and_then(Dialect::at);
                let file = body["input_file_id"].as_str().and_then(place);
                let file = file
                    .and_then(|n| self.files.get(n))
                    .ok_or((404, "no such file"))?;
                let lines = file.lines().map(serde_json::from_str);
                (
                    dialect.ok_or((400, "no such endpoint"))?,
                    lines.collect::<Result<Vec<Value>, _>>().ok(),
                    "body",
                )
            }
        };
        let requests = requests.filter(|requests| !requests.is_empty());
        let row = |row: &Value| Some((row["custom_id"].as_str()?.to_owned(), row[field].clone()));
        let rows = requests.and_then(|requests| requests.iter().map(row).collect());
        self.batches.push(StoredBatch {
            dialect,
            rows: rows.ok_or((400, "the rows are malformed"))?,
            metadata: body["metadata"].clone(),
            created: Instant::now(),
            created_at: Timestamp::try_from(SystemTime::now()).unwrap_or_default(),
            is_cancelled: false,
        });
        Ok(self.batches.len() - 1)
    }

    /// The place of a batch.
    fn find(&self, id: &str) -> Result<usize, (u16, &'static str)> {
        let n = place(id).filter(|n| *n < self.batches.len());
        n.ok_or((404, "no such batch"))
    }

    /// The batches of a provider, the newest first.
    fn list(&self, options: &ServerOptions, provider: Provider, query: &str) -> Value {
        let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let before = field("after=").or(field("after_id=")).and_then(place);
        let limit = field("limit=")
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(20);
        let older = (0..before.unwrap_or(self.batches.len())).rev();
        let mut ours = older.filter(|n| self.batches[*n].dialect.provider() == provider);
        let data: Vec<_> = ours
            .by_ref()
            .take(limit)
            .map(|n| self.page(options, n))
            .collect();
        json!({"object": "list", "data": data, "has_more": ours.next().is_some()})
    }

    /// A batch as its provider describes it.
    fn page(&self, options: &ServerOptions, n: usize) -> Value {
        let batch = &self.batches[n];
        let is_open = batch.is_open(options);
        let results = (0..batch.rows.len()).map(|row| batch.result(options, n, row));
        let results: Vec<_> = results.filter(|_| !is_open).collect();
        let count = |is: fn(&RowResult) -> bool| results.iter().filter(|row| is(row)).count();
        let good = count(|row| matches!(row, Ok((200, _))));
        let bad = count(|row| matches!(row, Ok((201.., _))));
        let expired = count(|row| matches!(row, Err("expired")));
        let cancelled = count(|row| matches!(row, Err("cancelled")));
        if batch.dialect.provider() == Provider::Anthropic {
            let id = format!("msgbatch_{n}");
            let counts = json!({"processing": batch.rows.len() - results.len(), "succeeded": good,
                "errored": bad, "expired": expired, "canceled": cancelled});
            let url = (!is_open).then(|| format!("/v1/messages/batches/{id}/results"));
            let status = if is_open { "in_progress" } else { "ended" };
            return json!({"id": id, "type": "message_batch", "processing_status": status,
                "request_counts": counts, "created_at": batch.created_at.to_string(), "results_url": url});
        }
        let status = match is_open {
            true => "in_progress",
            false if cancelled > 0 => "cancelled",
            false if expired > 0 => "expired",
            false => "completed",
        };
        let file = |is_there: bool, name| is_there.then(|| format!("file-{name}-{n}"));
        json!({"id": format!("batch_{n}"), "object": "batch", "status": status, "errors": null,
            "created_at": batch.created_at.as_second(), "metadata": batch.metadata,
            "output_file_id": file(good > 0, "output"),
            "error_file_id": file(bad + expired + cancelled > 0, "error"),
            "request_counts": {"total": batch.rows.len(), "completed": good, "failed": bad}})
    }

    /// The rows of a results file, one a line.
    fn content(&self, options: &ServerOptions, id: &str) -> Option<WireReply> {
        let n = self.find(id).ok()?;
        let batch = self
            .batches
            .get(n)
            .filter(|batch| !batch.is_open(options))?;
        let is_wanted = |row: &RowResult| {
            !id.starts_with("file-") || id.contains("output") == matches!(row, Ok((200, _)))
        };
        let mut lines = String::new();
        for (row, (name, _)) in batch.rows.iter().enumerate() {
            let result = batch.result(options, n, row);
            if is_wanted(&result) {
                lines += &format!("{}\n", batch.line(name, result));
            }
        }
        Some(WireReply::new(200, lines))
    }
}

impl StoredBatch {
    fn is_open(&self, options: &ServerOptions) -> bool {
        !self.is_cancelled && self.created.elapsed() < options.batch_time
    }

    /// What becomes of a row of the batch at this place.
    fn result(&self, options: &ServerOptions, n: usize, row: usize) -> RowResult {
        if self.is_cancelled {
            return Err("cancelled");
        }
        let number = (n as u64) << 32 | row as u64;
        let draw = random(options.seed, number, 3).random::<f64>();
        let faults = &options.faults;
        if draw < faults.batch_expired {
            return Err("expired");
        }
        let problem = match self.dialect.parse_body(&self.rows[row].1) {
            _ if draw < faults.batch_expired + faults.batch_failed => Problem::Injected(500),
            Err(why) => Problem::Invalid(400, why),
            Ok(question) => {
                let fault = faults.draw(options.seed, number, Duration::ZERO);
                let is_wrong = fault == Some(InjectedFault::WrongJson);
                let prose = match is_wrong && question.can_have(InjectedFault::WrongJson, faults) {
                    true => question.answer(options.seed).spoilt(),
                    false => question.answer(options.seed),
                };
                let body = self.dialect.completion(&question, &prose, options.seed);
                return Ok((200, body));
            }
        };
        let reply = self.dialect.provider().error(&problem, false);
        Ok((reply.status, reply.body))
    }

    /// A row of the results.
    fn line(&self, name: &str, result: RowResult) -> String {
        let is_anthropic = self.dialect.provider() == Provider::Anthropic;
        let rest = match result {
            Ok((200, message)) if is_anthropic => {
                format!(r#""result":{{"type":"succeeded","message":{message}}}"#)
            }
            Ok((_, error)) if is_anthropic => {
                format!(r#""result":{{"type":"errored","error":{error}}}"#)
            }
            Err("cancelled") if is_anthropic => r#""result":{"type":"canceled"}"#.to_owned(),
            Err(why) if is_anthropic => format!(r#""result":{{"type":"{why}"}}"#),
            Ok((status, body)) => format!(
                r#""response":{{"status_code":{status},"request_id":"req_{name}","body":{body}}},"error":null"#
            ),
            Err(why) => format!(
                r#""response":null,"error":{{"code":"batch_{why}","message":"This request was not executed: the batch was {why}."}}"#
            ),
        };
        format!(r#"{{"id":"batch_req_{name}","custom_id":"{name}",{rest}}}"#)
    }
}

/// The number at the end of an id.
fn place(id: &str) -> Option<usize> {
    id.rsplit(['-', '_']).next()?.parse().ok()
}
