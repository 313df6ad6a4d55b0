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
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use ureq::http::uri::{Authority, Scheme};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};
use ureq::{Error, ProxyProtocol};

/// The chain of connectors: a socket, or else CONNECT over one; then TLS.
pub(super) fn connector() -> impl Connector {
    ().chain(SocketConnector::default())
        .chain(ConnectProxyConnector::default())
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

/// Opens sockets, unless CONNECT is needed first.
#[derive(Debug)]
struct SocketConnector {
    /// How long a connection may be idle and still be used: less than half of what the server has once closed under a
    /// request. Such a call may have been billed, so it is the prompt that is asked again, and the next ones do not run into
    /// the same.
    most_idle: Arc<Mutex<Duration>>,
}

impl Default for SocketConnector {
    fn default() -> Self {
        SocketConnector {
            most_idle: Arc::new(Mutex::new(Duration::MAX)),
        }
    }
}

impl Connector for SocketConnector {
    type Out = Socket;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Socket>, Error> {
        let open = |stream, absolute| Socket::new(stream, absolute, details, &self.most_idle);
        Ok(match details.config.proxy() {
            None => Some(open(connect(&details.addrs, details)?, None)?),
            Some(proxy) if is_in_absolute_form(proxy, details.uri) => {
                let resolver = details.resolver;
                let addrs = resolver.resolve(proxy.uri(), details.config, details.timeout)?;
                let origin = details.uri.authority().map(Authority::as_str);
                let origin = origin.and_then(|origin| origin.rsplit('@').next()); // without a user's name
                let absolute = origin.map(|origin| format!("http://{origin}"));
                Some(open(connect(&addrs, details)?, absolute)?)
            }
            Some(_) => None,
        })
    }
}

/// Connects to the first address that can be reached. Each but the last gets half of the time that is left.
fn connect(addresses: &[SocketAddr], details: &ConnectionDetails<'_>) -> Result<TcpStream, Error> {
    let limit = *details.timeout.not_zero().unwrap_or(details.timeout.after);
    let until = Instant::now() + limit;
    let mut failure = io::ErrorKind::ConnectionRefused.into();
    for (n, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let is_last = n + 1 == addresses.len();
        let time = if is_last { left } else { left / 2 };
        match TcpStream::connect_timeout(address, time.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(late(failure, details.timeout))
}

/// A request with its address in absolute form. Its first line is whole: it is the beginning of what is sent first.
fn in_absolute_form(request: &[u8], origin: &str) -> Option<Vec<u8>> {
    let path = request.iter().position(|byte| *byte == b' ')? + 1;
    Some([&request[..path], origin.as_bytes(), &request[path..]].concat())
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    /// What stands before the path in the first line of a request, if that is for a proxy.
    absolute: Option<String>,
    /// Whether the next output is the beginning of a request.
    is_at_head: bool,
    /// Output that is not sent yet.
    held: Vec<u8>,
    most_idle: Arc<Mutex<Duration>>,
    /// When the last bytes came.
    heard: Option<Instant>,
    /// How long it was idle before the request that nothing has come for yet.
    idle_before: Option<Duration>,
}

impl Socket {
    fn new(
        stream: TcpStream,
        absolute: Option<String>,
        details: &ConnectionDetails<'_>,
        most_idle: &Arc<Mutex<Duration>>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        let config = details.config;
        Ok(Socket {
            stream,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            absolute,
            is_at_head: true,
            held: Vec::new(),
            most_idle: most_idle.clone(),
            heard: None,
            idle_before: None,
        })
    }

    /// Sends what is kept back.
    fn flush(&mut self, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(time_of(timeout)?)?;
        let written = self.stream.write_all(&self.held);
        self.held.clear();
        written.map_err(|error| late(error, timeout))
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

    /// Keeps the first output of a request back: the body follows at once, and both leave together. That saves the server
    /// a wake-up, and both sides a quarter of a call's processor time on the loopback.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = &self.buffers.output()[..amount];
        let absolute = self.absolute.as_ref().filter(|_| self.is_at_head);
        match absolute.and_then(|origin| in_absolute_form(output, origin)) {
            Some(rewritten) => self.held = rewritten,
            None => self.held.extend_from_slice(output),
        }
        if std::mem::take(&mut self.is_at_head) {
            self.idle_before = self.heard.map(|heard| heard.elapsed());
            return Ok(());
        }
        self.flush(timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        /// A server that closes a used connection so soon keeps none open; the usual time-outs are 2 to 75 s.
        const SOON: Duration = Duration::from_secs(1);
        if !self.held.is_empty() {
            self.flush(timeout)?;
        }
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
            let mut most = self.most_idle.lock();
            *most = if idle < SOON {
                Duration::ZERO
            } else {
                most.min(idle / 2)
            };
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
        idle < *self.most_idle.lock()
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
        for method in ["POST", "GET", "DELETE"] {
            let head = format!("{method} /v1 HTTP/1.1\r\nhost: h:1\r\n");
            let sent = in_absolute_form(head.as_bytes(), "http://h:1").unwrap();
            let expected = format!("{method} http://h:1/v1 HTTP/1.1\r\nhost: h:1\r\n");
            assert_eq!(String::from_utf8(sent).unwrap(), expected);
        }
    }
}
