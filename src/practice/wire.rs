//! HTTP/1.1 as the practice server needs it: reads a request, writes a response with one write.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::arrival::Stamped;

const HEAD_MOST: usize = 64 << 10;
const BODY_MOST: usize = 32 << 20;

/// A request, read whole.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    /// What tells one key from another; empty without a key.
    pub(super) authorization: String,
    /// Whether it states the version of Anthropic's API.
    pub(super) has_version: bool,
    pub(super) keep_alive: bool,
    pub(super) body: Vec<u8>,
    /// When its first bytes came.
    pub(super) arrived: Instant,
}

pub(super) enum ReadError {
    Io(io::Error),
    /// The client's fault: the status and the reason.
    Bad(u16, &'static str),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(error)
    }
}

/// How the body is delimited.
#[derive(Debug)]
enum Length {
    Known(usize),
    Chunked,
}

/// Reads the next request; `None` when the client has closed the connection.
pub(super) fn read(
    reader: &mut BufReader<Stamped<'_>>,
    mut stream: &TcpStream,
) -> Result<Option<Request>, ReadError> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let arrived = reader.get_ref().arrived();
    let head = read_head(reader)?;
    let (mut request, length, continues) = parse_head(&head, arrived)?;
    if continues {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = match length {
        Length::Known(length) => read_exactly(reader, length)?,
        Length::Chunked => read_chunks(reader)?,
    };
    Ok(Some(request))
}

fn read_head(reader: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = (HEAD_MOST - head.len()) as u64;
        if left == 0 {
            return Err(ReadError::Bad(431, "the head of the request is too large"));
        }
        if reader.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Err(ReadError::Bad(400, "the head of the request ends too soon"));
        }
    }
    Ok(head)
}

/// What the head says: the request still without its body, the length of that, and whether the client waits for leave
/// to send it.
fn parse_head(head: &[u8], arrived: Instant) -> Result<(Request, Length, bool), ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err(ReadError::Bad(400, "the head of the request is not HTTP"));
    }
    let header = |name: &str| {
        let found = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.map_or("", |header| {
            std::str::from_utf8(header.value).unwrap_or_default()
        })
    };
    let length = match header("content-length") {
        _ if header("transfer-encoding").eq_ignore_ascii_case("chunked") => Length::Chunked,
        "" => Length::Known(0),
        digits => Length::Known(
            digits
                .parse()
                .map_err(|_| ReadError::Bad(400, "content-length is no number"))?,
        ),
    };
    // Each maker has a header of its own for the key.
    let keys = ["authorization", "x-api-key", "x-goog-api-key"].map(header);
    let keep_alive =
        parsed.version == Some(1) && !header("connection").eq_ignore_ascii_case("close");
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        authorization: keys
            .into_iter()
            .find(|key| !key.is_empty())
            .unwrap_or_default()
            .to_owned(),
        has_version: !header("anthropic-version").is_empty(),
        keep_alive,
        body: Vec::new(),
        arrived,
    };
    Ok((
        request,
        length,
        header("expect").eq_ignore_ascii_case("100-continue"),
    ))
}

fn read_exactly(reader: &mut impl Read, length: usize) -> Result<Vec<u8>, ReadError> {
    if length > BODY_MOST {
        return Err(ReadError::Bad(413, "the body is too large"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    loop {
        let size = read_line(reader)?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|_| ReadError::Bad(400, "a chunk has no size"))?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(body);
        }
        if size > BODY_MOST - body.len() {
            return Err(ReadError::Bad(413, "the body is too large"));
        }
        body.extend(read_exactly(reader, size)?);
        read_line(reader)?;
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<String, ReadError> {
    let mut line = Vec::new();
    reader.by_ref().take(1024).read_until(b'\n', &mut line)?;
    let text = String::from_utf8(line)
        .ok()
        .and_then(|line| Some(line.strip_suffix('\n')?.trim_end().to_owned()));
    text.ok_or(ReadError::Bad(400, "a chunk is not as it should be"))
}

/// A response, to be sent.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn text(status: u16, body: &str) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: body.to_owned(),
        }
    }

    pub(super) fn json(status: u16, body: &impl Serialize) -> Self {
        Reply::text(
            status,
            &serde_json::to_string(body).expect("what this server says is JSON"),
        )
    }

    /// An error as OpenAI words them.
    pub(super) fn error(status: u16, kind: &str, message: &str, code: Option<&str>) -> Self {
        let error = json!({"message": message, "type": kind, "param": null, "code": code});
        Reply::json(status, &json!({"error": error}))
    }

    pub(super) fn header(&mut self, name: &'static str, value: String) {
        self.headers.push((name, value));
    }

    /// The names of its headers.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.headers.iter().map(|(name, _)| *name).collect()
    }

    pub(super) fn send(&self, mut stream: &TcpStream, close: bool) -> io::Result<()> {
        stream.write_all(self.bytes(close).as_bytes())
    }

    /// Promises the whole body and sends half of it.
    pub(super) fn send_half(&self, mut stream: &TcpStream) -> io::Result<()> {
        let bytes = self.bytes(true);
        let half = bytes.len() - self.body.len().div_ceil(2);
        stream.write_all(&bytes.as_bytes()[..half])
    }

    fn bytes(&self, close: bool) -> String {
        let (status, length) = (self.status, self.body.len());
        let mut bytes = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\n",
            reason(status)
        );
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if close {
            bytes.push_str("connection: close\r\n");
        }
        bytes.push_str(&format!("content-length: {length}\r\n\r\n{}", self.body));
        bytes
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<(Request, Length, bool), u16> {
        parse_head(text.as_bytes(), Instant::now()).map_err(|error| match error {
            ReadError::Bad(status, _) => status,
            ReadError::Io(_) => 0,
        })
    }

    #[test]
    fn a_head_is_read() {
        let text = "POST /v1/x?y HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n";
        let (request, length, continues) = head(text).unwrap();
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("POST", "/v1/x?y")
        );
        assert_eq!(
            (
                request.authorization.as_str(),
                request.keep_alive,
                continues
            ),
            ("Bearer k", true, true)
        );
        assert!(matches!(length, Length::Known(7)));
    }

    #[test]
    fn each_makers_key_tells_one_client_from_another() {
        let key = |line: &str| {
            head(&format!("POST / HTTP/1.1\r\n{line}\r\n\r\n"))
                .unwrap()
                .0
                .authorization
        };
        let keys = [
            "Authorization: Bearer a",
            "x-api-key: b",
            "X-Goog-Api-Key: c",
            "Host: d",
        ]
        .map(key);
        assert_eq!(keys, ["Bearer a", "b", "c", ""]);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        assert_eq!(head("hello\r\n\r\n").unwrap_err(), 400);
        assert_eq!(
            head("GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n").unwrap_err(),
            400
        );
        let endless = vec![b'x'; HEAD_MOST + 9];
        assert!(matches!(
            read_head(&mut endless.as_slice()),
            Err(ReadError::Bad(431, _))
        ));
        assert!(matches!(
            read_exactly(&mut io::empty(), BODY_MOST + 1),
            Err(ReadError::Bad(413, _))
        ));
    }

    #[test]
    fn chunks_are_put_together() {
        let chunks = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        assert_eq!(
            read_chunks(&mut chunks.as_slice()).ok().unwrap(),
            b"hello world"
        );
        assert!(read_chunks(&mut b"zz\r\n".as_slice()).is_err());
        assert!(read_chunks(&mut b"ffffffffff\r\n".as_slice()).is_err());
    }
}
