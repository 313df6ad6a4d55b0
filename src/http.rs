//! The HTTP client that all workers share: a request goes out, a complete response comes back.
//!
//! A status is data here, whatever it is; only a call without a complete response is an error. What
//! either means for the prompt is decided in [`api`](crate::api). Redirects are not followed: the
//! key must not travel to another server.
//!
//! Each phase of a call has a time-out of its own: with a time-out for the whole call, `ureq` looks
//! up every address in a new thread, which costs 140 µs of processor time a call in place of 26 µs.
//! There is more than one agent, because an agent goes through its idle connections behind one
//! lock: with one for 256 workers a run costs 1.28 times the processor time a call.

pub(crate) mod proxy;
mod socket;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use ureq::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header, request,
};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, Proxy, SendBody};

use crate::text::one_line;

/// How calls are made: plain data.
///
/// # Default
/// * `timeout`: 10 minutes
/// * `connect_timeout`: 10 s
/// * `connections`: 512
/// * `body_limit`: 32 MiB
/// * `ca_cert`: none, which trusts Mozilla's root certificates
/// * `proxy`: none
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    /// Maximum time for each of the three parts of a call: sending the request, waiting for the
    /// head of the response, and reading its body.
    pub(crate) timeout: Duration,
    /// Maximum time for connecting, TLS included.
    pub(crate) connect_timeout: Duration,
    /// Number of idle connections that are kept open: one for each worker.
    pub(crate) connections: usize,
    /// Size of the largest body that is read, in bytes.
    pub(crate) body_limit: u64,
    /// PEM file with the certificates to trust, in place of Mozilla's.
    pub(crate) ca_cert: Option<PathBuf>,
    /// The proxy of all calls: [`proxy::of`] finds it in the environment.
    pub(crate) proxy: Option<Proxy>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            timeout: Duration::from_secs(600),
            connect_timeout: Duration::from_secs(10),
            connections: 512, // as many as have input buffers of the full size
            body_limit: 32 << 20,
            ca_cert: None,
            proxy: None,
        }
    }
}

/// The certificates in [`HttpOptions::ca_cert`] cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum CertError {
    /// The file could not be read.
    #[error("cannot read the certificates in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file was read, but has no certificate in it.
    #[error(
        "{path} holds no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A call that brought no complete response.
#[derive(Clone, Debug)]
pub(crate) struct TransportError {
    pub(crate) fault: TransportFault,
    /// What happened, in a line.
    pub(crate) message: String,
    /// Whether the whole request was sent: the server may have answered it, and billed the answer.
    pub(crate) is_sent: bool,
}

/// What kept a call from a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportFault {
    /// A part of the call took longer than [`HttpOptions::timeout`] or
    /// [`HttpOptions::connect_timeout`]; the message says which.
    Timeout,
    /// The proxy answered with a status such as 407 in place of a connection.
    ProxyRefused,
    /// There is no connection: unknown host, connection refused, proxy down.
    Unreachable,
    /// The connection broke, or the response was not HTTP.
    Broken,
    /// The body was larger than [`HttpOptions::body_limit`].
    TooLarge,
    /// The server's certificate is not trusted, or TLS failed in another way.
    Untrusted,
    /// The request cannot be sent: a bad address, or a header with a line break in it.
    Unsendable,
}

/// A complete response, whatever its status.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpResponse {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers that are text, with their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// All bytes of the body.
    pub(crate) body: Vec<u8>,
}

/// The first header with this name, which is in lower case.
pub(crate) fn header_named<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}

/// The headers of a response, with their names in lower case. Values that are not text are left out.
pub(crate) fn text_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

fn header_of((name, value): (&str, &str)) -> Result<(HeaderName, HeaderValue), ureq::http::Error> {
    Ok((HeaderName::from_str(name)?, HeaderValue::from_str(value)?))
}

/// An address, and the headers of the calls to it. `Debug` hides the values of the headers.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    uri: Uri,
    headers: HeaderMap,
}

impl Target {
    /// Reads an address and headers. A header that is given twice is sent twice.
    ///
    /// # Errors
    /// [`TransportError`] for a bad address, or a header with a line break in it.
    pub(crate) fn new<'a>(
        url: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, TransportError> {
        let unsendable = |error| {
            let text = ureq::Error::Http(error).to_string();
            unsent(TransportFault::Unsendable, text)
        };
        let uri = Uri::from_str(url).map_err(|error| unsendable(error.into()))?;
        let mut map = HeaderMap::new();
        for pair in headers {
            let (name, mut value) = header_of(pair).map_err(unsendable)?;
            value.set_sensitive(true);
            map.append(name, value);
        }
        Ok(Target { uri, headers: map })
    }

    /// Sets headers in place of those of the same name.
    pub(crate) fn replace<'a>(
        &mut self,
        headers: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> + Clone,
    ) {
        for (name, _) in headers.clone() {
            self.headers.remove(name);
        }
        for (name, value) in headers {
            self.headers.append(name, value.clone());
        }
    }
}

/// The client: cheap to clone, shared by all threads, keeps connections open.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agents: Arc<[Agent]>,
    options: Arc<HttpOptions>,
}

impl Http {
    /// Size of a connection's input buffer, which the head of a response must fit into: some
    /// gateways send 40 KiB. Many connections get less, for a thousand of them to fit into 128 MiB.
    const INPUT: std::ops::RangeInclusive<usize> = 32 << 10..=64 << 10;
    /// All input buffers together, as long as none falls below the smallest size.
    const ALL_INPUT: usize = 32 << 20;
    /// Size of its output buffer, which each header of a request must fit into: some keys have
    /// several KiB.
    const OUTPUT: usize = 16 << 10;
    /// Idle connections that one agent keeps, and so the number of threads that share it. Measured:
    /// see the top of the file.
    const PER_AGENT: usize = 32;

    /// A larger body, in bytes, is sent only once the server asks for it, or after a second: many
    /// servers refuse it by its length, and then close the connection. nginx does so from 1 MiB.
    const ASK_FIRST: usize = 1 << 20;

    /// Makes the client.
    ///
    /// # Errors
    /// [`CertError`] if the certificates in `ca_cert` cannot be used.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, CertError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &options.ca_cert {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .user_agent(concat!("paceline/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(options.connect_timeout.min(options.timeout)))
            .timeout_send_request(Some(options.timeout))
            .timeout_send_body(Some(options.timeout))
            .timeout_recv_response(Some(options.timeout))
            .timeout_recv_body(Some(options.timeout))
            .input_buffer_size(Self::input_buffer(options.connections))
            .output_buffer_size(Self::OUTPUT)
            .max_idle_connections(Self::PER_AGENT.min(options.connections))
            .max_idle_connections_per_host(Self::PER_AGENT.min(options.connections))
            .tls_config(tls.build())
            .proxy(options.proxy.clone())
            .build();
        let agents = options.connections.div_ceil(Self::PER_AGENT).max(1);
        Ok(Http {
            agents: (0..agents)
                .map(|_| {
                    let resolver = DefaultResolver::default();
                    Agent::with_parts(config.clone(), socket::connector(), resolver)
                })
                .collect(),
            options: Arc::new(options.clone()),
        })
    }

    fn input_buffer(connections: usize) -> usize {
        let share = Self::ALL_INPUT / connections.max(1);
        share.clamp(*Self::INPUT.start(), *Self::INPUT.end())
    }

    /// Posts a body and reads the whole response. Any status is a success. Calls `sent` when there is
    /// a connection, the head is sent and the body is about to be.
    ///
    /// # Errors
    /// [`TransportError`] if no complete response came.
    pub(crate) fn post(
        &self,
        target: &Target,
        body: &[u8],
        sent: &dyn Fn(),
    ) -> Result<HttpResponse, TransportError> {
        let asks_first = body.len() > Self::ASK_FIRST;
        let response = self.post_once(target, body, asks_first, sent)?;
        if asks_first && response.status == 417 {
            return self.post_once(target, body, false, sent);
        }
        Ok(response)
    }

    /// Sends any request, and returns as soon as the head of the response has come: its body is read by the caller. Calls
    /// `sent` when there is a connection and the request leaves.
    ///
    /// # Errors
    /// [`TransportError`] if no head came.
    pub(crate) fn send(
        &self,
        head: Request<()>,
        body: &[u8],
        sent: &dyn Fn(),
    ) -> Result<Response<Body>, TransportError> {
        let (head, ()) = head.into_parts();
        let uri = head.uri.clone();
        let mut body = ReportedBody {
            rest: body,
            sent: Some(sent),
        };
        let response = self.run(head, &mut body);
        response.map_err(|error| TransportError {
            is_sent: body.sent.is_none(),
            ..self.explain(error, &uri)
        })
    }

    fn post_once(
        &self,
        target: &Target,
        body: &[u8],
        asks_first: bool,
        sent: &dyn Fn(),
    ) -> Result<HttpResponse, TransportError> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::POST;
        head.uri.clone_from(&target.uri);
        head.headers.clone_from(&target.headers);
        if asks_first {
            let first = HeaderValue::from_static("100-continue");
            head.headers.insert(header::EXPECT, first);
        }
        let mut body = ReportedBody {
            rest: body,
            sent: Some(sent),
        };
        let response = self.run(head, &mut body);
        let response = response.and_then(|response| self.read(response));
        let response = response.map_err(|error| TransportError {
            is_sent: body.rest.is_empty(),
            ..self.explain(error, &target.uri)
        })?;
        self.of_the_server(response, &target.uri)
    }

    /// Sends a request, and returns when the head of the response has come.
    fn run(
        &self,
        mut head: request::Parts,
        body: &mut ReportedBody<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let takes_a_body = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
        if body.rest.is_empty() && !takes_a_body {
            body.leaves();
            return self.agent().run(Request::from_parts(head, ()));
        }
        let length = body.rest.len().into();
        head.headers.insert(header::CONTENT_LENGTH, length);
        let body = SendBody::from_reader(body);
        self.agent().run(Request::from_parts(head, body))
    }

    /// The agent of the calling thread.
    fn agent(&self) -> &Agent {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        &self.agents[NUMBER.with(|number| number % self.agents.len())]
    }

    fn read(&self, response: Response<Body>) -> Result<HttpResponse, ureq::Error> {
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(self.options.body_limit);
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers: text_headers(&head.headers),
            body: body.read_to_vec()?,
        })
    }

    fn explain(&self, error: ureq::Error, uri: &Uri) -> TransportError {
        use TransportFault::*;
        use ureq::Error;
        let text = error.to_string();
        let (fault, text) = match error {
            Error::Timeout(phase) => (Timeout, self.late(phase)),
            Error::ConnectProxyFailed(reason) if reason.contains("responded 4") => {
                (ProxyRefused, text)
            }
            Error::BodyExceedsLimit(most) => {
                (TooLarge, format!("the body is larger than {most} bytes"))
            }
            Error::HostNotFound => (Unreachable, self.not_found(uri)),
            Error::ConnectionFailed | Error::ConnectProxyFailed(_) => (Unreachable, text),
            Error::Rustls(_) | Error::Tls(_) | Error::TlsRequired | Error::Pem(_) => {
                (Untrusted, text)
            }
            Error::Http(_)
            | Error::BadUri(_)
            | Error::InvalidProxyUrl
            | Error::RequireHttpsOnly(_) => (Unsendable, text),
            Error::Io(error) => match explain_io(&error) {
                (Unreachable, _) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    (Unreachable, self.refused(uri))
                }
                // std has no kind for it.
                (Unreachable, text) if text.contains("lookup address") => {
                    (Unreachable, self.not_found(uri))
                }
                explained => explained,
            },
            _ => (Broken, text),
        };
        unsent(fault, text + &self.through())
    }

    fn not_found(&self, uri: &Uri) -> String {
        let proxy = self.options.proxy.as_ref().map(ureq::Proxy::host);
        let host = proxy.or(uri.host()).unwrap_or_default();
        format!("cannot find the host {host} (DNS)")
    }

    fn refused(&self, uri: &Uri) -> String {
        let peer = match &self.options.proxy {
            Some(proxy) => format!("{}:{}", proxy.host(), proxy.port()),
            None => {
                let scheme = uri.scheme_str().unwrap_or("http");
                let port = uri
                    .port()
                    .map_or_else(String::new, |port| format!(":{port}"));
                format!("{scheme}://{}{port}", uri.host().unwrap_or_default())
            }
        };
        format!("nothing listens at {peer} (connection refused)")
    }

    /// A response, unless it is that of a proxy which does not let the call through.
    fn of_the_server(
        &self,
        response: HttpResponse,
        uri: &Uri,
    ) -> Result<HttpResponse, TransportError> {
        let proxy = self.options.proxy.as_ref();
        let is_absolute = proxy.is_some_and(|proxy| socket::is_in_absolute_form(proxy, uri));
        if !is_absolute || !is_of_a_proxy(&response) {
            return Ok(response);
        }
        let status = response.status;
        let fault = match status {
            400..500 => TransportFault::ProxyRefused,
            _ => TransportFault::Unreachable,
        };
        let text = format!("the proxy answers with status {status}{}", self.through());
        Err(unsent(fault, text))
    }

    /// Names the proxy that the calls go through, if there is one.
    fn through(&self) -> String {
        match &self.options.proxy {
            Some(proxy) => format!(" (through the proxy at {}:{})", proxy.host(), proxy.port()),
            None => String::new(),
        }
    }

    /// Which part of a call took too long.
    fn late(&self, phase: ureq::Timeout) -> String {
        let seconds = self.options.timeout.as_secs_f64();
        use ureq::Timeout;
        match phase {
            Timeout::Connect => {
                let seconds = self.options.connect_timeout.as_secs_f64().min(seconds);
                format!("no connection in {seconds} s")
            }
            Timeout::SendRequest | Timeout::SendBody => {
                format!("the request could not be sent in {seconds} s")
            }
            Timeout::RecvBody => format!("the answer began, but did not end in {seconds} s"),
            _ => format!("no answer in {seconds} s"),
        }
    }
}

/// A body that reports when it is first read. A server counts a call when its body has come, which on
/// a busy machine may be some milliseconds after the permit was granted: if the next permit did not
/// count from there, 2 to 6 of 600 calls would be refused by a server that allows no burst.
struct ReportedBody<'a> {
    rest: &'a [u8],
    sent: Option<&'a dyn Fn()>,
}

impl ReportedBody<'_> {
    fn leaves(&mut self) {
        if let Some(sent) = self.sent.take() {
            sent();
        }
    }
}

impl io::Read for ReportedBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.leaves();
        self.rest.read(buffer)
    }
}

/// What an error of the connection means. ureq reports failed TLS as invalid data of the stream.
fn explain_io(error: &io::Error) -> (TransportFault, String) {
    use TransportFault::*;
    use io::ErrorKind;
    let text = error.to_string();
    // EMFILE and ENFILE on all systems that have them.
    if matches!(error.raw_os_error(), Some(23 | 24)) && cfg!(unix) {
        let advice = "raise the limit (ulimit -n) or use fewer workers";
        return (Unreachable, format!("{text}: {advice}"));
    }
    let fault = match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Timeout,
        ErrorKind::InvalidData => Untrusted,
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => Unreachable,
        ErrorKind::UnexpectedEof => Broken,
        // The look-up of a name has errors that are neither of a kind nor the system's.
        _ if error.raw_os_error().is_none() => Unreachable,
        _ => Broken,
    };
    (fault, text)
}

/// Whether a proxy answered, and not the server behind it.
fn is_of_a_proxy(response: &HttpResponse) -> bool {
    const MARKS: [&str; 3] = ["proxy-authenticate", "proxy-status", "x-squid-error"];
    let is_marked = MARKS
        .iter()
        .any(|name| header_named(&response.headers, name).is_some());
    response.status == 407 || (response.status >= 400 && is_marked)
}

/// A failure before the request was sent, or of which that is not known.
fn unsent(fault: TransportFault, text: String) -> TransportError {
    let text = one_line(&text);
    let message = match fault {
        TransportFault::Timeout => format!("time-out: {text}"),
        TransportFault::ProxyRefused => {
            format!("the proxy refuses: {text}; see $HTTPS_PROXY and $HTTP_PROXY")
        }
        TransportFault::Unreachable => text,
        TransportFault::Broken => format!("broken connection: {text}"),
        TransportFault::TooLarge => text,
        TransportFault::Untrusted => format!("no trust: {}", untrusted(&text)),
        TransportFault::Unsendable => format!("bad request: {text}"),
    };
    TransportError {
        fault,
        message,
        is_sent: false,
    }
}

/// What is wrong with a certificate, and what to do. rustls gives instants in seconds since 1970.
fn untrusted(text: &str) -> String {
    let date = |word: &str| {
        let seconds: u64 = word.parse().ok().filter(|_| word.len() >= 9)?;
        let time = jiff::Timestamp::from_second(seconds.try_into().ok()?).ok()?;
        Some(time.strftime("%Y-%m-%d %H:%M UTC").to_string())
    };
    let words = text.replace(" (UNIX)", "");
    let words: Vec<_> = words
        .split(' ')
        .map(|word| date(word).unwrap_or_else(|| word.to_owned()))
        .collect();
    let advice = match text {
        _ if text.contains("UnknownIssuer") => {
            "for a private authority, give its certificate with --ca-cert FILE"
        }
        _ if text.contains("expired") || text.contains("not valid yet") => {
            "the server's certificate is to be renewed, or this machine's clock is wrong"
        }
        _ => {
            "for a private authority, give its certificate with --ca-cert FILE; for a server \
             without TLS, begin the address with http://"
        }
    };
    format!("{} ({advice})", words.join(" "))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CertError> {
    let path = path.to_owned();
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(source) => return Err(CertError::Read { path, source }),
    };
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    if found.is_empty() {
        return Err(CertError::Empty { path });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name_and_read_if_it_is_text() {
        let pairs = [("A", "1"), ("A", "2")];
        let mut map: HeaderMap = pairs
            .map(|pair| header_of(pair).unwrap())
            .into_iter()
            .collect();
        map.insert("odd", HeaderValue::from_bytes(b"\xff").unwrap());
        let headers = text_headers(&map);
        let got = ["a", "odd", "b", "\n"].map(|name| header_named(&headers, name));
        assert_eq!(got, [Some("1"), None, None, None]);
        let pairs = [("a", "1"), ("a", "2")];
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, owned);
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_reported_when_its_target_is_made() {
        let with = |name, value| Target::new("http://localhost/v1", [(name, value)]);
        assert!(with("content-type", "application/json").is_ok());
        for bad in [
            Target::new("http://no host/", []),
            with("a b", "c"),
            with("a", "b\nc"),
        ] {
            assert_eq!(bad.unwrap_err().fault, TransportFault::Unsendable);
        }
    }

    #[test]
    fn a_target_is_shown_without_the_values_of_its_headers() {
        let headers = [("authorization", "Bearer sk-secret")];
        let target = Target::new("http://localhost/v1", headers).unwrap();
        let shown = format!("{target:?}");
        assert!(
            shown.contains("http://localhost/v1") && !shown.contains("sk-secret"),
            "{shown}"
        );
    }
}
