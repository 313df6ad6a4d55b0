//! Build a request, read an answer: what the LLM APIs have in common, and what a failure of theirs means.
//!
//! Each API is one file and pure: JSON out, JSON in. [`Client`] joins one to the HTTP agent. [`CallError`] is the one
//! failure that the floors above see, already classed: try again, give up on this prompt, or stop the batch.

mod chat;
mod client;
mod embeddings;
mod error;
mod gemini;
mod key;
mod kind;
mod messages;
mod responses;
mod told;
mod view;

use std::fmt::Debug;

use serde_json::{Map, Value};

use crate::hints::Hints;
use crate::json::Json;

pub use chat::Chat;
pub use client::Client;
pub use embeddings::Embeddings;
pub use error::{CallError, Class};
pub use gemini::Gemini;
pub use key::Key;
pub use kind::{Kind, UnknownApi};
pub use messages::Messages;
pub use responses::Responses;

/// What every prompt of a batch is sent with: plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// The model's name.
    pub model: String,
    /// The system's (or developer's) message, before the prompt.
    pub system: Option<String>,
    /// The most tokens the answer may have.
    pub max_tokens: Option<u32>,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// Any other fields of the body. They win over those above; where both are objects, they are joined field by field.
    pub extra: Map<String, Value>,
}

/// An LLM API: how it is asked, and how it answers. Pure.
pub trait Api: Debug + Send + Sync {
    /// Where its maker serves it, without a slash at the end.
    fn base_url(&self) -> &'static str {
        "https://api.openai.com/v1"
    }

    /// The environment variable that usually holds another address.
    fn base_url_env(&self) -> &'static str {
        "OPENAI_BASE_URL"
    }

    /// The environment variable that usually holds the key.
    fn key_env(&self) -> &'static str {
        "OPENAI_API_KEY"
    }

    /// A base URL as it was given, made such that the path can follow it.
    fn complete(&self, base_url: &str) -> String {
        client::with_version_after_a_host(base_url, "/v1")
    }

    /// The path of the call, after the base URL.
    fn path(&self, model: &str) -> String;

    /// The header that carries the key.
    fn key_header(&self, key: &Key) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", key.expose()))
    }

    /// What other headers each call has.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// The body of the call for one prompt.
    fn body(&self, prompt: &str, params: &Params) -> Value;

    /// What an answer says, given its body: a text that is thought to be JSON. `None`: it is no answer.
    fn said(&self, body: &str) -> Option<Said>;

    /// Which tokens its maker counts against the limits.
    fn counting(&self) -> Counting {
        Counting::Reserved
    }
}

/// What the body of a good answer says, in the words of [`Answer`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// The tokens that it cost.
    pub usage: Option<Usage>,
    /// The server's name for the call, where it has no header for that.
    pub request_id: Option<String>,
}

/// A good answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The text; empty if the model said nothing. Of an embedding it is the vector, as JSON.
    pub text: String,
    /// Why it ended, in OpenAI's words whatever the API: `stop`, `length`, `content_filter`, `refusal`, `tool_calls`.
    /// What these have no word for is as the server said it, and what the server said is in the body.
    pub finish_reason: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The server's name for this call.
    pub request_id: Option<String>,
    /// The tokens that it cost, if the server said so.
    pub usage: Option<Usage>,
    /// What the server said about pace. Boxed: answers travel by value.
    pub hints: Box<Hints>,
    /// The whole body.
    pub body: Json,
}

/// The tokens that a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Read.
    pub input: u32,
    /// Written, what the model thought to itself among it.
    pub output: u32,
}

/// Which tokens a server counts against its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counting {
    /// Those of the request, and the most that the answer may have, where the request says (OpenAI).
    #[default]
    Reserved,
    /// Those of the request and of the answer, whatever it might have had (Anthropic).
    Used,
    /// Those of the request alone (Gemini, and embeddings).
    Input,
}

/// Something that can be asked: a [`Client`], or what a test puts in its place.
pub trait Ask: Debug + Send + Sync {
    /// The body of the call for one prompt: the same for each attempt.
    fn request(&self, prompt: &str) -> Vec<u8>;

    /// Makes one call, and blocks until it has ended.
    ///
    /// # Errors
    /// [`CallError`], which says what to do about it.
    fn ask(&self, request: &[u8]) -> Result<Answer, CallError>;

    /// What tells this request from one with the same body elsewhere: another API, or a model that the address names.
    /// Usually nothing.
    fn mark(&self) -> &str {
        ""
    }

    /// Which tokens the server counts against its limits.
    fn counting(&self) -> Counting {
        Counting::Reserved
    }
}

/// Puts fields into a body. They win over those that are there; where both are objects, they are joined.
fn join(body: &mut Value, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (&mut body[name], value) {
            (there @ Value::Object(_), Value::Object(more)) => join(there, more),
            (there, value) => *there = value.clone(),
        }
    }
}

/// Puts what is given into a body.
fn put<T: Into<Value>>(body: &mut Value, name: &str, given: Option<T>) {
    if let Some(given) = given {
        body[name] = given.into();
    }
}

#[cfg(test)]
mod tests;
