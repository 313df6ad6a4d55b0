//! Build a request, read an answer: what the LLM APIs have in common, and what a failure of theirs means.
//!
//! Each API is one file and pure: JSON out, JSON in. [`Client`] joins one to the HTTP agent. [`CallError`] is the one
//! failure that the floors above see, already classed: try again, give up on this prompt, or stop the batch.

mod chat;
mod error;

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use log::warn;
use serde_json::{Map, Value};

use crate::hints::Hints;
use crate::http::{Http, Response};
use crate::share;

pub use chat::Chat;
pub use error::{CallError, Class};

/// What every prompt of a batch is sent with: plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// The model's name.
    pub model: String,
    /// The system's (or developer's) message, before the prompt.
    pub system: Option<String>,
    /// The most tokens the answer may have.
    pub max_tokens: Option<u32>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Any other fields of the body; they win over those above.
    pub extra: Map<String, Value>,
}

/// An LLM API: how it is asked, and how it answers. Pure.
pub trait Api: Debug + Send + Sync {
    /// Where its maker serves it, without a slash at the end.
    fn base_url(&self) -> &'static str;

    /// The environment variable that usually holds the key.
    fn key_env(&self) -> &'static str;

    /// The path of the call, after the base URL.
    fn path(&self) -> &'static str;

    /// The header that carries the key.
    fn key_header(&self, key: &Key) -> (&'static str, String);

    /// The body of the call for one prompt.
    fn body(&self, prompt: &str, params: &Params) -> Value;

    /// The tokens that an answer cost, if it says so.
    fn usage(&self, body: &Value) -> Option<Usage>;

    /// The text of an answer and the reason why it ended. `None`: the body is no answer.
    fn text(&self, body: &Value) -> Option<(String, Option<String>)>;
}

/// An API key. It is never shown: its `Debug` is dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// Takes a key as it was read, without the white space around it. `None` if nothing is left, or if it has
    /// characters that no header can carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sendable = !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        sendable.then(|| Key(text.to_owned()))
    }

    /// The key itself, for the one header that carries it.
    fn expose(&self) -> &str {
        &self.0
    }

    /// Takes the key out of a response that repeats it, as some servers do to say that it is wrong.
    fn conceal(&self, response: &mut Response) {
        const SHORTEST: usize = 8; // what is shorter is a placeholder, and may be any word
        if self.0.len() < SHORTEST {
            return;
        }
        let body = String::from_utf8_lossy(&response.body);
        if body.contains(&self.0) {
            response.body = body.replace(&self.0, "…").into_bytes();
        }
        for (_, value) in &mut response.headers {
            *value = value.replace(&self.0, "…");
        }
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A good answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text; empty if the model said nothing.
    pub text: String,
    /// Why it ended: `stop`, `length`, `content_filter` and so on.
    pub finish_reason: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The server's name for this call.
    pub request_id: Option<String>,
    /// The tokens that it cost, if the server said so.
    pub usage: Option<Usage>,
    /// What the server said about pace. Boxed: answers travel by value.
    pub hints: Box<Hints>,
    /// The whole body.
    pub body: Value,
}

/// The tokens that a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read.
    pub input: u32,
    /// Written.
    pub output: u32,
}

/// Something that can be asked: a [`Client`], or what a test puts in its place.
pub trait Ask: Debug + Send + Sync {
    /// The body of the call for one prompt: the same for each attempt.
    fn request(&self, prompt: &str) -> Vec<u8>;

    /// Makes one call, and blocks until it has ended. Calls `departs` when the call leaves, which may be a while after
    /// it was asked for: connections take time to make.
    ///
    /// # Errors
    /// [`CallError`], which says what to do about it.
    fn ask(&self, request: &[u8], departs: &dyn Fn()) -> Result<Answer, CallError>;
}

/// One API at one address with one key.
#[derive(Debug)]
pub struct Client {
    http: Http,
    api: Box<dyn Api>,
    url: String,
    key: Option<Key>,
    params: Params,
    /// Whether somebody has been told that the server talks nonsense.
    warned: AtomicBool,
}

impl Client {
    /// Joins an API to the agent. Without a `base_url` the API's own is used; one without a path gets `/v1`.
    #[must_use]
    pub fn new(
        http: Http,
        api: Box<dyn Api>,
        base_url: Option<&str>,
        key: Option<&Key>,
        params: Params,
    ) -> Self {
        let base_url = complete(base_url.unwrap_or(api.base_url()));
        let url = format!("{base_url}{}", api.path());
        Client { http, api, url, key: key.cloned(), params, warned: AtomicBool::new(false) }
    }

    /// Where the calls go.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A name for the pace at this server with this key: a hash, from which neither can be told.
    #[must_use]
    pub fn pace_name(&self) -> String {
        let server: Vec<_> = self.url.splitn(4, '/').take(3).collect(); // scheme, nothing, authority
        share::name(&server.join("/"), self.key.as_ref().map_or("", Key::expose))
    }

    /// The path of the calls after the base URL, as in `/chat/completions`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.api.path()
    }

    /// What a complete response means.
    fn read(&self, mut response: Response, now: SystemTime) -> Result<Answer, CallError> {
        if let Some(answer) = self.answer(&response, now) {
            return Ok(answer);
        }
        self.key.iter().for_each(|key| key.conceal(&mut response));
        let body = serde_json::from_slice(&response.body).ok();
        let hints = Hints::read(|name| response.header(name), body.as_ref(), now);
        self.warn_once(&hints);
        Err(CallError::of_response(&response, body, hints, request_id(&response)))
    }

    /// A server that talks nonsense does so each time; one warning will do.
    fn warn_once(&self, hints: &Hints) {
        if let Some(name) = hints.nonsense.first()
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            warn!("the server's {name} makes no sense, and is ignored");
        }
    }

    fn answer(&self, response: &Response, now: SystemTime) -> Option<Answer> {
        let status = Some(response.status).filter(|status| (200..300).contains(status))?;
        let body = serde_json::from_slice(&response.body).ok()?;
        let (text, finish_reason) = self.api.text(&body)?;
        let hints = Hints::read(|name| response.header(name), None, now);
        self.warn_once(&hints);
        let (request_id, usage, hints) = (request_id(response), self.api.usage(&body), Box::new(hints));
        Some(Answer { text, finish_reason, status, request_id, usage, hints, body })
    }
}

fn request_id(response: &Response) -> Option<String> {
    response.header("x-request-id").map(str::to_owned)
}

impl Ask for Client {
    fn request(&self, prompt: &str) -> Vec<u8> {
        self.api.body(prompt, &self.params).to_string().into_bytes()
    }

    fn ask(&self, request: &[u8], departs: &dyn Fn()) -> Result<Answer, CallError> {
        let key = self.key.as_ref().map(|key| self.api.key_header(key));
        let key = key.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(key).collect();
        let response = self.http.post(&self.url, &headers, request, departs)?;
        self.read(response, SystemTime::now())
    }
}

/// A base URL without a slash at the end, and with `/v1` if it names only a host.
fn complete(base_url: &str) -> String {
    let base_url = base_url.trim_end_matches('/');
    let host = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    if host.contains('/') { base_url.to_owned() } else { format!("{base_url}/v1") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_trimmed_checked_and_never_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert_eq!(key.expose(), "sk-secret");
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert_eq!((Key::new("  "), Key::new("two words"), Key::new("smörgås")), (None, None, None));
    }

    #[test]
    fn a_client_never_shows_its_key() {
        let http = Http::new(&crate::http::Options::default()).unwrap();
        let client =
            Client::new(http, Box::new(Chat), None, Key::new("sk-secret").as_ref(), Params::default());
        assert!(!format!("{client:?}").contains("sk-secret"));
    }

    #[test]
    fn a_base_url_that_names_only_a_host_gets_the_usual_path() {
        let table = [
            ("http://localhost:8080", "http://localhost:8080/v1"),
            ("http://localhost:8080/", "http://localhost:8080/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            ("https://gateway/openai/v2", "https://gateway/openai/v2"),
        ];
        for (given, expected) in table {
            assert_eq!(complete(given), expected);
        }
    }
}
