//! An API of your own: a translation service that Paceline does not know, in thirty lines.
//!
//! It has its own header for the key, its own fields, and its own way to say "too fast": status 420
//! with the wait in the body. The client makes the calls; a `Batch` takes it like any other.
//!
//! `cargo run --example own_api`

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{io, thread};

use paceline::api::{Api, Ask, CallError, Class, Client, Completion, Key, Params};
use serde_json::{Value, json};

/// `POST /translate`.
#[derive(Debug)]
struct Translator;

impl Api for Translator {
    fn base_url(&self) -> &str {
        "https://translate.example"
    }

    fn path(&self, _model: &str) -> String {
        "/translate".to_owned()
    }

    fn key_header(&self, key: &Key) -> (String, String) {
        ("x-token".to_owned(), key.expose().to_owned())
    }

    fn body(&self, prompt: &str, params: &Params) -> Value {
        json!({"to": params.model, "words": prompt})
    }

    fn completion(&self, body: &str) -> Option<Completion> {
        let body: Value = serde_json::from_str(body).ok()?;
        Some(Completion {
            text: body["translation"].as_str()?.to_owned(),
            ..Completion::default()
        })
    }

    /// The usual classes, and one more: status 420 means too fast.
    fn failure(&self, status: u16, headers: &[(String, String)], body: &[u8]) -> CallError {
        let mut error = CallError::of_response(status, headers, body);
        if status == 420 {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            error.class = Class::RateLimited;
            error.retry_after = body["wait_ms"].as_u64().map(Duration::from_millis);
        }
        error
    }
}

fn main() {
    let params = Params {
        model: "de".to_owned(),
        ..Params::default()
    };
    let key = Key::new("token-1");
    let client = Client::new(Box::new(Translator), Some(&serve()), key.as_ref(), params);
    let (mut translated, mut too_fast) = (0, 0);
    for word in ["bees", "bread", "bicycles"] {
        let request = client.request(word);
        loop {
            match client.ask(&request) {
                Ok(answer) => {
                    println!("{word}: {}", answer.text);
                    translated += 1;
                    break;
                }
                Err(error) if error.class == Class::RateLimited => {
                    too_fast += 1;
                    thread::sleep(error.retry_after.unwrap_or_default());
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    println!("translated: {translated}");
    println!("too fast: {too_fast}");
}

/// The service: refuses every second call. Returns its address.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback is free");
    let address = listener.local_addr().expect("the listener has an address");
    thread::spawn(move || {
        let mut calls = 0;
        for stream in listener.incoming().flatten() {
            calls += 1;
            let _ = answer(stream, calls % 2 == 0);
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, is_too_fast: bool) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        let mut part = [0; 1024];
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&part[..length]);
    }
    let has_token = request.windows(16).any(|part| part == b"x-token: token-1");
    let (status, body) = match (has_token, is_too_fast) {
        (false, _) => (401, json!({"error": "no token"})),
        (true, true) => (420, json!({"wait_ms": 5})),
        (true, false) => (200, json!({"translation": "…"})),
    };
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
