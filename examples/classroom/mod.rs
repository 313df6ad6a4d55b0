//! Shared by the lessons: a server with a rate limit, the topics, and the summary at the end.
//!
//! A minute of the story is a second here: the server lets 600 calls a minute through, one each 100 ms, where the story
//! has 10 a minute; a sleep of 5 s is one of 83 ms.

#![allow(dead_code)] // Each lesson is a crate of its own, and none of them uses everything.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use paceline::practice::{Latency, Limits, Server, ServerOptions};

/// Calls a minute that the server allows, evenly spaced.
pub(crate) const RPM: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// A second of the story.
pub(crate) const STORY_SECOND: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// Why a call failed: its status, or 0 if there was no response.
pub(crate) type Status = u16;

/// The server, with a clock that started with the lesson.
pub(crate) struct Classroom {
    server: Server,
    started: Instant,
}

impl Classroom {
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
        Classroom {
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

    /// Asks for an article about a topic.
    pub(crate) fn call_api(&self, topic: &str) -> Result<String, Status> {
        let body =
            format!(r#"{{"model":"any","messages":[{{"role":"user","content":"{topic}"}}]}}"#);
        match ureq::post(self.url())
            .header("content-type", "application/json")
            .send(body)
        {
            Ok(mut response) => response.body_mut().read_to_string().map_err(|_| 0),
            Err(ureq::Error::StatusCode(status)) => Err(status),
            Err(_) => Err(0),
        }
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
