//! HTTP/1.1 as a server needs it: reads a request, writes a response with one write. The practice server and the gate
//! share it.
//!
//! It works on the socket itself, so that a server can reset a connection, stop in the middle of a body or never
//! answer. What a request asks and what is answered is decided elsewhere.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::arrival::Stamped;
use super::faults::InjectedFault;

/// Longest head of a request, in bytes: eight times what nginx accepts.
const MAX_HEAD: usize = 64 << 10;
/// Longest body of a request, in bytes: Anthropic's limit.
const MAX_BODY: usize = 32 << 20;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct WireRequest {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// Names, in lower case, and values, in the order in which they came.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// When the first byte was read.
    pub(crate) arrived: Instant,
    /// Whether the client may send another request.
    pub(crate) keep_alive: bool,
    /// Whether the client reads chunks.
    pub(crate) is_http_11: bool,
}

impl WireRequest {
    /// The value of the first header with this name (in lower case), if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.value(name)?).ok()
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_slice())
    }

    /// Whether a header has this value, in whatever case.
    fn is(&self, name: &str, value: &str) -> bool {
        self.header(name)
            .is_some_and(|found| found.eq_ignore_ascii_case(value))
    }
}

/// Reads a request that has begun to come, and must come by the reader's deadline.
///
/// # Errors
/// [`ErrorKind::InvalidData`] or [`ErrorKind::FileTooLarge`] if the client sent something that cannot be read:
/// [`blame`] tells it so.
pub(crate) fn read(
    reader: &mut BufReader<Stamped<'_>>,
    mut stream: &TcpStream,
) -> io::Result<WireRequest> {
    let arrived = reader.get_ref().arrived;
    let mut request = parse_head(&read_head(reader)?, arrived)?;
    if request.is("expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = read_body(&request, reader)?;
    Ok(request)
}

/// A request that is all there, for those who try out odd ones.
#[cfg(any(test, fuzzing))]
pub(crate) fn of_bytes(mut bytes: &[u8]) -> io::Result<WireRequest> {
    let mut request = parse_head(&read_head(&mut bytes)?, Instant::now())?;
    request.body = read_body(&request, &mut bytes)?;
    Ok(request)
}

/// The status for a request that could not be read; `None` if the connection itself has ended.
pub(crate) fn blame(error: &io::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::InvalidData => Some(400),
        ErrorKind::FileTooLarge => Some(413),
        _ => None,
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} is malformed"))
}

fn too_large(what: &str) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("{what} is too large"))
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = (MAX_HEAD - head.len()) as u64;
        if left == 0 {
            return Err(too_large("the request's head"));
        }
        if reader.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Err(malformed("the request's head"));
        }
    }
    Ok(head)
}

/// The request without its body.
fn parse_head(head: &[u8], arrived: Instant) -> io::Result<WireRequest> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err(malformed("the request's head"));
    }
    let owned =
        |header: &httparse::Header<'_>| (header.name.to_ascii_lowercase(), header.value.to_owned());
    let mut request = WireRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(owned).collect(),
        body: Vec::new(),
        arrived,
        keep_alive: false,
        is_http_11: parsed.version == Some(1),
    };
    let connection = request.header("connection").unwrap_or_default();
    let mut options = connection.split(',').map(str::trim);
    let is_last = options.any(|option| option.eq_ignore_ascii_case("close"));
    request.keep_alive = request.is_http_11 && !is_last;
    unambiguous(request)
}

/// Refuses what two servers could read as two different requests (RFC 9112, sections 3.2 and 6.3), and a path that would
/// become a part of the host's name behind an address.
fn unambiguous(request: WireRequest) -> io::Result<WireRequest> {
    let names = || request.headers.iter().map(|(name, _)| name.as_str());
    let count = |name: &str| names().filter(|other| *other == name).count();
    let framing = ["content-length", "transfer-encoding"];
    match () {
        () if framing.into_iter().map(count).sum::<usize>() > 1 => Err(malformed("the length")),
        () if count("host") > 1 => Err(malformed("host")),
        () if !request.path.starts_with('/') => Err(malformed("the path")),
        () => Ok(request),
    }
}

fn read_body(request: &WireRequest, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match request.value("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => return read_chunks(reader),
        Some(_) => return Err(malformed("transfer-encoding")),
        None => {}
    }
    let length = std::str::from_utf8(request.value("content-length").unwrap_or(b"0"));
    let length = length.ok().filter(|length| !length.starts_with('+'));
    let length = length.and_then(|length| length.parse().ok());
    read_exactly(
        reader,
        length.ok_or_else(|| malformed("content-length"))?,
        &mut body,
    )?;
    Ok(body)
}

/// Adds `length` bytes to the body. It takes memory for those that have come: a client may promise more than it sends.
fn read_exactly(reader: &mut impl Read, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if length > MAX_BODY - body.len() {
        return Err(too_large("the body"));
    }
    match reader.take(length as u64).read_to_end(body)? {
        came if came < length => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn read_chunks(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(malformed("a chunk"));
        };
        if size == 0 {
            while read_line(reader)? != b"\r\n" {}
            return Ok(body);
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        read_exactly(reader, size, &mut body)?;
        if read_line(reader)? != b"\r\n" {
            return Err(malformed("a chunk"));
        }
    }
}

/// A line of up to 1 kB, with its end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(1024).read_until(b'\n', &mut line)?;
    let is_whole = line.ends_with(b"\n");
    is_whole.then_some(line).ok_or_else(|| malformed("a chunk"))
}

/// A response as it is sent.
#[derive(Debug)]
pub(crate) struct WireReply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// How it is spoiled on its way.
    pub(super) fault: Option<InjectedFault>,
}

impl WireReply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        WireReply {
            status,
            headers: Vec::new(),
            body: body.into(),
            fault: None,
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sends it, or what the fault leaves of it; true if the connection can be used for another request.
    pub(crate) fn send(self, mut stream: &TcpStream, keep_alive: bool) -> io::Result<bool> {
        if self.fault == Some(InjectedFault::Reset) {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        let torn = [InjectedFault::Truncated, InjectedFault::Stalled].map(Some);
        let is_torn = torn.contains(&self.fault);
        let keep_alive = keep_alive && !is_torn;
        let missing = usize::from(is_torn) * self.body.len().div_ceil(2);
        let head = self.head(keep_alive);
        let mut bytes = self.body;
        bytes.insert_str(0, &head);
        stream.write_all(&bytes.as_bytes()[..bytes.len() - missing])?;
        Ok(keep_alive)
    }

    fn head(&self, keep_alive: bool) -> String {
        // Without a reason phrase: only people read it.
        let mut head = format!("HTTP/1.1 {} \r\n", self.status);
        head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        if !self.headers.iter().any(|(name, _)| is_type(name)) {
            let is_stream = self.body.starts_with("data: ") || self.body.starts_with("event: ");
            let kind = ["application/json", "text/event-stream"][usize::from(is_stream)];
            head.push_str(&format!("content-type: {kind}\r\n"));
        }
        if !keep_alive {
            head.push_str("connection: close\r\n");
        }
        head + "\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> io::Result<WireRequest> {
        parse_head(text.as_bytes(), Instant::now())
    }

    #[test]
    fn a_head_is_read() {
        let text = "POST /v1/x?y HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
        let request = head(text).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/x?y")
        );
        assert_eq!(request.header("authorization"), Some("Bearer k"));
        assert!(request.keep_alive && request.is("expect", "100-Continue"));
        assert_eq!(
            read_body(&request, &mut b"1234567, and more".as_slice()).unwrap(),
            b"1234567"
        );
    }

    #[test]
    fn a_request_that_is_not_http_or_too_large_is_an_error() {
        let kind = |error: io::Error| error.kind();
        let invalid = Some(ErrorKind::InvalidData);
        assert_eq!(head("hello\r\n\r\n").err().map(kind), invalid);
        let request = head("GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n").unwrap();
        assert_eq!(
            read_body(&request, &mut io::empty()).err().map(kind),
            invalid
        );
        let too_large = Some(ErrorKind::FileTooLarge);
        let endless = vec![b'x'; MAX_HEAD + 9];
        assert_eq!(
            read_head(&mut endless.as_slice()).err().map(kind),
            too_large
        );
        let body = read_exactly(&mut io::empty(), MAX_BODY + 1, &mut Vec::new());
        assert_eq!(body.err().map(kind), too_large);
    }

    #[test]
    fn a_request_that_can_be_read_in_two_ways_is_refused() {
        for (path, headers) in [
            ("/", "Content-Length: 3\r\nContent-Length: 5\r\n"),
            ("/", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
            ("/", "Transfer-Encoding: gzip, chunked\r\n"),
            ("/", "Transfer-Encoding: \u{ff}\r\n"),
            ("/", "Content-Length: +3\r\n"),
            ("/", "Host: a\r\nHost: b\r\n"),
            ("@evil.example/", ""),
            (".evil.example/", ""),
            ("http://evil.example/", ""),
            ("*", ""),
        ] {
            let text = format!("POST {path} HTTP/1.1\r\n{headers}\r\nabcdefgh");
            let error = of_bytes(text.as_bytes()).expect_err(&text);
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{text}");
        }
        assert!(
            !head("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n")
                .unwrap()
                .keep_alive
        );
    }

    #[test]
    fn memory_is_taken_for_the_bytes_that_have_come() {
        let mut body = Vec::new();
        let cut = read_exactly(&mut b"abc".as_slice(), MAX_BODY, &mut body);
        assert_eq!(cut.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(body.capacity() < 1 << 10);
    }

    #[test]
    fn chunks_are_put_together() {
        let chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        assert_eq!(read_chunks(&mut chunks.as_slice()).unwrap(), b"hello world");
        assert!(read_chunks(&mut b"zz\r\n".as_slice()).is_err());
        assert!(read_chunks(&mut b"ffffffffff\r\n".as_slice()).is_err());
        let overrun = b"5\r\nhello, world\r\n0\r\n\r\n";
        assert!(read_chunks(&mut overrun.as_slice()).is_err());
    }
}
