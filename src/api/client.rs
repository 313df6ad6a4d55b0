//! One API at one address with one key: what goes out over the wire, and what came back.

use std::string::FromUtf8Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use log::warn;
use serde_json::Value;

use super::{Answer, Api, Ask, CallError, Counting, Key, Params, Said, chat};
use crate::hints::Hints;
use crate::http::{Http, HttpResponse, Target, TransportError};
use crate::json::Json;
use crate::share;

/// One API at one address with one key.
#[derive(Debug)]
pub struct Client {
    http: Http,
    api: Box<dyn Api>,
    url: String,
    /// Where the calls go, unless that is nowhere.
    target: Result<Target, TransportError>,
    path: String,
    key: Option<Key>,
    params: Params,
    /// Whether somebody has been told that the server talks nonsense.
    warned: AtomicBool,
}

impl Client {
    /// Joins an API to the agent. Without a `base_url` the API's own is used; one without a path gets the usual one,
    /// such as `/v1`.
    #[must_use]
    pub fn new(
        http: Http,
        api: Box<dyn Api>,
        base_url: Option<&str>,
        key: Option<&Key>,
        params: Params,
    ) -> Self {
        let path = api.path(&params.model);
        let url = format!("{}{path}", api.complete(base_url.unwrap_or(api.base_url())));
        let key_header = key.map(|key| api.key_header(key));
        let key_header = key_header
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let usual = [("content-type", "application/json")].into_iter();
        let target = Target::new(
            &url,
            usual.chain(api.headers().iter().copied()).chain(key_header),
        );
        Client {
            http,
            api,
            url,
            target,
            path,
            key: key.cloned(),
            params,
            warned: AtomicBool::new(false),
        }
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
        &self.path
    }

    /// What a complete response means.
    fn read(&self, mut response: HttpResponse, now: SystemTime) -> Result<Answer, CallError> {
        let body = std::mem::take(&mut response.body);
        match self.said((200..300).contains(&response.status), body) {
            Ok((said, body)) => Ok(self.answer(said, body, &response, now)),
            Err(body) => Err(self.failure(HttpResponse { body, ..response }, now)),
        }
    }

    /// What a body says as an answer; or else the body.
    fn said(&self, is_success: bool, body: Vec<u8>) -> Result<(Said, Json), Vec<u8>> {
        if !is_success {
            return Err(body);
        }
        let body = String::from_utf8(body).map_err(FromUtf8Error::into_bytes)?;
        match self.api.said(&body) {
            Some(said) => Ok((said, Json::read(body)?)),
            None => Err(body.into()),
        }
    }

    fn answer(&self, said: Said, body: Json, response: &HttpResponse, now: SystemTime) -> Answer {
        let hints = Box::new(self.hints(response, None, now));
        let (status, request_id) = (response.status, request_id(response).or(said.request_id));
        let Said {
            text,
            finish_reason,
            usage,
            ..
        } = said;
        Answer {
            text,
            finish_reason,
            status,
            request_id,
            usage,
            hints,
            body,
        }
    }

    fn failure(&self, mut response: HttpResponse, now: SystemTime) -> CallError {
        self.key.iter().for_each(|key| key.conceal(&mut response));
        let body: Option<Value> = serde_json::from_slice(&response.body).ok();
        let hints = self.hints(&response, body.as_ref(), now);
        let in_the_body = || {
            let name = |name| body.as_ref()?.get(name)?.as_str();
            name("request_id")
                .or_else(|| name("responseId"))
                .map(str::to_owned)
        };
        let request_id = request_id(&response).or_else(in_the_body);
        CallError::of_response(&response, body, hints, request_id)
    }

    /// What the server said about pace. One that talks nonsense does so each time; one warning will do.
    fn hints(&self, response: &HttpResponse, error: Option<&Value>, now: SystemTime) -> Hints {
        let hints = Hints::read(response.headers.iter(), error, now);
        if let Some(name) = hints.nonsense.first()
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            warn!("the server's {name} makes no sense, and is ignored");
        }
        hints
    }
}

/// The server's name for the call. Anthropic has a header of its own, Gemini only a field of the body.
fn request_id(response: &HttpResponse) -> Option<String> {
    ["x-request-id", "request-id"]
        .iter()
        .find_map(|name| response.headers.get(name))
        .map(str::to_owned)
}

impl Ask for Client {
    fn request(&self, prompt: &str) -> Vec<u8> {
        serde_json::to_vec(&self.api.body(prompt, &self.params)).expect("a value can be written")
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let target = self.target.as_ref().map_err(Clone::clone)?;
        let response = self.http.post(target, request)?;
        self.read(response, SystemTime::now())
    }

    /// Chat completions are what records have always been of: they need none.
    fn mark(&self) -> &str {
        if self.path == chat::PATH {
            ""
        } else {
            &self.path
        }
    }

    fn counting(&self) -> Counting {
        self.api.counting()
    }
}

/// A base URL without a slash at the end, and with a version if it names only a host.
pub(super) fn with_version_after_a_host(base_url: &str, version: &str) -> String {
    let base_url = base_url.trim_end_matches('/');
    let host = base_url
        .split_once("://")
        .map_or(base_url, |(_, rest)| rest);
    if host.contains('/') {
        base_url.to_owned()
    } else {
        format!("{base_url}{version}")
    }
}

/// A base URL without a slash at the end, and with a version unless it ends with one: for the APIs whose makers' own
/// programs add it to whatever address they are given.
pub(super) fn with_version(base_url: &str, version: &str) -> String {
    let base_url = base_url.trim_end_matches('/');
    let last = base_url.rsplit('/').next().unwrap_or_default();
    let is_version = last
        .strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if is_version {
        base_url.to_owned()
    } else {
        format!("{base_url}{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chat, Gemini, Messages};
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_never_shows_its_key() {
        let http = Http::new(&crate::http::HttpOptions::default()).unwrap();
        let client = Client::new(
            http,
            Box::new(Chat),
            None,
            Key::new("sk-secret").as_ref(),
            Params::default(),
        );
        assert!(!format!("{client:?}").contains("sk-secret"));
    }

    #[test]
    fn a_base_url_that_lacks_the_usual_path_gets_it() {
        let table: [(&dyn Api, &str, &str); 11] = [
            (&Chat, "http://localhost:8080", "http://localhost:8080/v1"),
            (&Chat, "http://localhost:8080/", "http://localhost:8080/v1"),
            (
                &Chat,
                "https://api.openai.com/v1/",
                "https://api.openai.com/v1",
            ),
            (&Chat, "https://gateway/openai", "https://gateway/openai"),
            (
                &Messages,
                "http://localhost:8080",
                "http://localhost:8080/v1",
            ),
            (
                &Messages,
                "https://gateway/anthropic/",
                "https://gateway/anthropic/v1",
            ),
            (
                &Messages,
                "https://gateway/anthropic/v1",
                "https://gateway/anthropic/v1",
            ),
            (
                &Gemini,
                "http://localhost:8080",
                "http://localhost:8080/v1beta",
            ),
            (
                &Gemini,
                "http://localhost:8080/v1",
                "http://localhost:8080/v1",
            ),
            (
                &Gemini,
                "https://gateway/gemini",
                "https://gateway/gemini/v1beta",
            ),
            (
                &Gemini,
                "https://v.example/vertex",
                "https://v.example/vertex/v1beta",
            ),
        ];
        for (api, given, expected) in table {
            assert_eq!(api.complete(given), expected);
        }
    }

    #[test]
    fn a_call_has_the_name_that_its_server_gave_it() {
        let http = Http::new(&crate::http::HttpOptions::default()).unwrap();
        let client = Client::new(http, Box::new(Gemini), None, None, Params::default());
        let name = |status, header: Option<&str>, body: Value| {
            let headers = header.iter().map(|name| (*name, "in the header")).collect();
            let response = HttpResponse {
                status,
                headers,
                body: body.to_string().into_bytes(),
            };
            match client.read(response, SystemTime::UNIX_EPOCH) {
                Ok(answer) => answer.request_id,
                Err(error) => error.request_id,
            }
        };
        let good = || json!({"candidates": [{}], "responseId": "in the body"});
        let bad = || json!({"error": {}, "request_id": "in the body"});
        for header in ["x-request-id", "request-id"] {
            assert_eq!(
                name(200, Some(header), good()).as_deref(),
                Some("in the header")
            );
            assert_eq!(
                name(400, Some(header), bad()).as_deref(),
                Some("in the header")
            );
        }
        assert_eq!(name(200, None, good()).as_deref(), Some("in the body"));
        assert_eq!(name(400, None, bad()).as_deref(), Some("in the body"));
        assert_eq!(
            name(400, None, json!({"responseId": "r"})).as_deref(),
            Some("r")
        );
        assert_eq!(
            (
                name(400, None, Value::Null),
                name(400, None, json!({"responseId": 7}))
            ),
            (None, None)
        );
    }
}
