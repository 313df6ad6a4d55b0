//! One request on its way: it waits for a permit, is sent on, and is sent again where that is safe.

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use ureq::Body;
use ureq::http::{HeaderMap, response};

use super::Desk;
use super::answer::unavailable;
use super::record::Outcome;
use super::stats::Ended;
use crate::api::{CallError, Class};
use crate::cancel::CancelToken;
use crate::clock::after;
use crate::hints::Hints;
use crate::http::{Headers, HttpResponse, TransportError, TransportFault};
use crate::journal::{Billed, RecordAttempt};
use crate::outcome::CallOutcome;
use crate::pacing::{CallLimiter, CallReport, KeyPermit, NoKeyPermit, PermitOutcome, RateLimit};
use crate::practice::wire::WireRequest;
use crate::retry::{Attempt, RetryError, Retrying, Verdict};

/// A request, from its head to the end of its answer.
pub(super) struct Passage<'a> {
    pub(super) desk: &'a Desk,
    pub(super) request: &'a WireRequest,
    /// The number of the client's connection.
    number: u64,
    pub(super) limiter: Arc<dyn CallLimiter>,
    pub(super) attempts: Vec<RecordAttempt>,
}

/// An answer of the API: its head, what was read of its body, and the rest.
pub(super) struct Reply {
    pub(super) head: response::Parts,
    pub(super) begun: Vec<u8>,
    pub(super) rest: Option<Body>,
    /// The permit, if the tokens of the answer are still to be reported.
    pub(super) permit: Option<KeyPermit>,
}

/// Why an attempt brought no answer that ends the request.
pub(super) enum Failure {
    /// There was no permit.
    NoPermit(NoKeyPermit),
    /// There was no response.
    Transport(TransportError),
    /// There was one, and this is what it means.
    Refused(Box<(Reply, CallError)>),
    /// The key is retired; others are left.
    KeyRetired(Box<CallError>),
}

impl Failure {
    /// A call is made again if the API was too busy for it, or if it cannot have been carried out.
    fn verdict(&self) -> Verdict {
        let at_once = Verdict::RateLimited(Some(Duration::ZERO)); // the limiter decides when
        match self {
            Failure::KeyRetired(_) => at_once,
            Failure::Refused(refused) => match (refused.1.class, refused.1.verdict()) {
                (Class::RateLimited, Verdict::RateLimited(None)) => at_once,
                (Class::RateLimited, verdict) => verdict,
                (Class::Fault, verdict) if refused.1.status >= Some(500) => verdict,
                _ => Verdict::Stop,
            },
            Failure::Transport(error) => match error.fault {
                TransportFault::Unreachable | TransportFault::Timeout if !error.is_sent => {
                    Verdict::Retry
                }
                _ => Verdict::Stop,
            },
            Failure::NoPermit(_) => Verdict::Stop,
        }
    }
}

impl<'a> Passage<'a> {
    pub(super) fn new(desk: &'a Desk, request: &'a WireRequest, number: u64) -> Self {
        Passage {
            desk,
            request,
            number,
            limiter: desk.keys.limiter(request),
            attempts: Vec::new(),
        }
    }

    /// Gets the answer and passes it back; true if the connection can be used for another request.
    pub(super) fn through(mut self, stream: &TcpStream) -> io::Result<bool> {
        let desk = self.desk;
        let waiting = self.limiter.waiting();
        if waiting >= desk.options.max_waiting {
            desk.stats.refused();
            let wait = desk.time_in_line(waiting);
            let reply = unavailable("too many calls wait in the gate's line", wait);
            return reply.send(stream, self.request.keep_alive);
        }
        desk.stats.came();
        let client = desk.clients.watch(self.number, stream, &desk.cancel)?;
        let result = self.call(&client.token);
        let has_gone = client.token.is_cancelled() && !desk.cancel.is_cancelled();
        drop(client); // from here on the connection is ours again
        match result {
            _ if has_gone => {
                let outcome = Outcome::failed("client_gone", "the client went away");
                self.end(Ended::Gone, outcome);
                Ok(false)
            }
            Ok(reply) => self.pass(reply, stream),
            Err(RetryError { last, .. }) => match last {
                Some(Failure::Refused(refused)) if refused.1.class != Class::RateLimited => {
                    self.pass(refused.0, stream)
                }
                last => self.explain(last, stream),
            },
        }
    }

    /// Makes the call, and makes it again where that is safe.
    fn call(&mut self, client: &CancelToken) -> Result<Reply, RetryError<Failure>> {
        let desk = self.desk;
        let seed = desk.options.seed ^ self.number;
        let passage = RefCell::new(self);
        let attempt = |attempt: &Attempt<'_>| passage.borrow_mut().attempt(attempt, client);
        let call = desk.options.retry.call(Failure::verdict, attempt);
        call.cancel(client)
            .seed(seed)
            .on_retry(|failed: &Retrying<'_, Failure>| {
                if let Some(attempt) = passage.borrow_mut().attempts.last_mut() {
                    attempt.backoff = Some(failed.wait);
                }
            })
            .run()
    }

    fn attempt(&mut self, attempt: &Attempt<'_>, client: &CancelToken) -> Result<Reply, Failure> {
        let came = Instant::now();
        let permit = self.acquire(attempt.remaining(), client)?;
        let paced = came.elapsed();
        self.desk.stats.leaves(paced);
        let started_at = SystemTime::now();
        let result = self.send(&permit);
        self.desk.stats.is_back();
        let took = came.elapsed() - paced;
        self.note(&permit, started_at, paced, took, &result);
        self.report(permit, result)
    }

    /// Waits in line for a permit; one of the class `batch` waits behind all others.
    fn acquire(&self, left: Option<Duration>, client: &CancelToken) -> Result<KeyPermit, Failure> {
        let token = match left {
            Some(left) => client.within(left),
            None => client.child(),
        };
        let tokens = self.desk.estimate(&self.request.body);
        let permit = match self.request.header("x-paceline-priority") {
            Some("batch") => self.limiter.acquire_behind(tokens, &token),
            _ => self.limiter.acquire(tokens, &token),
        };
        permit.map_err(Failure::NoPermit)
    }

    /// Sends the request with the key of this permit. An error is read, to find out what it means.
    fn send(&self, permit: &KeyPermit) -> Result<Reply, Failure> {
        let desk = self.desk;
        let key = desk.keys.header(permit.key());
        let request = desk.origin.request(
            self.request,
            key,
            &desk.options.headers,
            desk.counts_tokens(),
        );
        let sent = || self.limiter.sent(permit);
        let response = request
            .map_err(|message| TransportError {
                fault: TransportFault::Unsendable,
                message,
                is_sent: false,
            })
            .and_then(|head| desk.http.send(head, &self.request.body, &sent))
            .map_err(Failure::Transport)?;
        let (head, body) = response.into_parts();
        let mut reply = Reply {
            head,
            begun: Vec::new(),
            rest: Some(body),
            permit: None,
        };
        if reply.head.status.as_u16() < 400 {
            return Ok(reply);
        }
        match reply.read_error() {
            Ok(()) => Err(desk.refused(reply)),
            Err(error) => Err(Failure::Transport(TransportError {
                fault: TransportFault::Broken,
                message: error.to_string(),
                is_sent: true,
            })),
        }
    }

    /// Notes the attempt for the record.
    fn note(
        &mut self,
        permit: &KeyPermit,
        started_at: SystemTime,
        paced: Duration,
        took: Duration,
        result: &Result<Reply, Failure>,
    ) {
        let error = match result {
            Err(Failure::Refused(refused)) => Some(&refused.1),
            _ => None,
        };
        let outcome = match result {
            Ok(_) => CallOutcome::Answered,
            Err(Failure::Transport(error)) => match error.fault {
                TransportFault::Timeout => CallOutcome::Timeout,
                _ => CallOutcome::Connection,
            },
            Err(_) => error.map_or(CallOutcome::Unknown, CallError::outcome),
        };
        self.attempts.push(RecordAttempt {
            n: self.attempts.len() as u32 + 1,
            key: permit.key(),
            started_at,
            queued: Duration::ZERO,
            paced,
            took,
            status: match result {
                Ok(reply) => Some(reply.head.status.as_u16()),
                Err(_) => error.and_then(|error| error.status),
            },
            outcome,
            retry_after: error.and_then(|error| error.retry_after),
            backoff: None,
            billed: matches!(result, Err(Failure::Transport(error)) if error.is_sent)
                .then_some(Billed::Unknown),
            request_id: error.and_then(|error| error.request_id.clone()),
        });
    }

    /// Reports the outcome to the limiter, which pauses or retires the key. Of an answer whose tokens count, that waits
    /// until they are known.
    fn report(&self, permit: KeyPermit, result: Result<Reply, Failure>) -> Result<Reply, Failure> {
        let desk = self.desk;
        match result {
            Ok(mut reply) => {
                if desk.counts_tokens() {
                    reply.permit = Some(permit);
                } else {
                    let report = desk.stated(&reply.head.headers, PermitOutcome::Answered);
                    let _ = self.limiter.report(&permit, &report);
                }
                Ok(reply)
            }
            Err(Failure::Refused(refused)) => {
                let (reply, error) = &*refused;
                let outcome = match error.class {
                    Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(error)),
                    Class::Fatal if desk.keys.retire() => PermitOutcome::Fatal,
                    _ => PermitOutcome::Failed,
                };
                let report = desk.stated(&reply.head.headers, outcome);
                let reaction = self.limiter.report(&permit, &report);
                match outcome {
                    PermitOutcome::Fatal => {
                        warn!("key {} is retired: {error}", permit.key());
                        return Err(Failure::KeyRetired(Box::new(refused.1)));
                    }
                    PermitOutcome::RateLimited(_) => desk
                        .stats
                        .rate_limited(reaction.paused_until, &error.message),
                    _ => {}
                }
                Err(Failure::Refused(refused))
            }
            Err(failure) => {
                let _ = self
                    .limiter
                    .report(&permit, &CallReport::new(PermitOutcome::Failed));
                Err(failure)
            }
        }
    }

    /// When the server asks us to come back, plus jitter: other programs may have been asked the same.
    fn come_back_at(&self, error: &CallError) -> Option<Instant> {
        let wait = error.retry_after?;
        let seed = self.desk.options.seed ^ self.number;
        let backoff = self.desk.options.retry.backoff;
        Some(after(Instant::now(), backoff.delays(seed).wait(Some(wait))))
    }
}

impl Reply {
    /// Reads the beginning of an error.
    fn read_error(&mut self) -> io::Result<()> {
        /// An error is not longer; what comes after it is passed back unread.
        const LIMIT: u64 = 1 << 20;
        if let Some(body) = &mut self.rest {
            let reader = body.as_reader();
            reader.take(LIMIT).read_to_end(&mut self.begun)?;
        }
        if (self.begun.len() as u64) < LIMIT {
            self.rest = None;
        }
        Ok(())
    }
}

impl Desk {
    /// What an error means.
    fn refused(&self, reply: Reply) -> Failure {
        let mut response = HttpResponse {
            status: reply.head.status.as_u16(),
            headers: Headers::from(reply.head.headers.clone()),
            body: reply.begun.clone(),
        };
        self.options.secrets.hide_in(&mut response);
        let error = self.options.api.api().failure(&response);
        Failure::Refused(Box::new((reply, error)))
    }

    /// A report with the rate that the server states, unless one was given.
    pub(super) fn stated(&self, headers: &HeaderMap, outcome: PermitOutcome) -> CallReport {
        let mut report = CallReport::new(outcome);
        if self.options.limits.rate == RateLimit::Adaptive {
            let headers = Headers::from(headers.clone());
            let hints = Hints::read(headers.iter(), None, SystemTime::now());
            report.stated = hints.requests.rate();
        }
        report
    }
}
