//! The HTTP client of all workers: bytes out, bytes in.
//!
//! A status is data here, whatever it is; only a call that brought no complete response is an error. What either means
//! for the prompt is decided above, by [`api`](crate::api).

mod headers;
mod names;
mod target;
mod tcp;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use thiserror::Error;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, Body, SendBody};

pub use headers::Headers;
use names::Names;
pub use target::Target;
use tcp::Tcp;

/// How calls are made: plain data.
///
/// # Default
/// * `timeout`: 120 s
/// * `connect_timeout`: 10 s
/// * `connections`: 64
/// * `body_limit`: 32 MiB
/// * `ca_cert`: none, the roots that Mozilla trusts
/// * `proxy_from_env`: true
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest a whole call may take, from the name look-up to the last byte.
    pub timeout: Duration,
    /// The longest that making a connection may take.
    pub connect_timeout: Duration,
    /// How many connections are kept open between calls: as many as there are workers.
    pub connections: usize,
    /// The largest body that is read, in bytes.
    pub body_limit: u64,
    /// A PEM file with the certificates to trust, in place of the usual ones.
    pub ca_cert: Option<PathBuf>,
    /// Whether `HTTPS_PROXY`, `NO_PROXY` and their like are honoured.
    pub proxy_from_env: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: Duration::from_secs(120),
            connect_timeout: Duration::from_secs(10),
            connections: 64,
            body_limit: 32 << 20,
            ca_cert: None,
            proxy_from_env: true,
        }
    }
}

/// The certificates to trust could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CertError {
    /// The file could not be read.
    #[error("cannot read the certificates in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file was read, but it is not a list of PEM certificates.
    #[error(
        "{path} holds no PEM certificate (a block that begins with -----BEGIN CERTIFICATE-----)"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A call brought no complete response.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// It took longer than [`Options::timeout`] or [`Options::connect_timeout`].
    #[error("time-out: {0}")]
    Timeout(String),
    /// Nobody was reached: no such host, connection refused, proxy down.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The connection broke, or what came over it was not HTTP.
    #[error("broken connection: {0}")]
    Broken(String),
    /// The body was larger than [`Options::body_limit`].
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// The server could not prove who it is, or speaks no common TLS.
    #[error("no trust: {0}")]
    Untrusted(String),
    /// The request could not be made at all: a bad address, a header with a line break in it.
    #[error("bad request: {0}")]
    Unsendable(String),
}

/// A complete response, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// What came before the body.
    pub headers: Headers,
    /// All bytes of the body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// The agents: cheap to clone, shared by all threads, keep connections open.
///
/// An agent goes through all the connections that it keeps, one by one and behind a lock, to find one for a call. So there
/// are several of them, each for a few threads.
#[derive(Clone, Debug)]
pub struct Http {
    agents: Arc<[Agent]>,
    body_limit: u64,
}

impl Http {
    /// Of each of the two buffers that a connection has besides, if it is encrypted.
    const TLS_BUFFER: usize = 16 << 10;
    /// Connections that an agent keeps, and so the threads that share it.
    const AN_AGENT: usize = 8;
    /// What most bodies fit into. All get as much: blocks of many sizes would each be kept for each thread by the allocator.
    const BODY: u64 = 2 << 10;
    /// What is told may be no more than a word: so much room is made at once.
    const ROOM: u64 = 64 << 10;

    /// Makes the agents.
    ///
    /// # Errors
    /// [`CertError`] if `ca_cert` is given and of no use.
    pub fn new(options: &Options) -> Result<Self, CertError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &options.ca_cert {
            tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates(path)?)));
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("paceline/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(options.connect_timeout.min(options.timeout)))
            .input_buffer_size(Self::TLS_BUFFER)
            .output_buffer_size(Self::TLS_BUFFER)
            .max_idle_connections(Self::AN_AGENT.min(options.connections))
            .max_idle_connections_per_host(Self::AN_AGENT.min(options.connections))
            .tls_config(tls.build());
        if !options.proxy_from_env {
            config = config.proxy(None);
        }
        let (config, names) = (config.build(), Names::default());
        let agent = || {
            let tcp = ().chain(ConnectProxyConnector::default()).chain(Tcp::new(options.timeout));
            Agent::with_parts(
                config.clone(),
                tcp.chain(RustlsConnector::default()),
                names.clone(),
            )
        };
        let agents = options.connections.div_ceil(Self::AN_AGENT).max(1);
        Ok(Http {
            agents: (0..agents).map(|_| agent()).collect(),
            body_limit: options.body_limit,
        })
    }

    /// Posts a body and reads the whole response. Calls `departs` when there is a connection and the body is about to
    /// go out over it.
    ///
    /// # Errors
    /// [`TransportError`]: no complete response came. Any status is a success.
    pub fn post(
        &self,
        target: &Target,
        body: &[u8],
        departs: &dyn Fn(),
    ) -> Result<Response, TransportError> {
        let request = target.request(self.agent(), body.len());
        let mut body = Departing {
            body,
            departs: Some(departs),
        };
        let response = request
            .send(SendBody::from_reader(&mut body))
            .map_err(|error| self.explain(error))?;
        self.read(response)
    }

    /// The calling thread's.
    fn agent(&self) -> &Agent {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        &self.agents[NUMBER.with(|number| number % self.agents.len())]
    }

    fn read(&self, response: ureq::http::Response<Body>) -> Result<Response, TransportError> {
        let (parts, mut body) = response.into_parts();
        let length = body
            .content_length()
            .unwrap_or_default()
            .clamp(Self::BODY, Self::ROOM);
        let mut whole = Vec::with_capacity(length as usize);
        let mut body = body.with_config().limit(self.body_limit).reader();
        body.read_to_end(&mut whole)
            .map_err(|error| self.explain(error.into()))?;
        Ok(Response {
            status: parts.status.as_u16(),
            headers: Headers::of(parts.headers),
            body: whole,
        })
    }

    fn explain(&self, error: ureq::Error) -> TransportError {
        use ureq::Error;
        match error {
            Error::Timeout(ureq::Timeout::Connect) => {
                TransportError::Timeout("no connection in time".to_owned())
            }
            Error::Timeout(_) => TransportError::Timeout("no whole answer in time".to_owned()),
            Error::BodyExceedsLimit(_) => TransportError::TooLarge(self.body_limit),
            Error::HostNotFound => TransportError::Unreachable("no such host".to_owned()),
            Error::ConnectionFailed | Error::ConnectProxyFailed(_) => {
                TransportError::Unreachable(error.to_string())
            }
            Error::Rustls(_) | Error::Tls(_) | Error::Pem(_) => {
                TransportError::Untrusted(error.to_string())
            }
            Error::Http(_)
            | Error::BadUri(_)
            | Error::InvalidProxyUrl
            | Error::RequireHttpsOnly(_) => TransportError::Unsendable(error.to_string()),
            Error::Io(error) => explain_io(&error),
            other => TransportError::Broken(other.to_string()),
        }
    }
}

/// A body that tells when it is first read, which is when it departs.
struct Departing<'a> {
    body: &'a [u8],
    departs: Option<&'a dyn Fn()>,
}

impl io::Read for Departing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(departs) = self.departs.take() {
            departs();
        }
        self.body.read(buffer)
    }
}

/// What came back to a greeting in TLS was something else: no passing fault, but the wrong address.
const NO_TLS: &str =
    "the server does not speak TLS at this address; if that is right, begin it with http://";

fn explain_io(error: &io::Error) -> TransportError {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => TransportError::Timeout(error.to_string()),
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable => TransportError::Unreachable(error.to_string()),
        ErrorKind::InvalidData if error.to_string().contains("InvalidContentType") => {
            TransportError::Untrusted(NO_TLS.to_owned())
        }
        ErrorKind::InvalidData if is_tls(error) => TransportError::Untrusted(error.to_string()),
        _ if is_look_up(error) => TransportError::Unreachable(error.to_string()),
        _ => TransportError::Broken(error.to_string()),
    }
}

/// Whether the name was looked up in vain: such an error has no kind of its own, only a text.
fn is_look_up(error: &io::Error) -> bool {
    let text = error.to_string();
    ["failed to lookup address", "No such host"]
        .iter()
        .any(|words| text.starts_with(words))
}

/// Whether TLS failed inside what is reported as an error of the stream.
fn is_tls(error: &io::Error) -> bool {
    let text = error.to_string();
    ["certificate", "handshake", "TLS", "tls"]
        .iter()
        .any(|word| text.contains(word))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, CertError> {
    let pem = fs::read(path).map_err(|source| CertError::Read {
        path: path.to_owned(),
        source,
    })?;
    let only_certificates = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let found: Vec<_> = parse_pem(&pem).filter_map(only_certificates).collect();
    if found.is_empty() {
        Err(CertError::Empty {
            path: path.to_owned(),
        })
    } else {
        Ok(found)
    }
}
