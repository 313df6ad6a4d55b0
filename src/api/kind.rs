//! The APIs by their names, as they are chosen on the command line.

use super::Api;
use super::chat::Chat;
use super::embeddings::Embeddings;
use super::gemini::Gemini;
use super::messages::Messages;
use super::responses::Responses;
use crate::names::named;

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
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Google's `generateContent`.
    Gemini,
    /// OpenAI's embeddings.
    Embeddings,
}

named!(ApiKind {
    Chat = "chat",
    Responses = "responses",
    Messages = "messages",
    Gemini = "gemini",
    Embeddings = "embeddings",
});

impl ApiKind {
    /// The API of this name.
    #[must_use]
    pub fn api(self) -> Box<dyn Api> {
        match self {
            ApiKind::Chat => Box::new(Chat),
            ApiKind::Responses => Box::new(Responses),
            ApiKind::Messages => Box::new(Messages),
            ApiKind::Gemini => Box::new(Gemini),
            ApiKind::Embeddings => Box::new(Embeddings),
        }
    }
}
