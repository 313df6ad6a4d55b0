//! One API at one address with one key: it makes the calls of a batch over HTTP.

use std::any::Any;
use std::string::FromUtf8Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use log::warn;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use ureq::Body;
use ureq::http::header::CONTENT_TYPE;
use ureq::http::uri::InvalidUri;
use ureq::http::{HeaderName, HeaderValue, Method, Request, Response, response};

use super::header::ExtraHeader;
use super::request::with_fields;
#[cfg(feature = "cli")]
use super::schema::Schema;
use super::secrets::Secrets;
use super::stream::{ComingBody, StreamMeter};
use super::{Answer, Api, ApiKind, Ask, CallError, Class, Completion, Counting, Key, Params, Row};
use crate::hints::Hints;
use crate::http::{
    Http, HttpOptions, HttpResponse, TransportError, WaitLimit, header_named, limit_wait, post_to,
    text_headers,
};
use crate::json::{Json, repaired};
use crate::share;

/// One API at one address with one key.
#[derive(Debug)]
pub struct Client {
    pub(crate) http: Http,
    api: Box<dyn Api>,
    /// Which API it is; `None` for embeddings, which answer no questions, and for one of somebody's own.
    kind: Option<ApiKind>,
    url: String,
    /// The address and the headers of the calls, or why no call can be made.
    target: Result<Request<()>, TransportError>,
    path: String,
    key: Option<Key>,
    params: Params,
    /// What stands before and after the prompt in each request; `None` inside if requests differ in more. With it,
    /// the resume of a million prompts takes half the time.
    frame: OnceLock<Option<[String; 2]>>,
    secrets: Secrets,
    /// Whether a limit that cannot be read was warned of.
    warned: AtomicBool,
    /// What the answers have to fit.
    #[cfg(feature = "cli")]
    schema: Option<Schema>,
    /// How long the parts of an answer may take, if it comes as a stream.
    stream: Option<StreamLimits>,
    /// If calls are made at the flex tier: how long a prompt waits for its capacity.
    flex: Option<Duration>,
    /// Fields of the requests as they are sent, beside those of the records: for a stream, for a tier.
    added: Value,
}

/// How long the parts of a streamed answer may take to come, and what counts them.
#[derive(Clone, Debug)]
pub(crate) struct StreamLimits {
    /// From the request to the first token.
    pub(crate) first_token: Duration,
    /// From then on, between anything that comes.
    pub(crate) idle: Duration,
    pub(crate) meter: Arc<StreamMeter>,
}

impl Client {
    /// A client for this API. Without a `base_url` the API's own is used; one without a path gets the
    /// usual one, such as `/v1`. A call may take 10 minutes for each of its parts.
    #[must_use]
    pub fn new(
        api: Box<dyn Api>,
        base_url: Option<&str>,
        key: Option<&Key>,
        params: Params,
    ) -> Self {
        let http = Http::new(&HttpOptions::default()).expect("no certificates are named");
        Self::over(http, api, base_url, key, params)
    }

    /// The same over this HTTP client.
    pub(crate) fn over(
        http: Http,
        api: Box<dyn Api>,
        base_url: Option<&str>,
        key: Option<&Key>,
        params: Params,
    ) -> Self {
        let path = api.path(&params.model);
        let base_url = base_url.unwrap_or(api.base_url());
        let url = address(&*api, base_url, &path);
        let mut headers = api.headers();
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        headers.extend(key.map(|key| api.key_header(key)));
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let target = post_to(&url, pairs);
        let any: &dyn Any = &*api;
        let kind = any.downcast_ref().copied();
        Client {
            http,
            kind: kind.filter(|kind| *kind != ApiKind::Embeddings),
            api,
            url: masked(&url),
            target,
            path,
            key: key.cloned(),
            params,
            frame: OnceLock::new(),
            secrets: Secrets::new(key.map(Key::expose).into_iter().chain(secrets_of(&url))),
            warned: AtomicBool::new(false),
            #[cfg(feature = "cli")]
            schema: None,
            stream: None,
            flex: None,
            added: Value::Null,
        }
    }

    /// Asks for answers that fit a schema, and checks them.
    ///
    /// # Errors
    /// Why the API cannot be asked for such answers.
    #[cfg(feature = "cli")]
    pub(crate) fn fitting(mut self, schema: Schema) -> Result<Self, String> {
        let mut fields = schema.fields(self.kind)?;
        super::request::join(&mut fields, &self.params.extra);
        if let Value::Object(fields) = fields {
            self.params.extra = fields;
        }
        self.schema = Some(schema);
        Ok(self)
    }

    /// Asks for streams. The answers are those that come without.
    ///
    /// # Errors
    /// The API has no streams.
    pub(crate) fn streaming(mut self, limits: StreamLimits) -> Result<Self, String> {
        let kind = self.kind;
        let kind = kind.ok_or_else(|| format!("the API at {} has no streams", self.path))?;
        if let (ApiKind::Gemini, Ok(target)) = (kind, &mut self.target) {
            let url = target.uri().to_string();
            let url = url.replace(":generateContent", ":streamGenerateContent");
            let mark = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{mark}alt=sse").parse();
            *target.uri_mut() = url.map_err(|_| "the address cannot be that of a stream")?;
        } else {
            self.added["stream"] = true.into();
        }
        if kind == ApiKind::Chat {
            self.added["stream_options"] = json!({"include_usage": true});
        }
        self.stream = Some(limits);
        Ok(self)
    }

    /// Makes the calls at the flex tier. A prompt that has waited for its capacity as long as this is asked at the standard
    /// tier; `None`: it waits as long as it takes.
    ///
    /// # Errors
    /// The API has no such tier.
    pub(crate) fn at_flex(mut self, patience: Option<Duration>) -> Result<Self, String> {
        if !matches!(self.kind, Some(ApiKind::Chat | ApiKind::Responses)) {
            return Err(format!("the API at {} has no tiers", self.path));
        }
        self.flex = Some(patience.unwrap_or(Duration::MAX));
        self.added["service_tier"] = "flex".into();
        Ok(self)
    }

    /// The request as it is sent; `None` if that is how it came.
    pub(super) fn asking(&self, request: &[u8]) -> Option<Vec<u8>> {
        with_fields(
            Some(&self.added).filter(|added| added.is_object())?.clone(),
            request,
        )
    }

    /// Adds headers to all calls. They replace those of the same name.
    pub(crate) fn with_headers(mut self, headers: &[ExtraHeader]) -> Self {
        if let Ok(target) = &mut self.target {
            let all = target.headers_mut();
            headers
                .iter()
                .for_each(|header| drop(all.remove(&header.name)));
            for ExtraHeader { name, value } in headers {
                all.append(name, value.clone());
            }
        }
        self
    }

    /// Finds where the prompt stands in a request. An API of somebody's own may do anything to it.
    fn frame(&self) -> Option<[String; 2]> {
        const PROMPT: &str = " \u{1}Prompt\u{1} ";
        self.kind?;
        let request = self.api.body(PROMPT, &self.params).to_string();
        let prompt = Value::from(PROMPT).to_string();
        let (before, after) = request.split_once(&prompt)?;
        (!after.contains(&prompt)).then(|| [before.to_owned(), after.to_owned()])
    }

    /// Hides the secrets of the whole run: those of the other keys, too.
    pub(crate) fn hiding(self, secrets: Secrets) -> Self {
        Client { secrets, ..self }
    }

    /// The address of the calls, for people: without the secrets that it may hold.
    #[must_use]
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A name for the rate at this server with this key: a hash that reveals neither.
    #[must_use]
    pub(crate) fn pace_name(&self) -> String {
        let server: Vec<_> = self.url.splitn(4, '/').take(3).collect(); // scheme, nothing, authority
        share::name(&server.join("/"), self.key.as_ref().map_or("", Key::expose))
    }

    /// Whether the calls carry a key.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// The headers that the user gave: those of the key, and others.
    pub(crate) fn own_headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let usual = self.api.headers();
        let all = self.target.iter().flat_map(Request::headers);
        all.filter(move |(name, _)| {
            **name != CONTENT_TYPE && !usual.iter().any(|(other, _)| other == name.as_str())
        })
    }

    /// What a response means that is no answer; the secrets of the run, and these, are hidden in it first.
    pub(crate) fn explain(&self, mut response: HttpResponse, others: &Secrets) -> CallError {
        self.secrets.hide_in(&mut response);
        others.hide_in(&mut response);
        self.failure(&response)
    }

    /// The path of the calls after the base URL, as in `/chat/completions`.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Makes a call. The body of a stream is the one that the call brings without a stream.
    fn call(&self, request: &[u8], sent: &dyn Fn()) -> Result<HttpResponse, CallError> {
        /// After the end of a stream, for the end of its body: then the connection can be used again.
        const END: Duration = Duration::from_secs(1);
        let unreached = |error: TransportError| self.unreached(error);
        let head = self.target.as_ref();
        let head = head.map_err(|error| unreached(error.clone()))?;
        let asking = self.asking(request);
        let streams = self.stream.as_ref();
        let sent = || {
            let limit = streams.map(|limits| limits.first_token);
            limit_wait(limit.and_then(|limit| WaitLimit::new("the first token", limit)));
            sent();
        };
        let request = asking.as_deref().unwrap_or(request);
        let sent = self.http.post(head, request, &sent);
        let (head, body) = sent.map_err(unreached)?.into_parts();
        let style = self.kind.filter(|_| head.status.is_success());
        let mut coming = ComingBody::new(style, self.http.body_limit());
        let read = self.http.read_pieces(body, &mut |piece| {
            let before = coming.text();
            coming.take(piece)?;
            let Some(limits) = streams else {
                return Ok(());
            };
            limits.meter.count(coming.text() - before);
            if coming.has_begun() || coming.is_over {
                let within = if coming.is_over { END } else { limits.idle };
                limit_wait(WaitLimit::new("the next part of the stream", within));
            }
            Ok(())
        });
        let ended = coming.end(read);
        self.response(&head, coming, ended)
    }

    /// The response, unless it broke off or reports an error in its middle; what has come of it stays with the error.
    fn response(
        &self,
        head: &response::Parts,
        coming: ComingBody,
        ended: Result<(), TransportError>,
    ) -> Result<HttpResponse, CallError> {
        let (is_stream, has_begun) = (coming.is_stream(), coming.has_begun());
        let event = coming.error.as_ref().map(Value::to_string);
        let status = head.status.as_u16();
        let headers = text_headers(&head.headers);
        let response = |body| {
            let mut response = HttpResponse {
                status,
                headers: headers.clone(),
                body,
            };
            self.secrets.hide_in(&mut response);
            response
        };
        let error = match (ended, event) {
            (Ok(()), None) => return Ok(response(coming.into_body())),
            (Ok(()), Some(event)) => self.failure(&response(event.into_bytes())),
            // A refusal whose explanation is cut is a refusal all the same.
            (Err(_), _) if status >= 300 => {
                return Err(self.failure(&response(coming.into_body())));
            }
            (Err(error), _) if !is_stream => return Err(self.unreached(error)),
            (Err(error), _) => CallError {
                status: Some(status),
                request_id: request_id(&headers),
                ..self.unreached(error)
            },
        };
        let may_go_on = matches!(error.class, Class::Fault | Class::RateLimited);
        let body = String::from_utf8(response(coming.into_body()).body).ok();
        Err(CallError {
            maybe_billed: error.maybe_billed || (has_begun && may_go_on),
            body: body.and_then(|body| Json::read(body).ok()).map(Box::new),
            ..error
        })
    }

    /// Calls another path of the same server, with the same key and headers: `path` stands for that of the prompts, and
    /// `content` is a type and a body, to be posted. Returns when the head of the response has come.
    ///
    /// # Errors
    /// [`CallError`], also for a status other than 2xx.
    pub(crate) fn call_beside(
        &self,
        path: &str,
        content: Option<(&str, &[u8])>,
    ) -> Result<Response<Body>, CallError> {
        let unsendable = |error| CallError::new(Class::Fatal, "unsendable", error);
        let mut head = self.target.clone()?;
        let address = beside(&head.uri().to_string(), &self.path, path).parse();
        *head.uri_mut() = address.map_err(|error: InvalidUri| unsendable(error.to_string()))?;
        let (kind, body) = content.unzip();
        match kind.map(HeaderValue::from_str) {
            Some(kind) => {
                let kind = kind.map_err(|error| unsendable(error.to_string()))?;
                head.headers_mut().insert(CONTENT_TYPE, kind);
            }
            None => *head.method_mut() = Method::GET,
        }
        let sent = self.http.post(&head, body.unwrap_or_default(), &|| ());
        let response = sent.map_err(|error| self.unreached(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failure(&self.complete(response)?))
    }

    /// Reads a response to its end, without the secrets.
    fn complete(&self, response: Response<Body>) -> Result<HttpResponse, CallError> {
        let read = self.http.read(response);
        let mut response = read.map_err(|error| self.unreached(error))?.decompressed();
        self.secrets.hide_in(&mut response);
        Ok(response)
    }

    /// The same for a JSON body, and for an answer that is a short JSON text.
    ///
    /// # Errors
    /// [`CallError`]
    pub(crate) fn call_json(
        &self,
        path: &str,
        content: Option<(&str, &[u8])>,
    ) -> Result<Value, CallError> {
        let response = self.complete(self.call_beside(path, content)?)?;
        serde_json::from_slice(&response.body).map_err(|_| self.failure(&response))
    }

    /// Bytes of a server without the secrets of the run.
    pub(crate) fn hide(&self, body: Vec<u8>) -> Vec<u8> {
        self.secrets.hide_bytes(body)
    }

    fn unreached(&self, error: impl Into<CallError>) -> CallError {
        let mut error = error.into();
        error.message = self.secrets.hide(error.message);
        error
    }

    /// Reads a complete response to a request, in which the secrets are hidden already.
    ///
    /// # Errors
    /// [`CallError`] if it is no answer.
    pub(crate) fn answer_to(
        &self,
        request: &[u8],
        mut response: HttpResponse,
    ) -> Result<Answer, CallError> {
        let body = std::mem::take(&mut response.body);
        let read = match response.status {
            200..300 => self.completion(body),
            _ => Err(body),
        };
        let (completion, body) = match read {
            Ok(read) => read,
            Err(body) => return Err(self.failure(&HttpResponse { body, ..response })),
        };
        let hints = Hints::read(&response.headers, None, SystemTime::now());
        self.warn_once(&hints);
        let mut answer = Answer {
            text: completion.text,
            finish_reason: completion.finish_reason,
            status: response.status,
            request_id: request_id(&response.headers).or(completion.request_id),
            usage: completion.usage,
            hints: Box::new(hints),
            body,
        };
        if is_not_json(request, &answer) {
            answer.finish_reason = Some("not_json".to_owned());
        }
        Ok(answer)
    }

    /// Reads a body as an answer, repaired if it is broken; or else returns the body.
    fn completion(&self, body: Vec<u8>) -> Result<(Completion, Json), Vec<u8>> {
        let read = |text: String| match self.api.completion(&text) {
            Some(completion) => {
                let body = Json::read(text).unwrap_or_else(|text| Json::from(Value::from(text)));
                Ok((completion, body))
            }
            None => Err(text),
        };
        String::from_utf8(body)
            .map_err(FromUtf8Error::into_bytes)
            .and_then(|text| read(text).map_err(String::into_bytes))
            .or_else(|body| read(repaired(&body)).map_err(|_| body))
    }

    fn failure(&self, response: &HttpResponse) -> CallError {
        let HttpResponse {
            status,
            headers,
            body,
        } = response;
        let error = self.api.failure(*status, headers, body);
        self.warn_once(&error.hints);
        error
    }

    /// Warns of a limit that cannot be read, once: such a server sends it with each response.
    fn warn_once(&self, hints: &Hints) {
        if let Some(name) = hints.unreadable.first()
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            warn!("the server's {name} cannot be read, and is ignored");
        }
    }
}

/// Whether a request demands JSON, and the answer is none although it ended as usual: one that was cut or refused says so
/// already.
fn is_not_json(request: &[u8], answer: &Answer) -> bool {
    const FIELD: &[u8] = b"\"response_format\"";
    let may_ask = request.windows(FIELD.len()).any(|part| part == FIELD);
    let body = || serde_json::from_slice::<Value>(request).unwrap_or_default();
    let asks = || {
        let kind = &body()["response_format"]["type"];
        kind == "json_object" || kind == "json_schema"
    };
    may_ask
        && matches!(answer.finish_reason.as_deref(), None | Some("stop"))
        && serde_json::from_str::<IgnoredAny>(&answer.text).is_err()
        && asks()
}

/// The address of the calls: the path follows the base URL, unless that is the whole address already,
/// and stands before its query.
fn address(api: &dyn Api, base_url: &str, path: &str) -> String {
    let (base, query) = match base_url.split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (base_url, String::new()),
    };
    if base.trim_end_matches('/').ends_with(path) {
        return format!("{}{query}", base.trim_end_matches('/'));
    }
    format!("{}{path}{query}", api.complete(base))
}

/// The address with another path in the place of this one, which may bring a query of its own.
fn beside(address: &str, path: &str, other: &str) -> String {
    let (base, query) = address.split_once('?').unwrap_or((address, ""));
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix(path).unwrap_or(base);
    let mark = match query {
        "" => "",
        _ if other.contains('?') => "&",
        _ => "?",
    };
    format!("{base}{other}{mark}{query}")
}

/// The secrets that an address may hold: its user's password, and the values of its query.
pub(crate) fn secrets_of(url: &str) -> impl Iterator<Item = &str> {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let password = user_of(url).and_then(|user| user.split_once(':'));
    let pairs = query.split('&').filter_map(secret_pair);
    pairs.chain(password).map(|(_, secret)| secret)
}

/// The name and the password in an address.
fn user_of(url: &str) -> Option<&str> {
    let (user, _) = url.split('/').nth(2)?.rsplit_once('@')?;
    Some(user)
}

/// A name and a value of a query, unless it is the part of Azure's addresses that is no secret.
fn secret_pair(pair: &str) -> Option<(&str, &str)> {
    pair.split_once('=')
        .filter(|(name, _)| *name != "api-version")
}

/// An address in which a password and the secrets of a query are hidden.
pub(crate) fn masked(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut shown = match user_of(base) {
        Some(user) => base.replacen(&format!("//{user}@"), "//…@", 1),
        None => base.to_owned(),
    };
    for (n, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        shown.push(if n == 0 { '?' } else { '&' });
        match secret_pair(pair) {
            Some((name, _)) => shown += &format!("{name}=…"),
            None => shown += pair,
        }
    }
    shown
}

/// The server's name for the call. Anthropic has a header of its own.
pub(crate) fn request_id(headers: &[(String, String)]) -> Option<String> {
    let names = ["x-request-id", "request-id"];
    let found = names.iter().find_map(|name| header_named(headers, name));
    found.map(str::to_owned)
}

impl Ask for Client {
    fn request(&self, prompt: &str) -> Vec<u8> {
        let Some([before, after]) = self.frame.get_or_init(|| self.frame()) else {
            return self.api.body(prompt, &self.params).to_string().into_bytes();
        };
        let mut request = Vec::with_capacity(before.len() + prompt.len() + after.len() + 16);
        request.extend_from_slice(before.as_bytes());
        serde_json::to_writer(&mut request, prompt).expect("a text can be written");
        request.extend_from_slice(after.as_bytes());
        request
    }

    fn request_row(&self, prompt: &str, row: &Row) -> Result<Vec<u8>, String> {
        let body = row.body(&*self.api, self.kind, prompt, &self.params)?;
        Ok(body.to_string().into_bytes())
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        self.ask_reporting(request, &|| ())
    }

    fn ask_reporting(&self, request: &[u8], sent: &dyn Fn()) -> Result<Answer, CallError> {
        let response = self.call(request, sent);
        limit_wait(None);
        let answer = response.and_then(|response| self.answer_to(request, response));
        if let (Some(limits), Ok(answer)) = (&self.stream, &answer) {
            limits.meter.learn(answer);
        }
        answer.map_err(|error| match self.flex {
            Some(_) => error.at_flex(),
            None => error,
        })
    }

    #[cfg(feature = "cli")]
    fn misfit(&self, answer: &Answer) -> Option<String> {
        self.schema.as_ref()?.misfit(answer)
    }

    fn request_again(&self, request: &[u8], answer: &Answer, misfit: &str) -> Vec<u8> {
        let again = self
            .kind
            .and_then(|kind| kind.again(request, &answer.text, misfit));
        again.unwrap_or_else(|| request.to_vec())
    }

    fn fallback(&self, request: &[u8], waited: Duration) -> Option<Vec<u8>> {
        let patience = self.flex?;
        let standard = || with_fields(json!({"service_tier": "default"}), request);
        (waited >= patience).then(standard)?
    }

    /// Chat completions have none: the ids of their records were always made without.
    fn mark(&self) -> &str {
        match self.kind {
            Some(ApiKind::Chat) => "",
            _ => &self.path,
        }
    }

    fn counting(&self) -> Counting {
        self.api.counting()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ApiKind::{Chat, Gemini, Messages};
    use super::*;

    #[test]
    fn a_client_never_shows_its_key() {
        let client = Client::new(
            Box::new(Chat),
            None,
            Key::new("sk-secret").as_ref(),
            Params::default(),
        );
        assert!(!format!("{client:?}").contains("sk-secret"));
    }

    #[test]
    fn a_request_is_the_body_of_the_api_whatever_the_prompt_is() {
        let params = Params {
            model: "m".to_owned(),
            system: Some("\"Be\" brief.".to_owned()),
            ..Params::default()
        };
        for api in ["chat", "responses", "messages", "gemini", "embeddings"] {
            let api: ApiKind = api.parse().unwrap();
            let client = Client::new(api.api(), None, None, params.clone());
            for prompt in [
                "",
                "Why?",
                "\"\n\u{1}Prompt\u{1} é\u{2028}",
                " \u{1}Prompt\u{1} ",
            ] {
                let expected = api.body(prompt, &params).to_string();
                assert_eq!(client.request(prompt), expected.into_bytes());
            }
        }
    }

    #[test]
    fn the_path_stands_before_a_query_and_not_twice() {
        let table: [(&dyn Api, &str, &str); 5] = [
            (
                &Chat,
                "http://h/d?api-version=x",
                "http://h/d/chat/completions?api-version=x",
            ),
            (&Chat, "http://h?k=v", "http://h/v1/chat/completions?k=v"),
            (
                &Chat,
                "http://h/v1/chat/completions",
                "http://h/v1/chat/completions",
            ),
            (
                &Chat,
                "http://h/x/chat/completions/?k=v",
                "http://h/x/chat/completions?k=v",
            ),
            (&Messages, "http://h/v1/messages", "http://h/v1/messages"),
        ];
        for (api, base_url, url) in table {
            assert_eq!(address(api, base_url, &api.path("m")), url);
        }
    }

    #[test]
    fn secrets_in_an_address_are_not_shown() {
        let table = [
            ("http://alice:s3cret@h:1/v1", "http://…@h:1/v1"),
            (
                "http://h/v1?api-key=s3cret&api-version=1",
                "http://h/v1?api-key=…&api-version=1",
            ),
            ("http://h/a@b", "http://h/a@b"),
        ];
        for (url, shown) in table {
            assert_eq!(masked(url), shown);
        }
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
        let client = Client::new(Box::new(Gemini), None, None, Params::default());
        let name = |status, header: Option<&str>, body: Value| {
            let in_the_header = |name: &&str| ((*name).to_owned(), "in the header".to_owned());
            let headers = header.iter().map(in_the_header).collect();
            let response = HttpResponse {
                status,
                headers,
                body: body.to_string().into_bytes(),
            };
            match client.answer_to(b"", response) {
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
