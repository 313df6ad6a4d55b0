//! Keeps the limit of the calls in flight: calls wait in line until one of them may leave.
//!
//! [`Concurrency`] finds the limit. This is the shell around it, with the line, the lock and the clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::NoKeyPermit;
use super::concurrency::{Concurrency, Departure};
use crate::cancel::CancelToken;
use crate::clock::{Clock, after};
use crate::limiter::{Line, Schedule};
use crate::outcome::CallOutcome;

/// The calls in flight, and those that wait until there are fewer.
#[derive(Debug)]
pub(crate) struct InFlight(Line<PlacesInFlight>);

/// A call's place among those in flight, from before its permit until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlightPlace<'a> {
    in_flight: &'a InFlight,
    /// `None` before the call leaves.
    departure: Option<Departure>,
    /// How it ended, and its latency.
    ended: (CallOutcome, Duration),
}

#[derive(Debug)]
struct PlacesInFlight {
    concurrency: Concurrency,
    start: Instant,
}

impl InFlight {
    /// Most calls in flight, whatever is found.
    pub(crate) const MOST: usize = Concurrency::MOST;

    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let places = PlacesInFlight {
            concurrency: Concurrency::new(),
            start: clock.now(),
        };
        InFlight(Line::new(clock, places))
    }

    /// Waits until another call may be in flight.
    ///
    /// # Errors
    /// [`NoKeyPermit::Cancelled`] if the token ends first.
    pub(crate) fn enter(&self, cancel: &CancelToken) -> Result<InFlightPlace<'_>, NoKeyPermit> {
        self.0.take((), Some(cancel))?; // never closed
        Ok(InFlightPlace {
            in_flight: self,
            departure: None,
            ended: (CallOutcome::Unknown, Duration::ZERO),
        })
    }

    /// How many calls wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting()
    }

    fn update<T>(&self, change: impl FnOnce(&mut Concurrency) -> T) -> T {
        self.0.update(|places, _| change(&mut places.concurrency))
    }
}

impl InFlightPlace<'_> {
    /// The call leaves.
    pub(crate) fn sent(&mut self) {
        self.departure = Some(self.in_flight.update(Concurrency::sent));
    }

    /// The call has ended, after this latency. Returns the most calls in flight, as found so far.
    pub(crate) fn ended(mut self, end: CallOutcome, latency: Duration) -> usize {
        self.ended = (end, latency);
        let in_flight = self.in_flight;
        drop(self);
        in_flight.update(|calls| calls.limit())
    }
}

impl Drop for InFlightPlace<'_> {
    fn drop(&mut self) {
        let (end, latency) = self.ended;
        self.in_flight
            .update(|calls| calls.left(self.departure, latency, end));
    }
}

impl Schedule for PlacesInFlight {
    type Want = ();
    type Grant = ();

    fn due(&self, (): ()) -> Option<Instant> {
        match self.concurrency.has_room() {
            true => Some(self.start),
            false => Some(after(self.start, Duration::MAX)),
        }
    }

    /// While all places are taken, nobody knows when one is free.
    fn knows_due(&self) -> bool {
        self.concurrency.has_room()
    }

    fn take(&mut self, _now: Instant, (): (), _waited: Duration) {
        self.concurrency.enter();
    }
}
