//! The connections: accepts them, gives each a thread, reads requests and sends what the [`Service`] answers.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, Scope};
use std::time::Duration;

use log::{debug, warn};

use super::apis::Provider;
use super::arrival::Stamped;
use super::errors::Problem;
use super::service::Service;
use super::wire::{self, ReadError};

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
        if spawned.is_err()
            && let Some(stream) = self.close(number)
        {
            let message = "the practice server has no thread for this connection".to_owned();
            let reply = Provider::OpenAi.error(&Problem::Invalid(503, message), false);
            reply.send(&stream, false)?;
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
                Err(ReadError::Io(error)) => return Err(error),
                Err(ReadError::Malformed(status, message)) => {
                    let problem = Problem::Invalid(status, message.to_owned());
                    Provider::OpenAi
                        .error(&problem, false)
                        .send(stream, false)?;
                    return Ok(());
                }
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
