//! `paceline learn`: a page to play with the pattern, served on the loopback.
//!
//! The page (`learn/page.html`) has the controls, tells the story and draws; it loads nothing else. Each change asks
//! `GET /run`, and gets every call of one of [`compare`](super::compare)'s strategies, run with real threads on a simulated
//! clock. Connections and HTTP are those of the practice server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::{LearnArgs, Scenario, jitter};
use super::compare::{ServedCall, Strategy};
use super::error::CommandError;
use super::exit::Exit;
use super::logging::tell;
use crate::practice::Latency;
use crate::practice::connections::{ClientPatience, Connections, Serve};
use crate::practice::wire::{WireReply, WireRequest};
use crate::text::millis;

const PAGE: &str = include_str!("learn/page.html");

/// The page is whole, and may ask nobody but this server.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";

/// Connections at once: a browser opens six.
const MOST_CONNECTIONS: usize = 16;

/// After this time a quiet connection is closed; a browser opens another.
const PATIENCE: ClientPatience = ClientPatience {
    idle: Duration::from_secs(60),
    request: Duration::from_secs(60),
};

/// Calls of one run: more than the story needs with 64 threads, and about a second on a laptop.
const MOST_CALLS: usize = 20_000;

/// How long a 429 takes in the story's lessons.
const REFUSAL: Duration = Duration::from_millis(100);

pub(super) fn serve(args: &LearnArgs) -> Result<Exit, CommandError> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = TcpListener::bind(addr).map_err(|error| {
        let message =
            format!("cannot serve the page at {addr}: {error}; --port 0 picks a free port");
        CommandError::usage(message)
    })?;
    // Also where the shell that started it has Ctrl-C ignored.
    ctrlc::set_handler(|| std::process::exit(Exit::Interrupted as i32))?;
    let url = format!("http://{}/", listener.local_addr()?);
    tell(format!(
        "the page is at {url} (open it in a browser; Ctrl-C ends it)"
    ));
    Connections::new(MOST_CONNECTIONS).accept(&listener, &LearnServer);
    Ok(Exit::Answered)
}

struct LearnServer;

impl Serve for LearnServer {
    fn serve(&self, _number: u64, stream: &TcpStream) -> io::Result<()> {
        self.each_request(stream, Some(PATIENCE), |request| {
            answer(&request).send(stream, request.keep_alive)
        })
    }

    fn refusal(&self, status: u16, reason: &str) -> WireReply {
        WireReply::new(status, json!({"error": reason}).to_string())
    }
}

fn answer(request: &WireRequest) -> WireReply {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let refusal = |status, reason: &str| LearnServer.refusal(status, reason);
    match (request.method.as_str(), path) {
        ("GET", "/") => page(),
        ("GET", "/run") => match run(&LearnQuery(query)) {
            Ok(result) => WireReply::new(200, result.to_string()),
            Err(wrong) => refusal(400, &wrong),
        },
        (_, "/" | "/run") => refusal(405, "this path takes GET"),
        _ => refusal(404, "there is nothing at this path: the page is at /"),
    }
}

fn page() -> WireReply {
    WireReply::new(200, PAGE)
        .header("content-type", "text/html; charset=utf-8")
        .header("content-security-policy", POLICY)
        .header("cache-control", "no-store")
}

/// What stands behind the `?`: names and values without escapes.
struct LearnQuery<'a>(&'a str);

impl LearnQuery<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.split('&').filter_map(|field| field.split_once('='));
        fields.find(|field| field.0 == name).map(|field| field.1)
    }

    /// A number within its bounds; `usual` if it is not given.
    fn number(&self, name: &str, [least, most]: [f64; 2], usual: f64) -> Result<f64, String> {
        let number = self.get(name).map_or(Some(usual), |text| text.parse().ok());
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("{name}: give a number from {least} to {most}"))
    }

    /// A whole number from 1.
    fn count(&self, name: &str, most: u32, usual: u32) -> Result<NonZeroU32, String> {
        let number = self.number(name, [1.0, most.into()], usual.into())?;
        let whole = Some(number as u32).filter(|whole| f64::from(*whole) == number);
        let whole = whole.and_then(NonZeroU32::new);
        whole.ok_or_else(|| format!("{name}: give a whole number"))
    }

    fn scenario(&self) -> Result<Scenario, String> {
        let latency = self.number("latency", [0.0, 120.0], 2.0)?;
        let threads = self.count("threads", 64, 4)?;
        Ok(Scenario {
            prompts: self.count("topics", 1000, 200)?,
            rpm: self.count("rpm", 6000, 10)?,
            burst: self.count("burst", 100, 1)?,
            latency: Latency::Constant(Duration::from_secs_f64(latency)),
            workers: threads.try_into().map_err(|_| "too many threads")?,
            seed: self.number("seed", [0.0, u32::MAX.into()], 0.0)? as u64,
            refusal: REFUSAL,
            faults: self.number("faults", [0.0, 0.9], 0.0)?,
            most_calls: MOST_CALLS,
        })
    }
}

/// Runs one strategy; returns its calls and what they come to.
fn run(query: &LearnQuery<'_>) -> Result<Value, String> {
    let scenario = query.scenario()?;
    let jitter = jitter(query.get("jitter").unwrap_or("additive"))?;
    let name = query.get("strategy").unwrap_or("pool");
    let strategy = Strategy::named(name, jitter, &scenario)
        .ok_or("strategy: give naive, sleep-5, sleep-30, backoff or pool")?;
    let result = strategy.run(&scenario);
    let calls: Vec<_> = result.calls.iter().map(row).collect();
    Ok(json!({
        "figures": result.figures(),
        "topics": scenario.prompts,
        "threads": scenario.workers,
        "interval_ms": millis(scenario.interval()),
        "best_ms": millis(scenario.last_call_at_best()),
        "answered": result.count(200),
        "failed": result.count(503),
        "is_cut": result.calls.len() >= MOST_CALLS,
        "calls": calls,
    }))
}

/// `[ms since the start, thread, topic, what became of it, ms until then]`: `.` answered, `#` 429, `x` failed.
fn row(call: &ServedCall) -> Value {
    let mark = match call.status {
        429 => "#",
        503 => "x",
        _ => ".",
    };
    json!([
        millis(call.at),
        call.thread,
        call.prompt,
        mark,
        millis(call.took)
    ])
}

#[cfg(test)]
mod tests;
