//! What is answered to a request: a page of the server's own, a scripted reply, or, by the rules, an answer of an API.

use std::collections::{HashMap, VecDeque};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::debug;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::ServerOptions;
use super::apis::{Dialect, MODEL, Provider, Question};
use super::errors::Problem;
use super::faults::InjectedFault;
use super::limits::{Admission, OverLimit};
use super::prose::Prose;
use super::script::{ReceivedRequest, Reply, RequestLog};
use super::stats::{CallSeen, StatsKeeper};
use super::wire::WireReply;

/// What the threads of all connections share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: ServerOptions,
    started: Instant,
    /// Closed when the server stops.
    stopped: Receiver<()>,
    pub(super) state: Mutex<ServiceState>,
    /// The open connections, by number.
    pub(super) connections: Mutex<HashMap<u64, TcpStream>>,
    /// Notified when the last connection is closed.
    pub(super) none_connected: Condvar,
    /// Bytes of stack for a connection's thread.
    pub(super) stack_size: usize,
}

#[derive(Debug)]
pub(super) struct ServiceState {
    admission: Admission,
    pub(super) stats: StatsKeeper,
    /// Replies to come.
    pub(super) script: VecDeque<Reply>,
    pub(super) received: RequestLog,
    /// The calls so far that had no scripted reply.
    calls: u64,
    /// The answers so far, by key.
    answers: HashMap<usize, u64>,
}

/// A call of an API by the rules.
struct Call {
    number: u64,
    key: usize,
    question: Result<Question, String>,
    over: Option<OverLimit>,
    fault: Option<InjectedFault>,
}

impl Service {
    pub(super) fn new(options: ServerOptions, stopped: Receiver<()>) -> Self {
        let started = Instant::now();
        let state = ServiceState {
            admission: Admission::new(options.limits, started),
            stats: StatsKeeper::default(),
            script: VecDeque::new(),
            received: RequestLog::default(),
            calls: 0,
            answers: HashMap::new(),
        };
        Service {
            options,
            started,
            stopped,
            state: Mutex::new(state),
            connections: Mutex::default(),
            none_connected: Condvar::new(),
            stack_size: 256 << 10, // enough for JSON as deep as serde_json reads it: 128 levels
        }
    }

    /// Waits; true if the server was stopped meanwhile.
    pub(super) fn wait(&self, duration: Duration) -> bool {
        self.stopped.recv_timeout(duration) == Err(RecvTimeoutError::Disconnected)
    }

    /// Answers a request, as late as the rules want it; `None` if the server stops meanwhile.
    pub(super) fn answer(&self, request: ReceivedRequest) -> Option<WireReply> {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut state = self.state.lock();
        match (request.method.as_str(), path) {
            ("GET", "/health") => return page(json!({"status": "ok"})),
            ("GET", "/stats") => return page(state.stats.page(query == "arrivals=1")),
            _ => {}
        }
        let dialect = Dialect::at(path);
        let scripted = state.script.pop_front();
        drop(state);
        match (scripted, dialect) {
            (Some(reply), _) => self.scripted(reply, dialect, request),
            (None, Some(dialect)) if request.method == "POST" => self.call(dialect, request),
            (None, dialect) => {
                let answer = other(&request.method, path, dialect.is_some());
                self.state.lock().received.push(request);
                answer
            }
        }
    }

    fn scripted(
        &self,
        reply: Reply,
        dialect: Option<Dialect>,
        request: ReceivedRequest,
    ) -> Option<WireReply> {
        let delay = reply.delay;
        let reply = reply.render(dialect, &request);
        let mut state = self.state.lock();
        let key = state.admission.key(request.key());
        state.stats.count(CallSeen {
            at: request.arrived - self.started,
            key,
            status: reply.status,
            is_rate_limited: reply.status == 429,
            is_out_of_credit: false,
            fault: None,
        });
        state.received.push(request);
        drop(state);
        let is_stopped = !delay.is_zero() && self.wait(delay);
        (!is_stopped).then_some(reply)
    }

    fn call(&self, dialect: Dialect, request: ReceivedRequest) -> Option<WireReply> {
        let at = request.arrived - self.started;
        let call = self.admit(dialect, request);
        if call.over.is_none() && self.work(&call) {
            return None;
        }
        let result = self.result(dialect, &call);
        let is_out_of_credit = matches!(result, Err(Problem::NoCredit));
        let provider = dialect.provider();
        let error = |problem| provider.error(&problem, self.options.hints);
        let mut reply = result.unwrap_or_else(error);
        let Call {
            number, key, fault, ..
        } = call;
        if let Some(name) = provider.request_id() {
            reply.header(name, format!("req_{number:012x}"));
        }
        let mut state = self.state.lock();
        state.stats.count(CallSeen {
            at,
            key,
            status: reply.status,
            is_rate_limited: call.over.is_some(),
            is_out_of_credit,
            fault,
        });
        if self.options.hints {
            for (what, left) in state.admission.left(key, Instant::now()) {
                reply.headers.extend(provider.limit_headers(what, &left));
            }
        }
        let name = fault.map(InjectedFault::name);
        debug!(key = key, status = reply.status, fault = name; "practice call");
        reply.fault = fault;
        Some(reply)
    }

    /// Reads the question, and looks whether the call is within the limits and what goes wrong with it.
    fn admit(&self, dialect: Dialect, request: ReceivedRequest) -> Call {
        let ServerOptions { seed, faults, .. } = &self.options;
        let question = dialect.parse(&request);
        let cost = question
            .as_ref()
            .map_or(1, |question| dialect.cost(question, *seed));
        let mut state = self.state.lock();
        let key = state.admission.key(request.key());
        let over = state.admission.admit(key, cost, request.arrived).err();
        let in_flight = state.admission.in_flight();
        state.stats.note_in_flight(in_flight);
        let number = state.calls;
        state.calls += 1;
        let elapsed = request.arrived - self.started;
        state.received.push(request);
        let fault = faults
            .draw(*seed, number, elapsed)
            .filter(|_| over.is_none());
        Call {
            number,
            key,
            question,
            over,
            fault,
        }
    }

    /// Takes the time of a call that was let in; true if the server was stopped meanwhile.
    fn work(&self, call: &Call) -> bool {
        let time = match call.fault {
            Some(InjectedFault::Hang) => Duration::from_secs(3600), // longer than any client waits
            Some(InjectedFault::Status(429)) => Duration::ZERO,
            _ => self.options.latency.draw(self.options.seed, call.number),
        };
        let is_stopped = !time.is_zero() && self.wait(time);
        self.state.lock().admission.leave();
        is_stopped
    }

    fn result(&self, dialect: Dialect, call: &Call) -> Result<WireReply, Problem> {
        let question = call.question.as_ref();
        let question = question.map_err(|wrong| Problem::Invalid(400, wrong.clone()))?;
        if let Some(over) = call.over {
            return Err(Problem::OverLimit(over));
        }
        let prose = match call.fault {
            Some(InjectedFault::Status(status)) => return Err(Problem::Injected(status)),
            Some(InjectedFault::BadJson) => {
                return Ok(WireReply::new(200, "{\"choices\": [{\"message\": "));
            }
            _ if self.is_out_of_credit(call.key) => return Err(Problem::NoCredit),
            Some(InjectedFault::Empty) => Prose::whole(String::new()),
            _ => question.answer(self.options.seed),
        };
        let body = dialect.completion(question, &prose, self.options.seed);
        Ok(WireReply::new(200, body))
    }

    /// Counts an answer of a key, and says whether the key has no credit for it.
    fn is_out_of_credit(&self, key: usize) -> bool {
        let mut state = self.state.lock();
        let answers = state.answers.entry(key).or_default();
        *answers += 1;
        self.options.faults.is_out_of_credit(key, *answers)
    }
}

fn page(body: Value) -> Option<WireReply> {
    Some(WireReply::json(200, &body))
}

/// The answer to a request that is no call.
fn other(method: &str, path: &str, is_api: bool) -> Option<WireReply> {
    let error = |status, message: &str| {
        let problem = Problem::Invalid(status, message.to_owned());
        Some(Provider::OpenAi.error(&problem, false))
    };
    if (method, path) == ("GET", "/v1/models") {
        let model = json!({"id": MODEL, "object": "model", "created": 0, "owned_by": "paceline"});
        page(json!({"object": "list", "data": [model]}))
    } else if is_api || ["/v1/models", "/health", "/stats"].contains(&path) {
        error(405, "this path takes another method")
    } else {
        error(404, "there is nothing at this path")
    }
}
