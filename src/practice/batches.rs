//! The batch endpoints of OpenAI and Anthropic: a batch is done some time after it was made, and its rows then are
//! answered, have failed or have expired, the same ones for the same seed.
//!
//! Everything is kept in memory. Limits and latencies do not apply, as they do not at the providers.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rand::RngExt;
use serde_json::{Value, json};

use super::ServerOptions;
use super::apis::Dialect;
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

/// What became of a row: a response, or why it was not asked.
type RowResult = Result<WireReply, &'static str>;

/// A status, and what is wrong with a request.
type Wrong = (u16, &'static str);

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
            ["messages", "batches", ..] => (Dialect::Messages, &path[1..]),
            ["batches" | "files", ..] => (Dialect::Chat, &path[..]),
            _ => return None,
        };
        let page = |store: &Self, n: usize| store.page(options, n).to_string();
        let answer = match (request.method.as_str(), path) {
            ("POST", ["files"]) => self.upload(&request.body),
            ("GET", ["files", id, "content"]) => self.content(options, provider, id),
            ("POST", ["batches"]) => {
                let created = self.create(provider, &request.body);
                created.map(|n| page(self, n))
            }
            ("GET", ["batches"]) => Ok(self.list(options, provider, query)),
            ("GET", ["batches", id]) => self.find(provider, id).map(|n| page(self, n)),
            ("POST", ["batches", id, "cancel"]) => self.find(provider, id).map(|n| {
                self.batches[n].is_cancelled = self.batches[n].is_open(options);
                page(self, n)
            }),
            ("GET", ["batches", id, "results"]) => self.content(options, provider, id),
            _ => return None,
        };
        let wrong = |(status, message): Wrong| {
            provider.error(&Problem::Invalid(status, message.to_owned()), false)
        };
        Some(answer.map_or_else(wrong, |body| WireReply::new(200, body)))
    }

    /// Keeps the file of a form.
    fn upload(&mut self, form: &str) -> Result<String, Wrong> {
        let file = form.split_once("filename=");
        let file = file.and_then(|(_, rest)| rest.split_once("\r\n\r\n"));
        let file = file.and_then(|(_, rest)| rest.rsplit_once("\r\n--"));
        let (file, _) = file.ok_or((400, "the form has no file"))?;
        let id = format!("file-{}", self.files.len());
        self.files.push(file.to_owned());
        let page = json!({"id": id, "object": "file", "purpose": "batch", "bytes": file.len()});
        Ok(page.to_string())
    }

    fn create(&mut self, provider: Dialect, body: &str) -> Result<usize, Wrong> {
        let body: Value = serde_json::from_str(body).map_err(|_| (400, "the body is not JSON"))?;
        let (dialect, requests, field) = match provider {
            Dialect::Messages => {
                let requests = body["requests"].as_array().cloned();
                (Dialect::Messages, requests, "params")
            }
            _ => {
                let file = body["input_file_id"].as_str().and_then(place);
                let file = file.and_then(|n| self.files.get(n));
                let lines = file.ok_or((404, "no such file"))?.lines();
                let lines: Result<Vec<_>, _> = lines.map(serde_json::from_str).collect();
                let dialect = body["endpoint"].as_str().and_then(Dialect::at);
                let dialect = dialect.ok_or((400, "no such endpoint"))?;
                (dialect, lines.ok(), "body")
            }
        };
        let row = |mut row: Value| Some((row["custom_id"].as_str()?.to_owned(), row[field].take()));
        let rows: Option<Vec<_>> = requests.unwrap_or_default().into_iter().map(row).collect();
        let rows = rows.filter(|rows| !rows.is_empty());
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

    /// Whether there is such a batch, of this provider: Anthropic for messages, and OpenAI for the others.
    fn is_of(&self, provider: Dialect, n: usize) -> bool {
        let batch = self.batches.get(n);
        let is_anthropic = provider == Dialect::Messages;
        batch.is_some_and(|batch| is_anthropic == (batch.dialect == Dialect::Messages))
    }

    /// The place of a batch.
    fn find(&self, provider: Dialect, id: &str) -> Result<usize, Wrong> {
        let n = place(id).filter(|n| self.is_of(provider, *n));
        n.ok_or((404, "no such batch"))
    }

    /// The batches of a provider, the newest first.
    fn list(&self, options: &ServerOptions, provider: Dialect, query: &str) -> String {
        let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
        let before = field("after=").or(field("after_id=")).and_then(place);
        let limit = field("limit=").and_then(|limit| limit.parse().ok());
        let older = (0..before.unwrap_or(self.batches.len())).rev();
        let mut ours = older.filter(|n| self.is_of(provider, *n));
        let pages = ours.by_ref().take(limit.unwrap_or(20));
        let data: Vec<_> = pages.map(|n| self.page(options, n)).collect();
        json!({"object": "list", "data": data, "has_more": ours.next().is_some()}).to_string()
    }

    /// A batch as its provider describes it.
    fn page(&self, options: &ServerOptions, n: usize) -> Value {
        let batch = &self.batches[n];
        let is_open = batch.is_open(options);
        let rows = batch.results(options, n).filter(|_| !is_open);
        let ends: Vec<_> = rows.map(|(_, row)| end(&row)).collect();
        let count = |wanted| ends.iter().filter(|end| **end == wanted).count();
        let [good, bad] = ["succeeded", "errored"].map(count);
        let [expired, cancelled] = ["expired", "canceled"].map(count);
        if batch.dialect == Dialect::Messages {
            let id = format!("msgbatch_{n}");
            let counts = json!({"processing": batch.rows.len() - ends.len(), "succeeded": good,
                "errored": bad, "expired": expired, "canceled": cancelled});
            let url = (!is_open).then(|| format!("/v1/messages/batches/{id}/results"));
            let status = if is_open { "in_progress" } else { "ended" };
            return json!({"id": id, "type": "message_batch", "processing_status": status,
                "request_counts": counts, "created_at": batch.created_at.to_string(),
                "results_url": url});
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
            "error_file_id": file(good < ends.len(), "error"),
            "request_counts": {"total": batch.rows.len(), "completed": good, "failed": bad}})
    }

    /// An uploaded file, or the rows of a batch that has ended, one a line.
    fn content(&self, options: &ServerOptions, of: Dialect, id: &str) -> Result<String, Wrong> {
        let uploaded = id.strip_prefix("file-").and_then(|n| n.parse().ok());
        if let Some(file) = uploaded.and_then(|n: usize| self.files.get(n)) {
            return Ok(file.clone());
        }
        let n = self.find(of, id)?;
        let batch = &self.batches[n];
        if batch.is_open(options) {
            return Err((404, "the batch has not ended"));
        }
        let is_wanted = |row: &RowResult| {
            of == Dialect::Messages || id.contains("output") == (end(row) == "succeeded")
        };
        let rows = batch.results(options, n).filter(|(_, row)| is_wanted(row));
        Ok(rows.map(|(name, row)| line(of, name, row)).collect())
    }
}

impl StoredBatch {
    fn is_open(&self, options: &ServerOptions) -> bool {
        !self.is_cancelled && self.created.elapsed() < options.batch_time
    }

    /// What becomes of the rows of the batch at this place, with their names.
    fn results<'a>(
        &'a self,
        options: &'a ServerOptions,
        n: usize,
    ) -> impl Iterator<Item = (&'a str, RowResult)> {
        let numbered = self.rows.iter().zip((n as u64) << 32..);
        numbered.map(|((name, body), number)| (name.as_str(), self.result(options, number, body)))
    }

    fn result(&self, options: &ServerOptions, number: u64, body: &Value) -> RowResult {
        let (seed, faults) = (options.seed, &options.faults);
        let draw = random(seed, number, 3).random::<f64>();
        let problem = match self.dialect.parse_body(body) {
            _ if self.is_cancelled => return Err("canceled"),
            _ if draw < faults.batch_expired => return Err("expired"),
            _ if draw < faults.batch_expired + faults.batch_failed => Problem::Injected(500),
            Err(why) => Problem::Invalid(400, why),
            Ok(question) => {
                let fault = faults.draw(seed, number, Duration::ZERO);
                let is_wrong = fault == Some(InjectedFault::WrongJson);
                let prose = match is_wrong && question.can_have(InjectedFault::WrongJson, faults) {
                    true => question.answer(seed).spoilt(),
                    false => question.answer(seed),
                };
                let answer = self.dialect.completion(&question, &prose, seed);
                return Ok(WireReply::new(200, answer));
            }
        };
        Ok(self.dialect.error(&problem, false))
    }
}

/// How a row ended, in the words of Anthropic.
fn end(row: &RowResult) -> &'static str {
    match row {
        Ok(reply) if reply.status == 200 => "succeeded",
        Ok(_) => "errored",
        Err(why) => why,
    }
}

/// A line of the results, as the provider writes it.
fn line(of: Dialect, name: &str, row: RowResult) -> String {
    let end = end(&row);
    let rest = match row {
        Ok(WireReply { body, .. }) if of == Dialect::Messages => {
            let field = ["error", "message"][usize::from(end == "succeeded")];
            format!(r#""result":{{"type":"{end}","{field}":{body}}}"#)
        }
        Err(_) if of == Dialect::Messages => format!(r#""result":{{"type":"{end}"}}"#),
        Ok(WireReply { status, body, .. }) => {
            let id = json!(format!("req_{name}"));
            let head = format!(r#""status_code":{status},"request_id":{id}"#);
            format!(r#""response":{{{head},"body":{body}}},"error":null"#)
        }
        Err(why) => {
            let why = why.replace("canceled", "cancelled");
            let message = format!("This request was not executed: the batch was {why}.");
            let error = json!({"code": format!("batch_{why}"), "message": message});
            format!(r#""response":null,"error":{error}"#)
        }
    };
    let id = json!(format!("batch_req_{name}"));
    format!("{{\"id\":{id},\"custom_id\":{},{rest}}}\n", json!(name))
}

/// The number at the end of an id.
fn place(id: &str) -> Option<usize> {
    id.rsplit(['-', '_']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks a store, whose batches take no time.
    fn ask(store: &mut BatchStore, request: &str, body: &str) -> (u16, String) {
        let (method, path) = request.split_once(' ').unwrap();
        let request = ReceivedRequest {
            method: method.to_owned(),
            path: format!("/v1/{path}"),
            headers: Default::default(),
            body: body.to_owned(),
            arrived: Instant::now(),
        };
        let reply = store.answer(&ServerOptions::default(), &request).unwrap();
        (reply.status, reply.body)
    }

    /// A store with a batch of each provider, whose row has this name.
    fn store(name: &str) -> BatchStore {
        let mut store = BatchStore::default();
        let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Why?"}]});
        let row = json!({"custom_id": name, "body": body, "params": body});
        let form = format!("filename=\"a\"\r\n\r\n{row}\r\n--end--");
        ask(&mut store, "POST files", &form);
        let batch = json!({"input_file_id": "file-0", "endpoint": "/v1/chat/completions"});
        ask(&mut store, "POST batches", &batch.to_string());
        let requests = json!({"requests": [row]}).to_string();
        ask(&mut store, "POST messages/batches", &requests);
        store
    }

    #[test]
    fn the_lines_of_the_results_are_json_whatever_a_row_is_called() {
        let name = "a \"quoted\" \\ name";
        let mut store = store(name);
        for place in [
            "files/file-output-0/content",
            "messages/batches/msgbatch_1/results",
        ] {
            let (status, lines) = ask(&mut store, &format!("GET {place}"), "");
            let line: Value = serde_json::from_str(&lines).unwrap();
            assert_eq!((status, &line["custom_id"]), (200, &json!(name)), "{lines}");
        }
    }

    #[test]
    fn an_uploaded_file_is_returned_as_it_came() {
        let mut store = store("a");
        let (_, file) = ask(&mut store, "GET files/file-0/content", "");
        assert!(
            file.starts_with('{') && file.contains("\"custom_id\":\"a\""),
            "{file}"
        );
        assert_eq!(ask(&mut store, "GET files/file-9/content", "").0, 404);
    }

    #[test]
    fn a_provider_knows_only_its_own_batches() {
        let mut store = store("a");
        for (own, place) in [(200, "batches/batch_0"), (404, "batches/batch_1")] {
            assert_eq!(
                ask(&mut store, &format!("GET {place}"), "").0,
                own,
                "{place}"
            );
        }
        for (own, place) in [(404, "msgbatch_0"), (200, "msgbatch_1")] {
            let place = format!("GET messages/batches/{place}");
            assert_eq!(ask(&mut store, &place, "").0, own, "{place}");
        }
    }
}
