//! The gate between real clients and servers: the practice server, and small ones that say exactly what they send.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::api::{ApiKind, Params};
use crate::batch::RequestSize;
use crate::journal::{Durability, Journal};
use crate::limiter::Rate;
use crate::practice::{Faults, Reply, Server, ServerOptions};

fn open(base_url: &str, change: impl FnOnce(&mut GateOptions)) -> Gate {
    let mut options = GateOptions {
        clients: clients(&[None]),
        base_url: base_url.to_owned(),
        limits: KeyLimits::default(),
        limiter: None,
        retry: Retry::new().retries(2).within(Duration::from_secs(600)),
        max_waiting: 1000,
        max_connections: 1000,
        token: None,
        record: None,
    };
    change(&mut options);
    Gate::open((Ipv4Addr::LOCALHOST, 0).into(), options).unwrap()
}

fn clients(keys: &[Option<&str>]) -> Vec<Client> {
    let client = |key: &Option<&str>| {
        let key = key.and_then(Key::new);
        Client::new(ApiKind::Chat.api(), None, key.as_ref(), Params::default())
    };
    keys.iter().map(client).collect()
}

/// Sends a request as it stands on a connection of its own, and reads all that comes back.
fn exchange(gate: &Gate, request: &str) -> String {
    let mut client = TcpStream::connect(gate.running.addr).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(more: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer client\r\nconnection: close\r\n\
         {more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const QUESTION: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#;

/// A server that answers each connection with `serve`, after it has read the head of a request.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            serve(stream);
        }
    });
    url
}

fn per_minute(calls: u32) -> KeyLimits {
    KeyLimits {
        rate: RateLimit::Fixed(Rate::per_minute(calls)),
        tokens: None,
    }
}

#[test]
fn an_answer_comes_back_with_the_gates_key_and_what_the_client_sent_goes_on() {
    let api = Server::start().unwrap();
    api.next(Reply::new(200, "{\"odd\":  1}\n").header("x-request-id", "req_1"));
    let gate = open(&api.base_url(), |options| {
        options.clients = clients(&[Some("ours")]);
    });
    let answer = exchange(&gate, &post("x-custom: yes\r\n", QUESTION));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("x-request-id: req_1\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n{\"odd\":  1}\n"), "{answer}");
    let sent = &api.requests()[0];
    assert_eq!(
        (sent.path.as_str(), sent.body.as_str()),
        ("/v1/chat/completions", QUESTION)
    );
    assert_eq!(sent.headers["authorization"], "Bearer ours");
    assert_eq!(sent.headers["x-custom"], "yes");
}

#[test]
fn a_clients_own_key_is_passed_on_where_the_gate_has_none() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |_| {});
    assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 "));
    let sent = &api.requests()[0];
    assert_eq!(sent.headers["authorization"], "Bearer client");
}

#[test]
fn a_rate_limit_never_reaches_the_client() {
    let api = Server::start().unwrap();
    api.next(Reply::rate_limited(Duration::from_millis(10)));
    api.next(Reply::new(503, "busy").header("retry-after", "0.01"));
    let gate = open(&api.base_url(), |_| {});
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let counts = gate.counts();
    assert_eq!(
        (counts.calls, counts.rate_limited, counts.answered),
        (3, 2, 1)
    );
}

#[test]
fn a_rate_limit_that_lasts_longer_than_the_client_may_wait_is_a_503_that_says_when() {
    let api = Server::start().unwrap();
    api.next(Reply::rate_limited(Duration::from_secs(120)));
    let gate = open(&api.base_url(), |options| {
        options.retry = options.retry.within(Duration::from_secs(60));
    });
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 120\r\n"), "{answer}");
    assert!(answer.contains("the API limits the rate"), "{answer}");
    assert!(
        gate.counts().paused > Duration::from_secs(100),
        "{:?}",
        gate.counts()
    );
}

#[test]
fn an_error_that_waiting_does_not_cure_passes_as_it_is_and_a_5xx_is_tried_again() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| {
        let backoff = crate::backoff::Backoff::new()
            .base(Duration::ZERO)
            .jitter(crate::Jitter::None);
        options.retry = options.retry.backoff(backoff);
    });
    for (status, body) in [(400, "no"), (401, "bad key"), (404, "{\"a\": 1}")] {
        api.next(Reply::new(status, body));
        let answer = exchange(&gate, &post("", QUESTION));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(body),
            "{answer}"
        );
    }
    assert_eq!(api.requests().len(), 3);
    let no_credit = r#"{"error":{"message":"No credit.","code":"insufficient_quota"}}"#;
    api.next(Reply::new(429, no_credit));
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(
        answer.starts_with("HTTP/1.1 429 "),
        "no pace, no wait: {answer}"
    );
    api.next(Reply::new(500, "once"));
    assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 "));
    for n in 0..3 {
        api.next(Reply::new(502, format!("try {n}")));
    }
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(
        answer.starts_with("HTTP/1.1 502 ") && answer.ends_with("try 2"),
        "{answer}"
    );
    assert_eq!(api.requests().len(), 3 + 1 + 2 + 3);
}

#[test]
fn a_request_that_may_have_been_carried_out_is_not_sent_again() {
    let (came, calls) = mpsc::channel();
    let url = server(move |stream| {
        came.send(()).unwrap();
        drop(stream); // without an answer
    });
    let gate = open(&url, |_| {});
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(calls.try_iter().count(), 1);
}

#[test]
fn a_stream_passes_piece_by_piece() {
    let (go, may_go) = mpsc::channel::<()>();
    let url = server(move |mut stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream
            .write_all(format!("{head}a\r\ndata: one\n\r\n").as_bytes())
            .unwrap();
        may_go.recv().unwrap(); // until the client has the first piece
        stream.write_all(b"a\r\ndata: two\n\r\n0\r\n\r\n").unwrap();
    });
    let gate = open(&url, |_| {});
    let mut client = TcpStream::connect(gate.running.addr).unwrap();
    client.write_all(post("", QUESTION).as_bytes()).unwrap();
    let mut seen = String::new();
    let mut piece = [0; 512];
    while !seen.contains("data: one\n") {
        let length = client.read(&mut piece).unwrap();
        assert!(length > 0, "{seen}");
        seen += std::str::from_utf8(&piece[..length]).unwrap();
    }
    go.send(()).unwrap();
    client.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("transfer-encoding: chunked\r\n"), "{seen}");
    assert!(
        seen.ends_with("a\r\ndata: one\n\r\na\r\ndata: two\n\r\n0\r\n\r\n"),
        "{seen}"
    );
}

#[test]
fn an_answer_that_the_server_breaks_off_has_no_end_for_the_client_either() {
    let url = server(|mut stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .unwrap();
    });
    let gate = open(&url, |_| {});
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(
        answer.contains("content-length: 10\r\n") && answer.ends_with("half"),
        "{answer}"
    );
    assert_eq!(gate.counts().failed, 1);
}

#[test]
fn a_client_that_reads_no_chunks_gets_the_bytes_until_the_end_of_the_connection() {
    let url = server(|mut stream| {
        let chunks =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        stream.write_all(chunks).unwrap();
    });
    let gate = open(&url, |_| {});
    let answer = exchange(&gate, "GET /v1/models HTTP/1.0\r\n\r\n");
    assert!(
        answer.ends_with("connection: close\r\n\r\nhello"),
        "{answer}"
    );
}

#[test]
fn a_client_that_goes_away_while_it_waits_gives_its_place_back() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| options.limits = per_minute(1));
    assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 ")); // the next is due in a minute
    let mut clients: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(gate.running.addr).unwrap())
        .collect();
    for client in &mut clients {
        client.write_all(post("", QUESTION).as_bytes()).unwrap();
    }
    until(|| gate.counts().waiting == 20);
    drop(clients);
    until(|| gate.counts().waiting == 0 && gate.counts().gone == 20);
    assert_eq!(api.requests().len(), 1);
}

/// Looks until it is so: the other side needs some time, and says nothing.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

#[test]
fn the_class_batch_waits_behind_everyone_else() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| options.limits = per_minute(600));
    let call = |name: &str, more: &str| {
        let mut client = TcpStream::connect(gate.running.addr).unwrap();
        let body = QUESTION.replace("Why is the sky blue?", name);
        client.write_all(post(more, &body).as_bytes()).unwrap();
        client
    };
    let mut clients = vec![call("first", "")];
    until(|| gate.counts().calls == 1);
    for (n, (name, more)) in [
        ("b1", "batch"),
        ("b2", "batch"),
        ("n1", "normal"),
        ("n2", ""),
    ]
    .into_iter()
    .enumerate()
    {
        clients.push(call(name, &format!("x-paceline-priority: {more}\r\n")));
        until(|| {
            gate.counts().came == n as u64 + 2
                && gate.counts().waiting + gate.counts().calls as usize == n + 2
        });
    }
    for client in &mut clients {
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    let requests = api.requests();
    let names = ["first", "b1", "b2", "n1", "n2"];
    let order: Vec<_> = requests
        .iter()
        .filter_map(|request| {
            names
                .iter()
                .find(|name| request.body.contains(&format!("\"{name}\"")))
        })
        .collect();
    let place = |name| order.iter().position(|other| **other == name).unwrap();
    assert!(
        place("n1") < place("b2") && place("n2") < place("b2"),
        "{order:?}"
    );
    assert!(
        place("b1") < place("b2") && place("n1") < place("n2"),
        "{order:?}"
    );
}

#[test]
fn a_line_that_is_too_long_is_a_503_that_says_when() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| {
        options.limits = per_minute(1);
        options.max_waiting = 1;
    });
    assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 "));
    let mut waits = TcpStream::connect(gate.running.addr).unwrap();
    waits.write_all(post("", QUESTION).as_bytes()).unwrap();
    until(|| gate.counts().waiting == 1);
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 60\r\n"), "{answer}");
}

#[test]
fn web_pages_and_other_names_are_refused_unless_there_is_a_token() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |_| {});
    let page = exchange(&gate, &post("origin: http://evil.example\r\n", QUESTION));
    assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
    let renamed = exchange(
        &gate,
        &post("", QUESTION).replace("localhost", "evil.example"),
    );
    assert!(renamed.starts_with("HTTP/1.1 403 "), "{renamed}");
    let gate = open(&api.base_url(), |options| {
        options.token = Key::new("secret");
        options.clients = clients(&[Some("ours")]);
    });
    let status = |more: &str| exchange(&gate, &post(more, QUESTION))[9..12].to_owned();
    assert_eq!(status(""), "401");
    assert_eq!(status("x-paceline-token: wrong\r\n"), "401");
    assert_eq!(status("x-paceline-token: secret\r\n"), "200");
    assert_eq!(
        status("x-api-key: secret\r\norigin: http://page.example\r\n"),
        "200"
    );
    let sent = api.requests();
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter()
            .all(|request| !format!("{request:?}").contains("secret")),
        "{sent:?}"
    );
}

#[test]
fn with_several_keys_a_useless_one_is_retired_and_the_last_one_never() {
    let faults = Faults {
        quota: Some((0, Some(0))),
        ..Faults::default()
    };
    let options = ServerOptions {
        faults,
        ..ServerOptions::default()
    };
    let api = Server::start_with(options).unwrap();
    let gate = open(&api.base_url(), |options| {
        options.clients = clients(&[Some("one"), Some("two")]);
    });
    for _ in 0..3 {
        assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(api.requests().len(), 4);
    let gate = open(&api.base_url(), |options| {
        options.clients = clients(&[Some("one")])
    });
    for _ in 0..2 {
        assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 429 "));
    }
}

#[test]
fn a_key_that_fails_for_several_calls_at_once_is_retired_once() {
    let gate = open("http://127.0.0.1:9/v1", |options| {
        options.clients = clients(&["one", "two", "three"].map(Some));
    });
    let keys = &gate.service.keys;
    assert!(keys.retire(0) && keys.retire(0), "two calls with one key");
    assert!(keys.retire(1), "another one is left");
    assert!(!keys.retire(2), "the last one stays");
}

#[test]
fn each_call_has_a_record_without_keys_and_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| {
        let journal = Journal::open(&path, Durability::Never).unwrap().journal;
        options.record = Some(RecordFile::new(journal, 0, false));
    });
    api.next(Reply::rate_limited(Duration::from_millis(10)));
    exchange(&gate, &post("", QUESTION));
    api.next(Reply::error(400));
    exchange(
        &gate,
        &post("", QUESTION).replace("completions", "completions?key=k3y"),
    );
    drop(gate);
    let text = std::fs::read_to_string(path).unwrap();
    let records: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 2);
    let outcomes = |n: usize| {
        let attempts = records[n]["attempts"].as_array().unwrap();
        attempts
            .iter()
            .map(|attempt| attempt["outcome"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(0), ["rate_limited", "answered"]);
    assert_eq!(records[0]["prompt"], "POST /v1/chat/completions");
    assert_eq!(records[0]["finish_reason"], "not_read");
    assert!(
        records[0]["attempts"][1]["usage"]["input"].as_u64() > Some(0),
        "{text}"
    );
    assert_eq!(records[1]["response"]["status_code"], 400);
    assert_eq!(records[1]["text"], serde_json::Value::Null, "it failed");
    assert!(records[1]["error"]["code"].is_string(), "{text}");
    for secret in ["client", "sky", "k3y"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[test]
fn a_streamed_answer_is_recorded_as_the_answer_that_its_parts_make_if_bodies_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.jsonl");
    let part = |text: &str| json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    let usage = json!({"prompt_tokens": 9, "completion_tokens": 3});
    let last = json!({"choices": [], "usage": usage});
    let events = [part("Because "), part("of the air."), last];
    let stream = events.map(|event| format!("data: {event}\n\n")).concat() + "data: [DONE]\n\n";
    let api = Server::start().unwrap();
    api.next(Reply::new(200, stream.as_str()).header("content-type", "text/event-stream"));
    let gate = open(&api.base_url(), |options| {
        let journal = Journal::open(&path, Durability::Never).unwrap().journal;
        options.record = Some(RecordFile::new(journal, 0, true));
    });
    let answer = exchange(&gate, &post("", QUESTION));
    assert!(answer.ends_with(&stream), "{answer}");
    drop(gate);
    let text = std::fs::read_to_string(path).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let message = &record["response"]["body"]["choices"][0]["message"];
    assert_eq!(message["content"], "Because of the air.");
    assert_eq!(record["attempts"][0]["usage"]["input"], 9);
    assert_eq!(record["prompt"], QUESTION);
}

#[test]
fn a_clients_own_key_is_hidden_where_the_server_repeats_it_to_others() {
    let api = Server::start().unwrap();
    let body = r#"{"error": {"message": "key client-key-1234 is too fast", "code": "rate_limit_exceeded"}}"#;
    api.next(Reply::new(429, body).header("retry-after", "900"));
    let gate = open(&api.base_url(), |_| {});
    let request = post("", QUESTION).replace("Bearer client", "Bearer client-key-1234");
    assert!(exchange(&gate, &request).starts_with("HTTP/1.1 503 "));
    let why = gate.counts().paused_because.unwrap();
    assert!(
        why.contains("too fast") && !why.contains("client-key-1234"),
        "{why}"
    );
}

#[test]
fn tokens_are_limited_by_the_usage_that_answers_state() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| {
        options.limits.tokens = NonZeroU32::new(100_000)
    });
    let size = || RequestSize::of(QUESTION.as_bytes());
    let cost = || gate.service.tokens.lock().cost(size);
    let before = cost();
    for _ in 0..3 {
        assert!(exchange(&gate, &post("", QUESTION)).starts_with("HTTP/1.1 200 "));
    }
    assert!(before > 0);
    assert_ne!(before, cost(), "the answers taught nothing");
}

#[test]
fn a_gate_that_closes_sends_the_line_away_and_lets_calls_on_their_way_end() {
    let api = Server::start().unwrap();
    let gate = open(&api.base_url(), |options| options.limits = per_minute(1));
    api.next(Reply::new(200, "late").after(Duration::from_millis(300)));
    let call = || {
        let mut client = TcpStream::connect(gate.running.addr).unwrap();
        client.write_all(post("", QUESTION).as_bytes()).unwrap();
        client
    };
    let mut on_its_way = call();
    until(|| gate.counts().in_flight == 1);
    let mut waits = call();
    until(|| gate.counts().waiting == 1);
    gate.close();
    let (mut answer, mut sent_away) = (String::new(), String::new());
    on_its_way.read_to_string(&mut answer).unwrap();
    waits.read_to_string(&mut sent_away).unwrap();
    assert!(answer.ends_with("late"), "{answer}");
    assert!(
        sent_away.starts_with("HTTP/1.1 503 ") && sent_away.contains("being closed"),
        "{sent_away}"
    );
}
