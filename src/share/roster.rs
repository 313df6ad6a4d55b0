//! The pure decision for a rate that several processes share: which process gets the next permit, and until when all
//! of them pause.
//!
//! A process whose threads wait reserves one permit, sleeps until it is due, and takes it. In the same exchange it
//! reserves the next one. So permits go round among the processes. Each process has at most one reserved permit, and a
//! crash loses no more than that. A process takes its permit here before it makes the call, so that a pause binds every
//! process, and a late permit delays all later ones.
//!
//! Times are microseconds on a clock that all processes read. The Redis script does the same in Lua; a test compares the
//! two.

/// The common state of the processes that share a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Roster {
    /// When the next permit to be reserved is due.
    pub next: u64,
    /// When the permit after the most recently taken one may be taken.
    pub free: u64,
    /// The total delay of late permits: reserved permits are due this much later.
    pub shift: u64,
    /// Serial number of the most recently reserved permit.
    pub serial: u64,
    /// Serial number of the most recently taken permit.
    pub passed: u64,
    /// Interval between permits: the longest that any process asks for.
    pub step: u64,
    /// When a process last asked for this interval.
    pub step_seen: u64,
    /// No permit is taken before this time.
    pub paused_until: u64,
    /// How many pauses have begun.
    pub pauses: u64,
    /// Time of the latest exchange.
    pub seen: u64,
}

/// A reserved permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Serial number.
    pub serial: u64,
    /// When it is due, not counting permits that were late since then.
    pub at: u64,
    /// [`Roster::shift`] when it was reserved.
    pub shift: u64,
    /// [`Roster::pauses`] when it was reserved: a pause makes it void.
    pub pauses: u64,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// The state only.
    #[default]
    Look,
    /// To take a permit if it is due, or else to reserve it.
    Pass {
        /// Whether to reserve another permit, because another thread waits.
        and_next: bool,
    },
    /// To give back a reserved permit.
    GiveBack,
}

/// A request to the roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterRequest {
    /// Interval between permits that this process asks for, in microseconds.
    pub step: u64,
    /// How late a permit may be taken without delaying the others, in microseconds.
    pub slack: u64,
    /// The permit that is reserved for this process.
    pub claim: Option<Claim>,
    /// What is asked for.
    pub want: Want,
    /// The length of a pause that begins now, in microseconds.
    pub pause: Option<u64>,
    /// Serial number of a permit whose call leaves only now.
    pub late: Option<u64>,
}

/// The reply of the roster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterReply {
    /// Serial number of the permit that was taken, if one was.
    pub passed: Option<u64>,
    /// The permit that is reserved now.
    pub claim: Option<Claim>,
    /// In how many microseconds the reserved permit is due.
    pub due_in: u64,
    /// How many microseconds the pause still lasts.
    pub paused_for: u64,
    /// How many pauses have begun.
    pub pauses: u64,
    /// Whether this request began a pause.
    pub began: bool,
    /// Interval between permits for all processes, in microseconds.
    pub step: u64,
}

impl Roster {
    /// A step counts until no process has asked for it in this time plus [`FORGET_STEPS`](Roster::FORGET_STEPS) steps, in
    /// microseconds.
    pub const FORGET: u64 = 10_000_000;
    /// See [`FORGET`](Roster::FORGET).
    pub const FORGET_STEPS: u64 = 16;
    /// A clock this far behind was set back, and the times it gave before no longer count, in microseconds.
    pub const STEPPED_BACK: u64 = 1_000_000;

    /// A roster of which no permit was taken. Its serial numbers are new: no earlier roster gave them.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Roster {
            next: now,
            free: now,
            serial: now,
            passed: now,
            seen: now,
            ..Roster::default()
        }
    }

    /// A roster in place of one that was lost: a permit may have been taken just now.
    #[must_use]
    pub fn after_loss(now: u64, step: u64) -> Self {
        Roster {
            next: now + step,
            free: now + step,
            ..Roster::new(now)
        }
    }

    /// Handles one request.
    pub fn exchange(&mut self, now: u64, request: &RosterRequest) -> RosterReply {
        if now + Self::STEPPED_BACK < self.seen {
            *self = Roster::after_loss(now, self.step.max(request.step));
        }
        self.seen = self.seen.max(now);
        self.agree_on_step(now, request.step);
        let began = request
            .pause
            .is_some_and(|pause| self.pause_until(now + pause));
        if let Some(serial) = request.late {
            self.late(now, request.slack, serial);
        }
        let mut reply = RosterReply {
            began,
            claim: request.claim,
            ..RosterReply::default()
        };
        match request.want {
            Want::Look => {}
            Want::GiveBack => {
                if let Some(claim) = reply.claim.take() {
                    self.give_back(claim);
                }
            }
            Want::Pass { and_next } => {
                let claim = request.claim.filter(|claim| self.is_good(claim));
                let claim = claim.unwrap_or_else(|| self.reserve(now));
                if self.due(&claim) > now {
                    reply.claim = Some(claim);
                } else {
                    self.pass(now, request.slack, &claim);
                    reply.passed = Some(claim.serial);
                    reply.claim = and_next.then(|| self.reserve(now));
                }
            }
        }
        reply.due_in = reply
            .claim
            .map_or(0, |claim| self.due(&claim).saturating_sub(now));
        reply.paused_for = self.paused_until.saturating_sub(now);
        reply.pauses = self.pauses;
        reply.step = self.step;
        reply
    }

    /// The longest interval wins, until no process has asked for it for a while.
    fn agree_on_step(&mut self, now: u64, step: u64) {
        let forgotten = self.step_seen + Self::FORGET + Self::FORGET_STEPS * self.step;
        if step >= self.step || now > forgotten {
            self.step = step;
            self.step_seen = now;
        }
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

    fn is_good(&self, claim: &Claim) -> bool {
        claim.pauses == self.pauses
            && (self.passed + 1..=self.serial).contains(&claim.serial)
            && claim.shift <= self.shift
    }

    fn due(&self, claim: &Claim) -> u64 {
        claim.at + self.shift.saturating_sub(claim.shift)
    }

    fn reserve(&mut self, now: u64) -> Claim {
        let at = self.next.max(now);
        self.serial += 1;
        self.next = at + self.step;
        Claim {
            serial: self.serial,
            at,
            shift: self.shift,
            pauses: self.pauses,
        }
    }

    fn pass(&mut self, now: u64, slack: u64, claim: &Claim) {
        let due = self.due(claim);
        let excused = now.saturating_sub(slack);
        self.put_off(excused.saturating_sub(due));
        self.passed = claim.serial;
        self.free = due.max(excused) + self.step;
    }

    /// The call of the latest permit leaves late: later permits are delayed to keep their distance.
    fn late(&mut self, now: u64, slack: u64, serial: u64) {
        if serial == self.passed {
            let late = (now.saturating_sub(slack) + self.step).saturating_sub(self.free);
            self.free += late;
            self.put_off(late);
        }
    }

    fn put_off(&mut self, late: u64) {
        self.shift += late;
        self.next += late;
    }

    /// Gives back a reserved permit, if it is the latest one. Other processes already sleep until later ones.
    fn give_back(&mut self, claim: Claim) {
        if self.is_good(&claim) && claim.serial == self.serial {
            self.next = self.due(&claim).max(self.free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = 50_000;
    const SLACK: u64 = 400;

    fn pass(claim: Option<Claim>) -> RosterRequest {
        RosterRequest {
            step: STEP,
            slack: SLACK,
            claim,
            want: Want::Pass { and_next: true },
            ..RosterRequest::default()
        }
    }

    fn pause(us: u64) -> RosterRequest {
        RosterRequest {
            step: STEP,
            slack: SLACK,
            pause: Some(us),
            ..RosterRequest::default()
        }
    }

    /// Processes that take each permit when it is due, late by `late`. Returns which process took one when.
    fn go(
        roster: &mut Roster,
        processes: usize,
        permits: usize,
        late: impl Fn(usize) -> u64,
    ) -> Vec<(u64, usize)> {
        let mut claims: Vec<Option<Claim>> = vec![None; processes];
        let mut wake: Vec<u64> = vec![1_000_000; processes];
        let mut passed = Vec::new();
        while passed.len() < permits {
            let who = (0..processes).min_by_key(|who| wake[*who]).unwrap();
            let now = wake[who];
            let reply = roster.exchange(now, &pass(claims[who]));
            passed.extend(reply.passed.map(|_| (now, who)));
            claims[who] = reply.claim;
            wake[who] = now + reply.due_in + late(passed.len());
        }
        passed
    }

    fn gaps(passed: &[(u64, usize)]) -> Vec<u64> {
        passed
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .collect()
    }

    #[test]
    fn permits_are_a_step_apart_and_go_round() {
        let passed = go(&mut Roster::new(0), 4, 400, |_| 0);
        assert!(gaps(&passed).iter().all(|gap| *gap == STEP));
        for who in 0..4 {
            let permits = passed.iter().filter(|(_, passed)| *passed == who).count();
            assert!((99..=101).contains(&permits), "{permits}"); // the first process finds no other one in line
        }
    }

    #[test]
    fn lateness_allows_no_burst_and_small_lateness_does_not_add_up() {
        let late = |n: usize| if n.is_multiple_of(7) { 30_000 } else { 300 };
        let passed = go(&mut Roster::new(0), 4, 400, late);
        let least = gaps(&passed).into_iter().min().unwrap();
        assert!(least >= STEP - SLACK, "{least}");
        let little = go(&mut Roster::new(0), 4, 400, |_| 300);
        let took = little[399].0 - little[0].0;
        assert!(took <= 399 * STEP + 300, "{took}");
    }

    #[test]
    fn a_pause_makes_reserved_permits_void_and_permits_resume_a_step_apart() {
        let mut roster = Roster::new(0);
        let first = roster.exchange(0, &pass(None));
        let other = roster.exchange(0, &pass(None));
        assert!(roster.exchange(10, &pause(1_000_000)).began);
        let one = roster.exchange(STEP, &pass(first.claim));
        let two = roster.exchange(2 * STEP, &pass(other.claim));
        assert_eq!(
            (one.passed, two.passed),
            (None, None),
            "the sleepers at the front, too"
        );
        assert_eq!(
            (STEP + one.due_in, 2 * STEP + two.due_in),
            (1_000_010, 1_000_010 + STEP)
        );
        assert!(
            !roster.exchange(20, &pause(500_000)).began,
            "a shorter one changes nothing"
        );
    }

    #[test]
    fn a_crash_loses_one_permit_and_no_more() {
        let mut roster = Roster::new(0);
        roster.exchange(0, &pass(None)); // takes one, reserves the next, and is killed
        let reply = roster.exchange(0, &pass(None));
        assert_eq!(reply.due_in, 2 * STEP);
        assert!(
            roster
                .exchange(2 * STEP, &pass(reply.claim))
                .passed
                .is_some()
        );
    }

    #[test]
    fn a_permit_is_given_back_if_no_process_sleeps_until_a_later_one() {
        let mut roster = Roster::new(0);
        let reply = roster.exchange(0, &pass(None));
        roster.exchange(
            1,
            &RosterRequest {
                want: Want::GiveBack,
                ..pass(reply.claim)
            },
        );
        assert_eq!(roster.exchange(1, &pass(None)).due_in, STEP - 1);
        assert!(
            roster.exchange(STEP, &pass(reply.claim)).passed.is_some(),
            "the first process to wake takes it"
        );
    }

    #[test]
    fn a_permit_that_others_have_overtaken_is_reserved_again() {
        let mut roster = Roster::new(0);
        let frozen = roster.exchange(0, &pass(None));
        let other = roster.exchange(0, &pass(None));
        let other = roster.exchange(2 * STEP, &pass(other.claim));
        let awake = roster.exchange(2 * STEP + 10, &pass(frozen.claim));
        assert_eq!((awake.passed, awake.due_in), (None, 2 * STEP - 10));
        assert_eq!(other.due_in, STEP);
    }

    #[test]
    fn a_call_that_leaves_late_keeps_the_next_at_its_distance() {
        let mut roster = Roster::new(0);
        let reply = roster.exchange(0, &pass(None));
        let late = RosterRequest {
            step: STEP,
            slack: SLACK,
            late: reply.passed,
            ..RosterRequest::default()
        };
        roster.exchange(20_000, &late);
        let early = roster.exchange(STEP, &pass(reply.claim));
        assert_eq!((early.passed, early.due_in), (None, 20_000 - SLACK));
    }

    #[test]
    fn the_longest_step_wins_until_it_is_forgotten() {
        let mut roster = Roster::new(0);
        let request = |step| RosterRequest {
            step,
            ..RosterRequest::default()
        };
        assert_eq!(roster.exchange(0, &request(STEP)).step, STEP);
        assert_eq!(roster.exchange(1, &request(2 * STEP)).step, 2 * STEP);
        assert_eq!(roster.exchange(2, &request(STEP)).step, 2 * STEP);
        assert_eq!(roster.exchange(20_000_000, &request(STEP)).step, STEP);
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_delays_no_process_for_long_and_allows_no_burst() {
        let hour = 3_600_000_000;
        let mut roster = Roster::new(hour);
        let claim = roster.exchange(hour, &pass(None)).claim;
        let back = roster.exchange(5, &pass(claim));
        assert_eq!((back.passed, back.due_in), (None, STEP));
        let claim = roster.exchange(5 + STEP, &pass(back.claim)).claim;
        let forward = roster.exchange(2 * hour, &pass(claim));
        assert!(forward.passed.is_some());
        assert_eq!(forward.due_in, STEP - SLACK);
    }

    #[test]
    fn a_permit_of_a_lost_roster_does_not_count() {
        let mut roster = Roster::new(0);
        let claim = roster.exchange(0, &pass(None)).claim;
        let mut roster = Roster::after_loss(1000, STEP);
        let reply = roster.exchange(1000, &pass(claim));
        assert_eq!((reply.passed, reply.due_in), (None, STEP));
    }
}
