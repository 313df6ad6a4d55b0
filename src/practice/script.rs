//! What a test says to the server and learns from it: scripted replies, and the requests that came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::apis::Dialect;
use super::errors::Problem;
use super::limits::OverLimit;
use super::prose::Prose;
use super::wire::{WireReply, WireRequest};

/// A scripted reply, for [`Server::next`](super::Server::next).
///
/// At the path of an API (`/v1/chat/completions`, `/v1/messages` …) the ready-made replies have its format, and
/// OpenAI's at any other path.
#[derive(Clone, Debug)]
pub struct Reply {
    content: Content,
    headers: Vec<(String, String)>,
    pub(super) delay: Duration,
}

#[derive(Clone, Debug)]
enum Content {
    Fixed(u16, String),
    Text(String),
    Problem(Problem),
}

impl Reply {
    /// Exactly this status and body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Reply::of(Content::Fixed(status, body.into()))
    }

    /// Status 200 and a completion with this text. At a path that is no API's, the text is the whole body.
    #[must_use]
    pub fn ok_text(text: impl Into<String>) -> Self {
        Reply::of(Content::Text(text.into()))
    }

    /// Status 429, with the time to wait in `retry-after` (in whole seconds, rounded up) and in the body.
    #[must_use]
    pub fn rate_limited(retry_after: Duration) -> Self {
        let over = OverLimit::Early {
            what: "requests",
            wait: retry_after,
        };
        Reply::of(Content::Problem(Problem::OverLimit(over)))
    }

    /// This status with an error in the body. A 503 has a `retry-after` of one second.
    #[must_use]
    pub fn error(status: u16) -> Self {
        Reply::of(Content::Problem(Problem::Injected(status)))
    }

    /// Adds a header.
    ///
    /// # Panics
    /// If the name or the value contains a line break.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let header = (name.into(), value.into());
        let is_broken = format!("{}{}", header.0, header.1).contains(['\r', '\n']);
        assert!(!is_broken, "a line break in {header:?}");
        self.headers.push(header);
        self
    }

    /// Sends the reply after this time instead of at once.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Reply { delay, ..self }
    }

    fn of(content: Content) -> Self {
        Reply {
            content,
            headers: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    /// The response to a request for this API, or for none.
    pub(super) fn render(self, dialect: Option<Dialect>, request: &ReceivedRequest) -> WireReply {
        let mut reply = match (self.content, dialect) {
            (Content::Fixed(status, body), _) => WireReply::new(status, body),
            (Content::Text(text), None) => WireReply::new(200, text),
            (Content::Text(text), Some(dialect)) => {
                let question = dialect.parse(request).unwrap_or_default();
                WireReply::new(200, dialect.completion(&question, &Prose::whole(text), 0))
            }
            (Content::Problem(problem), dialect) => {
                dialect.unwrap_or(Dialect::Chat).error(&problem, true)
            }
        };
        reply.headers.extend(self.headers);
        reply
    }
}

/// A request as the server received it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// Such as `POST`.
    pub method: String,
    /// The path with its query, such as `/v1/models?limit=20`.
    pub path: String,
    /// Values by name, in lower case. Of several headers with one name, the first.
    pub headers: BTreeMap<String, String>,
    /// The body; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// When the first byte was read.
    pub arrived: Instant,
}

impl From<WireRequest> for ReceivedRequest {
    fn from(request: WireRequest) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = request.headers.iter().rev(); // of one name, the last that is collected stays
        let headers = headers.map(|(name, value)| (name.clone(), text(value)));
        ReceivedRequest {
            headers: headers.collect(),
            method: request.method,
            path: request.path,
            body: text(&request.body),
            arrived: request.arrived,
        }
    }
}

impl ReceivedRequest {
    /// The API key, in the header that one of the providers uses; empty without one.
    pub(super) fn key(&self) -> &str {
        let names = ["authorization", "x-api-key", "x-goog-api-key"];
        let key = names.iter().find_map(|name| self.headers.get(*name));
        key.map_or("", String::as_str)
    }
}

/// The requests that came last.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    kept: VecDeque<Arc<ReceivedRequest>>,
    bytes: usize,
}

impl RequestLog {
    /// Most requests that are kept.
    const MAX_KEPT: usize = 1000;
    /// Most bytes of bodies that are kept. The newest request is kept in any case.
    const MAX_BYTES: usize = 16 << 20;

    pub(super) fn push(&mut self, request: Arc<ReceivedRequest>) {
        self.bytes += request.body.len();
        self.kept.push_back(request);
        let is_full = |log: &Self| log.kept.len() > Self::MAX_KEPT || log.bytes > Self::MAX_BYTES;
        while is_full(self) && self.kept.len() > 1 {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.body.len());
        }
    }

    pub(super) fn to_vec(&self) -> Vec<ReceivedRequest> {
        self.kept
            .iter()
            .map(|request| (**request).clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: String) -> ReceivedRequest {
        ReceivedRequest {
            method: "POST".into(),
            path: "/".into(),
            headers: [("content-type".into(), "a".into())].into(),
            body,
            arrived: Instant::now(),
        }
    }

    #[test]
    fn the_log_keeps_the_last_requests_within_a_number_and_a_size() {
        let mut log = RequestLog::default();
        for n in 0..1500 {
            log.push(request(n.to_string()).into());
        }
        let kept = log.to_vec();
        assert_eq!((kept.len(), kept[0].body.as_str()), (1000, "500"));
        log.push(request("x".repeat(RequestLog::MAX_BYTES + 1)).into());
        assert_eq!(log.to_vec().len(), 1, "the newest is kept, however large");
        log.push(request("small".into()).into());
        assert_eq!((log.to_vec().len(), log.bytes), (1, 5));
    }

    #[test]
    fn each_providers_key_header_tells_one_client_from_another() {
        let key = |(name, value): (&str, &str)| {
            let headers = [(name.to_owned(), value.to_owned())].into();
            let request = ReceivedRequest {
                headers,
                ..request(String::new())
            };
            request.key().to_owned()
        };
        let headers = [
            ("authorization", "Bearer a"),
            ("x-api-key", "b"),
            ("x-goog-api-key", "c"),
            ("host", "d"),
        ];
        assert_eq!(headers.map(key), ["Bearer a", "b", "c", ""]);
    }

    #[test]
    fn a_ready_made_reply_has_the_format_of_the_api() {
        let render = |reply: Reply, path| reply.render(Dialect::at(path), &request(String::new()));
        let text = |path| render(Reply::ok_text("Hello."), path).body;
        assert!(text("/v1/chat/completions").contains(r#""content":"Hello.""#));
        assert!(text("/v1/messages").contains(r#""text":"Hello.""#));
        assert_eq!(text("/anything"), "Hello.");
        let limited = render(
            Reply::rate_limited(Duration::from_millis(1200)),
            "/v1/messages",
        );
        assert_eq!((limited.status, limited.headers[0].1.as_str()), (429, "2"));
        assert!(
            limited.body.contains("rate_limit_error"),
            "{}",
            limited.body
        );
        let added = render(Reply::error(503).header("a", "b"), "/x").headers;
        assert_eq!(added.last().unwrap().0, "a");
    }
}
