//! The practice server as the tests of another program use it: scripted replies, the requests that came, its end.

#![cfg(feature = "practice")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use paceline::practice::{Faults, Limits, Reply, Server, ServerOptions};

const QUESTION: &str = r#"{"model":"m","messages":[{"role":"user","content":"Why?"}]}"#;

/// Posts a question and returns the status, the value of a header and the body.
fn ask(server: &Server, path: &str, header: &str) -> (u16, String, String) {
    ask_with(server, path, header, QUESTION)
}

fn ask_with(server: &Server, path: &str, header: &str, body: &str) -> (u16, String, String) {
    let request = ureq::post(format!("{}{path}", server.url()));
    let request = request.config().http_status_as_error(false).build();
    let mut response = request.header("x-api-key", "k").send(body).unwrap();
    let value = response
        .headers()
        .get(header)
        .map(|value| value.to_str().unwrap().to_owned());
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), value.unwrap_or_default(), body)
}

fn chat(server: &Server) -> (u16, String, String) {
    ask(server, "/v1/chat/completions", "retry-after")
}

#[test]
fn scripted_replies_come_in_order_and_before_the_rules() {
    let faults = Faults {
        error_500: 1.0,
        ..Faults::default()
    };
    let server = Server::start_with(ServerOptions {
        faults,
        ..ServerOptions::default()
    })
    .unwrap();
    server.next(Reply::rate_limited(Duration::from_millis(1500)));
    server.next(Reply::ok_text("Because."));
    let (status, retry_after, body) = chat(&server);
    assert_eq!((status, retry_after.as_str()), (429, "2"), "{body}");
    let (status, _, body) = chat(&server);
    assert!(
        status == 200 && body.contains(r#""content":"Because.""#),
        "{body}"
    );
    assert_eq!(chat(&server).0, 500, "then the rules");
    let stats = server.stats();
    assert_eq!(
        (stats.arrivals, stats.answered, stats.rate_limited),
        (3, 1, 1)
    );
}

#[test]
fn without_flex_capacity_only_calls_of_that_tier_are_refused() {
    let faults = Faults {
        no_flex: 1.0,
        ..Faults::default()
    };
    let server = Server::start_with(ServerOptions {
        faults,
        ..ServerOptions::default()
    })
    .unwrap();
    let flex =
        r#"{"service_tier":"flex","input":"Why?","messages":[{"role":"user","content":"Why?"}]}"#;
    for path in ["/v1/chat/completions", "/v1/responses"] {
        let (status, retry_after, body) = ask_with(&server, path, "retry-after", flex);
        assert!(
            status == 429 && retry_after.is_empty() && body.contains(r#""resource_unavailable""#),
            "{path}: {status} {body}"
        );
    }
    let (status, _, body) = chat(&server);
    assert!(
        status == 200 && body.contains(r#""service_tier":"default""#),
        "{body}"
    );
    let stats = server.stats();
    assert_eq!((stats.faults["no_flex"], stats.rate_limited), (2, 0));
}

#[test]
fn a_scripted_reply_may_be_anything_at_any_path() {
    let server = Server::start().unwrap();
    server.next(Reply::new(418, "short and stout").header("X-Pot", "tea"));
    server.next(Reply::ok_text("pong").header("content-type", "text/plain"));
    let (status, pot, body) = ask(&server, "/brew?milk=1", "x-pot");
    assert_eq!(
        (status, pot.as_str(), body.as_str()),
        (418, "tea", "short and stout")
    );
    let (status, kind, body) = ask(&server, "/ping", "content-type");
    assert_eq!(
        (status, kind.as_str(), body.as_str()),
        (200, "text/plain", "pong")
    );
    assert_eq!(
        ask(&server, "/ping", "").0,
        404,
        "nothing is left in the script"
    );
}

#[test]
fn a_scripted_reply_may_come_late() {
    let server = Server::start().unwrap();
    server.next(Reply::ok_text("late").after(Duration::from_secs(3600)));
    let url = format!("{}/v1/chat/completions", server.url());
    let request = ureq::post(url)
        .config()
        .timeout_global(Some(Duration::from_millis(20)))
        .build();
    assert!(matches!(
        request.send(QUESTION),
        Err(ureq::Error::Timeout(_))
    ));
    assert_eq!(server.requests().len(), 1, "the request has been received");
}

#[test]
fn the_requests_that_came_are_shown() {
    let server = Server::start().unwrap();
    assert_eq!(ask(&server, "/v1/messages?beta=true", "").0, 400);
    assert_eq!(chat(&server).0, 200);
    ureq::get(format!("{}/health", server.url()))
        .call()
        .unwrap();
    let requests = server.requests();
    let paths: Vec<_> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths, ["/v1/messages?beta=true", "/v1/chat/completions"]);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].body.as_str()),
        ("POST", QUESTION)
    );
    assert_eq!(requests[0].headers["x-api-key"], "k");
    assert!(requests[0].arrived <= requests[1].arrived);
}

#[test]
#[should_panic = "a line break in"]
fn a_header_with_a_line_break_is_a_mistake_in_the_test() {
    let _ = Reply::ok_text("").header("a", "b\r\nc: d");
}

#[test]
fn a_dropped_server_closes_its_connections_and_ends_its_threads() {
    let limits = Limits::default();
    let server = Server::start_with(ServerOptions {
        limits,
        ..ServerOptions::default()
    })
    .unwrap();
    server.next(Reply::ok_text("never").after(Duration::from_secs(3600)));
    let addr = server.url()["http://".len()..].to_owned();
    let mut waiting = TcpStream::connect(&addr).unwrap();
    waiting.write_all(b"GET /slow HTTP/1.1\r\n\r\n").unwrap();
    let mut idle = TcpStream::connect(&addr).unwrap();
    while server.requests().is_empty() {
        std::thread::yield_now();
    }
    drop(server);
    let is_over = |read: std::io::Result<usize>| match read {
        Ok(length) => length == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    };
    assert!(is_over(waiting.read(&mut [0])) && is_over(idle.read(&mut [0])));
    assert!(TcpStream::connect(addr).is_err(), "nobody listens any more");
}
