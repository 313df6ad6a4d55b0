//! The connections of a server: accepts them, gives each a thread from a bounded number, and closes them at the end.
//!
//! What is done with a connection is the server's own affair: the practice server's, the gate's.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{debug, warn};
use parking_lot::{Condvar, Mutex};

use super::arrival::Stamped;
use super::wire::{self, WireReply, WireRequest};

/// What a server does with a connection, in a thread of its own.
pub(crate) trait Serve: Send + Sync {
    /// Answers the requests of a connection, one after the other, until either side ends it.
    fn serve(&self, number: u64, stream: &TcpStream) -> io::Result<()>;

    /// The answer to a client whose request cannot be read, or that gets no thread.
    fn refusal(&self, status: u16, reason: &str) -> WireReply;

    /// What else is done while the server runs, in a thread of its own.
    fn watch(&self) {}

    /// Reads the requests of a connection, one after the other, and has each `answered`, until either side ends it: the
    /// client, or `answered` with false. A client that takes longer than `patience` is cut off.
    fn each_request(
        &self,
        stream: &TcpStream,
        patience: Option<ClientPatience>,
        mut answered: impl FnMut(WireRequest) -> io::Result<bool>,
    ) -> io::Result<()>
    where
        Self: Sized,
    {
        let mut reader = BufReader::new(Stamped::new(stream));
        loop {
            let within = |time| Some(Instant::now() + time);
            reader.get_mut().deadline = patience.and_then(|patience| within(patience.idle));
            if reader.fill_buf()?.is_empty() {
                return Ok(());
            }
            reader.get_mut().deadline = patience.and_then(|patience| within(patience.request));
            let request = match wire::read(&mut reader, stream) {
                Ok(request) => request,
                Err(error) => {
                    // A wrong request gets an answer that says what is wrong.
                    let Some(status) = wire::blame(&error) else {
                        return Err(error);
                    };
                    let refusal = self.refusal(status, &error.to_string());
                    return refusal.send(stream, false).map(drop);
                }
            };
            if !answered(request)? {
                return Ok(());
            }
        }
    }
}

/// How long a server waits for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientPatience {
    /// For the next request to begin.
    pub(crate) idle: Duration,
    /// For a request that has begun to come whole.
    pub(crate) request: Duration,
}

/// A server that runs until it is dropped: then it closes its connections and joins its threads.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    connections: Arc<Connections>,
    accepting: Option<JoinHandle<()>>,
}

impl Running {
    /// Has a server answer the connections of this listener, in threads.
    ///
    /// # Errors
    /// If there is no thread.
    pub(crate) fn start(
        listener: TcpListener,
        connections: &Arc<Connections>,
        server: Arc<dyn Serve>,
    ) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let connections = connections.clone();
        let own = connections.clone();
        let accepting = thread::Builder::new()
            .name("server".into())
            .spawn(move || own.accept(&listener, &*server))?;
        Ok(Running {
            addr,
            connections,
            accepting: Some(accepting),
        })
    }

    /// Its URL without a path: `http://127.0.0.1:41234`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Serves for ever.
    #[cfg(feature = "cli")]
    pub(crate) fn join(mut self) {
        self.accepting.take().map(JoinHandle::join);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.connections.stop(self.addr);
        self.accepting.take().map(JoinHandle::join); // it joins the connections' threads
    }
}

/// The open connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Dropped when the server stops, which ends every wait.
    running: Mutex<Option<Sender<()>>>,
    pub(super) stopped: Receiver<()>,
    /// Most connections at once; another gets a 503.
    most: usize,
    /// Bytes of stack for a connection's thread.
    stack_size: usize,
    open: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when the last connection is closed.
    none_open: Condvar,
}

impl Connections {
    /// No connection yet, and `most` at once.
    pub(crate) fn new(most: usize) -> Self {
        let (running, stopped) = bounded(0);
        Connections {
            running: Mutex::new(Some(running)),
            stopped,
            most,
            stack_size: 256 << 10, // enough for JSON as deep as serde_json reads it: 128 levels
            open: Mutex::default(),
            none_open: Condvar::new(),
        }
    }

    /// Waits; true if the server was stopped meanwhile.
    pub(crate) fn wait(&self, duration: Duration) -> bool {
        self.stopped.recv_timeout(duration) == Err(RecvTimeoutError::Disconnected)
    }

    /// Accepts connections until the server stops, and joins their threads.
    pub(crate) fn accept(&self, listener: &TcpListener, server: &dyn Serve) {
        thread::scope(|scope| {
            scope.spawn(|| server.watch());
            for (number, stream) in (0..).zip(listener.incoming()) {
                if self.wait(Duration::ZERO) {
                    return;
                }
                let opened = stream.and_then(|stream| self.open(number, stream, server, scope));
                if let Err(error) = opened {
                    warn!("cannot serve a connection: {error}");
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
        server: &'scope dyn Serve,
        scope: &'scope Scope<'scope, '_>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if self.open.lock().len() >= self.most {
            let refusal = server.refusal(503, "too many connections");
            return refusal.send(&stream, false).map(drop);
        }
        let mut open = self.open.lock();
        if self.wait(Duration::ZERO) {
            return Ok(()); // stopped meanwhile: nobody would close this connection
        }
        open.insert(number, stream.try_clone()?);
        drop(open);
        let serve = move || {
            if let Err(error) = server.serve(number, &stream) {
                debug!("connection {number} ended: {error}");
            }
            drop(self.close(number));
        };
        let thread = thread::Builder::new().name(format!("connection-{number}"));
        let thread = thread.stack_size(self.stack_size);
        let spawned = thread.spawn_scoped(scope, serve);
        if let Err(error) = &spawned
            && let Some(stream) = self.close(number)
        {
            let refusal = server.refusal(503, &error.to_string());
            refusal.send(&stream, false)?;
        }
        spawned.map(drop)
    }

    fn close(&self, number: u64) -> Option<TcpStream> {
        let mut open = self.open.lock();
        let stream = open.remove(&number);
        if open.is_empty() {
            self.none_open.notify_all();
        }
        stream
    }

    /// Whether the client of a connection has closed it, or only its half of it: one that waits does neither. Only while
    /// nobody reads from it or writes to it.
    #[cfg(feature = "cli")]
    pub(crate) fn has_gone(&self, number: u64) -> bool {
        let open = self.open.lock();
        let has_gone = |stream: &TcpStream| {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            peeked
        };
        match open.get(&number).map(has_gone) {
            Some(Ok(length)) => length == 0,
            Some(Err(error)) => error.kind() != io::ErrorKind::WouldBlock,
            None => true,
        }
    }

    /// Ends every wait, closes all connections, whose threads end then, and accepts no more at this address.
    fn stop(&self, addr: SocketAddr) {
        *self.running.lock() = None;
        for stream in self.open.lock().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // A connection of our own wakes the accepting thread.
        let _ = TcpStream::connect(addr);
    }

    pub(crate) fn wait_until_none_is_open(&self) {
        let mut open = self.open.lock();
        self.none_open
            .wait_while(&mut open, |open| !open.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Reads until the connection is closed.
    struct Reads;

    impl Serve for Reads {
        fn serve(&self, _: u64, mut stream: &TcpStream) -> io::Result<()> {
            io::copy(&mut stream, &mut io::sink()).map(drop)
        }

        fn refusal(&self, status: u16, reason: &str) -> WireReply {
            WireReply::new(status, reason)
        }
    }

    /// What a client is told whose connection is opened.
    fn told(connections: &Connections) -> (bool, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let opened = thread::scope(|scope| connections.open(0, stream, &Reads, scope).is_ok());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap(); // returns only when the connection is closed
        (opened, answer)
    }

    #[test]
    fn a_connection_that_gets_no_thread_is_answered_with_an_error_and_closed() {
        let mut connections = Connections::new(10);
        connections.stack_size = 1 << 60; // no system has so much room for a thread
        let (opened, answer) = told(&connections);
        assert!(!opened && answer.starts_with("HTTP/1.1 503 "), "{answer}");
        connections.wait_until_none_is_open();
    }

    #[test]
    fn a_connection_that_comes_while_the_server_stops_is_closed() {
        let connections = Connections::new(10);
        *connections.running.lock() = None;
        assert_eq!(told(&connections), (true, String::new()));
    }

    #[test]
    fn one_connection_too_many_is_told_so() {
        let (_, answer) = told(&Connections::new(0));
        assert!(answer.contains("too many connections"), "{answer}");
    }
}
