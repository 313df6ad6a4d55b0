//! The practice server: a rate-limited server to try a batch on, without a key and without a network. It speaks the APIs
//! of OpenAI, Anthropic and Google, each with its maker's manners.
//!
//! It answers with prose that nobody can mistake for a model's, keeps to a real limit, and misbehaves as told, the
//! same way for the same seed. Synchronous: a thread accepts, and each connection has a thread.

mod answer;
mod arrival;
mod dialect;
mod faults;
mod limits;
mod maker;
mod stats;
mod wire;

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{debug, info};
use parking_lot::{Condvar, Mutex};

pub use answer::MODEL;
pub use faults::{Faults, Latency, Outage, ParseLatencyError};
pub use limits::Limits;
pub(crate) use limits::{Admission, Gate};
pub use stats::{Gaps, KeyStats, Stats};

use answer::Question;
use arrival::Stamped;
use dialect::Dialect;
use faults::{Fate, Fault};
use stats::{Ledger, Outcome};
use wire::{Reply, Request};

/// What the server is like: plain data.
///
/// # Default
/// Any free port of the loopback, no limits, answers at once, no faults, says its limits, seed 0.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// What each key may do.
    pub limits: Limits,
    /// How long an answer takes.
    pub latency: Latency,
    /// How it misbehaves.
    pub faults: Faults,
    /// Whether it says its limits: `retry-after`, `x-ratelimit-*`. Some gateways do not.
    pub hints: bool,
    /// For everything that is left to chance.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            limits: Limits::default(),
            latency: Latency::default(),
            faults: Faults::default(),
            hints: true,
            seed: 0,
        }
    }
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    room: Arc<Room>,
    /// Dropped to wake everyone who waits.
    running: Option<Sender<()>>,
    accepting: Option<JoinHandle<()>>,
}

/// What the connections share.
#[derive(Debug)]
struct Room {
    options: Options,
    started: Instant,
    gate: Mutex<Gate>,
    ledger: Mutex<Ledger>,
    /// Closed when the server stops.
    stopped: Receiver<()>,
    connections: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when the last connection is closed.
    deserted: Condvar,
    requests: AtomicU64,
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.addr)?;
        arrival::stamp(&listener)?;
        let addr = listener.local_addr()?;
        let (running, stopped) = bounded(0);
        let started = Instant::now();
        let room = Arc::new(Room {
            gate: Mutex::new(Gate::new(options.limits, started)),
            ledger: Mutex::new(Ledger::new(started)),
            options,
            started,
            stopped,
            connections: Mutex::default(),
            deserted: Condvar::new(),
            requests: AtomicU64::new(0),
        });
        let accepting = thread::Builder::new().name("practice".into()).spawn({
            let room = room.clone();
            move || room.accept(&listener)
        })?;
        Ok(Server {
            addr,
            room,
            running: Some(running),
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What to give to `--base-url`, for any API.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.room.ledger.lock().stats(Instant::now())
    }

    /// Waits until nobody is connected: what clients had sent when they went, or were killed, has been seen by then.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn settle(&self) -> io::Result<()> {
        // Whoever came before this connection has been let in once it is answered.
        let mut last = TcpStream::connect(self.addr)?;
        last.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")?;
        last.read_to_end(&mut Vec::new())?;
        let mut connections = self.room.connections.lock();
        self.room
            .deserted
            .wait_while(&mut connections, |connections| !connections.is_empty());
        Ok(())
    }

    /// Serves for ever.
    pub fn join(mut self) {
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.running = None;
        for connection in self.room.connections.lock().values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // A connection of our own wakes the thread that accepts, and it sees that it is over.
        let _ = TcpStream::connect(self.addr);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What becomes of a connection after a request.
enum Next {
    KeepAlive,
    Close,
}

impl Room {
    /// Waits; true if the server was stopped meanwhile.
    fn wait(&self, duration: Duration) -> bool {
        self.stopped
            .recv_timeout(duration)
            .is_err_and(|error| error.is_disconnected())
    }

    fn is_stopped(&self) -> bool {
        self.stopped
            .try_recv()
            .is_err_and(|error| error.is_disconnected())
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for (number, stream) in (0..).zip(listener.incoming()) {
            if self.is_stopped() {
                return;
            }
            let served = stream.and_then(|stream| self.open(number, stream));
            if let Err(error) = served {
                debug!("a connection could not be opened: {error}");
                let _ = self.wait(Duration::from_millis(10));
            }
        }
    }

    /// Gives a connection its thread.
    fn open(self: &Arc<Self>, number: u64, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        self.connections.lock().insert(number, stream.try_clone()?);
        let room = self.clone();
        let serve = move || {
            if let Err(error) = room.serve(&stream) {
                debug!("connection {number} ended: {error}");
            }
            room.closed(number);
        };
        thread::Builder::new()
            .name(format!("practice-{number}"))
            .stack_size(256 << 10)
            .spawn(serve)?;
        Ok(())
    }

    fn closed(&self, number: u64) {
        let mut connections = self.connections.lock();
        connections.remove(&number);
        if connections.is_empty() {
            self.deserted.notify_all();
        }
    }

    /// A connection's life.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(Stamped::new(stream));
        while !self.is_stopped() {
            let request = match wire::read(&mut reader, stream) {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(()),
                Err(wire::ReadError::Io(error)) => return Err(error),
                Err(wire::ReadError::Bad(status, message)) => {
                    return Reply::error(status, "invalid_request_error", message, None)
                        .send(stream, true);
                }
            };
            if let Next::Close = self.answer(&request, stream)? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request, stream: &TcpStream) -> io::Result<Next> {
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let dialect = Dialect::of(path);
        if let Some(dialect) = dialect.filter(|_| request.method == "POST") {
            return self.call(dialect, request, stream);
        }
        match (request.method.as_str(), path) {
            ("GET", "/v1/models") => Reply::json(200, &answer::models()),
            ("GET", "/health") => Reply::json(200, &serde_json::json!({"status": "ok"})),
            ("GET", "/stats") => Reply::json(
                200,
                &self
                    .ledger
                    .lock()
                    .page(Instant::now(), query == "arrivals=1"),
            ),
            _ if dialect.is_some() || ["/v1/models", "/health", "/stats"].contains(&path) => {
                Reply::error(
                    405,
                    "invalid_request_error",
                    "wrong method",
                    Some("method_not_allowed"),
                )
            }
            _ => Reply::error(
                404,
                "invalid_request_error",
                "there is nothing here",
                Some("not_found"),
            ),
        }
        .send(stream, !request.keep_alive)?;
        Ok(if request.keep_alive {
            Next::KeepAlive
        } else {
            Next::Close
        })
    }

    /// One call of an API: admission, fate, latency, answer.
    fn call(&self, dialect: Dialect, request: &Request, stream: &TcpStream) -> io::Result<Next> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let question = dialect.parse(&request.body, request.has_version);
        let cost = question
            .as_ref()
            .map_or(1, |question| dialect.cost(question, self.options.seed));
        let (key, admission) =
            self.gate
                .lock()
                .admit(&request.authorization, cost, request.arrived);
        let admitted = matches!(admission, Admission::Open);
        let fate =
            self.options
                .faults
                .fate(self.options.seed, number, request.arrived - self.started);
        let fate = if admitted { fate } else { Fate::default() };
        if admitted {
            let latency = self.options.latency.draw(self.options.seed, number);
            self.ledger.lock().entered();
            let stopped = self.wait_out(fate, latency);
            self.gate.lock().leave();
            if stopped {
                return Ok(Next::Close);
            }
        }
        let (mut reply, is_paid) = self.reply(dialect, question, admission, fate, key);
        let outcome = Outcome {
            status: reply.status,
            admitted,
            is_paid,
            fault: fate.fault,
        };
        self.ledger.lock().note(request.arrived, key, outcome);
        let id = dialect.maker().request_id();
        id.into_iter()
            .for_each(|name| reply.header(name, format!("req_{number:012x}")));
        if self.options.hints {
            let left = self.gate.lock().left(key, Instant::now());
            dialect
                .maker()
                .limits(left)
                .into_iter()
                .for_each(|(name, value)| reply.header(name, value));
        }
        debug!(key = key, status = reply.status, fault = fate.fault.map(Fault::name); "practice call");
        self.send(&reply, fate, stream, request.keep_alive)
    }

    /// The latency, or for ever; but a refusal comes at once. True if the server was stopped meanwhile.
    fn wait_out(&self, fate: Fate, latency: Duration) -> bool {
        let wait = match fate.fault {
            Some(Fault::Hang) => Duration::from_secs(3600),
            Some(Fault::Status(429)) => Duration::ZERO,
            _ => latency,
        };
        !wait.is_zero() && self.wait(wait)
    }

    /// What is answered, and whether there was money for it.
    fn reply(
        &self,
        dialect: Dialect,
        question: Result<Question, &str>,
        admission: Admission,
        fate: Fate,
        key: usize,
    ) -> (Reply, bool) {
        let (maker, seed) = (dialect.maker(), self.options.seed);
        let question = match question {
            Ok(question) => question,
            Err(problem) => return (maker.error(400, problem, None), true),
        };
        let reply = match (admission, fate.fault) {
            (Admission::Refused { wait, kind }, _) => maker.refusal(wait, kind, self.options.hints),
            (_, Some(Fault::Status(status))) => maker.trouble(status, self.options.hints),
            (_, Some(Fault::BadJson)) => Reply::text(200, "{\"choices\": [{\"message\": "),
            (_, fault) => {
                let answered = self.gate.lock().answered(key);
                if self.options.faults.is_out_of_money(key, answered) {
                    return (maker.no_money(), false);
                }
                Reply::json(
                    200,
                    &dialect.wrap(&question, seed, fault == Some(Fault::Empty)),
                )
            }
        };
        (reply, true)
    }

    fn send(
        &self,
        reply: &Reply,
        fate: Fate,
        stream: &TcpStream,
        keep_alive: bool,
    ) -> io::Result<Next> {
        match fate.fault {
            Some(Fault::Reset) => {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
                info!("practice: resets a connection");
                return Ok(Next::Close);
            }
            Some(Fault::Truncated) => {
                reply.send_half(stream)?;
                return Ok(Next::Close);
            }
            _ => reply.send(stream, !keep_alive)?,
        }
        Ok(if keep_alive {
            Next::KeepAlive
        } else {
            Next::Close
        })
    }
}
