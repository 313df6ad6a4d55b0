//! What of a request is sent on, and what of the answer is passed back: everything but what concerns one connection.

use std::net::IpAddr;

use ureq::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ureq::http::{Request, Uri};

use super::keys::KEY_HEADERS;
use crate::api::ExtraHeader;
use crate::practice::wire::WireRequest;

/// The headers that concern one connection (RFC 9110, section 7.6.1), or that the gate sets itself.
const OF_ONE_CONNECTION: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where the calls go.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The address before the path of a request.
    base: String,
    /// What the base URL of a client must end with, as in `/v1`: the API's own address ends with it.
    version: String,
    /// The query of the API's address.
    query: Option<String>,
}

impl Upstream {
    /// Reads the address of an API.
    pub(super) fn new(base_url: &str) -> Result<Self, String> {
        let (base, query) = match base_url.split_once('?') {
            Some((base, query)) => (base, Some(query.to_owned())),
            None => (base_url, None),
        };
        let base = base.trim_end_matches('/');
        let uri: Uri = base
            .parse()
            .map_err(|error| format!("the address {base} is wrong: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(format!(
                "the address {base} does not begin with http:// or https://"
            ));
        }
        let last = base.rfind('/').unwrap_or(base.len());
        let is_version = uri.path() != "/"
            && base[last..]
                .strip_prefix("/v")
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        let (base, version) = match is_version {
            true => base.split_at(last),
            false => (base, ""),
        };
        Ok(Upstream {
            base: base.to_owned(),
            version: version.to_owned(),
            query,
        })
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The request as it is sent on, without its body. `key` replaces the client's,
    /// `extra` what it sent under these names.
    pub(super) fn request(
        &self,
        request: &WireRequest,
        key: Option<&(String, String)>,
        extra: &[ExtraHeader],
        no_compression: bool,
    ) -> Result<Request<()>, String> {
        let mut address = format!("{}{}", self.base, request.path);
        if let Some(query) = self.query.as_ref().filter(|_| !request.path.contains('?')) {
            address += &format!("?{query}");
        }
        let mut headers = kept(&request.headers, request.header("connection"));
        if let Some((name, value)) = key {
            for name in KEY_HEADERS {
                headers.remove(name); // it may be the gate's token
            }
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        for header in extra {
            let (name, value) = header.parts();
            headers.insert(name, value);
        }
        if no_compression {
            headers.remove(header::ACCEPT_ENCODING);
        }
        let builder = Request::builder()
            .method(request.method.as_str())
            .uri(address);
        let mut sent = builder.body(()).map_err(|error| error.to_string())?;
        *sent.headers_mut() = headers;
        Ok(sent)
    }
}

/// The headers that travel on.
fn kept(headers: &[(String, Vec<u8>)], connection: Option<&str>) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        let is_kept = travels(name, connection) && !name.starts_with("x-paceline-");
        if let (true, Ok(name), Ok(value)) = (
            is_kept,
            HeaderName::try_from(name),
            HeaderValue::from_bytes(value),
        ) {
            kept.append(name, value);
        }
    }
    kept
}

/// Whether a header concerns more than one connection. `connection` is that header's value: it may name others.
fn travels(name: &str, connection: Option<&str>) -> bool {
    let named = connection.unwrap_or_default().split(',');
    !OF_ONE_CONNECTION.contains(&name)
        && !named
            .into_iter()
            .any(|other| other.trim().eq_ignore_ascii_case(name))
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Nothing,
    /// By its length, as the server stated it.
    Length(u64),
    /// By its last chunk.
    Chunks,
    /// By the end of the connection.
    Close,
}

/// The head of an answer as it is passed back.
pub(super) fn reply_head(
    status: u16,
    headers: &HeaderMap,
    framing: Framing,
    keep_alive: bool,
) -> Vec<u8> {
    let connection = headers
        .get(header::CONNECTION)
        .and_then(|value| value.to_str().ok());
    let mut head = format!("HTTP/1.1 {status} \r\n").into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    for (name, value) in headers {
        if travels(name.as_str(), connection) {
            line(name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Length(length) => line("content-length", length.to_string().as_bytes()),
        Framing::Chunks => line("transfer-encoding", b"chunked"),
        Framing::Nothing | Framing::Close => {}
    }
    if !keep_alive {
        line("connection", b"close");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Whether the client called this machine by a name that no web page can choose.
pub(super) fn is_loopback_host(request: &WireRequest) -> bool {
    let Some(host) = request.header("host") else {
        return true; // no browser leaves it out
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

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
            let origin = Upstream::new(base_url).unwrap();
            let sent = origin
                .request(&request("/v1/chat", &[]), None, &[], false)
                .unwrap();
            assert_eq!(
                (origin.version(), sent.uri().to_string().as_str()),
                (version, address)
            );
        }
        for wrong in ["", "h", "ftp://h/v1", "http://"] {
            assert!(Upstream::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_concerns_one_connection_stays_and_a_secret_replaces_the_clients() {
        let came = [
            ("host", "127.0.0.1"),
            ("connection", "close, X-Odd"),
            ("x-odd", "1"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer client"),
            ("x-paceline-priority", "batch"),
            ("openai-organization", "o"),
            ("cookie", "a"),
            ("cookie", "b"),
        ];
        let key = ("authorization".to_owned(), "Bearer ours".to_owned());
        let extra = [ExtraHeader::new("cookie", "c", true).unwrap()];
        let origin = Upstream::new("https://h").unwrap();
        let sent = origin
            .request(&request("/", &came), Some(&key), &extra, false)
            .unwrap();
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
        let mut headers = HeaderMap::new();
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.insert("x-request-id", HeaderValue::from_bytes(b"caf\xe9").unwrap());
        let head = |framing, keep_alive| reply_head(200, &headers, framing, keep_alive);
        assert_eq!(
            head(Framing::Length(3), true),
            b"HTTP/1.1 200 \r\nx-request-id: caf\xe9\r\ncontent-length: 3\r\n\r\n"
        );
        assert_eq!(
            head(Framing::Chunks, false),
            b"HTTP/1.1 200 \r\nx-request-id: caf\xe9\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["127.0.0.1:8322", "localhost", "LOCALHOST:1", "[::1]:8322"] {
            assert!(is_loopback_host(&request("/", &[("host", host)])), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1"] {
            assert!(
                !is_loopback_host(&request("/", &[("host", host)])),
                "{host}"
            );
        }
    }
}
