//! The wire, from end to end: calls that may have been billed, headers and secrets, and proxies. What each response
//! means for its prompt is tested with the client, in `src/api/tests`.

#![cfg(feature = "cli")]

mod billed;
#[path = "../common/mod.rs"]
mod common;
mod headers;
mod proxies;
mod streams;
mod trust;

use std::net::TcpStream;
use std::time::Duration;

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}
