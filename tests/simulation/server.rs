//! A simulated API: it answers late, refuses, breaks and fails as its plan says, and counts what it is sent.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::api::{Answer, ApiKind, Ask, CallError};
use crate::clock::{Clock, SimClock};
use crate::hints::Hints;
use crate::http::{TransportError, TransportFault};
use crate::json::Json;

/// How the server treats its calls: plain data.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerPlan {
    /// The shortest and the longest time that a call takes.
    pub(super) latency: (Duration, Duration),
    /// Of a thousand calls, how many end in each of the [`Fault`]s.
    pub(super) faults: u32,
    /// Of a thousand prompts, how many are refused for what they say.
    pub(super) rejected: u32,
    /// Calls a minute, from these times on; before the first time there is no limit.
    pub(super) limits: Vec<(Duration, u32)>,
    /// Calls that may come at once, at least 1.
    pub(super) burst: u32,
    /// Whether the headers state the limit.
    pub(super) states: bool,
    /// The longest time until a request leaves, because a connection is made first.
    pub(super) connecting: Duration,
}

/// What may become of a call that is within the limit.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A 429 that says when to come back: as seconds, milliseconds, or a date.
    RateLimited(u32),
    /// A 429 that does not say when.
    Silent,
    /// A 503, with or without a time.
    Unavailable(bool),
    /// A 500 with a page in place of JSON.
    Error,
    /// No answer within the time-out.
    Timeout,
    /// The connection breaks after the request was sent.
    Broken,
    /// No connection is made.
    Unreachable,
    /// A 200 whose body is cut.
    Unreadable,
}

/// A call as the server saw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServedCall {
    pub(super) prompt: String,
    /// When the client began with it, if only with its connection.
    pub(super) began: Duration,
    /// `None` while it is in flight.
    pub(super) ended: Option<Duration>,
    pub(super) answered: bool,
    pub(super) over_limit: bool,
}

impl ServedCall {
    /// Whether it was answered, and its answer is not among those on record.
    pub(super) fn is_lost(&self, on_record: &BTreeSet<String>) -> bool {
        self.answered && !on_record.contains(&self.prompt)
    }
}

#[derive(Debug)]
struct ServerState {
    chance: StdRng,
    /// When the next call is due, as a strict server counts.
    next: Duration,
    calls: Vec<ServedCall>,
    /// The client is dead: nothing that it still does reaches the server.
    is_deaf: bool,
    /// The faults are over.
    is_healthy: bool,
}

#[derive(Debug)]
pub(super) struct SimServer {
    clock: SimClock,
    plan: ServerPlan,
    seed: u64,
    state: Mutex<ServerState>,
}

impl SimServer {
    const TIMEOUT: Duration = Duration::from_secs(60);

    pub(super) fn new(clock: SimClock, plan: ServerPlan, seed: u64) -> Self {
        let state = ServerState {
            chance: StdRng::seed_from_u64(seed),
            next: Duration::ZERO,
            calls: Vec::new(),
            is_deaf: false,
            is_healthy: false,
        };
        SimServer {
            clock,
            plan,
            seed,
            state: Mutex::new(state),
        }
    }

    /// All calls so far, in the order in which they came.
    pub(super) fn calls(&self) -> Vec<ServedCall> {
        self.state.lock().calls.clone()
    }

    /// The client has died, or lives again.
    pub(super) fn set_deaf(&self, is_deaf: bool) {
        self.state.lock().is_deaf = is_deaf;
    }

    /// From now on there are no faults.
    pub(super) fn heal(&self) {
        self.state.lock().is_healthy = true;
    }

    /// Whether this prompt is refused for what it says.
    pub(super) fn rejects(&self, prompt: &str) -> bool {
        let line: u64 = prompt.parse().unwrap_or_default();
        let mut chance = StdRng::seed_from_u64(self.seed ^ line.wrapping_mul(0x9e37_79b9));
        chance.random_range(0..1000) < self.plan.rejected
    }

    /// The text of the answer to a prompt.
    pub(super) fn text(prompt: &str) -> String {
        format!("answer to {prompt}")
    }

    fn limit(&self, now: Duration) -> Option<u32> {
        let mut newest = self.plan.limits.iter().rev();
        newest
            .find(|(from, _)| *from <= now)
            .map(|(_, per_minute)| *per_minute)
    }

    /// Counts a call against the limit. The error is the time until the next may come.
    fn admit(&self, state: &mut ServerState, now: Duration) -> Result<(), Duration> {
        let Some(per_minute) = self.limit(now) else {
            return Ok(());
        };
        let interval = Duration::from_secs(60) / per_minute;
        let ahead = interval * (self.plan.burst.max(1) - 1);
        if state.next > now + ahead {
            return Err(state.next - now - ahead);
        }
        state.next = state.next.max(now) + interval;
        Ok(())
    }

    fn draw(&self, state: &mut ServerState) -> (Option<Fault>, Duration) {
        let (shortest, longest) = self.plan.latency;
        let latency = state.chance.random_range(shortest..=longest);
        let faults = [
            Fault::RateLimited(state.chance.random_range(0..3)),
            Fault::Silent,
            Fault::Unavailable(state.chance.random_bool(0.5)),
            Fault::Error,
            Fault::Timeout,
            Fault::Broken,
            Fault::Unreachable,
            Fault::Unreadable,
        ];
        let is_faulty = state.chance.random_range(0..1000) < self.plan.faults;
        let fault = faults[state.chance.random_range(0..faults.len())];
        (
            Some(fault).filter(|_| is_faulty && !state.is_healthy),
            latency,
        )
    }

    /// Notes the call, and decides what becomes of it. `None`: the client is dead.
    fn begin(
        &self,
        prompt: &str,
        began: Duration,
    ) -> Option<(usize, Result<Option<Fault>, Duration>, Duration)> {
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        if state.is_deaf {
            return None;
        }
        let admitted = self.admit(&mut state, now);
        let (fault, latency) = self.draw(&mut state);
        state.calls.push(ServedCall {
            prompt: prompt.to_owned(),
            began,
            ended: None,
            answered: false,
            over_limit: admitted.is_err(),
        });
        let number = state.calls.len() - 1;
        Some((number, admitted.map(|()| fault), latency))
    }

    fn end(&self, number: usize, answered: bool) {
        let now = self.clock.elapsed();
        let call = &mut self.state.lock().calls[number];
        call.ended = Some(now);
        call.answered = answered;
    }

    fn sleep(&self, time: Duration) {
        self.clock.sleep_until(self.clock.now() + time);
    }

    fn stated(&self) -> Vec<(String, String)> {
        let limit = self
            .limit(self.clock.elapsed())
            .filter(|_| self.plan.states);
        let header = |limit: u32| ("x-ratelimit-limit-requests".to_owned(), limit.to_string());
        limit.into_iter().map(header).collect()
    }

    fn refusal(&self, status: u16, more: Vec<(String, String)>, body: &str) -> CallError {
        let headers = [self.stated(), more].concat();
        ApiKind::Chat
            .api()
            .failure(status, &headers, body.as_bytes())
    }

    /// The failure of a call, after the time that it takes.
    fn fail(&self, fault: Fault, latency: Duration) -> CallError {
        const BUSY: &str = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
        let wait = |seconds: &str| vec![("retry-after".to_owned(), seconds.to_owned())];
        let lost = |fault, message: &str, is_sent| {
            CallError::from(TransportError {
                fault,
                message: message.to_owned(),
                is_sent,
            })
        };
        self.sleep(match fault {
            Fault::Timeout => Self::TIMEOUT,
            _ => latency,
        });
        match fault {
            Fault::RateLimited(0) => self.refusal(429, wait("2"), BUSY),
            Fault::RateLimited(1) => {
                self.refusal(429, vec![("retry-after-ms".into(), "700".into())], BUSY)
            }
            Fault::RateLimited(_) => {
                let at = SystemTime::UNIX_EPOCH + self.clock.elapsed();
                let date = |at| httpdate::fmt_http_date(at);
                let mut headers = wait(&date(at + Duration::from_secs(3)));
                headers.push(("date".into(), date(at)));
                self.refusal(429, headers, BUSY)
            }
            Fault::Silent => self.refusal(429, Vec::new(), BUSY),
            Fault::Unavailable(true) => self.refusal(503, wait("1"), "{}"),
            Fault::Unavailable(false) => self.refusal(503, Vec::new(), "{}"),
            Fault::Error => self.refusal(500, Vec::new(), "<html>oops</html>"),
            Fault::Unreadable => self.refusal(200, Vec::new(), r#"{"choices":[{"mess"#),
            Fault::Timeout => lost(TransportFault::Timeout, "no answer within 60 s", true),
            Fault::Broken => lost(TransportFault::Broken, "the connection broke", true),
            Fault::Unreachable => lost(TransportFault::Unreachable, "no connection", false),
        }
    }

    fn answer(&self, prompt: &str) -> Answer {
        let headers = self.stated();
        let hints = Hints::read(&headers, None, SystemTime::UNIX_EPOCH);
        Answer {
            text: Self::text(prompt),
            finish_reason: Some("stop".to_owned()),
            status: 200,
            request_id: None,
            usage: None,
            hints: Box::new(hints),
            body: Json::default(),
        }
    }
}

impl Ask for SimServer {
    fn request(&self, prompt: &str) -> Vec<u8> {
        prompt.as_bytes().to_vec()
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        self.ask_reporting(request, &|| ())
    }

    fn ask_reporting(&self, request: &[u8], sent: &dyn Fn()) -> Result<Answer, CallError> {
        let began = self.clock.elapsed();
        let connecting = Duration::ZERO..=self.plan.connecting;
        let time = self.state.lock().chance.random_range(connecting);
        self.sleep(time);
        sent();
        let prompt = String::from_utf8_lossy(request).into_owned();
        let Some((number, admitted, latency)) = self.begin(&prompt, began) else {
            return Err(self.refusal(500, Vec::new(), ""));
        };
        let answer = match admitted {
            Err(wait) => {
                self.sleep(latency / 10);
                let ms = wait.as_millis() + 1;
                let headers = vec![("retry-after-ms".to_owned(), ms.to_string())];
                let headers = Some(headers)
                    .filter(|_| self.plan.states)
                    .unwrap_or_default();
                Err(self.refusal(429, headers, ""))
            }
            Ok(Some(fault)) => Err(self.fail(fault, latency)),
            Ok(None) if self.rejects(&prompt) => {
                self.sleep(latency);
                Err(self.refusal(400, Vec::new(), r#"{"error":{"message":"not this"}}"#))
            }
            Ok(None) => {
                self.sleep(latency);
                Ok(self.answer(&prompt))
            }
        };
        self.end(number, answer.is_ok());
        answer
    }
}
