//! The pure decision for a rate that several processes share: which process gets the next permit, and until when all
//! of them pause.
//!
//! A process whose threads wait reserves one permit, sleeps until it is due, and takes it. In the same exchange it
//! reserves the next one. So permits go round among the processes. Each process has at most one reserved permit, and a
//! crash loses no more than that. A process takes its permit here before it makes the call, so that a pause binds every
//! process, and a late permit delays all later ones.
//!
//! Times are microseconds on a clock that all processes read. Where the state is kept is left to `file` and `redis`. Redis
//! decides by itself, in `rate.lua`, which a test compares with this file.

use serde::{Deserialize, Serialize};

/// The common state of the processes that share a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedRate {
    /// When the next permit to be reserved is due.
    next: u64,
    /// When the permit after the most recently taken one may be taken.
    free: u64,
    /// The total delay of late permits: reserved permits are due this much later.
    delay: u64,
    /// Serial number of the most recently reserved permit.
    serial: u64,
    /// Serial number of the most recently taken permit.
    taken: u64,
    /// Interval between permits: the longest that any process asks for.
    interval: u64,
    /// When a process last asked for this interval.
    interval_seen: u64,
    /// No permit is taken before this time.
    paused_until: u64,
    /// How many pauses have begun.
    pauses: u64,
    /// Time of the latest exchange.
    seen: u64,
}

/// A reserved permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) serial: u64,
    /// When it is due, not counting permits that were late since then.
    pub(super) at: u64,
    /// [`SharedRate::delay`] when it was reserved.
    pub(super) delay: u64,
    /// [`SharedRate::pauses`] when it was reserved: a pause makes it void.
    pub(super) pauses: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The state only.
    #[default]
    Look,
    /// To take a permit if it is due, or else to reserve it.
    Permit {
        /// Whether to reserve another permit, because another thread waits.
        and_next: bool,
    },
    /// To give back a reserved permit.
    GiveBack,
}

/// A request of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RateRequest {
    /// Interval between permits that this process asks for, in microseconds.
    pub(super) interval: u64,
    /// How late a permit may be taken without delaying the others, in microseconds.
    pub(super) slack: u64,
    /// The permit that is reserved for this process.
    pub(super) reserved: Option<Reservation>,
    pub(super) ask: Purpose,
    /// The length of a pause that begins now, in microseconds.
    pub(super) pause: Option<u64>,
    /// Serial number of a permit whose call leaves only now.
    pub(super) late: Option<u64>,
}

/// The reply to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RateReply {
    /// Serial number of the permit that was taken, if one was.
    pub(super) taken: Option<u64>,
    /// The permit that is reserved now.
    pub(super) reserved: Option<Reservation>,
    /// In how many microseconds the reserved permit is due.
    pub(super) due_in: u64,
    /// How many microseconds the pause still lasts.
    pub(super) paused_for: u64,
    /// How many pauses have begun.
    pub(super) pauses: u64,
    /// Whether this request began a pause.
    pub(super) began: bool,
    /// Interval between permits for all processes, in microseconds.
    pub(super) interval: u64,
}

impl SharedRate {
    /// An interval counts until no process has asked for it in this time plus
    /// [`FORGET_INTERVALS`](SharedRate::FORGET_INTERVALS), in microseconds. Longer than a process waits between two
    /// exchanges at usual rates, and short enough that a faster rate soon takes effect.
    const FORGET: u64 = 10_000_000;
    /// See [`FORGET`](SharedRate::FORGET). Lets as many processes take turns at a low rate.
    const FORGET_INTERVALS: u64 = 16;
    /// A clock this far behind was set back, and the times it gave before no longer count, in microseconds. Clocks that
    /// are slewed differ by less.
    const STEPPED_BACK: u64 = 1_000_000;

    /// A rate in place of one that was lost: a permit may have been taken just now, so the next is an interval away. Its
    /// serial numbers are new: no earlier rate gave them.
    pub(super) fn after_loss(now: u64, interval: u64) -> Self {
        SharedRate {
            next: now + interval,
            free: now + interval,
            serial: now,
            taken: now,
            seen: now,
            ..SharedRate::default()
        }
    }

    /// The rate to use where there is none: a request with a reserved permit shows that there was one, and it was lost.
    pub(super) fn in_place_of_none(now: u64, request: &RateRequest) -> Self {
        SharedRate::after_loss(now, request.reserved.map_or(0, |_| request.interval))
    }

    /// When it was last asked.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Until when the state matters.
    pub(super) fn matters_until(&self) -> u64 {
        self.next.max(self.paused_until) + self.forgotten_after()
    }

    /// Handles one request.
    pub(super) fn exchange(&mut self, now: u64, request: &RateRequest) -> RateReply {
        if now + Self::STEPPED_BACK < self.seen {
            *self = SharedRate::after_loss(now, self.interval.max(request.interval));
        }
        self.seen = self.seen.max(now);
        self.agree_on_interval(now, request.interval);
        let pause = request.pause;
        let began = pause.is_some_and(|pause| self.pause_until(now + pause));
        if let Some(serial) = request.late {
            self.late(now, request.slack, serial);
        }
        let (taken, reserved) = self.handle(now, request);
        let due_in = reserved.map_or(0, |reserved| self.due(&reserved).saturating_sub(now));
        RateReply {
            taken,
            reserved,
            due_in,
            paused_for: self.paused_until.saturating_sub(now),
            pauses: self.pauses,
            began,
            interval: self.interval,
        }
    }

    /// Returns the permit that was taken, and the one that is reserved now.
    fn handle(&mut self, now: u64, request: &RateRequest) -> (Option<u64>, Option<Reservation>) {
        let and_next = match request.ask {
            Purpose::Look => return (None, request.reserved),
            Purpose::GiveBack => {
                self.give_back(request.reserved);
                return (None, None);
            }
            Purpose::Permit { and_next } => and_next,
        };
        let reserved = request.reserved.filter(|reserved| self.is_valid(reserved));
        let reserved = reserved.unwrap_or_else(|| self.reserve(now));
        if self.due(&reserved) > now {
            return (None, Some(reserved));
        }
        self.take(now, request.slack, &reserved);
        (Some(reserved.serial), and_next.then(|| self.reserve(now)))
    }

    /// The longest interval wins, until no process has asked for it for a while.
    fn agree_on_interval(&mut self, now: u64, interval: u64) {
        if interval >= self.interval || now > self.interval_seen + self.forgotten_after() {
            self.interval = interval;
            self.interval_seen = now;
        }
    }

    fn forgotten_after(&self) -> u64 {
        Self::FORGET + Self::FORGET_INTERVALS * self.interval
    }

    /// Extends the pause. Returns whether it was extended.
    fn pause_until(&mut self, until: u64) -> bool {
        let began = until > self.paused_until;
        if began {
            // Reserved permits become void, so that the next one is the first after the pause.
            self.paused_until = until;
            self.next = until.max(self.free);
            self.pauses += 1;
        }
        began
    }

    fn is_valid(&self, reserved: &Reservation) -> bool {
        reserved.pauses == self.pauses
            && (self.taken + 1..=self.serial).contains(&reserved.serial)
            && reserved.delay <= self.delay
    }

    fn due(&self, reserved: &Reservation) -> u64 {
        reserved.at + self.delay.saturating_sub(reserved.delay)
    }

    fn reserve(&mut self, now: u64) -> Reservation {
        let at = self.next.max(now);
        self.serial += 1;
        self.next = at + self.interval;
        Reservation {
            serial: self.serial,
            at,
            delay: self.delay,
            pauses: self.pauses,
        }
    }

    fn take(&mut self, now: u64, slack: u64, reserved: &Reservation) {
        let due = self.due(reserved);
        let excused = now.saturating_sub(slack);
        self.delay_later(excused.saturating_sub(due));
        self.taken = reserved.serial;
        self.free = due.max(excused) + self.interval;
    }

    /// The call of the latest permit leaves late: later permits are delayed to keep their distance.
    fn late(&mut self, now: u64, slack: u64, serial: u64) {
        if serial == self.taken {
            let late = (now.saturating_sub(slack) + self.interval).saturating_sub(self.free);
            self.free += late;
            self.delay_later(late);
        }
    }

    fn delay_later(&mut self, late: u64) {
        self.delay += late;
        self.next += late;
    }

    /// Gives back a reserved permit, if it is the latest one. Other processes already sleep until later ones.
    fn give_back(&mut self, reserved: Option<Reservation>) {
        let latest = |reserved: &Reservation| reserved.serial == self.serial;
        if let Some(reserved) = reserved.filter(|one| self.is_valid(one) && latest(one)) {
            self.next = self.due(&reserved).max(self.free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 50_000;
    const SLACK: u64 = 400;

    fn pass(reserved: Option<Reservation>) -> RateRequest {
        RateRequest {
            interval: INTERVAL,
            slack: SLACK,
            reserved,
            ask: Purpose::Permit { and_next: true },
            ..RateRequest::default()
        }
    }

    fn pause(us: u64) -> RateRequest {
        RateRequest {
            interval: INTERVAL,
            slack: SLACK,
            pause: Some(us),
            ..RateRequest::default()
        }
    }

    /// Processes that take each permit when it is due, late by `late`. Returns which process took one when.
    fn go(
        rate: &mut SharedRate,
        processes: usize,
        permits: usize,
        late: impl Fn(usize) -> u64,
    ) -> Vec<(u64, usize)> {
        let mut reservations: Vec<Option<Reservation>> = vec![None; processes];
        let mut wake: Vec<u64> = vec![1_000_000; processes];
        let mut taken = Vec::new();
        while taken.len() < permits {
            let who = (0..processes).min_by_key(|who| wake[*who]).unwrap();
            let now = wake[who];
            let reply = rate.exchange(now, &pass(reservations[who]));
            taken.extend(reply.taken.map(|_| (now, who)));
            reservations[who] = reply.reserved;
            wake[who] = now + reply.due_in + late(taken.len());
        }
        taken
    }

    fn gaps(taken: &[(u64, usize)]) -> Vec<u64> {
        taken.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }

    #[test]
    fn permits_are_an_interval_apart_and_go_round() {
        let taken = go(&mut SharedRate::after_loss(0, 0), 4, 400, |_| 0);
        assert!(gaps(&taken).iter().all(|gap| *gap == INTERVAL));
        for who in 0..4 {
            let permits = taken.iter().filter(|(_, taken)| *taken == who).count();
            assert!((99..=101).contains(&permits), "{permits}"); // the first process finds no other one in line
        }
    }

    #[test]
    fn lateness_allows_no_burst_and_small_lateness_does_not_add_up() {
        let late = |n: usize| if n.is_multiple_of(7) { 30_000 } else { 300 };
        let taken = go(&mut SharedRate::after_loss(0, 0), 4, 400, late);
        let least = gaps(&taken).into_iter().min().unwrap();
        assert!(least >= INTERVAL - SLACK, "{least}");
        let little = go(&mut SharedRate::after_loss(0, 0), 4, 400, |_| 300);
        let took = little[399].0 - little[0].0;
        assert!(took <= 399 * INTERVAL + 300, "{took}");
    }

    #[test]
    fn a_pause_makes_reserved_permits_void_and_permits_resume_an_interval_apart() {
        let mut rate = SharedRate::after_loss(0, 0);
        let first = rate.exchange(0, &pass(None));
        let other = rate.exchange(0, &pass(None));
        assert!(rate.exchange(10, &pause(1_000_000)).began);
        let one = rate.exchange(INTERVAL, &pass(first.reserved));
        let two = rate.exchange(2 * INTERVAL, &pass(other.reserved));
        assert_eq!(
            (one.taken, two.taken),
            (None, None),
            "the sleepers at the front, too"
        );
        assert_eq!(
            (INTERVAL + one.due_in, 2 * INTERVAL + two.due_in),
            (1_000_010, 1_000_010 + INTERVAL)
        );
        assert!(
            !rate.exchange(20, &pause(500_000)).began,
            "a shorter one changes nothing"
        );
        assert!(!rate.exchange(20, &pause(999_990)).began, "nor the same");
    }

    #[test]
    fn a_crash_loses_one_permit_and_no_more() {
        let mut rate = SharedRate::after_loss(0, 0);
        rate.exchange(0, &pass(None)); // takes one, reserves the next, and is killed
        let reply = rate.exchange(0, &pass(None));
        assert_eq!(reply.due_in, 2 * INTERVAL);
        assert!(
            rate.exchange(2 * INTERVAL, &pass(reply.reserved))
                .taken
                .is_some()
        );
    }

    #[test]
    fn a_permit_is_given_back_if_no_process_sleeps_until_a_later_one() {
        let mut rate = SharedRate::after_loss(0, 0);
        let reply = rate.exchange(0, &pass(None));
        rate.exchange(
            1,
            &RateRequest {
                ask: Purpose::GiveBack,
                ..pass(reply.reserved)
            },
        );
        assert_eq!(rate.exchange(1, &pass(None)).due_in, INTERVAL - 1);
        assert!(
            rate.exchange(INTERVAL, &pass(reply.reserved))
                .taken
                .is_some(),
            "the first process to wake takes it"
        );
    }

    #[test]
    fn a_permit_that_others_have_overtaken_is_reserved_again() {
        let mut rate = SharedRate::after_loss(0, 0);
        let frozen = rate.exchange(0, &pass(None));
        let other = rate.exchange(0, &pass(None));
        let other = rate.exchange(2 * INTERVAL, &pass(other.reserved));
        let awake = rate.exchange(2 * INTERVAL + 10, &pass(frozen.reserved));
        assert_eq!((awake.taken, awake.due_in), (None, 2 * INTERVAL - 10));
        assert_eq!(other.due_in, INTERVAL);
    }

    #[test]
    fn a_call_that_leaves_late_keeps_the_next_at_its_distance() {
        let mut rate = SharedRate::after_loss(0, 0);
        let reply = rate.exchange(0, &pass(None));
        let late = RateRequest {
            interval: INTERVAL,
            slack: SLACK,
            late: reply.taken,
            ..RateRequest::default()
        };
        rate.exchange(20_000, &late);
        let early = rate.exchange(INTERVAL, &pass(reply.reserved));
        assert_eq!((early.taken, early.due_in), (None, 20_000 - SLACK));
        rate.exchange(INTERVAL, &pause(1));
        let after = rate.exchange(INTERVAL, &pass(None));
        assert_eq!(after.due_in, 20_000 - SLACK, "also after a short pause");
    }

    #[test]
    fn the_longest_interval_wins_until_it_is_forgotten() {
        let mut rate = SharedRate::after_loss(0, 0);
        let request = |interval| RateRequest {
            interval,
            ..RateRequest::default()
        };
        assert_eq!(rate.exchange(0, &request(INTERVAL)).interval, INTERVAL);
        assert_eq!(
            rate.exchange(1, &request(2 * INTERVAL)).interval,
            2 * INTERVAL
        );
        assert_eq!(rate.exchange(2, &request(INTERVAL)).interval, 2 * INTERVAL);
        rate.exchange(9_000_000, &request(2 * INTERVAL));
        for (now, interval) in [(15_000_000, 2 * INTERVAL), (30_000_000, INTERVAL)] {
            assert_eq!(rate.exchange(now, &request(INTERVAL)).interval, interval);
        }
        rate.exchange(40_000_000, &request(10_000_000));
        let later = rate.exchange(140_000_000, &request(INTERVAL)).interval;
        assert_eq!(later, 10_000_000, "a long one is kept longer");
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_delays_no_process_for_long_and_allows_no_burst() {
        let hour = 3_600_000_000;
        let mut rate = SharedRate::after_loss(hour, 0);
        let reserved = rate.exchange(hour, &pass(None)).reserved;
        let back = rate.exchange(5, &pass(reserved));
        assert_eq!((back.taken, back.due_in), (None, INTERVAL));
        let reserved = rate.exchange(5 + INTERVAL, &pass(back.reserved)).reserved;
        let forward = rate.exchange(2 * hour, &pass(reserved));
        assert!(forward.taken.is_some());
        assert_eq!(forward.due_in, INTERVAL - SLACK);
        let back = rate.exchange(hour, &pass(forward.reserved));
        assert_eq!((back.taken, back.due_in), (None, INTERVAL));
    }

    #[test]
    fn a_permit_of_a_lost_rate_does_not_count() {
        let mut rate = SharedRate::after_loss(0, 0);
        let reserved = rate.exchange(0, &pass(None)).reserved;
        let mut rate = SharedRate::after_loss(1000, INTERVAL);
        let reply = rate.exchange(1000, &pass(reserved));
        assert_eq!((reply.taken, reply.due_in), (None, INTERVAL));
    }
}
