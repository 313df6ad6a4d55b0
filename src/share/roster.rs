//! The pure decision for a pace that several processes share: who passes next, and until when everyone is held.
//!
//! A process whose threads wait reserves one turn, sleeps until it is due, and passes; in the same exchange it reserves
//! its next one. So turns go round among the processes, each has at most one in its hands, and a crash loses no other.
//! Whoever passes says so before it calls: a pause is met there by all, and lateness puts off all turns after it.
//!
//! Times are microseconds on a clock that all of them read. The script for Redis does the same in Lua; a test compares
//! the two.

/// What those who share a pace have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Roster {
    /// When the next turn that somebody reserves is due.
    pub next: u64,
    /// When the turn after the last one that was taken may be taken.
    pub free: u64,
    /// How late turns were, in sum: reserved turns are due so much later.
    pub shift: u64,
    /// The number of the last turn that was reserved,
    pub serial: u64,
    /// and of the last that was taken.
    pub passed: u64,
    /// From one turn to the next: the longest that anybody asks for.
    pub step: u64,
    /// When somebody last asked for that one.
    pub step_seen: u64,
    /// Nobody passes before this.
    pub paused_until: u64,
    /// How many pauses have begun.
    pub pauses: u64,
    /// When somebody last looked.
    pub seen: u64,
}

/// A turn that is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Its number.
    pub serial: u64,
    /// When it is due, unless turns were late since then.
    pub at: u64,
    /// [`Roster::shift`] when it was reserved.
    pub shift: u64,
    /// [`Roster::pauses`] when it was reserved: a pause makes it void.
    pub pauses: u64,
}

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Want {
    /// News.
    #[default]
    Look,
    /// To pass if it is time, and else to know when; perhaps with another turn after that.
    Pass {
        /// Whether somebody else waits here, for whom to reserve the next turn.
        and_next: bool,
    },
    /// To give a reserved turn back.
    GiveBack,
}

/// One message to those who share the pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterRequest {
    /// From one turn to the next, as this process was told, in microseconds.
    pub step: u64,
    /// How late a turn may be taken without putting off the others, in microseconds.
    pub slack: u64,
    /// The turn that is reserved for this process.
    pub claim: Option<Claim>,
    /// What is wanted.
    pub want: Want,
    /// The server has told us to wait so long from now, in microseconds.
    pub pause: Option<u64>,
    /// The call of the turn with this number leaves only now.
    pub late: Option<u64>,
}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterReply {
    /// The turn that was taken, if one was.
    pub passed: Option<u64>,
    /// The turn that is reserved now,
    pub claim: Option<Claim>,
    /// and in how many microseconds it is due.
    pub due_in: u64,
    /// For how many microseconds everyone is held.
    pub paused_for: u64,
    /// How many pauses have begun,
    pub pauses: u64,
    /// and whether this message began one.
    pub began: bool,
    /// From one turn to the next, for all.
    pub step: u64,
}

impl Roster {
    /// A step that nobody asked for in this time, and in so many of its own lengths, counts no more, in microseconds.
    pub const FORGET: u64 = 10_000_000;
    /// See [`FORGET`](Roster::FORGET).
    pub const FORGET_STEPS: u64 = 16;
    /// A clock that is so much behind was set back, and what was written by it counts no more, in microseconds.
    pub const STEPPED_BACK: u64 = 1_000_000;

    /// Nobody has passed yet. Turns have numbers that no earlier roster gave.
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

    /// What was known is lost: somebody may have passed just now.
    #[must_use]
    pub fn after_loss(now: u64, step: u64) -> Self {
        Roster {
            next: now + step,
            free: now + step,
            ..Roster::new(now)
        }
    }

    /// Answers one message.
    pub fn exchange(&mut self, now: u64, request: &RosterRequest) -> RosterReply {
        if now + Self::STEPPED_BACK < self.seen {
            *self = Roster::after_loss(now, self.step.max(request.step));
        }
        self.seen = self.seen.max(now);
        self.agree_on_step(now, request.step);
        let began = request
            .pause
            .is_some_and(|pause| self.pause_until(now + pause));
        request
            .late
            .into_iter()
            .for_each(|serial| self.late(now, request.slack, serial));
        let mut reply = RosterReply {
            began,
            claim: request.claim,
            ..RosterReply::default()
        };
        match request.want {
            Want::Look => {}
            Want::GiveBack => {
                reply
                    .claim
                    .take()
                    .into_iter()
                    .for_each(|claim| self.give_back(claim));
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
        (reply.paused_for, reply.pauses, reply.step) = (
            self.paused_until.saturating_sub(now),
            self.pauses,
            self.step,
        );
        reply
    }

    /// The slowest rules, until it has not been heard of for a while.
    fn agree_on_step(&mut self, now: u64, step: u64) {
        let forgotten = self.step_seen + Self::FORGET + Self::FORGET_STEPS * self.step;
        if step >= self.step || now > forgotten {
            (self.step, self.step_seen) = (step, now);
        }
    }

    /// Whether that is longer than anybody was held.
    fn pause_until(&mut self, until: u64) -> bool {
        let began = until > self.paused_until;
        if began {
            // Every reserved turn is void, so that the next one is the first after the pause.
            (self.paused_until, self.next) = (until, until.max(self.free));
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
        (self.serial, self.next) = (self.serial + 1, at + self.step);
        Claim {
            serial: self.serial,
            at,
            shift: self.shift,
            pauses: self.pauses,
        }
    }

    fn pass(&mut self, now: u64, slack: u64, claim: &Claim) {
        let (due, excused) = (self.due(claim), now.saturating_sub(slack));
        self.put_off(excused.saturating_sub(due));
        (self.passed, self.free) = (claim.serial, due.max(excused) + self.step);
    }

    /// Whoever passed leaves late: those who pass next keep their distance, if it is not too late for that.
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

    /// Others have gone to sleep until turns after this one: only the last can be given to somebody else.
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

    /// Some processes that each pass as soon as they may, each so late as `late` says. Returns who passed when.
    fn go(
        roster: &mut Roster,
        processes: usize,
        turns: usize,
        late: impl Fn(usize) -> u64,
    ) -> Vec<(u64, usize)> {
        let (mut claims, mut wake): (Vec<Option<Claim>>, Vec<u64>) =
            (vec![None; processes], vec![1_000_000; processes]);
        let mut passed = Vec::new();
        while passed.len() < turns {
            let who = (0..processes).min_by_key(|who| wake[*who]).unwrap();
            let now = wake[who];
            let reply = roster.exchange(now, &pass(claims[who]));
            passed.extend(reply.passed.map(|_| (now, who)));
            (claims[who], wake[who]) = (reply.claim, now + reply.due_in + late(passed.len()));
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
    fn turns_are_a_step_apart_and_go_round() {
        let passed = go(&mut Roster::new(0), 4, 400, |_| 0);
        assert!(gaps(&passed).iter().all(|gap| *gap == STEP));
        for who in 0..4 {
            let turns = passed.iter().filter(|(_, passed)| *passed == who).count();
            assert!((99..=101).contains(&turns), "{turns}"); // the first of all finds nobody in line
        }
    }

    #[test]
    fn lateness_buys_no_burst_and_small_lateness_does_not_add_up() {
        let late = |n: usize| if n.is_multiple_of(7) { 30_000 } else { 300 };
        let passed = go(&mut Roster::new(0), 4, 400, late);
        let least = gaps(&passed).into_iter().min().unwrap();
        assert!(least >= STEP - SLACK, "{least}");
        let little = go(&mut Roster::new(0), 4, 400, |_| 300);
        let took = little[399].0 - little[0].0;
        assert!(took <= 399 * STEP + 300, "{took}");
    }

    #[test]
    fn a_hold_makes_every_reserved_turn_void_and_turns_resume_a_step_apart() {
        let mut roster = Roster::new(0);
        let first = roster.exchange(0, &pass(None));
        let other = roster.exchange(0, &pass(None));
        assert!(roster.exchange(10, &pause(1_000_000)).began);
        let (one, two) = (
            roster.exchange(STEP, &pass(first.claim)),
            roster.exchange(2 * STEP, &pass(other.claim)),
        );
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
    fn a_crash_loses_one_turn_and_no_more() {
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
    fn a_turn_is_given_back_if_nobody_sleeps_until_a_later_one() {
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
            "who wakes first, passes"
        );
    }

    #[test]
    fn a_turn_that_others_have_overtaken_is_reserved_anew() {
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
    fn the_slowest_rules_until_it_is_not_heard_of_any_more() {
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
    fn a_clock_that_is_set_back_or_forward_stops_nobody_for_long_and_buys_no_burst() {
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
    fn a_turn_of_a_roster_that_was_lost_is_none() {
        let mut roster = Roster::new(0);
        let claim = roster.exchange(0, &pass(None)).claim;
        let mut roster = Roster::after_loss(1000, STEP);
        let reply = roster.exchange(1000, &pass(claim));
        assert_eq!((reply.passed, reply.due_in), (None, STEP));
    }
}
