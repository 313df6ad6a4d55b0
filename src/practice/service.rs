//! What is answered to a request: a page of the server's own, a scripted reply, or, by the rules, an answer of an API.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::debug;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::ServerOptions;
use super::apis::{Dialect, MODEL, Question};
use super::batches::BatchStore;
use super::connections::{Connections, Serve};
use super::errors::Problem;
use super::faults::InjectedFault;
use super::limits::{Admission, OverLimit};
use super::prose::Prose;
use super::script::{ReceivedRequest, Reply, RequestLog};
use super::stats::{CallSeen, StatsKeeper};
use super::wire::WireReply;

/// Longer than any client waits.
const FOREVER: Duration = Duration::from_secs(3600);

/// What the threads of all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: ServerOptions,
    started: Instant,
    pub(super) state: Mutex<ServiceState>,
    pub(super) connections: Arc<Connections>,
    /// Holds one value for each call that is worked on, if their number is limited.
    slots: Option<(Sender<()>, Receiver<()>)>,
}

#[derive(Debug)]
pub(super) struct ServiceState {
    admission: Admission,
    pub(super) stats: StatsKeeper,
    /// Replies to come.
    pub(super) script: VecDeque<Reply>,
    pub(super) received: RequestLog,
    batches: BatchStore,
    /// The calls so far that had no scripted reply.
    calls: u64,
    /// The answers so far, by key.
    answers: HashMap<usize, u64>,
}

impl Service {
    pub(super) fn new(options: ServerOptions) -> Self {
        let started = Instant::now();
        let state = ServiceState {
            admission: Admission::new(options.limits, started),
            stats: StatsKeeper::default(),
            script: VecDeque::new(),
            received: RequestLog::default(),
            batches: BatchStore::default(),
            calls: 0,
            answers: HashMap::new(),
        };
        let slots = options.limits.slots.map(|slots| bounded(slots.get()));
        Service {
            slots,
            options,
            started,
            state: Mutex::new(state),
            connections: Connections::new(usize::MAX).into(),
        }
    }

    /// Answers a request, as late as the rules want it; `None` if the server stops meanwhile.
    pub(super) fn answer(&self, request: ReceivedRequest) -> Option<WireReply> {
        let request = Arc::new(request);
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut state = self.state.lock();
        match (request.method.as_str(), path) {
            ("GET", "/health") => return Some(page(&json!({"status": "ok"}))),
            ("GET", "/stats") => return Some(page(&state.stats.page(query == "arrivals=1"))),
            _ => state.received.push(request.clone()),
        }
        let scripted = state.script.pop_front();
        if scripted.is_none()
            && let Some(reply) = state.batches.answer(&self.options, &request)
        {
            state.stats.counts.batches = state.batches.counts();
            return Some(reply);
        }
        drop(state);
        match (scripted, Dialect::at(path)) {
            (Some(reply), dialect) => self.scripted(reply, dialect, &request),
            (None, Some(dialect)) if request.method == "POST" => self.call(dialect, &request),
            (None, dialect) => Some(other(&request.method, path, dialect.is_some())),
        }
    }

    fn scripted(
        &self,
        reply: Reply,
        dialect: Option<Dialect>,
        request: &ReceivedRequest,
    ) -> Option<WireReply> {
        let is_stopped = !reply.delay.is_zero() && self.connections.wait(reply.delay);
        let reply = reply.render(dialect, request);
        let mut state = self.state.lock();
        let key = state.admission.key(request.key());
        state.stats.count(CallSeen {
            at: request.arrived - self.started,
            key,
            status: reply.status,
            is_rate_limited: reply.status == 429,
            ..CallSeen::default()
        });
        (!is_stopped).then_some(reply)
    }

    /// One call of an API by the rules: limits, faults, latency, answer.
    fn call(&self, dialect: Dialect, request: &ReceivedRequest) -> Option<WireReply> {
        let question = dialect.parse(request);
        let (number, mut seen, over) = self.admit(dialect, request, question.as_ref().ok());
        if over.is_none() {
            let faults = &self.options.faults;
            let drawn = faults.draw(self.options.seed, number, seen.at);
            let unread = Question::default();
            let asked = question.as_ref().unwrap_or(&unread);
            seen.fault = drawn.filter(|fault| asked.can_have(*fault, faults));
            if self.work(number, seen.fault) {
                return None;
            }
        }
        let result = match (question, over) {
            (Err(wrong), _) => Err(Problem::Invalid(400, wrong)),
            (Ok(_), Some(over)) => Err(Problem::OverLimit(over)),
            (Ok(mut question), None) => {
                question.cache(self.options.cached, number == 0);
                self.complete(dialect, &question, &seen)
            }
        };
        seen.is_out_of_credit = matches!(result, Err(Problem::NoCredit));
        let hints = self.options.hints;
        let error = |problem| dialect.error(&problem, hints);
        let mut reply = result.map_or_else(error, |body| WireReply::new(200, body));
        seen.status = reply.status;
        let mut state = self.state.lock();
        state.stats.count(seen);
        let left = hints.then(|| state.admission.left(seen.key, Instant::now()));
        let headers = dialect.headers(number, &left.unwrap_or_default());
        reply.headers.extend(headers);
        reply.fault = seen.fault;
        let name = seen.fault.map(InjectedFault::name);
        debug!(key = seen.key, status = reply.status, fault = name; "practice call");
        Some(reply)
    }

    /// Numbers a call and its key, and looks whether it is within the limits.
    fn admit(
        &self,
        dialect: Dialect,
        request: &ReceivedRequest,
        question: Option<&Question>,
    ) -> (u64, CallSeen, Option<OverLimit>) {
        let cost = question.map_or(1, |question| dialect.cost(question, self.options.seed));
        let mut state = self.state.lock();
        let number = state.calls;
        state.calls += 1;
        let key = state.admission.key(request.key());
        let over = state.admission.admit(key, cost, request.arrived).err();
        let in_flight = state.admission.in_flight() as u64;
        let most = &mut state.stats.counts.most_in_flight;
        *most = in_flight.max(*most);
        let seen = CallSeen {
            at: request.arrived - self.started,
            key,
            is_rate_limited: over.is_some(),
            ..CallSeen::default()
        };
        (number, seen, over)
    }

    /// Takes the time of a call that was let in; true if the server was stopped meanwhile.
    fn work(&self, number: u64, fault: Option<InjectedFault>) -> bool {
        let time = match fault {
            Some(InjectedFault::Hang) => FOREVER,
            Some(InjectedFault::Status(429) | InjectedFault::NoFlex) => Duration::ZERO,
            _ => self.options.latency.draw(self.options.seed, number),
        };
        let is_stopped = !self.take_slot() || (!time.is_zero() && self.connections.wait(time));
        if let Some((_, taken)) = &self.slots {
            let _ = taken.try_recv();
        }
        self.state.lock().admission.leave();
        is_stopped
    }

    /// Waits in the queue until the call can be worked on; false if the server was stopped meanwhile.
    fn take_slot(&self) -> bool {
        let Some((free, _)) = &self.slots else {
            return true;
        };
        select! {
            send(free, ()) -> _ => true,
            recv(self.connections.stopped) -> _ => false,
        }
    }

    /// The body of the answer.
    fn complete(
        &self,
        dialect: Dialect,
        question: &Question,
        seen: &CallSeen,
    ) -> Result<String, Problem> {
        let seed = self.options.seed;
        let prose = match seen.fault {
            Some(InjectedFault::Status(status)) => return Err(Problem::Injected(status)),
            Some(InjectedFault::NoFlex) => return Err(Problem::NoFlex),
            Some(InjectedFault::BadJson) => return Ok("{\"choices\": [{\"message\": ".into()),
            _ if self.is_out_of_credit(seen.key) => return Err(Problem::NoCredit),
            Some(InjectedFault::Empty) => Prose::whole(String::new()),
            Some(InjectedFault::WrongJson) => question.answer(seed).spoilt(),
            _ => question.answer(seed),
        };
        Ok(dialect.completion(question, &prose, seed))
    }

    /// Counts an answer of a key, and says whether the key has no credit for it.
    fn is_out_of_credit(&self, key: usize) -> bool {
        let mut state = self.state.lock();
        let answers = state.answers.entry(key).or_default();
        *answers += 1;
        self.options.faults.is_out_of_credit(key, *answers)
    }
}

impl Serve for Service {
    fn serve(&self, _number: u64, stream: &TcpStream) -> io::Result<()> {
        self.each_request(stream, None, |request| {
            let keep_alive = request.keep_alive;
            match self.answer(request.into()) {
                Some(reply) => {
                    let stalls = reply.fault == Some(InjectedFault::Stalled);
                    let goes_on = reply.send(stream, keep_alive)?;
                    let wait = if stalls { FOREVER } else { Duration::ZERO };
                    Ok(!self.connections.wait(wait) && goes_on)
                }
                None => Ok(false), // the server has stopped
            }
        })
    }

    fn refusal(&self, status: u16, reason: &str) -> WireReply {
        Dialect::Chat.error(&Problem::Invalid(status, reason.to_owned()), false)
    }
}

fn page(body: &Value) -> WireReply {
    WireReply::new(200, body.to_string())
}

/// The answer to a request that is no call.
fn other(method: &str, path: &str, is_api: bool) -> WireReply {
    let (status, message) = match (method, path) {
        ("GET", "/v1/models") => {
            let (object, owner) = ("model", "paceline");
            let model = json!({"id": MODEL, "object": object, "created": 0, "owned_by": owner});
            return page(&json!({"object": "list", "data": [model]}));
        }
        (_, "/v1/models" | "/health" | "/stats") => (405, "this path takes GET"),
        _ if is_api => (405, "this path takes POST"),
        _ => (404, "there is nothing at this path"),
    };
    Dialect::Chat.error(&Problem::Invalid(status, message.to_owned()), false)
}
