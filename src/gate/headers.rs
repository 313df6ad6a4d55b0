//! What of a request is sent on, and what of the answer is passed back: everything but what concerns one connection.

use ureq::Body;
use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::http::uri::Authority;
use ureq::http::{Request, Response};

use super::keys::KEY_HEADERS;
use crate::api::{Client, OF_A_CONNECTION};
use crate::http::{TransportError, is_loopback, unsendable};
use crate::practice::wire::WireRequest;

/// The headers that travel on: those that do not concern one connection, or the gate.
fn travelling(headers: &HeaderMap) -> HeaderMap {
    let connection = headers.get_all(header::CONNECTION).iter();
    let named = connection.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> = named
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .collect();
    let travels = |name: &str| {
        let is_named = named.iter().any(|other| other == name.as_bytes());
        !is_named && !OF_A_CONNECTION.contains(&name) && !name.starts_with("x-paceline-")
    };
    let headers = headers.iter().filter(|(name, _)| travels(name.as_str()));
    headers
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Where the calls go.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The address before the path of a request.
    base: String,
    /// What the base URL of a client must end with, as in `/v1`: the API's own address ends with it.
    pub(super) version: String,
    /// The query of the API's address.
    query: String,
}

impl Upstream {
    /// Reads the address of an API.
    pub(super) fn new(base_url: &str) -> Self {
        let (address, query) = base_url.split_once('?').unwrap_or((base_url, ""));
        let address = address.trim_end_matches('/');
        let (base, last) = address.split_at(address.rfind('/').unwrap_or(address.len()));
        let number = last.strip_prefix("/v").unwrap_or_default();
        let is_version = number.starts_with(|first: char| first.is_ascii_digit());
        let base = match is_version && !base.ends_with('/') {
            true => base,
            false => address,
        };
        Upstream {
            base: base.to_owned(),
            version: address[base.len()..].to_owned(),
            query: query.to_owned(),
        }
    }

    /// The request as it is sent on, without its body. The headers of this client replace those of the same name, and with
    /// a key of the gate's own all keys that came: one may be the gate's token.
    ///
    /// # Errors
    /// [`TransportError`] if the address is none.
    pub(super) fn request(
        &self,
        request: &WireRequest,
        client: &Client,
    ) -> Result<Request<()>, TransportError> {
        let mut address = format!("{}{}", self.base, request.path);
        if !self.query.is_empty() && !address.contains('?') {
            address += &format!("?{}", self.query);
        }
        let parsed = |(name, value): &(String, Vec<u8>)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        let mut headers = travelling(&request.headers.iter().filter_map(parsed).collect());
        if client.has_key() {
            for name in KEY_HEADERS {
                headers.remove(name);
            }
        }
        for (name, value) in client.own_headers() {
            headers.insert(name, value.clone());
        }
        let builder = Request::builder().method(request.method.as_str());
        let mut sent = builder.uri(address).body(()).map_err(unsendable)?;
        *sent.headers_mut() = headers;
        Ok(sent)
    }
}

/// The head of an answer as it is passed back.
pub(super) struct ReplyHead {
    pub(super) bytes: Vec<u8>,
    pub(super) is_chunked: bool,
    pub(super) keep_alive: bool,
}

impl ReplyHead {
    /// The end of the body is known by its length, or else by the last chunk, or where the client reads no chunks by the
    /// end of the connection.
    pub(super) fn of(reply: &Response<Body>, request: &WireRequest) -> Self {
        let (status, headers) = (reply.status().as_u16(), reply.headers());
        let is_bodyless = request.method == "HEAD" || matches!(status, 204 | 304);
        let length = match is_bodyless {
            true => headers.get(header::CONTENT_LENGTH).cloned(),
            false => reply.body().content_length().map(HeaderValue::from),
        };
        let has_end = is_bodyless || length.is_some();
        let is_chunked = !has_end && request.is_http_11;
        let keep_alive = request.keep_alive && (has_end || is_chunked);
        let mut bytes = format!("HTTP/1.1 {status} \r\n").into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        for (name, value) in &travelling(headers) {
            line(name.as_str(), value.as_bytes());
        }
        if let Some(length) = length {
            line("content-length", length.as_bytes());
        }
        if is_chunked {
            line("transfer-encoding", b"chunked");
        }
        if !keep_alive {
            line("connection", b"close");
        }
        bytes.extend(b"\r\n");
        ReplyHead {
            bytes,
            is_chunked,
            keep_alive,
        }
    }
}

/// Whether the client called this machine by a name of its own. No browser leaves the name out.
pub(super) fn names_loopback(request: &WireRequest) -> bool {
    let host = request.header("host").map(str::parse::<Authority>);
    host.is_none_or(|host| host.is_ok_and(|host| is_loopback(host.host())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ApiKind, ExtraHeader, Key, Params};
    use std::time::Instant;

    /// What is sent on to this address.
    fn sent(base_url: &str, request: &WireRequest, client: &Client) -> Request<()> {
        Upstream::new(base_url).request(request, client).unwrap()
    }

    fn client(key: Option<&str>) -> Client {
        let key = key.and_then(Key::new);
        Client::new(ApiKind::Chat.api(), None, key.as_ref(), Params::default())
    }

    fn request(path: &str, headers: &[(&str, &str)]) -> WireRequest {
        let headers = headers.iter();
        WireRequest {
            method: "POST".into(),
            path: path.into(),
            headers: headers
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect(),
            body: Vec::new(),
            arrived: Instant::now(),
            keep_alive: true,
            is_http_11: true,
        }
    }

    #[test]
    fn a_path_follows_the_address_of_the_api_whose_version_the_client_names() {
        let table = [
            ("https://h/v1", "/v1", "https://h/v1/chat"),
            ("https://h/v1/", "/v1", "https://h/v1/chat"),
            ("https://h/api/v1beta", "/v1beta", "https://h/api/v1/chat"),
            ("http://h:1", "", "http://h:1/v1/chat"),
            ("https://h/x/deploy", "", "https://h/x/deploy/v1/chat"),
            (
                "https://h/d?api-version=1",
                "",
                "https://h/d/v1/chat?api-version=1",
            ),
            ("https://v2", "", "https://v2/v1/chat"),
        ];
        for (base_url, version, address) in table {
            let sent = sent(base_url, &request("/v1/chat", &[]), &client(None));
            let is = (Upstream::new(base_url).version, sent.uri().to_string());
            assert_eq!(is, (version.to_owned(), address.to_owned()));
        }
    }

    #[test]
    fn what_concerns_one_connection_stays_and_a_secret_replaces_the_clients() {
        let came = [
            ("host", "127.0.0.1"),
            ("connection", "close, X-Odd"),
            ("connection", "x-second"),
            ("x-odd", "1"),
            ("x-second", "2"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer client"),
            ("x-paceline-priority", "batch"),
            ("openai-organization", "o"),
            ("cookie", "a"),
            ("cookie", "b"),
        ];
        let extra = [ExtraHeader::new("cookie", "c", true).unwrap()];
        let client = client(Some("ours")).with_headers(&extra);
        let sent = sent("https://h", &request("/", &came), &client);
        let sent = sent
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut sent: Vec<_> = sent.collect();
        sent.sort();
        assert_eq!(
            sent,
            [
                "authorization: Bearer ours",
                "cookie: c",
                "openai-organization: o"
            ]
        );
    }

    #[test]
    fn an_answers_own_framing_replaces_the_servers() {
        let head = |body: Body, change: fn(&mut WireRequest)| {
            let mut request = request("/", &[]);
            change(&mut request);
            let reply = Response::builder()
                .header("transfer-encoding", "chunked")
                .header("content-length", "7")
                .header("x-request-id", HeaderValue::from_bytes(b"caf\xe9").unwrap());
            let head = ReplyHead::of(&reply.body(body).unwrap(), &request);
            let text = String::from_utf8_lossy(&head.bytes).into_owned();
            let common = "HTTP/1.1 200 \r\nx-request-id: caf\u{fffd}\r\n";
            text.strip_prefix(common).unwrap().to_owned()
        };
        let sized = || Body::builder().data("abc");
        let endless = || Body::builder().reader(std::io::empty());
        let to_head = |request: &mut WireRequest| request.method = "HEAD".into();
        let to_old = |request: &mut WireRequest| request.is_http_11 = false;
        assert_eq!(head(sized(), |_| ()), "content-length: 3\r\n\r\n");
        assert_eq!(head(endless(), to_head), "content-length: 7\r\n\r\n");
        let chunked = "transfer-encoding: chunked\r\n";
        assert_eq!(head(endless(), |_| ()), format!("{chunked}\r\n"));
        let last = |request: &mut WireRequest| request.keep_alive = false;
        let closed = "connection: close\r\n\r\n";
        assert_eq!(head(endless(), last), format!("{chunked}{closed}"));
        assert_eq!(head(endless(), to_old), closed);
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["127.0.0.1:8322", "localhost", "LOCALHOST:1", "[::1]:8322"] {
            assert!(names_loopback(&request("/", &[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "evil@h",
            "localhost:80:80",
            "127.0.0.1.evil.example:80",
            "10.0.0.1",
        ] {
            assert!(!names_loopback(&request("/", &[("host", host)])), "{host}");
        }
    }
}
