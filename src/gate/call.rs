//! One request on its way: it waits for a permit, is sent on, again where that is safe, and its answer passes back.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::warn;
use ureq::Body;
use ureq::http::{Response, header};

use super::headers::ReplyHead;
use super::{GateService, error_reply, keys};
use crate::api::{CallError, Class, ComingBody, Usage, request_id, usage_of};
use crate::cancel::CancelToken;
use crate::clock::after;
use crate::hints::Hints;
use crate::http::text_headers;
use crate::journal::{Record, RecordAttempt, RecordError, RecordResponse};
use crate::pacing::{CallLimiter, CallReport, KeyPermit, NoKeyPermit, PermitOutcome};
use crate::practice::wire::{WireReply, WireRequest};
use crate::retry::Verdict;

/// The code of a call that got no permit in time.
const NO_PERMIT: &str = "no_permit";
/// The code of a request whose client went away.
const CLIENT_GONE: &str = "client_gone";

/// A request, from its head to the end of its answer.
pub(super) struct GateCall<'a> {
    service: &'a GateService,
    request: &'a WireRequest,
    stream: &'a TcpStream,
    /// The number of the client's connection.
    number: u64,
    limiter: Arc<dyn CallLimiter>,
    /// The permit of the answer, until that is reported.
    permit: Option<KeyPermit>,
    /// What the API answered last, if the client gets it as it is.
    reply: Option<Response<Body>>,
    record: Record,
}

/// Why an attempt brought no answer that ends the request, and what to do about it.
struct FailedAttempt {
    error: Box<CallError>,
    verdict: Verdict,
}

impl From<NoKeyPermit> for FailedAttempt {
    fn from(why: NoKeyPermit) -> Self {
        let message = match why {
            NoKeyPermit::Cancelled => "this call would wait longer than --max-wait".to_owned(),
            why => why.to_string(),
        };
        FailedAttempt {
            error: Box::new(CallError::new(Class::RateLimited, NO_PERMIT, message)),
            verdict: Verdict::Stop,
        }
    }
}

impl<'a> GateCall<'a> {
    pub(super) fn new(
        service: &'a GateService,
        request: &'a WireRequest,
        stream: &'a TcpStream,
        number: u64,
    ) -> Self {
        GateCall {
            service,
            request,
            stream,
            number,
            limiter: service.keys.limiter(request),
            permit: None,
            reply: None,
            record: Record::default(),
        }
    }

    /// Gets the answer and passes it back; true if the connection can be used for another request.
    pub(super) fn through(mut self) -> io::Result<bool> {
        let service = self.service;
        let waiting = self.limiter.waiting();
        if waiting >= service.options.max_waiting {
            service.count(|counts| counts.refused += 1);
            let wait = service.time_in_line(waiting);
            let reply = unavailable("too many calls wait in the gate's line", wait);
            return reply.send(self.stream, self.request.keep_alive);
        }
        let client = service.cancel.child();
        let watched = (self.stream.try_clone()?, client.clone());
        service.clients.lock().insert(self.number, watched);
        service.count(|counts| counts.came += 1);
        let judge = |failed: &FailedAttempt| failed.verdict;
        let retry = &service.options.retry;
        let call = retry.call(judge, |attempt| {
            let left = attempt.remaining().unwrap_or(Duration::MAX);
            self.attempt(&client.within(left))
        });
        let failed = call
            .cancel(&client)
            .run()
            .err()
            .and_then(|ended| ended.last);
        service.clients.lock().remove(&self.number); // from here on the connection is ours again
        match self.reply.take() {
            _ if client.is_cancelled() && !service.cancel.is_cancelled() => {
                self.answered(&[], None);
                self.end(Some(failure(CLIENT_GONE, "the client went away")));
                Ok(false)
            }
            Some(reply) => self.pass(reply, failed),
            None => self.explain(failed.unwrap_or(NoKeyPermit::Cancelled.into())),
        }
    }

    /// Waits for a permit, makes the call, and makes a note of it.
    fn attempt(&mut self, token: &CancelToken) -> Result<(), FailedAttempt> {
        let service = self.service;
        self.reply = None;
        let came = Instant::now();
        let permit = self.acquire(token)?;
        let paced = came.elapsed();
        service.count(|counts| {
            counts.calls += 1;
            counts.in_flight += 1;
            counts.waited += paced;
        });
        let started_at = SystemTime::now();
        let result = self.send(&permit);
        service.count(|counts| counts.in_flight -= 1);
        let answered = result.as_ref().map(|reply| (reply.status().as_u16(), None));
        self.record.attempts.push(RecordAttempt {
            n: self.record.attempts.len() as u32 + 1,
            key: permit.key(),
            paced,
            took: came.elapsed() - paced,
            ..RecordAttempt::of(started_at, answered)
        });
        let reply = result.map_err(|error| self.failed(&permit, error))?;
        self.permit = Some(permit);
        self.reply = Some(reply);
        Ok(())
    }

    /// Waits in line for a permit; one of the class `batch` waits behind all others.
    fn acquire(&self, token: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let tokens = self.service.tokens.lock().cost(&self.request.body);
        match self.request.header("x-paceline-priority") {
            Some("batch") => self.limiter.acquire_behind(tokens, token),
            _ => self.limiter.acquire(tokens, token),
        }
    }

    /// Sends the request with the key of this permit. An error is read, to find out what it means.
    fn send(&mut self, permit: &KeyPermit) -> Result<Response<Body>, CallError> {
        let service = self.service;
        let client = &service.options.clients[permit.key()];
        let mut head = service.upstream.request(self.request, client)?;
        if service.reads_answers() {
            head.headers_mut().remove(header::ACCEPT_ENCODING); // the answer is read, too
        }
        let sent = || self.limiter.sent(permit);
        let response = client.http.send(head, &self.request.body, &sent)?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let read = client.http.read(Response::from_parts(head.clone(), body))?;
        let body = Body::builder().data(read.body.clone());
        self.reply = Some(Response::from_parts(head, body));
        Err(client.explain(read.decompressed(), &keys::secrets(self.request)))
    }

    /// Reports a failure to the limiter, which pauses or retires the key. The verdict: a call is made again if the API was
    /// too busy for it, or if it cannot have been carried out.
    fn failed(&mut self, permit: &KeyPermit, error: CallError) -> FailedAttempt {
        let service = self.service;
        let is_safe = match error.status {
            Some(status) => status >= 500,
            None => !error.maybe_billed,
        };
        let mut verdict = match error.class {
            Class::Fault if !is_safe => Verdict::Stop,
            _ => error.verdict_behind_a_limiter(),
        };
        let outcome = match error.class {
            Class::RateLimited => PermitOutcome::RateLimited(self.come_back_at(&error)),
            Class::Fatal if self.reply.is_some() && service.keys.retire(permit.key()) => {
                warn!("key {} is retired: {error}", permit.key());
                verdict = Verdict::RateLimited(Some(Duration::ZERO));
                PermitOutcome::Fatal
            }
            _ => PermitOutcome::Failed,
        };
        let report = service.report(outcome, &error.hints);
        let reaction = self.limiter.report(permit, &report);
        if error.class == Class::RateLimited {
            self.reply = None;
            service.paused(reaction.paused_until, &error.message);
        }
        FailedAttempt {
            error: Box::new(error),
            verdict,
        }
    }

    /// When the server asks us to come back, plus jitter: other programs may have been asked the same.
    fn come_back_at(&self, error: &CallError) -> Option<Instant> {
        let wait = error.retry_after?;
        let mut delays = self.service.options.retry.backoff.delays(rand::random());
        Some(after(Instant::now(), delays.wait(Some(wait))))
    }

    /// Reports the answer, once.
    fn answered(&mut self, headers: &[(String, String)], usage: Option<Usage>) {
        let service = self.service;
        if let Some(permit) = self.permit.take() {
            let hints = Hints::read(headers, None, SystemTime::now());
            let mut tokens = service.tokens.lock();
            let report = CallReport {
                tokens: tokens.learn(&self.request.body, usage),
                ..service.report(PermitOutcome::Answered, &hints)
            };
            drop(tokens);
            let _ = self.limiter.report(&permit, &report);
        }
    }

    /// Passes an answer back; true if the connection can be used for another request. With a limit on tokens, the answer
    /// is reported when its tokens are known.
    fn pass(mut self, reply: Response<Body>, failed: Option<FailedAttempt>) -> io::Result<bool> {
        /// As much of an answer as is read, too, in bytes: longer than those of chat models.
        const MOST: usize = 1 << 20;
        let headers = text_headers(reply.headers());
        let status_code = reply.status().as_u16();
        if let Some(failed) = failed {
            let message = format!("the API answered with status {status_code}");
            self.record.error = Some(failure(&failed.error.code, &message));
        }
        if self.service.options.limits.tokens.is_none() {
            self.answered(&headers, None);
        }
        let reads = self.service.reads_answers();
        let mut coming = reads.then(|| ComingBody::at(&self.request.path, MOST));
        let copied = self.copy(reply, &mut coming);
        let body = coming.map(|mut coming| {
            let _ = coming.end(Ok(())); // what came is what there is
            coming.into_body()
        });
        let body = String::from_utf8(body.unwrap_or_default()).unwrap_or_default();
        let usage = usage_of(&body);
        self.answered(&headers, usage);
        if let Some(attempt) = self.record.attempts.last_mut() {
            attempt.usage = usage.or(attempt.usage);
        }
        let file = self.service.options.record.as_ref();
        self.record.response = Some(RecordResponse {
            status_code,
            request_id: request_id(&headers),
            body: file.and_then(|file| file.body(&body)),
        });
        let keep_alive = *copied.as_ref().unwrap_or(&false);
        self.end(copied.err());
        Ok(keep_alive)
    }

    /// Sends the head, and each piece of the body as it comes. If the server breaks it off, so do we: the client sees a body
    /// without an end.
    fn copy(
        &self,
        reply: Response<Body>,
        coming: &mut Option<ComingBody>,
    ) -> Result<bool, RecordError> {
        /// As much as a kernel hands over at once.
        const PIECE: usize = 16 << 10;
        let gone = |_| failure(CLIENT_GONE, "the client went away during the answer");
        let broken = |error| failure("connection", &format!("the answer broke off: {error}"));
        let mut stream = self.stream;
        let head = ReplyHead::of(&reply, self.request);
        stream.write_all(&head.bytes).map_err(gone)?;
        let mut body = reply.into_body().into_reader();
        let mut buffer = vec![0; PIECE];
        loop {
            let length = body.read(&mut buffer).map_err(broken)?;
            let piece = &buffer[..length];
            coming.take_if(|coming| coming.take(piece).is_err());
            let sent = match head.is_chunked {
                // A chunk of length 0 ends the body.
                true => stream
                    .write_all(&[format!("{length:x}\r\n").as_bytes(), piece, b"\r\n"].concat()),
                false => stream.write_all(piece),
            };
            sent.map_err(gone)?;
            if length == 0 {
                return Ok(head.keep_alive);
            }
        }
    }

    /// Tells the client why there is no answer.
    fn explain(mut self, failed: FailedAttempt) -> io::Result<bool> {
        let service = self.service;
        let error = failed.error;
        let (status, why) = match (error.code.as_str(), error.class) {
            _ if service.cancel.is_cancelled() => (503, "the gate is being closed".to_owned()),
            (NO_PERMIT, _) => (503, error.message),
            (_, Class::RateLimited) => (503, format!("the API limits the rate: {}", error.message)),
            (code, _) => {
                let status = [502, 504][usize::from(code == "timeout")];
                (status, format!("no answer from the API: {}", error.message))
            }
        };
        let in_line = || service.time_in_line(self.limiter.waiting() + 1);
        let reply = match status {
            503 => unavailable(&why, error.retry_after.or_else(in_line)),
            _ => error_reply(status, &why),
        };
        self.record.response = Some(RecordResponse {
            status_code: status,
            request_id: error.request_id,
            body: None,
        });
        let (stream, keep_alive) = (self.stream, self.request.keep_alive);
        self.end(Some(failure("no_answer", &why)));
        reply.send(stream, keep_alive)
    }

    /// The request has ended, or was broken off by this failure: counts and records it.
    fn end(mut self, broken: Option<RecordError>) {
        self.service.count(|counts| match &broken {
            None => counts.answered += 1,
            Some(error) if error.code == CLIENT_GONE => counts.gone += 1,
            Some(_) => counts.failed += 1,
        });
        self.record.error = broken.or(self.record.error);
        if let Some(file) = &self.service.options.record
            && let Err(error) = file.write(self.request, self.record)
        {
            warn!("a call is not recorded: {error}");
        }
    }
}

fn failure(code: &str, message: &str) -> RecordError {
    RecordError {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// The answer to a call that could not be made in time.
fn unavailable(why: &str, wait: Option<Duration>) -> WireReply {
    /// When nothing says how long it takes.
    const USUAL: Duration = Duration::from_secs(30);
    let seconds = wait.unwrap_or(USUAL).as_secs_f64().ceil().max(1.0);
    let mut reply = error_reply(503, why);
    let header = ("retry-after".to_owned(), seconds.to_string());
    reply.headers.push(header);
    reply
}
