//! Requests to the LLM APIs and what their responses mean: an answer, or a failure of a class.
//!
//! The APIs are pure: JSON out, JSON in. [`Client`] joins one to the HTTP client, and is
//! what a batch calls. [`CallError`] is the only failure that the rooms above see; its [`Class`]
//! says what to do: try again, give up on this prompt, or stop the batch.

mod client;
mod error;
mod error_body;
mod header;
mod key;
mod kind;
mod reading;
mod request;
mod row;
#[cfg(feature = "cli")]
mod schema;
mod secrets;
mod stream;

use std::any::Any;
use std::fmt::Debug;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hints::Hints;
use crate::json::Json;

#[cfg(feature = "cli")]
pub(crate) use self::schema::Schema;
#[cfg(all(any(test, fuzzing), feature = "redis"))]
pub(crate) use self::stream::assembled;
pub use self::{
    client::Client,
    error::{CallError, Class},
    key::Key,
    kind::ApiKind,
    reading::usage_of,
    row::Row,
};
pub(crate) use self::{
    client::{StreamLimits, masked, request_id, secrets_of},
    error::{CANCELLED, EXPIRED},
    header::{ExtraHeader, OF_A_CONNECTION},
    row::{is_url, text_of},
    secrets::Secrets,
    stream::{ComingBody, StreamMeter},
};

/// What every prompt of a batch is sent with: plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// The model's name.
    pub model: String,
    /// The system's (or developer's) message, before the prompt.
    pub system: Option<String>,
    /// Maximum number of tokens of the answer.
    pub max_tokens: Option<u32>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Other fields of the body. They win over those above; where both are objects, they are joined
    /// field by field.
    pub extra: Map<String, Value>,
}

/// An LLM API: how a request to it looks, and how to read its responses. Pure.
///
/// An API of your own implements the four methods that have no default; `examples/own_api.rs` shows
/// one.
pub trait Api: Any + Debug + Send + Sync {
    /// The address at its maker, without a slash at the end.
    fn base_url(&self) -> &str;

    /// The environment variable that usually holds another address.
    fn base_url_env(&self) -> &str {
        "OPENAI_BASE_URL"
    }

    /// The environment variable that usually holds the key.
    fn key_env(&self) -> &str {
        "OPENAI_API_KEY"
    }

    /// Completes a base URL as it was given, so that the path can follow it.
    fn complete(&self, base_url: &str) -> String {
        base_url.trim_end_matches('/').to_owned()
    }

    /// The path of the call, after the base URL.
    fn path(&self, model: &str) -> String;

    /// The header that carries the key: its name and its value.
    fn key_header(&self, key: &Key) -> (String, String) {
        let value = format!("Bearer {}", key.expose());
        ("authorization".to_owned(), value)
    }

    /// The other headers of each call, beside `content-type: application/json`.
    fn headers(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The body of the call for one prompt.
    fn body(&self, prompt: &str, params: &Params) -> Value;

    /// Reads the body of an answer. `None` if it is not an answer: then it is a
    /// [`failure`](Api::failure), whatever the status.
    fn completion(&self, body: &str) -> Option<Completion>;

    /// Classes a complete response that is not an answer: its status, its headers with their names
    /// in lower case, and its body.
    fn failure(&self, status: u16, headers: &[(String, String)], body: &[u8]) -> CallError {
        CallError::of_response(status, headers, body)
    }

    /// Which tokens the maker counts against the limits.
    fn counting(&self) -> Counting {
        Counting::Reserved
    }
}

/// What the body of an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// The text; see [`Answer::text`].
    pub text: String,
    /// Why it ended; see [`Answer::finish_reason`].
    pub finish_reason: Option<String>,
    /// The tokens that it cost; [`usage_of`] reads them from most bodies.
    pub usage: Option<Usage>,
    /// The server's name for the call, if it stands in the body.
    pub request_id: Option<String>,
}

/// An answer: a complete response with a status of 2xx that the API could read.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text; empty if the model said nothing. For an embedding the vector, as JSON.
    pub text: String,
    /// Why it ended, in OpenAI's words whatever the API: `stop`, `length`, `content_filter`,
    /// `refusal`, `tool_calls`. Other reasons stand as the server gave them.
    pub finish_reason: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The server's name for this call.
    pub request_id: Option<String>,
    /// The tokens that it cost, if the server stated them.
    pub usage: Option<Usage>,
    /// What the server said about its limits. Boxed, because answers travel by value.
    pub(crate) hints: Box<Hints>,
    /// The whole body.
    pub(crate) body: Json,
}

impl Answer {
    /// An answer with this text and nothing else, for an [`Ask`] of your own.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Answer {
            text: text.into(),
            finish_reason: None,
            status: 200,
            request_id: None,
            usage: None,
            hints: Box::default(),
            body: Json::default(),
        }
    }
}

/// The tokens of a call, or of many. Each number means the same for every API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All tokens of the prompt, including those of a cache.
    pub input: u64,
    /// Of the input: read from a cache, which costs less.
    pub cached: u64,
    /// Of the input: written to a cache, which may cost more.
    pub cache_write: u64,
    /// All tokens of the answer, including those of reasoning.
    pub output: u64,
    /// Of the output: what the model thought.
    pub reasoning: u64,
    /// Of all these, at half the price, because a provider's batch or the flex tier brought them: uncached input, cached,
    /// cache writes and output.
    #[serde(skip_serializing_if = "is_zero")]
    pub half: [u64; 4],
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        let add = u64::saturating_add;
        *self = Usage {
            input: add(self.input, more.input),
            cached: add(self.cached, more.cached),
            cache_write: add(self.cache_write, more.cache_write),
            output: add(self.output, more.output),
            reasoning: add(self.reasoning, more.reasoning),
            half: std::array::from_fn(|kind| add(self.half[kind], more.half[kind])),
        };
    }
}

impl Usage {
    /// The tokens in the order of their prices: uncached input, cached, cache writes and output.
    pub(crate) fn by_price(self) -> [u64; 4] {
        let in_a_cache = self.cached.saturating_add(self.cache_write);
        let input = self.input.saturating_sub(in_a_cache);
        [input, self.cached, self.cache_write, self.output]
    }

    /// The same at half the price.
    pub(crate) fn at_half(self) -> Self {
        let half = self.by_price();
        Usage { half, ..self }
    }
}

fn is_zero(half: &[u64; 4]) -> bool {
    *half == [0; 4]
}

/// Which tokens a server counts against its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counting {
    /// Those of the request, and the maximum of the answer if the request states it (OpenAI).
    #[default]
    Reserved,
    /// Those of the request and of the answer as it is (Anthropic).
    Used,
    /// Those of the request alone (Gemini, and embeddings).
    Input,
}

/// Makes the calls of a batch: a [`Client`], or a simulated server.
pub trait Ask: Debug + Send + Sync {
    /// The body of the call for one prompt: the same for each attempt.
    fn request(&self, prompt: &str) -> Vec<u8>;

    /// The body of the call for a row that asks more than a text; the default sends its text alone.
    ///
    /// # Errors
    /// What is wrong with the row, for people: the API has no place for it, or a file cannot be read.
    fn request_row(&self, prompt: &str, row: &Row) -> Result<Vec<u8>, String> {
        let _ = row;
        Ok(self.request(prompt))
    }

    /// Makes one call, and blocks until it has ended.
    ///
    /// # Errors
    /// [`CallError`], whose class says what to do.
    fn ask(&self, request: &[u8]) -> Result<Answer, CallError>;

    /// The same, and calls `sent` when the request really leaves. That may be some milliseconds after
    /// the permit was granted, and would shorten the gap to the next call if it did not count.
    ///
    /// # Errors
    /// As [`ask`](Ask::ask).
    fn ask_reporting(&self, request: &[u8], sent: &dyn Fn()) -> Result<Answer, CallError> {
        sent();
        self.ask(request)
    }

    /// Why an answer is not what was asked for; `None` if it is.
    fn misfit(&self, answer: &Answer) -> Option<String> {
        let _ = answer;
        None
    }

    /// The request once more, with an answer that did not fit and the reason.
    fn request_again(&self, request: &[u8], answer: &Answer, misfit: &str) -> Vec<u8> {
        let _ = (answer, misfit);
        request.to_vec()
    }

    /// The request to send instead, where the server has had no capacity for this one for as long as this; `None`: the same
    /// again.
    fn fallback(&self, request: &[u8], waited: Duration) -> Option<Vec<u8>> {
        let _ = (request, waited);
        None
    }

    /// Tells a request from one with the same body elsewhere: the path, where it is not that of chat
    /// completions.
    fn mark(&self) -> &str {
        ""
    }

    /// Which tokens the server counts against its limits.
    fn counting(&self) -> Counting {
        Counting::Reserved
    }
}

#[cfg(test)]
mod tests;
