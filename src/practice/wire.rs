//! HTTP/1.1 as the practice server needs it: reads a request, writes a response with one write.
//!
//! It works on the socket itself, so that the server can reset a connection, stop in the middle of a body or never
//! answer. What a request asks and what is answered is decided elsewhere.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use log::info;
use serde_json::Value;

use super::arrival::Stamped;
use super::faults::InjectedFault;
use super::script::ReceivedRequest;

/// Longest head of a request, in bytes: eight times what nginx accepts.
const MAX_HEAD: usize = 64 << 10;
/// Longest body of a request, in bytes: Anthropic's limit.
const MAX_BODY: usize = 32 << 20;

/// Why no request could be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Io(io::Error),
    /// The client sent something that cannot be served: the status to answer with, and the reason.
    Malformed(u16, &'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

/// Reads the next request; `None` when the client has closed the connection.
pub(super) fn read(
    reader: &mut BufReader<Stamped<'_>>,
    mut stream: &TcpStream,
) -> Result<Option<ReceivedRequest>, ReadError> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let arrived = reader.get_ref().arrived;
    let mut request = parse_head(&read_head(reader)?, arrived)?;
    if is(&request, "expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = read_body(&request, reader)?;
    request.body = String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(Some(request))
}

fn read_head(reader: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = (MAX_HEAD - head.len()) as u64;
        if left == 0 {
            return Err(ReadError::Malformed(431, "the request's head is too large"));
        }
        if reader.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Err(ReadError::Malformed(400, "the request's head is cut off"));
        }
    }
    Ok(head)
}

/// The request without its body.
fn parse_head(head: &[u8], arrived: Instant) -> Result<ReceivedRequest, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err(ReadError::Malformed(400, "the request's head is not HTTP"));
    }
    let owned = |header: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_ascii_lowercase(), value)
    };
    let mut request = ReceivedRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: parsed.path.unwrap_or_default().to_owned(),
        headers: parsed.headers.iter().map(owned).collect(),
        body: String::new(),
        arrived,
        keep_alive: false,
    };
    request.keep_alive = parsed.version == Some(1) && !is(&request, "connection", "close");
    Ok(request)
}

/// Whether a header has this value, in whatever case.
fn is(request: &ReceivedRequest, name: &str, value: &str) -> bool {
    request
        .header(name)
        .is_some_and(|found| found.eq_ignore_ascii_case(value))
}

fn read_body(request: &ReceivedRequest, reader: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    if is(request, "transfer-encoding", "chunked") {
        return read_chunks(reader);
    }
    let length = request.header("content-length").unwrap_or("0").parse();
    let length = length.map_err(|_| ReadError::Malformed(400, "content-length is not a number"))?;
    read_exactly(reader, length, MAX_BODY)
}

/// Reads `length` bytes, of which there may be `max`.
fn read_exactly(reader: &mut impl Read, length: usize, max: usize) -> Result<Vec<u8>, ReadError> {
    if length > max {
        return Err(ReadError::Malformed(413, "the body is larger than 32 MiB"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| ReadError::Malformed(400, "a chunk has no size"))?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        body.extend(read_exactly(reader, size, MAX_BODY - body.len())?);
        read_line(reader)?;
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String, ReadError> {
    const MALFORMED: ReadError = ReadError::Malformed(400, "a chunk is malformed");
    let mut line = Vec::new();
    reader.by_ref().take(1024).read_until(b'\n', &mut line)?;
    let line = String::from_utf8(line).map_err(|_| MALFORMED)?;
    let line = line.strip_suffix('\n').ok_or(MALFORMED)?;
    Ok(line.trim_end().to_owned())
}

/// A response as it is sent.
#[derive(Debug)]
pub(super) struct WireReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// How it is spoiled on its way.
    pub(super) fault: Option<InjectedFault>,
}

impl WireReply {
    pub(super) fn new(status: u16, body: impl Into<String>) -> Self {
        WireReply {
            status,
            headers: Vec::new(),
            body: body.into(),
            fault: None,
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        WireReply::new(status, body.to_string())
    }

    pub(super) fn header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }

    /// Sends it, or what the fault leaves of it; true if the connection can be used for another request.
    pub(super) fn send(&self, mut stream: &TcpStream, keep_alive: bool) -> io::Result<bool> {
        let is_cut = self.fault == Some(InjectedFault::Truncated);
        let bytes = self.bytes(keep_alive && !is_cut);
        match self.fault {
            Some(InjectedFault::Reset) => {
                info!("practice: resets a connection");
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
                Ok(false)
            }
            Some(InjectedFault::Truncated) => {
                let half = bytes.len() - self.body.len().div_ceil(2);
                stream.write_all(&bytes.as_bytes()[..half])?;
                Ok(false)
            }
            _ => {
                stream.write_all(bytes.as_bytes())?;
                Ok(keep_alive)
            }
        }
    }

    fn bytes(&self, keep_alive: bool) -> String {
        // The reason phrase may be empty: nobody but people reads it.
        let mut bytes = format!("HTTP/1.1 {} \r\n", self.status);
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        if !self.headers.iter().any(|(name, _)| is_type(name)) {
            bytes.push_str("content-type: application/json\r\n");
        }
        if !keep_alive {
            bytes.push_str("connection: close\r\n");
        }
        bytes.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        bytes.push_str(&self.body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(error: ReadError) -> u16 {
        match error {
            ReadError::Malformed(status, _) => status,
            ReadError::Io(_) => 0,
        }
    }

    fn head(text: &str) -> Result<ReceivedRequest, u16> {
        parse_head(text.as_bytes(), Instant::now()).map_err(status)
    }

    #[test]
    fn a_head_is_read() {
        let text = "POST /v1/x?y HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
        let request = head(text).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/x?y")
        );
        assert_eq!((request.key(), request.keep_alive), ("Bearer k", true));
        assert!(is(&request, "expect", "100-Continue"));
        assert_eq!(
            read_body(&request, &mut b"1234567, and more".as_slice()).unwrap(),
            b"1234567"
        );
    }

    #[test]
    fn each_providers_key_header_tells_one_client_from_another() {
        let key = |line: &str| {
            let request = head(&format!("POST / HTTP/1.1\r\n{line}\r\n\r\n"));
            request.unwrap().key().to_owned()
        };
        let lines = [
            "Authorization: Bearer a",
            "x-api-key: b",
            "X-Goog-Api-Key: c",
            "Host: d",
        ];
        assert_eq!(lines.map(key), ["Bearer a", "b", "c", ""]);
    }

    #[test]
    fn a_request_that_is_not_http_or_too_large_gets_an_error() {
        assert_eq!(head("hello\r\n\r\n").unwrap_err(), 400);
        let request = head("GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n").unwrap();
        assert_eq!(
            status(read_body(&request, &mut io::empty()).unwrap_err()),
            400
        );
        let endless = vec![b'x'; MAX_HEAD + 9];
        assert_eq!(status(read_head(&mut endless.as_slice()).unwrap_err()), 431);
        let too_large = read_exactly(&mut io::empty(), MAX_BODY + 1, MAX_BODY);
        assert_eq!(status(too_large.unwrap_err()), 413);
    }

    #[test]
    fn chunks_are_put_together() {
        let chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        assert_eq!(read_chunks(&mut chunks.as_slice()).unwrap(), b"hello world");
        assert!(read_chunks(&mut b"zz\r\n".as_slice()).is_err());
        assert!(read_chunks(&mut b"ffffffffff\r\n".as_slice()).is_err());
    }
}
