//! HTTP by hand over TCP: for servers that do what no well-behaved one would.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use serde_json::json;
use socket2::{Domain, Socket, Type};

/// A server that does this to its first connection. Returns its address.
pub(crate) fn once(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let (listener, url) = listen();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    url
}

/// A server that answers each request as told, every connection in a thread of its own. Returns its address.
pub(crate) fn answering(answer: impl Fn(&str) -> String + Clone + Send + 'static) -> String {
    let (listener, url) = listen();
    thread::spawn(move || {
        for mut stream in listener.incoming().map(Result::unwrap) {
            let answer = answer.clone();
            thread::spawn(move || {
                while let Some(request) = hear(&mut stream) {
                    let _ = stream.write_all(answer(&request).as_bytes());
                }
            });
        }
    });
    url
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("http://{address}"))
}

/// An address where nobody listens, and which nobody else is given while the tests run.
pub(crate) fn nobody() -> String {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    format!("http://{address}")
}

/// Reads one request to its end, so that closing the connection afterwards is no reset. `None`: there is no more.
pub(crate) fn hear(stream: &mut impl Read) -> Option<String> {
    let mut heard = Vec::new();
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return None,
            Ok(n) => heard.extend(&some[..n]),
        }
        let text = String::from_utf8_lossy(&heard);
        if is_whole(&text) {
            return Some(text.into_owned());
        }
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_lowercase();
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// A whole response with this status line, such as `200 OK`.
pub(crate) fn response(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The body of an answer with this text.
pub(crate) fn completion(text: &str) -> String {
    json!({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
        .to_string()
}
