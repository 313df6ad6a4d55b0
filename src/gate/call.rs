//! One request on its way: it waits for a permit, is sent on, again where that is safe, and its answer passes back.

use std::cell::{Cell, OnceCell};
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
use crate::batch::RequestSize;
use crate::cancel::CancelToken;
use crate::clock::after;
use crate::hints::Hints;
use crate::http::text_headers;
use crate::journal::{Record, RecordAttempt, RecordError, RecordResponse, late_ms};
use crate::limiter::Rate;
use crate::pacing::{CallLimiter, CallReport, KeyPermit, NoKeyPermit, PermitOutcome, Reaction};
use crate::practice::wire::WireRequest;

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
    /// What its tokens are estimated from, once it is known.
    size: OnceCell<RequestSize>,
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
            size: OnceCell::new(),
        }
    }

    /// Gets the answer and passes it back; true if the connection can be used for another request.
    pub(super) fn through(mut self) -> io::Result<bool> {
        let service = self.service;
        let client = service.cancel.child();
        service.clients.lock().insert(self.number, client.clone());
        service.count(|counts| counts.came += 1);
        let retry = &service.options.retry;
        let call = retry.call(CallError::verdict_behind_a_limiter, |attempt| {
            let left = attempt.remaining().unwrap_or(Duration::MAX);
            self.attempt(&client.within(left))
        });
        let ended = call.cancel(&client).run();
        service.clients.lock().remove(&self.number); // from here on the connection is ours again
        let failed = ended.err().and_then(|ended| ended.last);
        let goes_on = match self.reply.take() {
            _ if client.is_cancelled() && !service.cancel.is_cancelled() => {
                self.answered(&[], None);
                self.broken(failure(CLIENT_GONE, "the client went away"));
                Ok(false)
            }
            Some(reply) => Ok(self.pass(reply, failed)),
            None => self.explain(failed.unwrap_or_else(|| no_permit(NoKeyPermit::Cancelled))),
        };
        if let Some(file) = &service.options.record
            && let Err(error) = file.write(self.request, self.record)
        {
            warn!("a call is not recorded: {error}");
        }
        goes_on
    }

    /// Waits for a permit, makes the call, and makes a note of it.
    fn attempt(&mut self, token: &CancelToken) -> Result<(), CallError> {
        let service = self.service;
        self.reply = None;
        let came = Instant::now();
        let permit = self.acquire(token).map_err(no_permit)?;
        let paced = permit.granted_at().saturating_duration_since(came);
        service.count(|counts| {
            counts.calls += 1;
            counts.in_flight += 1;
            counts.waited += paced;
        });
        let started_at = SystemTime::now();
        let sent = Cell::new(came);
        let result = self.send(&permit, &sent);
        service.count(|counts| counts.in_flight -= 1);
        let call = RecordAttempt::of(started_at, result.as_ref().err());
        let status = result.as_ref().ok().map(|reply| reply.status().as_u16());
        self.record.attempts.push(RecordAttempt {
            n: self.record.attempts.len() as u32 + 1,
            key: permit.key(),
            paced,
            late_ms: late_ms(sent.get().saturating_duration_since(permit.due())),
            took: permit.granted_at().elapsed(),
            status: status.or(call.status),
            ..call
        });
        let reply = result.map_err(|error| self.failed(&permit, error))?;
        self.permit = Some(permit);
        self.reply = Some(reply);
        Ok(())
    }

    fn size(&self) -> RequestSize {
        let size = || RequestSize::of(&self.request.body);
        *self.size.get_or_init(size)
    }

    /// Waits in line for a permit; one of the class `batch` waits behind all others.
    fn acquire(&self, token: &CancelToken) -> Result<KeyPermit, NoKeyPermit> {
        let tokens = self.service.tokens.lock().cost(|| self.size());
        match self.request.header("x-paceline-priority") {
            Some("batch") => self.limiter.acquire_behind(tokens, token),
            _ => self.limiter.acquire(tokens, token),
        }
    }

    /// Sends the request with the key of this permit. An error is read, to find out what it means.
    fn send(
        &mut self,
        permit: &KeyPermit,
        left: &Cell<Instant>,
    ) -> Result<Response<Body>, CallError> {
        let service = self.service;
        let client = &service.options.clients[permit.key()];
        let mut head = service.upstream.request(self.request, client)?;
        if service.reads_answers() {
            head.headers_mut().remove(header::ACCEPT_ENCODING); // the answer is read, too
        }
        let sent = || {
            left.set(Instant::now());
            self.limiter.sent(permit);
        };
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

    /// Reports a failure to the limiter, which pauses or retires the key. A call is made again if the API was too busy for
    /// it, or if it cannot have been carried out, or with another key if its own is useless.
    fn failed(&mut self, permit: &KeyPermit, mut error: CallError) -> CallError {
        let service = self.service;
        let is_safe = error
            .status
            .map_or(!error.maybe_billed, |status| status >= 500);
        // With jitter: other programs may have been asked to come back at the same time.
        let mut delays = service.options.retry.backoff.delays(rand::random());
        let come_back_at = |wait| after(Instant::now(), delays.wait(Some(wait)));
        let outcome = match error.class {
            Class::RateLimited => PermitOutcome::RateLimited(error.retry_after.map(come_back_at)),
            Class::Fatal if self.reply.is_some() && service.keys.retire(permit.key()) => {
                warn!("key {} is retired: {error}", permit.key());
                PermitOutcome::Fatal
            }
            _ => PermitOutcome::Failed,
        };
        let reaction = self.report(permit, outcome, None, error.hints.requests.rate());
        match (error.class, outcome) {
            (Class::RateLimited, _) => {
                self.reply = None;
                service.paused(reaction.paused_until, &error.message);
            }
            (_, PermitOutcome::Fatal) => error.class = Class::RateLimited,
            (Class::Fault, _) if !is_safe => error.class = Class::Rejected,
            _ => {}
        }
        error
    }

    /// Reports a call, with the rate that the server states, unless one was given.
    fn report(
        &self,
        permit: &KeyPermit,
        outcome: PermitOutcome,
        tokens: Option<u32>,
        stated: Option<Rate>,
    ) -> Reaction {
        let report = CallReport {
            tokens,
            stated: stated.filter(|_| self.service.is_adaptive()),
            ..CallReport::from(outcome)
        };
        self.limiter.report(permit, &report)
    }

    /// Reports the answer, once.
    fn answered(&mut self, headers: &[(String, String)], usage: Option<Usage>) {
        if let Some(permit) = self.permit.take() {
            let stated = Hints::read(headers, None, SystemTime::now())
                .requests
                .rate();
            let tokens = self.service.tokens.lock().learn(|| self.size(), usage);
            let _ = self.report(&permit, PermitOutcome::Answered, tokens, stated);
        }
    }

    /// Passes an answer back; true if the connection can be used for another request. With a limit on tokens, the answer
    /// is reported when its tokens are known.
    fn pass(&mut self, reply: Response<Body>, failed: Option<CallError>) -> bool {
        /// As much of an answer as is read, too, in bytes: longer than those of chat models.
        const MOST: usize = 1 << 20;
        let service = self.service;
        let reads = service.reads_answers();
        let headers = match reads || service.is_adaptive() {
            true => text_headers(reply.headers()),
            false => Vec::new(),
        };
        let status_code = reply.status().as_u16();
        if service.options.limits.tokens.is_none() {
            self.answered(&headers, None);
        }
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
        let file = service.options.record.as_ref();
        self.record.response = Some(RecordResponse {
            status_code,
            request_id: request_id(&headers),
            body: file.and_then(|file| file.body(body)),
        });
        match copied {
            Ok(goes_on) => {
                service.count(|counts| counts.answered += 1);
                let message = format!("the API answered with status {status_code}");
                self.record.error = failed.map(|error| failure(&error.code, message));
                goes_on
            }
            Err(broken) => {
                self.broken(broken);
                false
            }
        }
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
        let broken = |error| failure("connection", format!("the answer broke off: {error}"));
        let head = ReplyHead::of(&reply, self.request);
        let (mut output, mut stream) = (head.bytes, self.stream);
        let length = reply.body().content_length();
        let is_long = length.is_none_or(|length| length > PIECE as u64);
        let mut body = reply.into_body().into_reader();
        let mut buffer = vec![0; PIECE];
        if is_long {
            // The body may come later.
            stream.write_all(&output).map_err(gone)?;
            output.clear();
        }
        loop {
            let read = body.read(&mut buffer);
            let read = read.inspect_err(|_| _ = (&mut &*self.stream).write_all(&output));
            let length = read.map_err(broken)?;
            let piece = &buffer[..length];
            coming.take_if(|coming| coming.take(piece).is_err());
            match head.is_chunked {
                // A chunk of length 0 ends the body.
                true => {
                    output.extend([format!("{length:x}\r\n").as_bytes(), piece, b"\r\n"].concat())
                }
                false => output.extend(piece),
            }
            stream.write_all(&output).map_err(gone)?;
            output.clear();
            if length == 0 {
                return Ok(head.keep_alive);
            }
        }
    }

    /// Tells the client why there is no answer.
    fn explain(&mut self, error: CallError) -> io::Result<bool> {
        let (status, why) = match (error.code.as_str(), error.class) {
            _ if self.service.cancel.is_cancelled() => (503, "the gate is being closed".to_owned()),
            (NO_PERMIT, _) => (503, error.message),
            (_, Class::RateLimited) => (503, format!("the API limits the rate: {}", error.message)),
            (code, _) => {
                let status = [502, 504][usize::from(code == "timeout")];
                (status, format!("no answer from the API: {}", error.message))
            }
        };
        self.record.response = Some(RecordResponse {
            status_code: status,
            request_id: error.request_id,
            body: None,
        });
        self.broken(failure("no_answer", why.as_str()));
        let reply = match status {
            503 => {
                let waiting = self.limiter.waiting() + 1;
                (self.service).unavailable(&why, error.retry_after, waiting)
            }
            _ => error_reply(status, &why),
        };
        reply.send(self.stream, self.request.keep_alive)
    }

    /// The request was broken off: counts it, and makes a note of it.
    fn broken(&mut self, why: RecordError) {
        self.service.count(|counts| match why.code.as_str() {
            CLIENT_GONE => counts.gone += 1,
            _ => counts.failed += 1,
        });
        self.record.error = Some(why);
    }
}

fn failure(code: &str, message: impl Into<String>) -> RecordError {
    RecordError {
        code: code.to_owned(),
        message: message.into(),
    }
}

/// The failure of a call that gets no permit, which is not tried again.
fn no_permit(why: NoKeyPermit) -> CallError {
    let message = match why {
        NoKeyPermit::Cancelled => "this call would wait longer than --max-wait".to_owned(),
        why => why.to_string(),
    };
    CallError::new(Class::Rejected, NO_PERMIT, message)
}
