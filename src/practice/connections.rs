//! The connections: accepts them, gives each a thread, reads requests and sends what the [`Service`] answers.

use std::io::{self, BufReader, ErrorKind};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, Scope};
use std::time::Duration;

use log::{debug, warn};

use super::apis::Provider;
use super::arrival::Stamped;
use super::errors::Problem;
use super::service::Service;
use super::wire::{self, WireReply};

impl Service {
    /// Accepts connections until the server stops, and joins their threads.
    pub(super) fn accept(&self, listener: &TcpListener) {
        thread::scope(|scope| {
            for (number, stream) in (0..).zip(listener.incoming()) {
                if self.wait(Duration::ZERO) {
                    return;
                }
                let opened = stream.and_then(|stream| self.open(number, stream, scope));
                if let Err(error) = opened {
                    warn!("practice: cannot serve a connection: {error}");
                    self.wait(Duration::from_millis(10)); // of too many open files, one may be closed
                }
            }
        });
    }

    /// Gives a connection its thread. Without one, it gets an error and is closed.
    fn open<'scope>(
        &'scope self,
        number: u64,
        stream: TcpStream,
        scope: &'scope Scope<'scope, '_>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.connections.lock().insert(number, stream.try_clone()?);
        let serve = move || {
            if let Err(error) = self.serve(&stream) {
                debug!("practice: connection {number} ended: {error}");
            }
            drop(self.close(number));
        };
        let thread = thread::Builder::new().name(format!("practice-{number}"));
        let spawned = thread
            .stack_size(self.stack_size)
            .spawn_scoped(scope, serve);
        if let Err(error) = &spawned
            && let Some(stream) = self.close(number)
        {
            error_reply(503, error).send(&stream, false)?;
        }
        spawned.map(drop)
    }

    fn close(&self, number: u64) -> Option<TcpStream> {
        let mut connections = self.connections.lock();
        let stream = connections.remove(&number);
        if connections.is_empty() {
            self.none_connected.notify_all();
        }
        stream
    }

    /// Closes all connections; their threads end then.
    pub(super) fn shut_down(&self) {
        for stream in self.connections.lock().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn wait_until_none_is_connected(&self) {
        let mut connections = self.connections.lock();
        self.none_connected
            .wait_while(&mut connections, |connections| !connections.is_empty());
    }

    /// Answers the requests of a connection, one after the other.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(Stamped::new(stream));
        while !self.wait(Duration::ZERO) {
            let request = match wire::read(&mut reader, stream) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(error) => return blame(stream, &error),
            };
            let keep_alive = request.keep_alive;
            let Some(reply) = self.answer(request) else {
                return Ok(()); // the server has stopped
            };
            if !reply.send(stream, keep_alive)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Tells a client what is wrong with its request, if that is the error.
fn blame(stream: &TcpStream, error: &io::Error) -> io::Result<()> {
    let status = match error.kind() {
        ErrorKind::InvalidData => 400,
        ErrorKind::FileTooLarge => 413,
        _ => return Ok(()),
    };
    error_reply(status, error).send(stream, false).map(drop)
}

fn error_reply(status: u16, error: &io::Error) -> WireReply {
    Provider::OpenAi.error(&Problem::Invalid(status, error.to_string()), false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::practice::ServerOptions;

    #[test]
    fn a_connection_that_gets_no_thread_is_answered_with_an_error_and_closed() {
        let (_running, stopped) = bounded(0);
        let mut service = Service::new(ServerOptions::default(), stopped);
        service.stack_size = 1 << 60; // no system has so much room for a thread
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        thread::scope(|scope| service.open(0, stream, scope).unwrap_err());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap(); // returns only when the connection is closed
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        service.wait_until_none_is_connected();
    }
}
