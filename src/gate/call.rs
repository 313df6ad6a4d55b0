//! One request on its way: it waits for a permit, is sent on, and is sent again where that is safe.

use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use ureq::Body;
use ureq::http::{HeaderMap, response};

use super::answer::unavailable;
use super::record::Outcome;
use super::stats::Ended;
use super::{GateService, keys};
use crate::api::{CallError, Class};
use crate::cancel::CancelToken;
use crate::clock::after;
use crate::hints::Hints;
use crate::http::{HttpResponse, TransportError, TransportFault, text_headers};
use crate::journal::{Billed, RecordAttempt};
use crate::outcome::CallOutcome;
use crate::pacing::{CallLimiter, CallReport, KeyPermit, NoKeyPermit, PermitOutcome, RateLimit};
use crate::practice::wire::WireRequest;
use crate::retry::{Attempt, Verdict};

/// A request, from its head to the end of its answer.
pub(super) struct Passage<'a> {
    pub(super) service: &'a GateService,
    pub(super) request: &'a WireRequest,
    /// The number of the client's connection.
    number: u64,
    pub(super) limiter: Arc<dyn CallLimiter>,
    pub(super) attempts: Vec<RecordAttempt>,
}

/// An answer of the API: its head, what was read of its body, and the rest.
pub(super) struct ApiReply {
    pub(super) head: response::Parts,
    pub(super) begun: Vec<u8>,
    pub(super) rest: Option<Body>,
    /// The permit, if the tokens of the answer are still to be reported.
    pub(super) permit: Option<KeyPermit>,
}

/// Why an attempt brought no answer that ends the request.
pub(super) enum Failure {
    NoPermit(NoKeyPermit),
    Call(Box<FailedCall>),
}

/// A call that failed.
pub(super) struct FailedCall {
    pub(super) error: CallError,
    /// What the API answered, if it did.
    pub(super) reply: Option<ApiReply>,
    /// Its key is retired; others are left.
    is_retired: bool,
}

impl Failure {
    /// A call is made again if the API was too busy for it, or if it cannot have been carried out.
    fn verdict(&self) -> Verdict {
        let Failure::Call(call) = self else {
            return Verdict::Stop;
        };
        let is_safe = match call.error.status {
            Some(status) => status >= 500,
            None => !call.error.maybe_billed,
        };
        match call.error.class {
            _ if call.is_retired => Verdict::RateLimited(Some(Duration::ZERO)),
            Class::Fault if !is_safe => Verdict::Stop,
            _ => call.error.verdict_behind_a_limiter(),
        }
    }

    /// What the API answered, if the client gets it as it is.
    fn into_reply(self) -> Result<ApiReply, Self> {
        match self {
            Failure::Call(mut call) if call.error.class != Class::RateLimited => {
                call.reply.take().ok_or(Failure::Call(call))
            }
            other => Err(other),
        }
    }

    fn of(error: CallError, reply: Option<ApiReply>) -> Self {
        Failure::Call(Box::new(FailedCall {
            error,
            reply,
            is_retired: false,
        }))
    }
}

impl<'a> Passage<'a> {
    pub(super) fn new(service: &'a GateService, request: &'a WireRequest, number: u64) -> Self {
        Passage {
            service,
            request,
            number,
            limiter: service.keys.limiter(request),
            attempts: Vec::new(),
        }
    }

    /// Gets the answer and passes it back; true if the connection can be used for another request.
    pub(super) fn through(mut self, stream: &TcpStream) -> io::Result<bool> {
        let service = self.service;
        let waiting = self.limiter.waiting();
        if waiting >= service.options.max_waiting {
            service.count(|counts| counts.refused += 1);
            let wait = service.time_in_line(waiting);
            let reply = unavailable("too many calls wait in the gate's line", wait);
            return reply.send(stream, self.request.keep_alive);
        }
        service.count(|counts| counts.came += 1);
        let client = service
            .clients
            .watch(self.number, stream, &service.cancel)?;
        let result = self.call(&client.token);
        let has_gone = client.token.is_cancelled() && !service.cancel.is_cancelled();
        drop(client); // from here on the connection is ours again
        match result {
            _ if has_gone => {
                let outcome = Outcome::failed("client_gone", "the client went away");
                self.end(Ended::Gone, outcome);
                Ok(false)
            }
            Ok(reply) => self.pass(reply, stream),
            Err(last) => match last.map(Failure::into_reply).transpose() {
                Ok(Some(reply)) => self.pass(reply, stream),
                Ok(None) => self.explain(None, stream),
                Err(last) => self.explain(Some(last), stream),
            },
        }
    }

    /// Makes the call, and makes it again where that is safe. The error is the last failure, if there was an attempt.
    fn call(&mut self, client: &CancelToken) -> Result<ApiReply, Option<Failure>> {
        let service = self.service;
        let seed = service.options.seed ^ self.number;
        let attempt = |attempt: &Attempt<'_>| self.attempt(attempt, client);
        let call = service.options.retry.call(Failure::verdict, attempt);
        call.cancel(client)
            .seed(seed)
            .run()
            .map_err(|gave_up| gave_up.last)
    }

    fn attempt(
        &mut self,
        attempt: &Attempt<'_>,
        client: &CancelToken,
    ) -> Result<ApiReply, Failure> {
        let came = Instant::now();
        let permit = self.acquire(attempt.remaining(), client)?;
        let paced = came.elapsed();
        self.service.count(|counts| {
            counts.calls += 1;
            counts.in_flight += 1;
            counts.waited += paced;
        });
        let started_at = SystemTime::now();
        let result = self.send(&permit);
        self.service.count(|counts| counts.in_flight -= 1);
        let error = match &result {
            Err(Failure::Call(call)) => Some(&call.error),
            _ => None,
        };
        let status = result.as_ref().ok().map(|reply| reply.head.status.as_u16());
        self.attempts.push(RecordAttempt {
            n: self.attempts.len() as u32 + 1,
            key: permit.key(),
            started_at,
            queued: Duration::ZERO,
            paced,
            took: came.elapsed() - paced,
            status: status.or(error.and_then(|error| error.status)),
            outcome: error.map_or(CallOutcome::Answered, CallError::outcome),
            usage: error.and_then(CallError::usage),
            retry_after: error.and_then(|error| error.retry_after),
            backoff: None,
            billed: error.and_then(|error| error.maybe_billed.then_some(Billed::Unknown)),
            request_id: error.and_then(|error| error.request_id.clone()),
        });
        self.report(permit, result)
    }

    /// Waits in line for a permit; one of the class `batch` waits behind all others.
    fn acquire(&self, left: Option<Duration>, client: &CancelToken) -> Result<KeyPermit, Failure> {
        let token = match left {
            Some(left) => client.within(left),
            None => client.child(),
        };
        let tokens = self.service.estimate(&self.request.body);
        let permit = match self.request.header("x-paceline-priority") {
            Some("batch") => self.limiter.acquire_behind(tokens, &token),
            _ => self.limiter.acquire(tokens, &token),
        };
        permit.map_err(Failure::NoPermit)
    }

    /// Sends the request with the key of this permit. An error is read, to find out what it means.
    fn send(&self, permit: &KeyPermit) -> Result<ApiReply, Failure> {
        let service = self.service;
        let key = service.keys.header(permit.key());
        let extra = &service.options.headers;
        let head = service
            .origin
            .request(self.request, key, extra, service.counts_tokens());
        let sent = || self.limiter.sent(permit);
        let response = head
            .map_err(|message| TransportError {
                fault: TransportFault::Unsendable,
                message,
                is_sent: false,
            })
            .and_then(|head| service.http.send(head, &self.request.body, &sent));
        let (head, body) = response
            .map_err(|error| Failure::of(error.into(), None))?
            .into_parts();
        let reply = ApiReply {
            head,
            begun: Vec::new(),
            rest: Some(body),
            permit: None,
        };
        match reply.head.status.as_u16() {
            0..400 => Ok(reply),
            _ => Err(self.refused(reply)),
        }
    }

    /// What an error of the API means. Its beginning is read for it; what comes after that is passed back unread.
    fn refused(&self, mut reply: ApiReply) -> Failure {
        /// No error is longer.
        const LIMIT: u64 = 1 << 20;
        let rest = reply.rest.as_mut().map(|body| body.as_reader().take(LIMIT));
        let read = rest.map_or(Ok(0), |mut rest| rest.read_to_end(&mut reply.begun));
        if let Err(error) = read {
            let error = TransportError {
                fault: TransportFault::Broken,
                message: error.to_string(),
                is_sent: true,
            };
            return Failure::of(error.into(), None);
        }
        reply.rest = reply.rest.filter(|_| reply.begun.len() as u64 == LIMIT);
        let mut response = HttpResponse {
            status: reply.head.status.as_u16(),
            headers: text_headers(&reply.head.headers),
            body: reply.begun.clone(),
        };
        let options = &self.service.options;
        options.secrets.hide_in(&mut response);
        keys::secrets(self.request).hide_in(&mut response);
        let HttpResponse {
            status,
            headers,
            body,
        } = response;
        let error = options.api.api().failure(status, &headers, &body);
        Failure::of(error, Some(reply))
    }

    /// Reports the outcome to the limiter, which pauses or retires the key. Of an answer whose tokens count, that waits
    /// until they are known.
    fn report(
        &self,
        permit: KeyPermit,
        result: Result<ApiReply, Failure>,
    ) -> Result<ApiReply, Failure> {
        let service = self.service;
        let report = |report| self.limiter.report(&permit, &report);
        match result {
            Ok(reply) if service.counts_tokens() => Ok(ApiReply {
                permit: Some(permit),
                ..reply
            }),
            Ok(reply) => {
                report(service.stated(&reply.head.headers, PermitOutcome::Answered));
                Ok(reply)
            }
            Err(Failure::Call(mut call)) => {
                let error = &call.error;
                let outcome = match error.class {
                    Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(error)),
                    Class::Fatal if call.reply.is_some() && service.keys.retire() => {
                        PermitOutcome::Fatal
                    }
                    _ => PermitOutcome::Failed,
                };
                let stated = call
                    .reply
                    .as_ref()
                    .map(|reply| service.stated(&reply.head.headers, outcome));
                let reaction = report(stated.unwrap_or(CallReport::from(outcome)));
                match outcome {
                    PermitOutcome::Fatal => warn!("key {} is retired: {error}", permit.key()),
                    PermitOutcome::RateLimited(_) => {
                        service.paused(reaction.paused_until, &error.message)
                    }
                    _ => {}
                }
                call.is_retired = outcome == PermitOutcome::Fatal;
                Err(Failure::Call(call))
            }
            Err(failure) => Err(failure),
        }
    }

    /// When the server asks us to come back, plus jitter: other programs may have been asked the same.
    fn come_back_at(&self, error: &CallError) -> Option<Instant> {
        let wait = error.retry_after?;
        let seed = self.service.options.seed ^ self.number;
        let mut delays = self.service.options.retry.backoff.delays(seed);
        Some(after(Instant::now(), delays.wait(Some(wait))))
    }
}

impl GateService {
    /// A report with the rate that the server states, unless one was given.
    pub(super) fn stated(&self, headers: &HeaderMap, outcome: PermitOutcome) -> CallReport {
        let mut report = CallReport::from(outcome);
        if self.options.limits.rate == RateLimit::Adaptive {
            let hints = Hints::read(&text_headers(headers), None, SystemTime::now());
            report.stated = hints.requests.rate();
        }
        report
    }
}
