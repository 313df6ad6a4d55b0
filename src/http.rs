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
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use ureq::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request,
};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, Proxy, SendBody};

pub(crate) use self::socket::{WaitLimit, limit_wait};
pub(crate) use crate::hints::header_named;
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

/// A call that brought no complete response.
#[derive(Clone, Debug)]
pub(crate) struct TransportError {
    pub(crate) fault: TransportFault,
    /// What happened, in a line.
    pub(crate) message: String,
    /// Whether the whole request was sent: the server may have answered it, and billed the answer.
    pub(crate) is_sent: bool,
}

impl TransportError {
    /// A failure before the request was sent, or of which that is not known.
    pub(crate) fn new(fault: TransportFault, text: &str) -> Self {
        let text = one_line(text);
        let message = match fault {
            TransportFault::Timeout => format!("time-out: {text}"),
            TransportFault::ProxyRefused => {
                format!("the proxy refuses: {text}; see $HTTPS_PROXY and $HTTP_PROXY")
            }
            TransportFault::Broken => format!("broken connection: {text}"),
            TransportFault::Garbled => format!("the response is not correct HTTP: {text}"),
            TransportFault::Untrusted => format!("no trust: {}", untrusted(&text)),
            TransportFault::Unsendable => format!("bad request: {text}"),
            TransportFault::Unreachable | TransportFault::TooLarge => text,
        };
        TransportError {
            fault,
            message,
            is_sent: false,
        }
    }
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
    /// The connection broke.
    Broken,
    /// The response was not HTTP.
    Garbled,
    /// The body was larger than [`HttpOptions::body_limit`].
    TooLarge,
    /// The server's certificate is not trusted, or TLS failed in another way.
    Untrusted,
    /// The request cannot be sent: a bad address, or a header with a line break in it.
    Unsendable,
}

/// A complete response, whatever its status.
#[derive(Clone, Debug)]
pub(crate) struct HttpResponse {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The headers that are text, with their names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// All bytes of the body.
    pub(crate) body: Vec<u8>,
}

/// The headers of a response, with their names in lower case. Values that are not text are left out.
pub(crate) fn text_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}

/// A POST to an address. A header that is given twice is sent twice; `Debug` hides the values.
///
/// # Errors
/// [`TransportError`] for a bad address, or a header with a line break in it.
pub(crate) fn post_to<'a>(
    url: &str,
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Request<()>, TransportError> {
    let with = |post: request::Builder, (name, value)| post.header(name, value);
    let post = headers.into_iter().fold(Request::post(url), with).body(());
    let mut post = post.map_err(unsendable)?;
    for value in post.headers_mut().values_mut() {
        value.set_sensitive(true);
    }
    Ok(post)
}

/// A request that has a bad address, or a header with a line break in it.
pub(crate) fn unsendable(error: ureq::http::Error) -> TransportError {
    let text = ureq::Error::Http(error).to_string();
    TransportError::new(TransportFault::Unsendable, &text)
}

/// Whether a host is this machine, by one of its own names, which no web page can choose.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A body without the compression that its first bytes show: servers compress unasked, and do not always say so.
pub(crate) fn decompressed<'a>(body: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    /// As much as a record of TLS holds.
    const PIECE: usize = 16 << 10;
    let mut body = BufReader::with_capacity(PIECE, body);
    Ok(match body.fill_buf()? {
        // No text begins with this control character, and none of JSON or of a page with these.
        [0x1f, ..] => Box::new(BufReader::new(MultiGzDecoder::new(body))),
        [b'x', 0x01 | 0x9c | 0xda, ..] => Box::new(BufReader::new(ZlibDecoder::new(body))),
        _ => Box::new(body),
    })
}

impl HttpResponse {
    /// The response without the compression of its body, as far as that can be read.
    pub(crate) fn decompressed(mut self) -> Self {
        /// In bytes; the largest explanation of a failure is much shorter.
        const MOST: u64 = 32 << 20;
        let body = std::mem::take(&mut self.body);
        if let Ok(reader) = decompressed(&*body) {
            let _ = reader.take(MOST).read_to_end(&mut self.body); // what has come counts
        }
        self
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
    /// Why the certificates in `ca_cert` cannot be used, for people.
    pub(crate) fn new(options: &HttpOptions) -> Result<Self, String> {
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

    /// Posts a body, and returns as soon as the head of the response has come. Any status is a success. Calls `sent` when
    /// there is a connection, the head is sent and the body is about to be.
    ///
    /// # Errors
    /// As [`send`](Http::send).
    pub(crate) fn post(
        &self,
        head: &Request<()>,
        body: &[u8],
        sent: &dyn Fn(),
    ) -> Result<Response<Body>, TransportError> {
        if body.len() <= Self::ASK_FIRST {
            return self.send(head.clone(), body, sent);
        }
        let mut asking = head.clone();
        let first = HeaderValue::from_static("100-continue");
        asking.headers_mut().insert(header::EXPECT, first);
        match self.send(asking, body, sent) {
            Ok(response) if response.status() == 417 => self.send(head.clone(), body, sent),
            result => result,
        }
    }

    /// The most bytes of a body.
    pub(crate) fn body_limit(&self) -> usize {
        usize::try_from(self.options.body_limit).unwrap_or(usize::MAX)
    }

    /// Sends any request, and returns as soon as the head of the response has come: its body is read by the caller. Calls
    /// `sent` when there is a connection and the request leaves.
    ///
    /// # Errors
    /// [`TransportError`] if no head came, or that of a proxy which does not let the call through.
    pub(crate) fn send(
        &self,
        mut head: Request<()>,
        body: &[u8],
        sent: &dyn Fn(),
    ) -> Result<Response<Body>, TransportError> {
        let uri = head.uri().clone();
        let proxy = self.options.proxy.as_ref();
        let proxy = proxy.filter(|proxy| socket::is_in_absolute_form(proxy, &uri));
        if let Some(authorization) = proxy.and_then(proxy::authorization) {
            head.headers_mut()
                .insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Self::fits(&head)?;
        let mut body = ReportedBody {
            rest: body,
            sent: Some(sent),
        };
        match self.run(head, &mut body) {
            Ok(response) if proxy.is_some() && is_of_a_proxy(&response) => {
                Err(self.proxy_refused(response.status()))
            }
            Ok(response) => Ok(response),
            Err(error) => Err(TransportError {
                is_sent: body.sent.is_none() && body.rest.is_empty(),
                ..self.explain(error, &uri)
            }),
        }
    }

    /// Whether each line of the head fits into the output buffer.
    fn fits(head: &Request<()>) -> Result<(), TransportError> {
        const MOST: usize = Http::OUTPUT - (1 << 10);
        let path = head
            .uri()
            .path_and_query()
            .map_or(0, |path| path.as_str().len());
        let mut headers = head.headers().iter();
        let what = match headers.find(|(_, value)| value.len() > MOST) {
            Some((name, _)) => format!("the header {name}"),
            None if path > MOST => "the address".to_owned(),
            None => return Ok(()),
        };
        let text = format!("{what} is longer than {MOST} bytes");
        Err(TransportError::new(TransportFault::Unsendable, &text))
    }

    /// Sends a request, and returns when the head of the response has come.
    fn run(
        &self,
        mut head: Request<()>,
        body: &mut ReportedBody<'_>,
    ) -> Result<Response<Body>, ureq::Error> {
        let takes_a_body = matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
        if body.rest.is_empty() && !takes_a_body {
            body.leaves();
            return self.agent().run(head);
        }
        let length = body.rest.len().into();
        head.headers_mut().insert(header::CONTENT_LENGTH, length);
        let body = SendBody::from_reader(body);
        self.agent().run(head.map(|()| body))
    }

    /// The agent of the calling thread.
    fn agent(&self) -> &Agent {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        &self.agents[NUMBER.with(|number| number % self.agents.len())]
    }

    /// Reads the body of a response.
    pub(crate) fn read(&self, response: Response<Body>) -> Result<HttpResponse, TransportError> {
        let (head, body) = response.into_parts();
        let body = body.into_with_config().limit(self.options.body_limit);
        let body = body.read_to_vec().map_err(|error| TransportError {
            is_sent: true,
            ..self.explain(error, &Uri::default())
        });
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers: text_headers(&head.headers),
            body: body?,
        })
    }

    /// Reads a body to its end, however large it is, and gives each piece of it to `take` as it comes.
    ///
    /// # Errors
    /// [`TransportError`] if the body is not whole; an error of `take`.
    pub(crate) fn read_pieces(
        &self,
        body: Body,
        take: &mut dyn FnMut(&[u8]) -> Result<(), TransportError>,
    ) -> Result<(), TransportError> {
        let broken = |error: io::Error| TransportError {
            is_sent: true,
            ..self.explain(error.into(), &Uri::default())
        };
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let mut reader = decompressed(reader).map_err(broken)?;
        loop {
            let length = match reader.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(piece) => {
                    take(piece)?;
                    piece.len()
                }
                Err(error) => return Err(broken(error)),
            };
            reader.consume(length);
        }
    }

    fn explain(&self, error: ureq::Error, uri: &Uri) -> TransportError {
        use TransportFault::*;
        use ureq::Error;
        let text = error.to_string();
        let (fault, text) = match error {
            Error::Timeout(phase) => (Timeout, self.late(phase, uri)),
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
            Error::Io(error) => self.explain_io(&error, uri),
            Error::Protocol(_) => (Garbled, text),
            _ => (Broken, text),
        };
        TransportError::new(fault, &(text + &self.through()))
    }

    /// What an error of the connection means. ureq reports failed TLS as invalid data of the stream.
    fn explain_io(&self, error: &io::Error, uri: &Uri) -> (TransportFault, String) {
        use TransportFault::*;
        use io::ErrorKind;
        let text = error.to_string();
        match (error.kind(), error.raw_os_error()) {
            // EMFILE and ENFILE on all systems that have them.
            (_, Some(23 | 24)) if cfg!(unix) => {
                let advice = "raise the limit (ulimit -n) or use fewer workers";
                (Unreachable, format!("{text}: {advice}"))
            }
            (ErrorKind::TimedOut | ErrorKind::WouldBlock, _) => (Timeout, text),
            (ErrorKind::InvalidInput, _) => (Garbled, text), // of the decompression
            (ErrorKind::InvalidData, _) => (Untrusted, text),
            (ErrorKind::ConnectionRefused, _) => (Unreachable, self.refused(uri)),
            (
                ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable,
                _,
            ) => (Unreachable, text),
            (ErrorKind::UnexpectedEof, _) | (_, Some(_)) => (Broken, text),
            // The look-up of a name has errors that are neither of a kind nor the system's.
            (_, None) if text.contains("lookup address") => (Unreachable, self.not_found(uri)),
            (_, None) => (Unreachable, text),
        }
    }

    /// The host that is called, or the proxy before it, and its port, if that is named.
    fn peer<'a>(&'a self, uri: &'a Uri) -> (&'a str, Option<u16>) {
        match &self.options.proxy {
            Some(proxy) => (proxy.host(), Some(proxy.port())),
            None => (uri.host().unwrap_or_default(), uri.port_u16()),
        }
    }

    fn not_found(&self, uri: &Uri) -> String {
        format!("cannot find the host {} (DNS)", self.peer(uri).0)
    }

    fn refused(&self, uri: &Uri) -> String {
        let (host, port) = self.peer(uri);
        let scheme = match &self.options.proxy {
            Some(_) => "",
            None => &format!("{}://", uri.scheme_str().unwrap_or("http")),
        };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        format!("nothing listens at {scheme}{host}{port} (connection refused)")
    }

    /// The answer of a proxy that does not let a call through.
    fn proxy_refused(&self, status: StatusCode) -> TransportError {
        let fault = match status.is_client_error() {
            true => TransportFault::ProxyRefused,
            false => TransportFault::Unreachable,
        };
        let status = status.as_u16();
        let text = format!("the proxy answers with status {status}{}", self.through());
        TransportError::new(fault, &text)
    }

    /// Names the proxy that the calls go through, if there is one.
    fn through(&self) -> String {
        match &self.options.proxy {
            Some(proxy) => format!(" (through the proxy at {}:{})", proxy.host(), proxy.port()),
            None => String::new(),
        }
    }

    /// Which part of a call took too long.
    fn late(&self, phase: ureq::Timeout, uri: &Uri) -> String {
        let seconds = self.options.timeout.as_secs_f64();
        use ureq::Timeout;
        match phase {
            Timeout::Connect => {
                let seconds = self.options.connect_timeout.as_secs_f64().min(seconds);
                let advice = match uri.scheme_str() {
                    Some("https") => "; for a server without TLS, begin the address with http://",
                    _ => "",
                };
                format!("no connection in {seconds} s{advice}")
            }
            Timeout::SendRequest | Timeout::SendBody => {
                format!("the request could not be sent in {seconds} s")
            }
            Timeout::PerRead => socket::limit_reached(),
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

/// Whether a proxy answered, and not the server behind it.
fn is_of_a_proxy(response: &Response<Body>) -> bool {
    const MARKS: [&str; 3] = ["proxy-authenticate", "proxy-status", "x-squid-error"];
    let is_marked = MARKS
        .iter()
        .any(|name| response.headers().contains_key(*name));
    let status = response.status().as_u16();
    status == 407 || (status >= 400 && is_marked)
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

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let shown = path.display();
    let pem = fs::read(path)
        .map_err(|error| format!("cannot read the certificates in {shown}: {error}"))?;
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    match found.is_empty() {
        true => Err(format!(
            "{shown} holds no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)"
        )),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_by_its_name_and_read_if_it_is_text() {
        let pairs = [("A", "1"), ("A", "2")];
        let mut map = post_to("http://localhost", pairs)
            .unwrap()
            .headers()
            .clone();
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
        let with = |name, value| post_to("http://localhost/v1", [(name, value)]);
        assert!(with("content-type", "application/json").is_ok());
        for bad in [
            post_to("http://no host/", []),
            with("a b", "c"),
            with("a", "b\nc"),
        ] {
            assert_eq!(bad.unwrap_err().fault, TransportFault::Unsendable);
        }
    }

    #[test]
    fn a_target_is_shown_without_the_values_of_its_headers() {
        let headers = [("authorization", "Bearer sk-secret")];
        let target = post_to("http://localhost/v1", headers).unwrap();
        let shown = format!("{target:?}");
        assert!(
            shown.contains("http://localhost/v1") && !shown.contains("sk-secret"),
            "{shown}"
        );
    }
}
