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
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use crate::api::{Ask, Client, Key};
use crate::batch::TokenMeter;
use crate::cancel::CancelToken;
use crate::pacing::{CallLimiter, KeyLimits, RateLimit};
use crate::practice::connections::{ClientPatience, Connections, Running, Serve};
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
    service: Arc<GateService>,
    running: Running,
}

/// What the threads of all connections share.
#[derive(Debug)]
struct GateService {
    options: GateOptions,
    upstream: Upstream,
    keys: GateKeys,
    /// Ends with the gate.
    cancel: CancelToken,
    /// Cancelled when the client goes away: the calls that wait, by the number of their connection, which nobody else uses
    /// meanwhile.
    clients: Mutex<HashMap<u64, CancelToken>>,
    counts: Mutex<GateCounts>,
    /// What a call costs, if tokens are limited.
    tokens: Mutex<TokenMeter>,
    connections: Arc<Connections>,
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
            connections: Connections::new(options.max_connections).into(),
            upstream: Upstream::new(&options.base_url),
            cancel: CancelToken::new(),
            clients: Mutex::default(),
            counts: Mutex::default(),
            tokens: Mutex::new(tokens),
            options,
        });
        let running = Running::start(listener, &service.connections, service.clone())?;
        Ok(Gate { service, running })
    }

    /// The address that clients call, without a path.
    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// The path that a client's base URL needs: `/v1` where the API's address ends with it.
    pub(crate) fn version(&self) -> &str {
        &self.service.upstream.version
    }

    pub(crate) fn options(&self) -> &GateOptions {
        &self.service.options
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> GateCounts {
        self.service.counts()
    }

    /// Lets nobody in any more, sends those in line away, and returns when no call is on its way.
    pub(crate) fn close(&self) {
        const GLANCE: Duration = Duration::from_millis(50);
        self.service.cancel.cancel();
        while self.counts().open() > 0 && !self.service.connections.wait(GLANCE) {}
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.service.cancel.cancel(); // those who wait for a permit
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

    /// Cancels the calls of clients that have gone: a thread that waits for a permit cannot read its connection as well.
    fn watch(&self) {
        /// A place in line that nobody wants is noticed soon, and a thousand clients cost little.
        const PERIOD: Duration = Duration::from_millis(100);
        while !self.connections.wait(PERIOD) {
            for (number, token) in &*self.clients.lock() {
                if self.connections.has_gone(*number) {
                    token.cancel();
                }
            }
        }
    }
}

impl GateService {
    /// The answer to a client that must not call here, or asks for the page of the gate itself.
    fn own_reply(&self, request: &WireRequest) -> Option<WireReply> {
        let waiting = self.keys.waiting();
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
            _ if waiting >= self.options.max_waiting => {
                self.count(|counts| counts.refused += 1);
                let why = "too many calls wait in the gate's line";
                return Some(self.unavailable(why, None, waiting));
            }
            _ => return None,
        };
        Some(self.refusal(status, why))
    }

    /// Whether the rate is the one that the API states, or that is found.
    fn is_adaptive(&self) -> bool {
        self.options.limits.rate == RateLimit::Adaptive
    }

    /// Whether answers are read, for their tokens or their record.
    fn reads_answers(&self) -> bool {
        self.options.limits.tokens.is_some() || self.options.record.is_some()
    }

    /// The answer to a call that could not be made in time; without a `wait`, it tells how long the line takes.
    fn unavailable(&self, why: &str, wait: Option<Duration>, waiting: usize) -> WireReply {
        /// When nothing says how long it takes.
        const USUAL: Duration = Duration::from_secs(30);
        let in_line = (waiting / self.options.clients.len()).max(1);
        let in_line = match self.options.limits.rate {
            RateLimit::Fixed(rate) => rate.interval().saturating_mul(in_line as u32),
            RateLimit::Adaptive => USUAL,
        };
        let seconds = wait.unwrap_or(in_line).as_secs_f64().ceil().max(1.0);
        error_reply(503, why).header("retry-after", seconds)
    }
}

/// An error in the shape that the clients of all APIs understand.
fn error_reply(status: u16, message: &str) -> WireReply {
    let error = json!({"type": "paceline_gate", "code": "paceline_gate", "message": message});
    WireReply::new(status, json!({"type": "error", "error": error}).to_string())
}

#[cfg(test)]
mod tests;
