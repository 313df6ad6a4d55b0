//! The clients that wait: one that goes away gives its place back.
//!
//! A thread that waits for a permit cannot read its connection as well, so one thread looks at all of them a few times a
//! second. While a client is watched, nobody else uses its connection.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cancel::CancelToken;

/// The clients that are watched, by the number of their connection.
#[derive(Debug, Default)]
pub(super) struct Clients {
    watched: Mutex<HashMap<u64, (TcpStream, CancelToken)>>,
}

/// A client that is watched until this is dropped.
pub(super) struct Watched<'a> {
    clients: &'a Clients,
    number: u64,
    /// Cancelled when the client goes away.
    pub(super) token: CancelToken,
}

impl Clients {
    /// Watches a connection that nobody reads or writes meanwhile. The token is a child of `gate`.
    pub(super) fn watch(
        &self,
        number: u64,
        stream: &TcpStream,
        gate: &CancelToken,
    ) -> io::Result<Watched<'_>> {
        let token = gate.child();
        let entry = (stream.try_clone()?, token.clone());
        self.watched.lock().insert(number, entry);
        Ok(Watched {
            clients: self,
            number,
            token,
        })
    }

    /// Looks for clients that have gone, until `stopped` says so; it waits for the time that it gets.
    pub(super) fn watch_until(&self, stopped: impl Fn(Duration) -> bool) {
        /// A place in line that nobody wants is noticed soon, and a thousand clients cost little.
        const PERIOD: Duration = Duration::from_millis(100);
        while !stopped(PERIOD) {
            for (stream, token) in self.watched.lock().values() {
                if has_gone(stream) {
                    token.cancel();
                }
            }
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.clients.watched.lock().remove(&self.number);
    }
}

/// Whether the other side has closed the connection, or only its half of it: a client that waits does neither.
fn has_gone(stream: &TcpStream) -> bool {
    let peeked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    let restored = stream.set_nonblocking(false);
    match peeked {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock || restored.is_err(),
    }
}
