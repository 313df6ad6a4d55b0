//! How connections are made: ureq's connectors for proxies with CONNECT and for TLS, on a socket of
//! our own, which ureq's default does not offer.
//!
//! It sends TCP keep-alive, so that a dead connection is found before the time-out of a call; it
//! writes the address in absolute form to a proxy for http, which many proxies demand; and its
//! input buffer does not grow, whatever a server sends.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use ureq::http::uri::Scheme;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};
use ureq::{Error, ProxyProtocol};

use super::proxy;

/// The chain of connectors: the socket to a proxy for http, CONNECT, a socket, TLS.
pub(super) fn connector() -> impl Connector {
    let idle = Arc::new(IdleLimit::default());
    ().chain(HttpProxyConnector(idle.clone()))
        .chain(ConnectProxyConnector::default())
        .chain(SocketConnector(idle))
        .chain(RustlsConnector::default())
}

/// Whether calls to an address go to this proxy in absolute form, without CONNECT.
pub(super) fn is_in_absolute_form(proxy: &ureq::Proxy, uri: &ureq::http::Uri) -> bool {
    proxy.protocol() == ProxyProtocol::Http && uri.scheme() == Some(&Scheme::HTTP)
}

/// How long a thread waits for the next bytes of a server, where that is less than the time-outs of its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitLimit {
    until: Instant,
    within: Duration,
    /// What it waits for, in words.
    what: &'static str,
}

// A call blocks its thread, so what a thread waits for is known.
thread_local!(static WAIT: Cell<Option<WaitLimit>> = const { Cell::new(None) });

impl WaitLimit {
    /// From now on; `None` if that is for ever.
    pub(crate) fn new(what: &'static str, within: Duration) -> Option<Self> {
        let until = Instant::now().checked_add(within)?;
        Some(WaitLimit {
            until,
            within,
            what,
        })
    }
}

/// Sets the limit of this thread, which holds until it is set again.
pub(crate) fn limit_wait(limit: Option<WaitLimit>) {
    WAIT.set(limit);
}

/// What the thread has waited for in vain.
pub(super) fn limit_reached() -> String {
    let limit = WAIT
        .get()
        .map(|limit| (limit.what, limit.within.as_secs_f64()));
    let (what, seconds) = limit.unwrap_or(("the answer", 0.0));
    format!("{what} did not come in {seconds} s")
}

/// How long a connection may be idle and still be used, in microseconds: less than half of what the server has once
/// closed under a request. Such a call may have been billed, so it is the prompt that is asked again, and the next ones
/// do not run into the same.
#[derive(Debug)]
struct IdleLimit(AtomicU64);

impl Default for IdleLimit {
    fn default() -> Self {
        IdleLimit(AtomicU64::new(u64::MAX))
    }
}

impl IdleLimit {
    fn was_too_long(&self, idle: Duration) {
        let half = u64::try_from(idle.as_micros() / 2).unwrap_or(u64::MAX);
        self.0.fetch_min(half, Ordering::Relaxed);
    }

    fn allows(&self, idle: Duration) -> bool {
        idle.as_micros() < u128::from(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct HttpProxyConnector(Arc<IdleLimit>);

impl Connector for HttpProxyConnector {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Socket>, Error> {
        let proxy = details.config.proxy();
        let Some(proxy) = proxy.filter(|proxy| is_in_absolute_form(proxy, details.uri)) else {
            return Ok(None);
        };
        let address = details
            .resolver
            .resolve(proxy.uri(), details.config, details.timeout)?;
        let mut socket = Socket::open(&address, details, &self.0)?;
        socket.absolute = Some(Absolute {
            origin: origin(details.uri),
            authorization: proxy::authorization(proxy),
        });
        Ok(Some(socket))
    }
}

/// A socket to the server, unless there is a connection already.
#[derive(Debug)]
struct SocketConnector(Arc<IdleLimit>);

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(Some(match chained {
            Some(transport) => Either::A(transport),
            None => Either::B(Socket::open(&details.addrs, details, &self.0)?),
        }))
    }
}

/// Host and port, without a user's name.
fn origin(uri: &ureq::http::Uri) -> Option<String> {
    let authority = uri.authority()?.as_str();
    let host = authority.rsplit('@').next();
    host.map(str::to_owned)
}

/// What the first line of each request needs for a proxy.
#[derive(Debug)]
struct Absolute {
    /// Host and port of the server.
    origin: Option<String>,
    /// The value of `proxy-authorization`.
    authorization: Option<String>,
}

impl Absolute {
    /// The beginning of a request with its address in absolute form.
    fn rewritten(&self, head: &[u8]) -> Option<Vec<u8>> {
        let end = head.windows(2).position(|end| end == b"\r\n")?;
        let rest = head.strip_prefix(b"POST /")?;
        let line = &rest[..end - b"POST /".len()];
        let origin = self.origin.as_deref()?;
        let mut rewritten = format!("POST http://{origin}/").into_bytes();
        rewritten.extend_from_slice(line);
        if let Some(authorization) = &self.authorization {
            rewritten.extend(format!("\r\nproxy-authorization: {authorization}").bytes());
        }
        rewritten.extend_from_slice(&head[end..]);
        Some(rewritten)
    }
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    absolute: Option<Absolute>,
    /// Whether the next output is the beginning of a request.
    is_at_head: bool,
    idle: Arc<IdleLimit>,
    /// When the last bytes came.
    heard: Option<Instant>,
    /// How long it was idle before the request that nothing has come for yet.
    idle_before: Option<Duration>,
}

impl Socket {
    /// Connects to the first address that can be reached. Each but the last gets half of the time
    /// that is left.
    fn open(
        addresses: &[SocketAddr],
        details: &ConnectionDetails<'_>,
        idle: &Arc<IdleLimit>,
    ) -> Result<Self, Error> {
        let limit = *details.timeout.not_zero().unwrap_or(details.timeout.after);
        let started = Instant::now();
        let mut failure = io::ErrorKind::ConnectionRefused.into();
        for (n, address) in addresses.iter().enumerate() {
            let left = limit.saturating_sub(started.elapsed());
            let is_last = n + 1 == addresses.len();
            let time = if is_last { left } else { left / 2 };
            if time.is_zero() {
                return Err(Error::Timeout(details.timeout.reason));
            }
            match TcpStream::connect_timeout(address, time) {
                Ok(stream) => return Ok(Socket::new(stream, details, idle.clone())?),
                Err(error) => failure = error,
            }
        }
        match failure.kind() {
            io::ErrorKind::TimedOut => Err(Error::Timeout(details.timeout.reason)),
            _ => Err(failure.into()),
        }
    }

    fn new(
        stream: TcpStream,
        details: &ConnectionDetails<'_>,
        idle: Arc<IdleLimit>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let (input, output) = (
            details.config.input_buffer_size(),
            details.config.output_buffer_size(),
        );
        Ok(Socket {
            stream,
            buffers: LazyBuffers::new(input, output),
            absolute: None,
            is_at_head: true,
            idle,
            heard: None,
            idle_before: None,
        })
    }
}

/// Probes a silent connection after 30 s, which is before common load balancers forget it (60 s at
/// AWS), then each 10 s: of the nine probes that Linux sends the last is unanswered after two minutes.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let times = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10));
    SockRef::from(stream).set_tcp_keepalive(&times)
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(time_of(timeout)?)?;
        let output = &self.buffers.output()[..amount];
        let absolute = self.absolute.as_ref().filter(|_| self.is_at_head);
        let rewritten = absolute.and_then(|absolute| absolute.rewritten(output));
        if self.is_at_head {
            self.idle_before = self.heard.map(|heard| heard.elapsed());
        }
        self.is_at_head = false;
        let written = self
            .stream
            .write_all(rewritten.as_deref().unwrap_or(output));
        written.map_err(|error| late(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let left = |limit: WaitLimit| limit.until.saturating_duration_since(Instant::now());
        let per_read = WAIT.get().map(left).map(Into::into);
        let timeout = NextTimeout {
            per_read,
            ..timeout
        };
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(time_of(timeout)?)?;
        self.is_at_head = true;
        let input = self.buffers.input_append_buf();
        if input.is_empty() {
            return Err(Error::Other("a line of the response is too long".into()));
        }
        let read = loop {
            match self.stream.read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let is_closed = read.as_ref().map_or_else(is_closed, |length| *length == 0);
        if let Some(idle) = self.idle_before.take().filter(|_| is_closed) {
            self.idle.was_too_long(idle);
        }
        let length = read.map_err(|error| late(error, timeout))?;
        self.heard = Some(Instant::now());
        self.buffers.input_appended(length);
        Ok(length > 0)
    }

    /// Whether nothing has come while the connection was idle, not even its end.
    fn is_open(&mut self) -> bool {
        let is_idle = |stream: &TcpStream| {
            let peeked = stream.peek(&mut [0]);
            peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        let idle = self.heard.map_or(Duration::ZERO, |heard| heard.elapsed());
        self.idle.allows(idle)
            && self.stream.set_nonblocking(true).is_ok()
            && is_idle(&self.stream)
            && self.stream.set_nonblocking(false).is_ok()
    }
}

/// A time-out as the socket takes it.
fn time_of(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    if timeout.after.is_zero() {
        return Err(Error::Timeout(timeout.reason));
    }
    Ok(timeout.not_zero().map(|time| *time))
}

/// Whether the server has closed the connection under a request.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

fn late(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_probed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        keep_alive(&stream).unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
    }

    #[test]
    fn the_first_line_for_a_proxy_names_the_server() {
        let absolute = Absolute {
            origin: origin(&"http://u:p@h:1/v1".parse().unwrap()),
            authorization: None,
        };
        let head = b"POST /v1 HTTP/1.1\r\nhost: h:1\r\n";
        let expected = b"POST http://h:1/v1 HTTP/1.1\r\nhost: h:1\r\n";
        assert_eq!(absolute.rewritten(head).unwrap(), expected);
        assert_eq!(absolute.rewritten(b"{\"a\":1}"), None);
    }
}
