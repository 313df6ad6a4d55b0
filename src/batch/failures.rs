//! Decides what a failed call means for the others: everyone pauses or slows down, a key is retired, or the batch ends
//! because waiting will not help. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use super::{Settings, Stop};
use crate::api::{CallError, Class};
use crate::clock::after;
use crate::pacing::PermitOutcome;
use crate::retry::Verdict;

/// What the failures so far say about the server and the keys.
///
/// One rule holds for every wait that a server orders, whatever the status: it must end within `max_wait` of the last
/// answer.
#[derive(Debug)]
pub(super) struct Failures {
    settings: Settings,
    pub(super) budget: Budget,
    /// By key: refusals in a row that may be meant for the key.
    doubts: Vec<u32>,
    /// Number of waits ordered so far, so that each has its own jitter.
    ordered: u64,
    /// Since when the server keeps us waiting without one answer.
    waiting_since: Option<Instant>,
    first_call: Option<Instant>,
    was_reached: bool,
    was_answered: bool,
    /// Faults in a row whose wait is too long.
    too_long: u32,
}

impl Failures {
    /// A wrong address is known by then: two or three attempts at the usual backoff.
    const TO_REACH: Duration = Duration::from_secs(4);
    /// After an answer, one prompt may make the server fail, and be refused by several filters; five in a row are no
    /// accident.
    const IN_A_ROW: u32 = 5;

    pub(super) fn new(settings: Settings, keys: usize) -> Self {
        Failures {
            settings,
            budget: Budget::default(),
            doubts: vec![0; keys],
            ordered: 0,
            waiting_since: None,
            first_call: None,
            was_reached: false,
            was_answered: false,
            too_long: 0,
        }
    }

    /// A call with this key was answered.
    pub(super) fn answered(&mut self, key: usize) {
        self.doubts[key] = 0;
        self.budget.works();
        self.waiting_since = None;
        self.was_reached = true;
        self.was_answered = true;
        self.too_long = 0;
    }

    /// The outcome of a failed call for the limiter. Where the retry budget does not cover a retry, everyone slows down.
    /// A call that will be split says nothing about the key: its parts do.
    ///
    /// A refusal that names neither the prompt nor the key is the prompt's, until it goes on for several prompts without
    /// one answer: then it is the key's.
    pub(super) fn outcome(
        &mut self,
        key: usize,
        error: &CallError,
        is_to_be_split: bool,
        now: Instant,
    ) -> PermitOutcome {
        let is_doubtful = error.may_be_the_key() && !is_to_be_split;
        self.doubts[key] += u32::from(is_doubtful);
        match error.class {
            _ if is_doubtful && self.doubts[key] >= Self::IN_A_ROW => PermitOutcome::Fatal,
            Class::RateLimited if error.is_without_capacity() => PermitOutcome::Failed,
            Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(error, now)),
            Class::Fatal => PermitOutcome::Fatal,
            Class::Fault if !self.budget.draw(now) => PermitOutcome::RateLimited(None),
            Class::Fault => PermitOutcome::Failed,
            Class::Rejected => {
                self.budget.works();
                PermitOutcome::Failed
            }
        }
    }

    /// When the server asks us to come back, plus jitter: other processes may have been asked the same.
    fn come_back_at(&mut self, error: &CallError, now: Instant) -> Option<Instant> {
        let wait = error.retry_after?;
        let seed = self.settings.seed ^ self.ordered;
        self.ordered += 1;
        let mut delays = self.settings.retry.backoff.delays(seed);
        Some(after(now, delays.wait(Some(wait))))
    }

    /// What to do about a call that left at `sent` and has failed; `own` is what its prompt would do about it.
    ///
    /// # Errors
    /// Why the batch must stop.
    pub(super) fn verdict(
        &mut self,
        error: &CallError,
        own: Verdict,
        sent: Instant,
        now: Instant,
    ) -> Result<Verdict, Stop> {
        let boxed = || Box::new(error.clone());
        let tried = now.saturating_duration_since(*self.first_call.get_or_insert(sent));
        let is_another = error.is_of_another_server();
        self.was_reached |= !error.is_unreachable() && !is_another;
        match (error.class, error.retry_after) {
            (Class::Fault, _) if self.budget.is_exhausted(now) => Err(Stop::Broken(boxed())),
            (Class::Fault, _) if !self.was_reached && tried >= Self::TO_REACH => {
                Err(match is_another {
                    true => Stop::Refused(boxed()),
                    false => Stop::Unreachable(boxed()),
                })
            }
            (Class::Fault, Some(more)) if more > self.settings.max_wait => {
                self.too_long += 1;
                match self.was_answered && self.too_long < Self::IN_A_ROW {
                    true => Ok(Verdict::Stop), // this prompt fails, and others go on
                    false => self.wait(error, Some(more), now).map(|()| own),
                }
            }
            (Class::RateLimited, more) => self.wait(error, more, now).map(|()| own),
            _ => Ok(own),
        }
    }

    fn wait(
        &mut self,
        error: &CallError,
        more: Option<Duration>,
        now: Instant,
    ) -> Result<(), Stop> {
        let since = *self.waiting_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited.saturating_add(more.unwrap_or_default()) <= self.settings.max_wait {
            return Ok(());
        }
        Err(Stop::Held {
            waited,
            more,
            error: Box::new(error.clone()),
        })
    }
}

/// The retry budget, which keeps a batch from hammering a broken server: each call pays in, each retry draws.
///
/// Retries after faults may be a tenth of all calls of the batch, plus a small reserve: the client-wide budget of
/// Google's *Site Reliability Engineering* ("Handling Overload"). A retry that overdraws the budget slows everyone down,
/// and so does one after several faults in a row: an outage. A budget that stays overdrawn stops the batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Unit: retries.
    balance: f64,
    /// Faults since the server last worked.
    in_a_row: u32,
    /// Since when it is overdrawn; `None` once it has recovered.
    overdrawn: Option<Instant>,
}

impl Default for Budget {
    fn default() -> Self {
        Budget {
            balance: Self::RESERVE,
            in_a_row: 0,
            overdrawn: None,
        }
    }
}

impl Budget {
    /// Balance at the start, so that the first few faults slow nobody down.
    const RESERVE: f64 = 10.0;
    /// Each call pays in this much: retries may be a tenth of the calls.
    const PART: f64 = 0.1;
    /// Largest balance, so that a day without faults does not allow a storm of retries.
    const MOST: f64 = 100.0;
    /// An overdrawn budget has recovered at this balance.
    const RECOVERED: f64 = 5.0;
    /// A budget overdrawn for this long means that the server is broken.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// This many faults in a row are an outage. Where one call in ten fails, 1 in 10,000 is the fourth by chance, and
    /// costs a fifth of a second; an outage of 10 s costs at most 18 calls (simulated).
    const OUTAGE: u32 = 4;

    /// A call is about to leave.
    pub(super) fn pay_in(&mut self) {
        self.balance = (self.balance + Self::PART).min(Self::MOST);
        self.recover();
    }

    /// The server has answered, or rejected a prompt.
    fn works(&mut self) {
        self.in_a_row = 0;
        self.recover();
    }

    fn recover(&mut self) {
        if self.balance >= Self::RECOVERED && self.in_a_row == 0 {
            self.overdrawn = None;
        }
    }

    /// A call failed with a fault and is to be retried. Returns false if everyone must slow down.
    fn draw(&mut self, now: Instant) -> bool {
        self.in_a_row += 1;
        match self.balance >= 1.0 && self.in_a_row < Self::OUTAGE {
            true => self.balance -= 1.0,
            false => _ = self.overdrawn.get_or_insert(now),
        }
        self.overdrawn.is_none()
    }

    /// Whether the batch should stop, because the budget has been overdrawn for [`PATIENCE`](Budget::PATIENCE).
    fn is_exhausted(&self, now: Instant) -> bool {
        self.overdrawn
            .is_some_and(|since| now.saturating_duration_since(since) >= Self::PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_beyond_the_reserve_and_a_tenth_of_the_calls_overdraw_it() {
        let mut budget = Budget::default();
        let now = Instant::now();
        let every = |budget: &mut Budget, n: u32, calls: u32| {
            (0..calls)
                .filter(|call| {
                    budget.pay_in();
                    budget.works();
                    call % n == 0 && !budget.draw(now)
                })
                .count()
        };
        assert_eq!(every(&mut budget, 10, 10_000), 0);
        let too_many = every(&mut budget, 5, 200);
        assert!(
            (15..25).contains(&too_many),
            "{too_many} of 40 retries, after the reserve"
        );
    }

    #[test]
    fn the_balance_is_bounded() {
        let mut budget = Budget::default();
        let now = Instant::now();
        (0..1_000_000).for_each(|_| budget.pay_in());
        let mut draw = || {
            budget.in_a_row = 0;
            budget.draw(now)
        };
        assert_eq!((0..1000).filter(|_| draw()).count(), 100);
    }

    #[test]
    fn faults_in_a_row_slow_everyone_down_until_the_server_works() {
        let mut budget = Budget::default();
        let now = Instant::now();
        (0..500).for_each(|_| budget.pay_in());
        let drawn = [(); 6].map(|()| budget.draw(now));
        assert_eq!(drawn, [true, true, true, false, false, false]);
        budget.pay_in();
        assert!(!budget.draw(now), "a call that leaves shows nothing");
        budget.works();
        assert!(budget.draw(now));
    }

    #[test]
    fn it_is_exhausted_when_it_has_been_overdrawn_for_a_minute() {
        let mut budget = Budget::default();
        let start = Instant::now();
        while budget.draw(start) {}
        assert!(!budget.is_exhausted(start + Duration::from_secs(59)));
        assert!(budget.is_exhausted(start + Duration::from_secs(60)));
        budget.works();
        (0..60).for_each(|_| budget.pay_in());
        assert!(budget.draw(start + Duration::from_secs(61)));
        assert!(
            !budget.is_exhausted(start + Duration::from_secs(61)),
            "it has recovered"
        );
    }
}
