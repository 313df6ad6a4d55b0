//! The wire, from end to end: what each thing that a server or a network may do to a call means for its prompt.
//!
//! mockito answers where the answer is HTTP. Where it is not, a few lines of TCP do: see [`tcp`], and
//! [`trust`](super::trust) for TLS. Whatever a test asks, [`ask`] looks for the key in all that came of it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::ApiKind::Chat;
use super::super::{Answer, Ask, CallError, Class, Client, Key, Params};
use super::tcp::{self, completion, hear, response};
use crate::Verdict;
use crate::http::{Http, HttpOptions};

const KEY: &str = "sk-test-of-the-wire";
const PATH: &str = "/v1/chat/completions";

pub(super) fn client(base_url: &str, options: &HttpOptions) -> Client {
    let params = Params {
        model: "m".into(),
        ..Params::default()
    };
    Client::over(
        Http::new(options).unwrap(),
        Box::new(Chat),
        Some(base_url),
        Key::new(KEY).as_ref(),
        params,
    )
}

/// Makes one call and sees to it that nothing which could be printed shows the key.
pub(super) fn ask_with(client: &Client) -> Result<Answer, CallError> {
    let result = client.ask(&client.request("Why?"));
    let mut shown = format!("{client:?} {result:?}");
    shown.extend(result.as_ref().err().map(ToString::to_string));
    assert!(!shown.contains(KEY), "the key is shown: {shown}");
    result
}

pub(super) fn ask(base_url: &str) -> Result<Answer, CallError> {
    ask_with(&client(base_url, &HttpOptions::default()))
}

/// What comes of a call that is answered with this status, these headers and this body.
fn answered(status: usize, headers: &[(&str, &str)], body: &str) -> Result<Answer, CallError> {
    let mut server = mockito::Server::new();
    let mut mock = server
        .mock("POST", PATH)
        .with_status(status)
        .with_body(body);
    for (name, value) in headers {
        mock = mock.with_header(*name, value);
    }
    mock.create();
    ask(&server.url())
}

fn refused(status: usize, headers: &[(&str, &str)], body: &str) -> CallError {
    answered(status, headers, body).expect_err("this is no answer")
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

// ---- Answers --------------------------------------------------------------------------------------------------------

#[test]
fn an_answer_comes_with_its_text_its_reason_its_name_and_its_body() {
    let answer = answered(200, &[("x-request-id", "req_1")], &completion("Because.")).unwrap();
    assert_eq!(
        (answer.text.as_str(), answer.finish_reason.as_deref()),
        ("Because.", Some("stop"))
    );
    assert_eq!(
        (answer.status, answer.request_id.as_deref()),
        (200, Some("req_1"))
    );
    assert_eq!(
        answer.body.value()["choices"][0]["message"]["role"],
        "assistant"
    );
}

#[test]
fn the_key_travels_in_its_header_and_the_request_in_the_body() {
    let mut server = mockito::Server::new();
    let mock = server
        .mock("POST", PATH)
        .match_header("authorization", format!("Bearer {KEY}").as_str())
        .match_header("content-type", "application/json")
        .match_body(mockito::Matcher::Json(
            json!({"model": "m", "messages": [{"role": "user", "content": "Why?"}]}),
        ))
        .with_body(completion("Because."))
        .create();
    assert_eq!(ask(&server.url()).unwrap().text, "Because.");
    mock.assert();
}

#[test]
fn long_keys_long_heads_and_much_text_fit() {
    let (key, text) = ("k".repeat(6_000), "Why? ".repeat(100_000));
    let mut server = mockito::Server::new();
    let mock = server
        .mock("POST", PATH)
        .match_header("authorization", format!("Bearer {key}").as_str());
    let mut mock = mock.match_request(|request| request.body().unwrap().len() > 500_000);
    for n in 0..30 {
        mock = mock.with_header(format!("x-{n}"), &"h".repeat(1_000));
    }
    mock.with_body(completion(&text)).create();
    let params = Params {
        model: "m".into(),
        ..Params::default()
    };
    let client = Client::new(
        Box::new(Chat),
        Some(&server.url()),
        Key::new(&key).as_ref(),
        params,
    );
    for _ in 0..3 {
        assert!(client.ask(&client.request(&text)).unwrap().text == text);
    }
}

#[test]
fn without_a_key_there_is_no_such_header() {
    let (tell, told) = mpsc::channel();
    let url = tcp::once(move |mut stream| {
        tell.send(hear(&mut stream).unwrap()).unwrap();
        stream
            .write_all(response("200 OK", &completion("Because.")).as_bytes())
            .unwrap();
    });
    let params = Params::default();
    let client = Client::new(Box::new(Chat), Some(&url), None, params);
    client.ask(&client.request("Why?")).unwrap();
    assert!(
        !told
            .recv()
            .unwrap()
            .to_lowercase()
            .contains("authorization")
    );
}

#[test]
fn a_key_is_hidden_in_an_answer_and_however_it_is_escaped() {
    let escaped = KEY.replace("test", "\\u0074est");
    let body = completion("TEXT").replace("TEXT", &format!("{KEY} {escaped}"));
    let answer = answered(200, &[("x-request-id", KEY)], &body).unwrap();
    assert_eq!(answer.text, "… …");
    let body = format!(r#"{{"error":{{"message":"bad key {escaped}"}}}}"#);
    assert_eq!(refused(400, &[], &body).message, "bad key …");
}

#[test]
fn a_broken_answer_is_read_as_far_as_it_goes() {
    let broken: [&[u8]; 4] = [
        b"Well done \xf0\x9f\x98",
        b"Well done \\ud83d",
        b"Well\ndone",
        b"Well done",
    ];
    for text in broken {
        let (before, after) = (
            &b"\xef\xbb\xbf{\"choices\":[{\"message\":{\"content\":\""[..],
            b"\"},\"logprobs\":NaN}]}",
        );
        let body = [before, text, after].concat();
        let url = tcp::once(move |mut stream| {
            hear(&mut stream);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream
                .write_all(&[head.as_bytes(), &body].concat())
                .unwrap();
        });
        let answer = ask(&url).unwrap();
        assert!(answer.text.starts_with("Well") && answer.body.value()["choices"].is_array());
    }
}

#[test]
fn an_answer_that_is_compressed_unasked_is_read() {
    use flate2::write::{GzEncoder, ZlibEncoder};
    let text = completion("Because.");
    let mut gzip = GzEncoder::new(Vec::new(), Default::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Default::default());
    zlib.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let with_body = |body: &[u8], status| {
        let mut server = mockito::Server::new();
        let mock = server.mock("POST", PATH).with_status(status);
        mock.with_body(body).create();
        ask(&server.url())
    };
    for body in [&gzip, &zlib.finish().unwrap()] {
        assert_eq!(with_body(body, 200).unwrap().text, "Because.");
    }
    assert_fault(
        with_body(&gzip[..gzip.len() - 20], 200),
        "broken_connection",
    );
    let mut refusal = GzEncoder::new(Vec::new(), Default::default());
    refusal.write_all(b"Please try again in 7s.").unwrap();
    let refusal = with_body(&refusal.finish().unwrap(), 429).unwrap_err();
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
}

#[test]
fn a_compressed_body_of_any_size_takes_little_memory() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    gzip.write_all(&vec![b'a'; 4 << 20]).unwrap();
    let mut server = mockito::Server::new();
    let mock = server.mock("POST", PATH);
    mock.with_body(gzip.finish().unwrap()).create();
    let options = HttpOptions {
        body_limit: 1 << 20,
        ..HttpOptions::default()
    };
    let error = ask_with(&client(&server.url(), &options)).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Rejected, "too_large")
    );
}

#[test]
fn a_header_that_is_too_long_is_said_and_not_tried_for_ever() {
    let client = Client::new(
        Box::new(Chat),
        Some("http://127.0.0.1:1"),
        Key::new(&"k".repeat(60_000)).as_ref(),
        Params::default(),
    );
    let error = client.ask(b"{}").unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fatal, "unsendable")
    );
    assert!(
        error
            .message
            .contains("the header authorization is longer than")
    );
}

#[test]
fn a_key_that_the_server_repeats_is_not_shown() {
    let body =
        json!({"error": {"message": format!("Incorrect API key provided: {KEY}."), "code": KEY}});
    let error = refused(401, &[("x-request-id", KEY)], &body.to_string());
    assert_eq!(error.class, Class::Fatal);
    assert!(
        error.message.starts_with("Incorrect API key provided: "),
        "{error}"
    );
    assert_eq!(
        refused(
            302,
            &[("location", &format!("https://else/?key={KEY}"))],
            ""
        )
        .class,
        Class::Fatal
    );
}

#[test]
fn an_idle_connection_that_the_server_has_closed_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, closed) = mpsc::channel();
    thread::spawn(move || {
        for n in 1.. {
            let (mut stream, _) = listener.accept().unwrap();
            hear(&mut stream);
            stream
                .write_all(response("200 OK", &completion(&n.to_string())).as_bytes())
                .unwrap();
            drop(stream);
            tell.send(()).unwrap();
        }
    });
    let client = client(&url, &HttpOptions::default());
    for n in 1..=3 {
        assert_eq!(ask_with(&client).unwrap().text, n.to_string());
        closed.recv().unwrap();
    }
}

// ---- Told to wait ---------------------------------------------------------------------------------------------------

#[test]
fn a_server_that_closes_used_connections_does_so_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                hear(&mut stream);
                let answer = response("200 OK", &completion("Because."));
                stream.write_all(answer.as_bytes()).unwrap();
                hear(&mut stream); // and no answer
            });
        }
    });
    let client = client(&url, &HttpOptions::default());
    let broken = (0..6).filter(|_| ask_with(&client).is_err()).count();
    assert_eq!(broken, 1);
}

#[test]
fn a_429_says_how_long_to_wait_in_seconds_in_milliseconds_or_by_date() {
    let wait = |headers: &[(&str, &str)]| match refused(429, headers, "").verdict() {
        Verdict::RateLimited(wait) => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
    assert_eq!(
        wait(&[("retry-after-ms", "250")]),
        Some(Duration::from_millis(250))
    );
    assert_eq!(
        wait(&[("Retry-After", "7"), ("Retry-After-Ms", "250")]),
        Some(Duration::from_millis(250))
    );
    assert_eq!(wait(&[]), None);
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    let until_then = wait(&[("retry-after", &in_an_hour)]).unwrap();
    assert!(
        (Duration::from_secs(3000)..=Duration::from_secs(3600)).contains(&until_then),
        "{until_then:?}"
    );
}

#[test]
fn a_429_keeps_what_the_server_said() {
    let body = json!({"error": {"message": "Slow down.", "type": "requests", "code": "rate_limit_exceeded"}});
    let error = refused(429, &[("x-request-id", "req_2")], &body.to_string());
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::RateLimited, "rate_limit_exceeded")
    );
    assert_eq!(
        (error.message.as_str(), error.request_id.as_deref()),
        ("Slow down.", Some("req_2"))
    );
    assert_eq!(
        (error.status, error.body.map(|body| body.value())),
        (Some(429), Some(body))
    );
}

#[test]
fn an_exhausted_quota_is_a_429_that_stops_the_batch() {
    for code in [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
    ] {
        let body = json!({"error": {"message": "Pay.", "type": code, "code": code}}).to_string();
        let error = refused(429, &[("retry-after", "1")], &body);
        assert_eq!(
            (error.class, error.verdict()),
            (Class::Fatal, Verdict::Stop),
            "{code}"
        );
    }
}

#[test]
fn a_503_that_says_when_to_come_back_and_every_529_are_no_fault_of_the_prompt() {
    for status in [503, 529] {
        let wait = refused(status, &[("retry-after", "2")], "");
        assert_eq!(
            wait.verdict(),
            Verdict::RateLimited(Some(Duration::from_secs(2))),
            "{status}"
        );
    }
    assert_eq!(refused(529, &[], "").verdict(), Verdict::RateLimited(None));
    let error = refused(503, &[], "");
    assert_eq!(
        (error.class, error.verdict()),
        (Class::Fault, Verdict::Retry)
    );
}

// ---- The other statuses ---------------------------------------------------------------------------------------------

#[test]
fn a_passing_fault_of_the_server_is_tried_again() {
    for status in [408, 409, 425, 500, 502, 504] {
        let error = refused(status, &[], "<html>Bad Gateway</html>");
        assert_eq!(
            (error.class, error.verdict()),
            (Class::Fault, Verdict::Retry),
            "{status}"
        );
        assert_eq!(
            (error.outcome().name(), error.message.as_str()),
            ("server_error", "<html>Bad Gateway</html>")
        );
    }
    let error = refused(500, &[("retry-after", "3")], "");
    assert_eq!(error.verdict(), Verdict::RetryAfter(Duration::from_secs(3)));
}

#[test]
fn a_request_that_the_server_rejects_is_given_up() {
    let body =
        json!({"error": {"message": "Too long.", "code": "context_length_exceeded"}}).to_string();
    for status in [400, 404, 413, 422] {
        let error = refused(status, &[], &body);
        assert_eq!(
            (error.class, error.verdict()),
            (Class::Rejected, Verdict::Stop),
            "{status}"
        );
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("context_length_exceeded", "Too long.")
        );
    }
}

#[test]
fn a_refused_key_stops_the_batch() {
    for status in [401, 403] {
        let error = refused(status, &[], "");
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::Fatal, "key_refused"),
            "{status}"
        );
    }
}

#[test]
fn a_redirect_stops_the_batch_and_the_key_does_not_follow_it() {
    let mut elsewhere = mockito::Server::new();
    let not_asked = elsewhere
        .mock("POST", mockito::Matcher::Any)
        .expect(0)
        .create();
    let not_fetched = elsewhere
        .mock("GET", mockito::Matcher::Any)
        .expect(0)
        .create();
    let target = format!("{}/v2/chat/completions", elsewhere.url());
    for status in [301, 302, 307, 308] {
        let error = refused(status, &[("location", &target)], "");
        assert_eq!(
            (error.class, error.code.as_str()),
            (Class::Fatal, "redirect"),
            "{status}"
        );
        assert!(
            error.message.contains(&target) && error.message.contains("--base-url"),
            "{error}"
        );
    }
    not_asked.assert();
    not_fetched.assert();
}

// ---- A 200 that is no answer ----------------------------------------------------------------------------------------

#[test]
fn a_200_that_is_no_answer_is_a_fault_that_says_what_came() {
    let table = [
        ("", "the answer's body is empty"),
        ("<html>\n<p>Sign in</html>", "<html> <p>Sign in</html>"),
        (r#"{"choices": []}"#, r#"{"choices": []}"#),
        (
            r#"{"choices": [{"message": "#,
            r#"{"choices": [{"message":"#,
        ),
    ];
    for (body, said) in table {
        let error = refused(200, &[], body);
        assert_eq!(
            (error.class, error.outcome().name(), error.status),
            (Class::Fault, "unreadable", Some(200))
        );
        assert!(error.message.contains(said), "{error}");
    }
}

#[test]
fn a_200_that_wraps_a_429_is_a_429() {
    let wrapped =
        |code: Value| json!({"error": {"code": code, "message": "Slow down."}}).to_string();
    for code in [json!(429), json!("429")] {
        let error = refused(200, &[("retry-after", "2")], &wrapped(code));
        assert_eq!(
            error.verdict(),
            Verdict::RateLimited(Some(Duration::from_secs(2)))
        );
        assert_eq!(
            (error.outcome().name(), error.message.as_str()),
            ("rate_limited", "Slow down.")
        );
    }
}

// ---- Broken connections ---------------------------------------------------------------------------------------------

/// What comes of a call that breaks off: a fault that is tried again, under this code.
#[track_caller]
fn assert_fault(result: Result<Answer, CallError>, code: &str) {
    let error = result.expect_err("this is no answer");
    assert_eq!(
        (error.class, error.code.as_str(), error.verdict()),
        (Class::Fault, code, Verdict::Retry),
        "{error}"
    );
    assert_eq!(error.status, None, "{error}");
}

#[test]
fn a_truncated_body_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        let whole = response("200 OK", &completion("Because."));
        stream
            .write_all(&whole.as_bytes()[..whole.len() - 9])
            .unwrap();
    });
    assert_fault(ask(&url), "broken_connection");
}

#[test]
fn a_truncated_chunked_body_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{\"choices\"")
            .unwrap();
    });
    assert_fault(ask(&url), "broken_connection");
}

#[test]
fn a_refusal_whose_explanation_is_cut_is_a_refusal() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        let head = "HTTP/1.1 429 \r\nretry-after: 7\r\ncontent-length: 500\r\n\r\n{\"error";
        let _ = stream.write_all(head.as_bytes());
    });
    let error = ask(&url).unwrap_err();
    assert_eq!(
        error.verdict(),
        Verdict::RateLimited(Some(Duration::from_secs(7)))
    );
    assert!(!error.maybe_billed);
}

#[test]
fn a_connection_that_is_reset_in_the_body_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{\"choices\"")
            .unwrap();
        reset(stream);
    });
    assert_fault(ask(&url), "broken_connection");
}

#[test]
fn a_connection_that_is_reset_before_the_answer_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        reset(stream);
    });
    assert_fault(ask(&url), "broken_connection");
}

#[test]
fn a_connection_that_is_closed_without_a_word_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
    });
    assert_fault(ask(&url), "broken_connection");
}

#[test]
fn what_is_not_http_is_a_fault() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").unwrap();
    });
    let result = ask(&url);
    assert!(result.as_ref().is_err_and(CallError::is_of_another_server));
    assert_fault(result, "not_http");
}

#[test]
fn a_refused_connection_reaches_nobody() {
    let url = tcp::nobody();
    let error = ask(&url).unwrap_err();
    let expected = format!("nothing listens at {url} (connection refused)");
    assert_eq!(error.message, expected);
    assert_fault(Err(error), "no_connection");
}

#[test]
fn a_name_that_does_not_resolve_reaches_nobody() {
    let error = ask("http://nosuchhost.invalid").unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Fault, "no_connection"),
        "{error}"
    );
    let expected = "cannot find the host nosuchhost.invalid (DNS)";
    assert_eq!(error.message, expected);
}

// ---- Too slow, too large --------------------------------------------------------------------------------------------

#[test]
fn a_server_that_never_answers_is_a_time_out() {
    let (alive, dropped) = mpsc::channel::<()>();
    let url = tcp::once(move |mut stream| {
        hear(&mut stream);
        let _ = dropped.recv();
    });
    let options = HttpOptions {
        timeout: Duration::from_millis(100),
        ..HttpOptions::default()
    };
    assert_fault(ask_with(&client(&url, &options)), "timeout");
    drop(alive);
}

#[test]
fn the_time_out_is_for_the_whole_call_however_busy_the_server_looks() {
    let url = tcp::once(|mut stream| {
        hear(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        while stream.write_all(b"1\r\n \r\n").is_ok() {
            thread::yield_now();
        }
    });
    let options = HttpOptions {
        timeout: Duration::from_millis(100),
        body_limit: u64::MAX,
        ..HttpOptions::default()
    };
    assert_fault(ask_with(&client(&url, &options)), "timeout");
}

#[test]
fn a_body_over_the_limit_is_given_up() {
    let body = completion(&"x".repeat(2000));
    let mut server = mockito::Server::new();
    server.mock("POST", PATH).with_body(&body).create();
    let asked = |body_limit| {
        ask_with(&client(
            &server.url(),
            &HttpOptions {
                body_limit,
                ..HttpOptions::default()
            },
        ))
    };
    let error = asked(1000).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Class::Rejected, "too_large")
    );
    assert_eq!(error.message, "the body is larger than 1000 bytes");
    assert_eq!(
        asked(body.len() as u64).unwrap().text.len(),
        2000,
        "the limit itself is allowed"
    );
}

#[test]
fn a_body_that_is_refused_by_its_length_is_not_sent() {
    let url = tcp::once(|mut stream| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            head.push(byte[0]);
        }
        let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).unwrap();
    });
    let client = client(&url, &HttpOptions::default());
    let request = client.request(&"x".repeat(6 << 20));
    let error = client.ask(&request).unwrap_err();
    assert_eq!(
        (error.class, error.status),
        (Class::Rejected, Some(413)),
        "{error}"
    );
}

#[test]
fn a_line_without_an_end_is_given_up() {
    for head in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: ",
    ] {
        let url = tcp::once(move |mut stream| {
            hear(&mut stream);
            stream.write_all(head.as_bytes()).unwrap();
            while stream.write_all(&[b'0'; 4096]).is_ok() {}
        });
        assert_fault(ask(&url), "broken_connection");
    }
}
