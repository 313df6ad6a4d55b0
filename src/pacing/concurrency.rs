//! How many calls may be in flight at once, found from their latency. Pure: time comes in as the latency of each call.
//!
//! A server works on a number of calls at once; further calls only wait in its queue, until they time out. So the limit
//! starts low, grows while the latency stays as it was, and shrinks on time-outs and on latency that grows with it. The
//! models are Netflix's `concurrency-limits` (Gradient2), Envoy's gradient controller and TCP Vegas. Unlike theirs, this
//! one tests its suspicions: if the latency does not fall when the limit does, the calls themselves take longer, and the
//! limit is restored. Latencies vary, so each verdict allows for the error of the mean.

use std::time::Duration;

use crate::outcome::CallOutcome;

/// A call that has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    round: u64,
    /// Calls that were in flight already: those that a queue may make it wait for.
    ahead: usize,
    /// Its number among all calls.
    number: u64,
    /// Whether it is surely alone: no later call overtakes it either.
    is_alone: bool,
}

/// Finds the limit of the calls in flight, in rounds: a round ends when enough calls of it were answered that left when
/// it was crowded, because a queue shows in their latency alone, and when most of those have ended that were in flight
/// when it became full: calls overtake each other on their way, so that any of them may be the last in a queue.
#[derive(Debug)]
pub(crate) struct Concurrency {
    limit: usize,
    /// Calls that have a place, and those of them that were sent.
    places: usize,
    in_flight: usize,
    sent: u64,
    /// Calls that left since one ended.
    together: u64,
    /// Latency without a queue, in seconds, and the number of answers that it is the mean of.
    base: f64,
    base_answers: f64,
    /// The latest latency.
    latest: Option<f64>,
    /// Variance of the latencies of a round, in units of their squared mean.
    variance: f64,
    /// The factor by which the limit grows next.
    growth: f64,
    /// Rounds to wait before the limit grows, and the rounds waited so far.
    patience: u32,
    waited: u32,
    /// The number of the present round.
    number: u64,
    round: Round,
    /// The round before the limit was changed, until the change is judged.
    before: Option<Judged>,
}

/// The answers to calls that left in the present round when it was crowded. After a round that did not change the limit, half of their
/// weight is kept.
#[derive(Debug, Default)]
struct Round {
    answers: f64,
    /// Sum of the latencies, and of their squares.
    sum: f64,
    squares: f64,
    /// Whether all calls that are allowed were in flight. If not, something else limits them.
    is_full: bool,
    /// The number of the last call that was in flight when it became full, and how many of those must still end.
    filled_by: u64,
    awaited: usize,
    /// How many calls left with that one, without an end between them, and the longest latency of these.
    together: u64,
    longest: Option<f64>,
}

/// A round that is over.
#[derive(Clone, Copy, Debug)]
struct Judged {
    limit: usize,
    latency: f64,
}

impl Concurrency {
    /// Calls in flight at the start: only the latency of a call that is alone has surely no queue in it. Of two that leave
    /// half a latency apart, neither tells that the second waited.
    const START: usize = 1;
    /// The first call may take longer, because it connects or the server loads its model: if another is quicker by this
    /// factor, it counts instead.
    const COLD: f64 = 1.6;
    /// Up to this limit only calls with which it is full are crowded, above it those with which it is half full: fewer than
    /// 3 places hide a queue from the others, and a round of one latency must suffice. Of calls that left together the
    /// one that took longest counts, because it was the last to arrive.
    const FEW: usize = 4;
    /// A round may end while one call in 16 is still under way: a single slow one does not hold it up.
    /// After the first queue calls leave one by one, and one in 4 may be.
    const LAGGARDS: usize = 16;
    const LAGGARDS_LATER: usize = 4;
    /// Above this limit it grows by [`LARGE_STEP`](Concurrency::LARGE_STEP) at most: calls that overtake each other hide
    /// a short queue there, and the next step must not reach the time-out.
    const LARGE: usize = 16;
    const LARGE_STEP: f64 = 2.0;
    /// Most calls in flight. On most machines more threads cost more than they gain.
    pub(super) const MOST: usize = 512;
    /// Growth until the first queue. The latency overshoots by the same factor at most; clients wait for four times the
    /// usual latency or longer. 64 places are full after 4 latencies.
    const FAST: f64 = 3.0;
    /// Growth after a queue. Each success squares it, up to [`FAST`](Concurrency::FAST).
    const CAREFUL: f64 = 1.5;
    /// Above this multiple of the base, calls wait in a queue. Netflix's Gradient2: `rttTolerance` 1.5.
    const QUEUE: f64 = 1.5;
    /// Above this multiple, a round is judged before it ends.
    const LONG_QUEUE: f64 = 2.0;
    /// Up to this multiple, answers to calls that few were ahead of count for the base. Envoy tolerates 25 % over the
    /// minimum (`buffer`); with less than 35 % a base that was measured too low stays too low (simulated).
    const NO_QUEUE: f64 = 1.35;
    /// Growth is divided by this power of the latency's excess, so that it ends at 1.44 times the base.
    const BRAKE: i32 = 3;
    /// A verdict must be this many standard errors away: 1 in 40 is wrong by chance.
    const ERRORS: f64 = 2.0;
    /// The variance before anything is known: a third of the mean either way.
    const VARIANCE: f64 = 0.09;
    /// A round with doubts collects answers until the error of its mean is 12 %, a quarter of what halving the limit
    /// changes.
    const PRECISE: f64 = 0.12 * 0.12;
    /// Queues shorter than this do not count, in seconds: threads of a busy machine wait as long for a processor.
    const SLACK: f64 = 0.0005;
    /// Most rounds between two attempts to grow. Each may cost a queue for a round.
    const PATIENCE: u32 = 4;
    /// Most answers that count for the base, so that it follows the server.
    const BASE_ANSWERS: f64 = 64.0;

    pub(crate) fn new() -> Self {
        Concurrency {
            limit: Self::START,
            places: 0,
            in_flight: 0,
            sent: 0,
            together: 0,
            base: 0.0,
            base_answers: 0.0,
            latest: None,
            variance: Self::VARIANCE,
            growth: Self::FAST,
            patience: 1,
            waited: 0,
            number: 0,
            round: Round::default(),
            before: None,
        }
    }

    /// The most calls in flight.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Whether another call may take a place.
    pub(crate) fn has_room(&self) -> bool {
        self.places < self.limit
    }

    /// A call takes a place. It may have to wait for its permit.
    pub(crate) fn enter(&mut self) {
        self.places += 1;
    }

    /// A call leaves.
    pub(crate) fn sent(&mut self) -> Departure {
        let ahead = self.in_flight;
        self.in_flight += 1;
        self.sent += 1;
        self.together += 1;
        if !self.round.is_full && self.in_flight >= self.limit {
            self.round.is_full = true;
            self.round.filled_by = self.sent;
            self.round.together = self.together;
            let one_in = match self.growth < Self::FAST {
                true => Self::LAGGARDS_LATER,
                false => Self::LAGGARDS,
            };
            self.round.awaited = self.in_flight - self.in_flight / one_in;
        }
        Departure {
            round: self.number,
            ahead,
            number: self.sent,
            is_alone: self.limit == 1,
        }
    }

    /// A call has ended, or gives up its place unsent.
    pub(crate) fn left(&mut self, call: Option<Departure>, latency: Duration, end: CallOutcome) {
        self.places -= 1;
        let Some(call) = call else { return };
        self.in_flight -= 1;
        self.together = 0;
        let latency = latency.as_secs_f64();
        if end == CallOutcome::Answered {
            self.latest = Some(latency);
            self.learn_base(call, latency);
        }
        if call.number <= self.round.filled_by {
            self.round.awaited = self.round.awaited.saturating_sub(1);
        }
        if call.round == self.number {
            self.ended(call, latency, end);
        }
        if self.round.awaited == 0
            && let Some(longest) = self.round.longest.take()
        {
            self.answered(longest);
        }
    }

    /// A call of this round has ended.
    fn ended(&mut self, call: Departure, latency: f64, end: CallOutcome) {
        let crowd = match self.limit {
            ..=Self::FEW => self.limit,
            limit => limit / 2,
        };
        match end {
            CallOutcome::Answered if self.limit <= Self::FEW && self.round.has(call) => {
                let is_last = call.number == self.round.filled_by;
                if is_last || self.excess(latency) > Self::QUEUE {
                    let longest = self.round.longest.unwrap_or(0.0);
                    self.round.longest = Some(longest.max(latency));
                }
            }
            CallOutcome::Answered if call.ahead + 1 >= crowd => self.answered(latency),
            CallOutcome::Timeout => self.timed_out(latency),
            _ => {} // a refusal or a failure says nothing
        }
    }

    /// Learns the base from a call that had surely no queue before it: it was alone, or found far fewer in flight than were
    /// no queue before.
    fn learn_base(&mut self, call: Departure, latency: f64) {
        let proven = self.before.map_or(0, |before| before.limit * 3 / 4).max(2);
        let excess = self.excess(latency);
        let is_free = self.growth >= Self::FAST && call.ahead < proven && excess < Self::NO_QUEUE;
        if self.base_answers == 1.0 && latency * Self::COLD < self.base {
            self.base = latency;
            self.base_answers = 1.5; // both may have been unusual
        } else if call.is_alone || (call.ahead == 0 && excess < Self::QUEUE) || is_free {
            self.count_for_base(latency, 1.0);
        }
    }

    fn count_for_base(&mut self, latency: f64, answers: f64) {
        let all = self.base_answers + answers;
        self.base += (latency - self.base) * answers / all;
        self.base_answers = all.min(Self::BASE_ANSWERS);
    }

    fn answered(&mut self, latency: f64) {
        self.round.count(latency);
        let wanted = self.wanted();
        let is_over = self.round.answers >= wanted && self.round.awaited == 0;
        if is_over || self.excess(self.round.sum / wanted) > self.surely(Self::LONG_QUEUE) {
            self.judge();
        }
    }

    /// How many answers a round needs. Before the first queue a few are enough, because only growth depends on them.
    fn wanted(&self) -> f64 {
        let all = self.limit.max(8) as f64;
        match self.before {
            Some(before) if before.limit > self.limit => self.precise().max(all),
            _ if self.growth < Self::FAST => all,
            _ if self.limit <= Self::FEW => 1.0,
            _ => self.limit.div_ceil(2) as f64,
        }
    }

    /// How many answers make a precise mean.
    fn precise(&self) -> f64 {
        (self.variance / Self::PRECISE).clamp(4.0, 64.0)
    }

    /// How many times the base this latency is.
    fn excess(&self, latency: f64) -> f64 {
        latency / (self.base + Self::SLACK)
    }

    /// The excess that is surely, not by chance, above this multiple of the base.
    fn surely(&self, multiple: f64) -> f64 {
        let parts = 1.0 / self.round.answers + 1.0 / self.base_answers;
        multiple + Self::ERRORS * (self.variance * parts).sqrt()
    }

    /// Ends a round.
    fn judge(&mut self) {
        let latency = self.round.mean();
        if self.was_wrong(latency) {
            return;
        }
        let excess = self.excess(latency);
        let has_queue = excess > self.surely(Self::QUEUE);
        let has_long_queue = excess > self.surely(Self::LONG_QUEUE);
        self.learn(latency, excess);
        let step = match self.limit {
            ..=Self::LARGE => Self::FAST,
            _ => Self::LARGE_STEP,
        };
        let growth = (self.growth / excess.max(1.0).powi(Self::BRAKE)).min(step);
        if has_long_queue || (has_queue && self.round.answers >= self.precise().min(32.0)) {
            let fitting = (self.limit as f64 / excess).round() as usize;
            self.shrink(fitting.max(self.limit / 2), latency);
        } else if has_queue {
            // The next answer ends the round again.
        } else if growth < 1.0 || excess > Self::QUEUE || !self.round.is_full {
            self.next_round();
        } else {
            self.grow(latency, growth);
        }
    }

    /// Judges the last reduction. If the latency has not fallen with the limit, the calls themselves take longer: the
    /// limit is restored. The first reduction after a sudden overload shows little, so the second decides.
    fn was_wrong(&mut self, latency: f64) -> bool {
        let Some(before) = self.before.filter(|before| before.limit > self.limit) else {
            return false;
        };
        let part = (self.limit as f64 / before.limit as f64).max(0.5); // a time-out hides how long the queue was
        let has_fallen = latency <= before.latency * (1.0 + part) / 2.0;
        let is_last = self.limit == 1 || self.limit * 3 <= before.limit;
        if has_fallen || is_last {
            self.before = None;
        }
        if has_fallen || !is_last {
            return false;
        }
        self.base = latency.max(self.base);
        self.base_answers = self.round.answers;
        self.growth = Self::FAST;
        self.set_limit(before.limit);
        true
    }

    /// Learns the variance, and after the first queue the base, from a round that is surely less than that. At a limit of 1
    /// each call was alone, and learned from.
    fn learn(&mut self, latency: f64, excess: f64) {
        let answers = self.round.answers;
        self.variance += (self.round.variance() - self.variance) * answers / (answers + 8.0);
        let is_less = excess < 2.0 - self.surely(1.0);
        if is_less && self.limit > 1 && self.growth < Self::FAST {
            self.count_for_base(latency, answers);
        }
    }

    fn grow(&mut self, latency: f64, growth: f64) {
        if self.before.take().is_some() {
            self.growth = (self.growth * self.growth).min(Self::FAST);
            self.patience = 1;
        }
        self.waited += 1;
        if self.waited < self.patience || self.limit >= Self::MOST {
            return self.next_round();
        }
        self.before = Some(Judged {
            limit: self.limit,
            latency,
        });
        let grown = (self.limit as f64 * growth) as usize;
        self.set_limit(grown.clamp(self.limit + 1, Self::MOST));
    }

    /// Other calls are slow, too, if the server has too many of them. If they are not, the limit is soon restored.
    fn timed_out(&mut self, latency: f64) {
        let latency = self.latest.unwrap_or(latency);
        self.shrink(self.limit / 2, latency);
    }

    /// Lowers the limit, because of this latency.
    fn shrink(&mut self, limit: usize, latency: f64) {
        if self.before.is_some_and(|before| before.limit < self.limit) {
            self.before = None;
            self.patience = (self.patience * 2).min(Self::PATIENCE);
        }
        self.growth = Self::CAREFUL;
        if self.limit > 1 {
            let limit = self.limit;
            let before = self.before.get_or_insert(Judged { limit, latency });
            before.latency = before.latency.max(latency);
        }
        self.set_limit(limit.clamp(1, (self.limit - 1).max(1)));
    }

    fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.waited = 0;
        self.number += 1;
        self.round = Round::default();
    }

    fn next_round(&mut self) {
        self.number += 1;
        self.round = self.round.halved();
    }
}

impl Round {
    fn count(&mut self, latency: f64) {
        self.answers += 1.0;
        self.sum += latency;
        self.squares += latency * latency;
    }

    /// Whether the call left together with the one that filled the round.
    fn has(&self, call: Departure) -> bool {
        (1..=self.filled_by).contains(&call.number) && call.number + self.together > self.filled_by
    }

    fn mean(&self) -> f64 {
        self.sum / self.answers
    }

    fn variance(&self) -> f64 {
        (self.squares / self.answers / self.mean().powi(2) - 1.0).max(0.0)
    }

    fn halved(&self) -> Round {
        Round {
            answers: self.answers / 2.0,
            sum: self.sum / 2.0,
            squares: self.squares / 2.0,
            ..Round::default()
        }
    }
}

#[cfg(test)]
mod tests;
