//! Shared by the examples that embed the library: a real server with a rate limit, topics, and a summary at the end.

#![allow(dead_code)] // Each example is a crate of its own, and none of them uses everything.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use paceline::practice::{Latency, Limits, Server, ServerOptions};

/// Calls a minute that the server allows, evenly spaced.
pub(crate) const RPM: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// The server, and when it started.
pub(crate) struct PracticeRoom {
    server: Server,
    started: Instant,
}

impl PracticeRoom {
    pub(crate) fn open() -> Self {
        // A burst of 2: on a busy machine some calls are late, and then the next ones seem early.
        let burst = NonZeroU32::new(2).unwrap();
        let limits = Limits {
            rpm: Some(RPM),
            burst,
            ..Limits::default()
        };
        let latency = Latency::Constant(Duration::from_millis(30));
        let server = Server::start_with(ServerOptions {
            limits,
            latency,
            ..ServerOptions::default()
        });
        PracticeRoom {
            server: server.expect("a port of the loopback is free"),
            started: Instant::now(),
        }
    }

    /// The server's base URL.
    pub(crate) fn base_url(&self) -> String {
        self.server.base_url()
    }

    /// The URL to ask for articles.
    pub(crate) fn url(&self) -> String {
        format!("{}/chat/completions", self.base_url())
    }

    /// Prints what the server saw, and what to notice.
    pub(crate) fn notice(&self, what: &str) {
        let seen = self.server.stats();
        println!("answered: {}", seen.answered);
        println!("refused with 429: {}", seen.rate_limited);
        println!("most calls within 50 ms: {}", seen.most_in_50ms);
        println!("time: {:.1} s", self.started.elapsed().as_secs_f64());
        println!("notice: {what}");
    }
}

/// `count` topics.
pub(crate) fn topics(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("topic {n}")).collect()
}
