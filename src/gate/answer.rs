//! How a request ends: the client gets the answer piece by piece, or the reason why there is none.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use log::warn;
use ureq::http::header;

use super::call::{ApiReply, Failure, Passage};
use super::error_reply;
use super::forward::{Framing, reply_head};
use super::record::Outcome;
use super::stats::Ended;
use crate::api::{Class, Usage, usage_of};
use crate::pacing::{CallReport, NoKeyPermit, PermitOutcome};
use crate::practice::wire::WireReply;

/// Which side broke an answer off.
enum BrokenOff {
    ByServer(io::Error),
    ByClient(io::Error),
}

impl Passage<'_> {
    /// Passes an answer back, each piece as it comes; true if the connection can be used for another request.
    pub(super) fn pass(self, mut reply: ApiReply, stream: &TcpStream) -> io::Result<bool> {
        let framing = self.framing(&reply);
        let keep_alive = self.request.keep_alive && framing != Framing::Close;
        let permit = reply.permit.take();
        let mut outcome = Outcome {
            status: Some(reply.head.status.as_u16()),
            request_id: text(&reply, "x-request-id").or(text(&reply, "request-id")),
            ..Outcome::default()
        };
        let mut kept = Kept::new(&reply);
        let report = self
            .service
            .stated(&reply.head.headers, PermitOutcome::Answered);
        let passed = copy(reply, framing, keep_alive, stream, &mut kept);
        outcome.usage = kept.usage();
        outcome.body = kept.bytes;
        if let Some(permit) = permit {
            let tokens = outcome
                .usage
                .map(|usage| self.service.learn(&self.request.body, usage));
            let _ = self
                .limiter
                .report(&permit, &CallReport { tokens, ..report });
        }
        match passed {
            Ok(()) => {
                self.end(Ended::Answered, outcome);
                Ok(keep_alive)
            }
            Err(BrokenOff::ByClient(error)) => {
                outcome.error =
                    Outcome::failed("client_gone", "the client went away during the answer").error;
                self.end(Ended::Gone, outcome);
                Err(error)
            }
            Err(BrokenOff::ByServer(error)) => {
                outcome.error =
                    Outcome::failed("connection", &format!("the answer broke off: {error}")).error;
                self.end(Ended::Failed, outcome);
                Ok(false) // the client sees a body that has no end
            }
        }
    }

    fn framing(&self, reply: &ApiReply) -> Framing {
        let status = reply.head.status.as_u16();
        let length = text(reply, "content-length").and_then(|length| length.parse().ok());
        match length {
            _ if self.request.method == "HEAD" || matches!(status, 204 | 304) => Framing::Nothing,
            Some(length) => Framing::Length(length),
            None if reply.rest.is_none() => Framing::Length(reply.begun.len() as u64),
            None if self.request.is_http_11 => Framing::Chunks,
            None => Framing::Close,
        }
    }

    /// Tells the client why there is no answer.
    pub(super) fn explain(self, last: Option<Failure>, stream: &TcpStream) -> io::Result<bool> {
        let in_line = || self.service.time_in_line(self.limiter.waiting() + 1);
        let reply = match last {
            _ if self.service.cancel.is_cancelled() => {
                unavailable("the gate is being closed", None)
            }
            Some(Failure::NoPermit(NoKeyPermit::Unreachable(why))) => unavailable(&why, None),
            None | Some(Failure::NoPermit(_)) => {
                unavailable("this call would wait longer than --max-wait", in_line())
            }
            Some(Failure::Call(call)) if call.error.class == Class::RateLimited => {
                let why = format!("the API limits the rate: {}", call.error.message);
                unavailable(&why, call.error.retry_after.or_else(in_line))
            }
            Some(Failure::Call(call)) => {
                let status = match call.error.code.as_str() {
                    "timeout" => 504,
                    "unsendable" => 400,
                    _ => 502,
                };
                let why = format!("no answer from the API: {}", call.error.message);
                error_reply(status, &why)
            }
        };
        let keep_alive = self.request.keep_alive;
        let outcome = Outcome {
            status: Some(reply.status),
            ..Outcome::failed("no_answer", &reply.body)
        };
        self.end(Ended::Failed, outcome);
        reply.send(stream, keep_alive)
    }

    /// Counts the request, and records it.
    pub(super) fn end(self, how: Ended, outcome: Outcome) {
        self.service.count(|counts| counts.ended(how));
        let Some(record) = &self.service.options.record else {
            return;
        };
        if let Err(error) = record.write(self.request, self.attempts, outcome) {
            warn!("a call is not recorded: {error}");
        }
    }
}

/// Sends the head and each piece of the body as it comes.
fn copy(
    reply: ApiReply,
    framing: Framing,
    keep_alive: bool,
    mut stream: &TcpStream,
    kept: &mut Kept,
) -> Result<(), BrokenOff> {
    /// As much as a kernel hands over at once.
    const PIECE: usize = 16 << 10;
    let status = reply.head.status.as_u16();
    let head = reply_head(status, &reply.head.headers, framing, keep_alive);
    stream.write_all(&head).map_err(BrokenOff::ByClient)?;
    let rest = reply.rest.map(|rest| rest.into_reader());
    let rest: Box<dyn Read> = match rest {
        Some(rest) => Box::new(rest),
        None => Box::new(io::empty()),
    };
    let mut body = reply.begun.as_slice().chain(rest);
    let mut piece = vec![0; PIECE];
    loop {
        let length = body.read(&mut piece).map_err(BrokenOff::ByServer)?;
        kept.keep(&piece[..length]);
        let sent = match framing {
            Framing::Chunks => stream.write_all(&chunk(&piece[..length])),
            Framing::Nothing => Ok(()),
            Framing::Length(_) | Framing::Close => stream.write_all(&piece[..length]),
        };
        sent.map_err(BrokenOff::ByClient)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// A piece as a chunk; an empty piece is the last one.
fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// What is kept of an answer, to find its usage and to record it: the whole if it is short, of a stream the beginning and
/// the end, where APIs state the usage.
struct Kept {
    bytes: Vec<u8>,
    is_stream: bool,
}

impl Kept {
    /// Of a stream. The end must hold the last event whole.
    const BEGINNING: usize = 16 << 10;
    const END: usize = 64 << 10;
    /// Of any other answer; a longer one states no usage that we find.
    const WHOLE: usize = 1 << 20;

    fn new(reply: &ApiReply) -> Self {
        let is_stream =
            text(reply, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        Kept {
            bytes: Vec::new(),
            is_stream,
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.is_stream {
            self.bytes.extend_from_slice(piece);
            if self.bytes.len() > 2 * Self::END + Self::BEGINNING {
                let end = self.bytes.len() - Self::END;
                self.bytes.drain(Self::BEGINNING..end);
            }
        } else if self.bytes.len() < Self::WHOLE {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// The tokens of the call, if the answer states them. A stream may state them several times, each time more.
    fn usage(&self) -> Option<Usage> {
        let text = String::from_utf8_lossy(&self.bytes); // a stream is cut in its middle
        if !self.is_stream {
            return usage_of(&text);
        }
        let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
        events.filter_map(usage_in_event).reduce(Usage::most)
    }
}

/// The usage in an event: at its top, or in the message or response that it carries.
fn usage_in_event(event: &str) -> Option<Usage> {
    #[derive(serde::Deserialize)]
    struct UsageEvent<'a> {
        #[serde(borrow, alias = "response")]
        message: Option<&'a serde_json::value::RawValue>,
    }
    if !event.contains("\"usage") {
        return None;
    }
    let inner = serde_json::from_str::<UsageEvent<'_>>(event).ok();
    let inner = inner.and_then(|event| event.message);
    usage_of(event).or_else(|| usage_of(inner?.get()))
}

fn text(reply: &ApiReply, name: &str) -> Option<String> {
    let value = reply
        .head
        .headers
        .get(header::HeaderName::try_from(name).ok()?)?;
    value.to_str().ok().map(str::to_owned)
}

/// The answer to a call that could not be made in time.
pub(super) fn unavailable(why: &str, wait: Option<Duration>) -> WireReply {
    /// When nothing says how long it takes.
    const USUAL: Duration = Duration::from_secs(30);
    let mut reply = error_reply(503, why);
    let wait = wait.unwrap_or(USUAL).max(Duration::from_secs(1));
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    reply
        .headers
        .push(("retry-after".to_owned(), seconds.to_string()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_of_a_stream_is_found_wherever_an_api_states_it() {
        let usage = |events: &[&str]| {
            let lines: Vec<_> = events
                .iter()
                .map(|event| format!("data: {event}\n\n"))
                .collect();
            let mut kept = Kept {
                bytes: Vec::new(),
                is_stream: true,
            };
            for line in &lines {
                kept.keep(line.as_bytes());
            }
            kept.usage().map(|usage| (usage.input, usage.output))
        };
        let filler = format!(r#"{{"delta":"{}"}}"#, "x".repeat(Kept::END));
        let chat = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#;
        assert_eq!(
            usage(&[&filler, &filler, &filler, chat, "[DONE]"]),
            Some((9, 3))
        );
        let start =
            r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#;
        let delta = r#"{"type":"message_delta","usage":{"output_tokens":3}}"#;
        assert_eq!(
            usage(&[start, &filler, &filler, &filler, &filler, delta]),
            Some((9, 3))
        );
        let done = r#"{"type":"response.completed","response":{"usage":{"input_tokens":9,"output_tokens":3}}}"#;
        assert_eq!(usage(&[done]), Some((9, 3)));
        assert_eq!(usage(&["[DONE]"]), None);
    }
}
