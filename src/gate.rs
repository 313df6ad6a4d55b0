//! The gate: a local front door to an API, at which the calls of other programs wait for their permits.
//!
//! A program calls the gate in place of the API and needs no change. Its call waits in line, leaves at the rate that the
//! API allows, and comes back byte for byte, streams as they come. A 429 does not reach the program: the key pauses, and
//! the call is made again. The gate has blocking threads, one for each connection from a bounded number, on the server
//! that the practice server uses, and grants permits from the limiters that a batch uses.

mod call;
mod headers;
mod keys;
mod record;
mod stats;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use crate::api::{Ask, Client, Key};
use crate::batch::TokenMeter;
use crate::cancel::CancelToken;
use crate::hints::Hints;
use crate::pacing::{CallLimiter, CallReport, KeyLimits, PermitOutcome, RateLimit};
use crate::practice::connections::{ClientPatience, Connections, Serve};
use crate::practice::wire::{WireReply, WireRequest};
use crate::retry::Retry;

use call::GateCall;
use headers::Upstream;
use keys::GateKeys;
pub(crate) use record::RecordFile;
pub(crate) use stats::GateCounts;

/// How the gate works: plain data.
#[derive(Debug)]
pub(crate) struct GateOptions {
    /// What makes the calls: one for each key, or the one that passes on each client's own.
    pub(crate) clients: Vec<Client>,
    /// The address of the API, as for a batch.
    pub(crate) base_url: String,
    /// The limits of each key.
    pub(crate) limits: KeyLimits,
    /// What grants the permits for the gate's keys in place of its own limiter.
    pub(crate) limiter: Option<Arc<dyn CallLimiter>>,
    /// Its `within` bounds the whole of a call, the wait in line included.
    pub(crate) retry: Retry,
    /// Most calls in line.
    pub(crate) max_waiting: usize,
    pub(crate) max_connections: usize,
    /// What clients must send; without it, web pages and names other than loopback's are refused.
    pub(crate) token: Option<Key>,
    pub(crate) record: Option<RecordFile>,
}

/// A gate that is open until it is dropped: then it closes its connections and joins its threads.
#[derive(Debug)]
pub(crate) struct Gate {
    addr: SocketAddr,
    service: Arc<GateService>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads of all connections share.
#[derive(Debug)]
struct GateService {
    options: GateOptions,
    upstream: Upstream,
    keys: GateKeys,
    /// Ends with the gate.
    cancel: CancelToken,
    /// The clients that wait, by the number of their connection, which nobody else uses meanwhile. The token is cancelled
    /// when the client goes away.
    clients: Mutex<HashMap<u64, (TcpStream, CancelToken)>>,
    counts: Mutex<GateCounts>,
    /// What a call costs, if tokens are limited.
    tokens: Mutex<TokenMeter>,
    connections: Connections,
}

impl Gate {
    /// Opens the gate at this address.
    ///
    /// # Errors
    /// If the address is in use, or there is no thread.
    pub(crate) fn open(addr: SocketAddr, options: GateOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let (counting, keys) = (options.clients[0].counting(), options.clients.len());
        let tokens = TokenMeter::new(counting, options.limits.tokens, keys);
        let service = Arc::new(GateService {
            keys: GateKeys::new(&options),
            connections: Connections::new(options.max_connections),
            upstream: Upstream::new(&options.base_url),
            cancel: CancelToken::new(),
            clients: Mutex::default(),
            counts: Mutex::default(),
            tokens: Mutex::new(tokens),
            options,
        });
        let addr = listener.local_addr()?;
        let (accepting, watching) = (service.clone(), service.clone());
        let accept = move || accepting.connections.accept(&listener, &*accepting);
        let watch = move || watching.watch_clients();
        let thread = |name: &str| thread::Builder::new().name(name.into());
        let threads = vec![
            thread("gate").spawn(accept)?,
            thread("gate-clients").spawn(watch)?,
        ];
        Ok(Gate {
            addr,
            service,
            threads,
        })
    }

    /// The address that clients call, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The path that a client's base URL needs: `/v1` where the API's address ends with it.
    pub(crate) fn version(&self) -> &str {
        &self.service.upstream.version
    }

    pub(crate) fn options(&self) -> &GateOptions {
        &self.service.options
    }

    /// Lets nobody in any more, sends those in line away, and returns when no call is on its way.
    pub(crate) fn close(&self) {
        const GLANCE: Duration = Duration::from_millis(50);
        self.service.cancel.cancel();
        while self.service.counts.lock().open() > 0 && !self.service.connections.wait(GLANCE) {}
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> GateCounts {
        self.service.counts()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.service.cancel.cancel();
        self.service.connections.stop(self.addr);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Serve for GateService {
    fn serve(&self, number: u64, stream: &TcpStream) -> io::Result<()> {
        /// How long an idle connection is kept: longer than clients keep theirs, so that they close first.
        const IDLE: Duration = Duration::from_secs(120);
        /// A client that takes longer to send a request, or to read a piece of its answer, is cut off.
        const SLOW: Duration = Duration::from_secs(60);
        stream.set_write_timeout(Some(SLOW))?;
        let patience = ClientPatience {
            idle: IDLE,
            request: SLOW,
        };
        self.each_request(stream, Some(patience), |request| {
            match self.own_reply(&request) {
                Some(reply) => reply.send(stream, request.keep_alive),
                None => GateCall::new(self, &request, stream, number).through(),
            }
        })
    }

    fn refusal(&self, status: u16, reason: &str) -> WireReply {
        self.count(|counts| counts.refused += 1);
        error_reply(status, reason)
    }
}

impl GateService {
    /// The answer to a client that must not call here, or asks for the page of the gate itself.
    fn own_reply(&self, request: &WireRequest) -> Option<WireReply> {
        let passes_keys_on = !self.options.clients[0].has_key();
        let (status, why) = match &self.options.token {
            _ if self.cancel.is_cancelled() => (503, "this gate is being closed"),
            Some(token) if !keys::has_token(request, token, passes_keys_on) => (
                401,
                "this gate wants its token, as `x-paceline-token` or as the API key",
            ),
            None if request.header("origin").is_some() => (
                403,
                "this gate answers no web pages: give it a token with --token-env",
            ),
            None if !headers::names_loopback(request) => (
                403,
                "call this gate as 127.0.0.1 or localhost, or give it a token with --token-env",
            ),
            _ if request.path == "/paceline/stats" => {
                return Some(WireReply::new(200, json!(self.counts()).to_string()));
            }
            _ => return None,
        };
        Some(self.refusal(status, why))
    }

    /// Cancels the calls of clients that have gone, until the gate closes: a thread that waits for a permit cannot read its
    /// connection as well.
    fn watch_clients(&self) {
        /// A place in line that nobody wants is noticed soon, and a thousand clients cost little.
        const PERIOD: Duration = Duration::from_millis(100);
        while !self.connections.wait(PERIOD) {
            for (stream, token) in self.clients.lock().values() {
                if has_gone(stream) {
                    token.cancel();
                }
            }
        }
    }

    /// Whether answers are read, for their tokens or their record.
    fn reads_answers(&self) -> bool {
        self.options.limits.tokens.is_some() || self.options.record.is_some()
    }

    /// A report with the rate that the server states, unless one was given.
    fn report(&self, outcome: PermitOutcome, hints: &Hints) -> CallReport {
        let mut report = CallReport::from(outcome);
        if self.options.limits.rate == RateLimit::Adaptive {
            report.stated = hints.requests.rate();
        }
        report
    }

    /// How long those in line take to leave; `None` if the rate is not known.
    fn time_in_line(&self, waiting: usize) -> Option<Duration> {
        let RateLimit::Fixed(rate) = self.options.limits.rate else {
            return None;
        };
        let each = u32::try_from(waiting / self.options.clients.len()).unwrap_or(u32::MAX);
        Some(rate.interval().saturating_mul(each))
    }
}

/// An error in the shape that the clients of all APIs understand.
fn error_reply(status: u16, message: &str) -> WireReply {
    let error = json!({"type": "paceline_gate", "code": "paceline_gate", "message": message});
    WireReply::new(status, json!({"type": "error", "error": error}).to_string())
}

/// Whether the other side has closed the connection, or only its half of it: a client that waits does neither.
fn has_gone(stream: &TcpStream) -> bool {
    let peeked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    let restored = stream.set_nonblocking(false);
    match peeked {
        Ok(length) => length == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock || restored.is_err(),
    }
}

#[cfg(test)]
mod tests;
