//! The server that all strategies call: the practice server's own gate, on a simulated clock.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Options;
use super::course::Arrival;
use crate::clock::{Clock, SimClock};
use crate::practice::{Admission, Gate, Latency, Limits};

/// Answers or refuses, and keeps a list of who came when.
#[derive(Debug)]
pub(super) struct Server {
    clock: SimClock,
    started: Instant,
    gate: Mutex<Gate>,
    arrivals: Mutex<Vec<Arrival>>,
    latency: Latency,
    seed: u64,
}

/// Status 429: called too fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    /// What the server says: come back after this.
    pub(super) wait: Duration,
}

impl Server {
    pub(super) fn new(options: &Options, clock: SimClock) -> Self {
        let started = clock.now();
        let limits = Limits {
            rpm: Some(options.rpm),
            burst: options.burst,
            ..Limits::default()
        };
        Server {
            clock,
            started,
            gate: Mutex::new(Gate::new(limits, started)),
            arrivals: Mutex::default(),
            latency: options.latency,
            seed: options.seed,
        }
    }

    /// Asks for one prompt; returns when the answer is there.
    pub(super) fn call(&self, prompt: u32) -> Result<(), Refused> {
        let now = self.clock.now();
        let (_, admission) = self.gate.lock().admit("", 0, now);
        let accepted = admission == Admission::Open;
        self.arrivals.lock().push(Arrival {
            at: now - self.started,
            prompt,
            accepted,
        });
        if let Admission::Refused { wait, .. } = admission {
            return Err(Refused { wait });
        }
        self.clock
            .sleep_until(now + self.latency.draw(self.seed, prompt.into()));
        self.gate.lock().leave();
        Ok(())
    }

    /// Who came when, in order.
    pub(super) fn into_arrivals(self) -> Vec<Arrival> {
        self.arrivals.into_inner()
    }
}
