//! The practice server: a rate-limited server to try a batch on, without a key and without a network.
//!
//! It speaks the APIs of OpenAI, Anthropic and Google with each provider's errors and headers, keeps to real limits, and
//! misbehaves on request, the same way for the same seed. Its answers are prose that nobody can mistake for a model's.
//! It uses blocking threads: one accepts, and each connection has its own. The feature `practice` has it without the
//! command line, for tests of other programs.
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//!
//! use paceline::practice::{Reply, Server};
//!
//! let server = Server::start()?;
//! server.next(Reply::rate_limited(Duration::from_secs(1)));
//! server.next(Reply::ok_text("Because of the air."));
//!
//! // The client under test: it retries a 429, once.
//! let ask = || {
//!     ureq::post(format!("{}/v1/chat/completions", server.url()))
//!         .config().http_status_as_error(false).build()
//!         .header("content-type", "application/json")
//!         .send(r#"{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}]}"#)
//! };
//! let mut response = ask()?;
//! if response.status() == 429 {
//!     assert_eq!(response.headers()["retry-after"], "1"); // a real client waits this long
//!     response = ask()?;
//! }
//! assert!(response.body_mut().read_to_string()?.contains("Because of the air."));
//!
//! let requests = server.requests();
//! assert_eq!(requests.len(), 2);
//! assert_eq!(requests[0].headers["content-type"], "application/json");
//! assert!(requests[1].body.contains("Why is the sky blue?"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apis;
#[cfg(feature = "cli")]
mod args;
mod arrival;
mod batches;
pub(crate) mod connections;
mod errors;
mod faults;
mod limits;
mod prose;
mod script;
mod service;
mod stats;
mod stream;
pub(crate) mod wire;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "cli")]
pub(crate) use {apis::MODEL, limits::Admission};

#[cfg(feature = "cli")]
use crate::values::{duration, fraction};

pub use self::{
    faults::{Faults, Latency, Outage},
    limits::Limits,
    script::{ReceivedRequest, Reply},
    stats::ServerStats,
};
use connections::Running;
use service::Service;

/// What the server is like: plain data.
///
/// # Default
/// Any free port of the loopback, no limits, answers at once, no faults, states its limits, no cache, seed 0.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct ServerOptions {
    /// Where to listen; port 0 takes a free one.
    #[cfg_attr(feature = "cli", arg(skip = (Ipv4Addr::LOCALHOST, 0)))]
    pub addr: SocketAddr,
    /// The seed of everything random
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "0"))]
    pub seed: u64,
    /// How long an answer takes
    ///
    /// It reads 400ms, 100ms..2s, or lognormal:MEDIAN,SIGMA.
    #[cfg_attr(
        feature = "cli",
        arg(long, value_name = "TIME", default_value = "400ms")
    )]
    pub latency: Latency,
    /// Keep this part of each prompt in a cache
    ///
    /// The first call writes it, later ones read it.
    #[cfg_attr(feature = "cli", arg(long, value_name = "FRACTION", default_value = "0", value_parser = fraction))]
    pub cached: f64,
    /// How long a batch takes at the batch endpoints
    #[cfg_attr(feature = "cli", arg(long, value_name = "DUR", default_value = "10s", value_parser = duration))]
    pub batch_time: Duration,
    /// What each key may do.
    #[cfg_attr(feature = "cli", command(flatten, next_help_heading = "Limits"))]
    pub limits: Limits,
    /// Whether it states its limits, in `retry-after` and `x-ratelimit-*`. Some gateways do not.
    #[cfg_attr(feature = "cli", arg(long = "no-hints", action = clap::ArgAction::SetFalse))]
    #[cfg_attr(feature = "cli", arg(help_heading = "Limits", help = NO_HINTS, long_help = NO_HINTS))]
    pub hints: bool,
    /// How it misbehaves.
    #[cfg_attr(feature = "cli", command(flatten, next_help_heading = "Faults"))]
    pub faults: Faults,
}

#[cfg(feature = "cli")]
const NO_HINTS: &str = "Send 429s without a Retry-After, and no limits in the headers";

impl Default for ServerOptions {
    fn default() -> Self {
        ServerOptions {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            limits: Limits::default(),
            latency: Latency::default(),
            faults: Faults::default(),
            hints: true,
            cached: 0.0,
            batch_time: Duration::ZERO,
            seed: 0,
        }
    }
}

/// A server that runs until it is dropped: then it closes its connections and joins its threads.
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    running: Running,
}

impl Server {
    /// Starts a server without limits on a free port of the loopback.
    ///
    /// # Errors
    /// If there is no port or no thread for it.
    pub fn start() -> io::Result<Self> {
        Server::start_with(ServerOptions::default())
    }

    /// Starts a server with these options.
    ///
    /// # Errors
    /// If the address is in use, or there is no thread for it.
    pub fn start_with(options: ServerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(options.addr)?;
        arrival::stamp(&listener)?;
        let service = Arc::new(Service::new(options));
        let running = Running::start(listener, &service.connections, service.clone())?;
        Ok(Server { service, running })
    }

    /// The server's URL without a path: `http://127.0.0.1:41234`.
    #[must_use]
    pub fn url(&self) -> String {
        self.running.url()
    }

    /// The URL for `--base-url`, for any API: [`url`](Server::url) and `/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.url())
    }

    /// Answers a request to come with this reply. Replies are used in the order in which they were added, one for a
    /// request, whatever its path and its key; limits and faults do not apply to them.
    pub fn next(&self, reply: Reply) {
        self.service.state.lock().script.push_back(reply);
    }

    /// The requests so far, in the order in which they were read, without those for `/health` and `/stats`. It keeps
    /// the last 1,000, and fewer where their bodies exceed 16 MiB.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.service.state.lock().received.to_vec()
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.service.state.lock().stats.stats()
    }

    /// Waits until no client is connected. Everything that clients sent before they closed their connections, or were
    /// killed, has been seen by then.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub fn settle(&self) -> io::Result<()> {
        // Connections are accepted in order: once this one is answered, all earlier ones have their threads.
        let mut last = TcpStream::connect(self.running.addr)?;
        last.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")?;
        last.read_to_end(&mut Vec::new())?;
        self.service.connections.wait_until_none_is_open();
        Ok(())
    }

    /// Serves for ever.
    #[cfg(feature = "cli")]
    pub(crate) fn join(self) {
        self.running.join();
    }
}
