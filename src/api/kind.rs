//! The APIs by their names, as they are chosen on the command line, and where and how each is called.
//!
//! [`request`](super::request) writes what is sent, and [`reading`](super::reading) reads what comes back.

use serde_json::{Value, json};

use super::{Api, Completion, Counting, Key, Params};
use crate::names::named;

named! {
    /// The name of an API.
    ///
    /// ```
    /// use paceline::api::ApiKind;
    ///
    /// let kind: ApiKind = "messages".parse().unwrap();
    /// assert_eq!(kind.api().key_env(), "ANTHROPIC_API_KEY");
    /// ```
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum ApiKind {
        /// OpenAI's chat completions, which most other servers speak, too.
        #[default]
        Chat = "chat",
        /// OpenAI's responses.
        Responses = "responses",
        /// Anthropic's messages.
        Messages = "messages",
        /// Google's `generateContent`.
        Gemini = "gemini",
        /// OpenAI's embeddings.
        Embeddings = "embeddings",
    }
}

use ApiKind::*;

impl ApiKind {
    /// The API of this name.
    #[must_use]
    pub fn api(self) -> Box<dyn Api> {
        Box::new(self)
    }

    /// The API that answers questions at this path; `None` for embeddings and APIs of somebody's own.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let is_gemini = path.ends_with(":generateContent");
        let mut others = [Chat, Responses, Messages].into_iter();
        let known = others.find(|kind| kind.path("") == path);
        known.or(is_gemini.then_some(Gemini))
    }
}

impl Api for ApiKind {
    fn base_url(&self) -> &str {
        match self {
            Messages => "https://api.anthropic.com/v1",
            Gemini => "https://generativelanguage.googleapis.com/v1beta",
            Chat | Responses | Embeddings => "https://api.openai.com/v1",
        }
    }

    fn base_url_env(&self) -> &str {
        match self {
            Messages => "ANTHROPIC_BASE_URL",
            Gemini => "GOOGLE_GEMINI_BASE_URL",
            Chat | Responses | Embeddings => "OPENAI_BASE_URL",
        }
    }

    fn key_env(&self) -> &str {
        match self {
            Messages => "ANTHROPIC_API_KEY",
            Gemini => "GEMINI_API_KEY",
            Chat | Responses | Embeddings => "OPENAI_API_KEY",
        }
    }

    /// Adds the version to an address that is only a host. The programs of Anthropic and Google add it to any address
    /// that does not end with one.
    fn complete(&self, base_url: &str) -> String {
        let base_url = base_url.trim_end_matches('/');
        let (_, after_scheme) = base_url.split_once("://").unwrap_or(("", base_url));
        let (host, last) = after_scheme.rsplit_once('/').unwrap_or_default();
        let number = last.strip_prefix('v').unwrap_or_default();
        let is_complete = match self {
            Messages | Gemini => number.starts_with(|first: char| first.is_ascii_digit()),
            Chat | Responses | Embeddings => !host.is_empty(),
        };
        let version = if *self == Gemini { "/v1beta" } else { "/v1" };
        format!("{base_url}{}", if is_complete { "" } else { version })
    }

    /// Gemini's model may be given as `models/NAME`, or `tunedModels/NAME`.
    fn path(&self, model: &str) -> String {
        let folder = if model.contains('/') { "" } else { "models/" };
        match self {
            Chat => "/chat/completions".to_owned(),
            Responses => "/responses".to_owned(),
            Messages => "/messages".to_owned(),
            Gemini => format!("/{folder}{}:generateContent", escaped(model)),
            Embeddings => "/embeddings".to_owned(),
        }
    }

    fn key_header(&self, key: &Key) -> (String, String) {
        let (name, scheme) = match self {
            Messages => ("x-api-key", ""),
            Gemini => ("x-goog-api-key", ""),
            Chat | Responses | Embeddings => ("authorization", "Bearer "),
        };
        (name.to_owned(), format!("{scheme}{}", key.expose()))
    }

    fn headers(&self) -> Vec<(String, String)> {
        let version = || ("anthropic-version".to_owned(), "2023-06-01".to_owned());
        (*self == Messages).then(version).into_iter().collect()
    }

    fn body(&self, prompt: &str, params: &Params) -> Value {
        let said = match self {
            Responses | Embeddings => prompt.into(),
            _ => self.conversation(vec![json!({"role": "user", "content": prompt})], params),
        };
        self.request(said, params)
    }

    fn completion(&self, body: &str) -> Option<Completion> {
        super::reading::completion(*self, body)
    }

    fn counting(&self) -> Counting {
        match self {
            Chat | Responses => Counting::Reserved,
            Messages => Counting::Used,
            Gemini | Embeddings => Counting::Input,
        }
    }
}

/// A model's name as it can stand in an address.
fn escaped(model: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let escape = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    model.bytes().map(escape).collect()
}
