//! The APIs by their names, as they are asked for.

use std::fmt;
use std::str::FromStr;

use super::{Api, Chat, Embeddings, Gemini, Messages, Responses};

/// An API by its name.
///
/// ```
/// use paceline::api::Kind;
///
/// let kind: Kind = "messages".parse().unwrap();
/// assert_eq!(kind.api().key_env(), "ANTHROPIC_API_KEY");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// OpenAI's chat completions, and what speaks like them.
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

impl Kind {
    const NAMES: [(Kind, &str); 5] = [
        (Kind::Chat, "chat"),
        (Kind::Responses, "responses"),
        (Kind::Messages, "messages"),
        (Kind::Gemini, "gemini"),
        (Kind::Embeddings, "embeddings"),
    ];

    /// How it is asked, and how it answers.
    #[must_use]
    pub fn api(self) -> Box<dyn Api> {
        match self {
            Kind::Chat => Box::new(Chat),
            Kind::Responses => Box::new(Responses),
            Kind::Messages => Box::new(Messages),
            Kind::Gemini => Box::new(Gemini),
            Kind::Embeddings => Box::new(Embeddings),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(kind, _)| kind == self);
        f.write_str(named.map_or("", |(_, name)| name))
    }
}

impl FromStr for Kind {
    type Err = UnknownApi;

    fn from_str(text: &str) -> Result<Self, UnknownApi> {
        let named = Self::NAMES.iter().find(|(_, name)| *name == text);
        named
            .map(|(kind, _)| *kind)
            .ok_or_else(|| UnknownApi(text.to_owned()))
    }
}

/// No API is called that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownApi(String);

impl fmt::Display for UnknownApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Kind::NAMES.map(|(_, name)| name).join(", ");
        write!(f, "no API is called {:?}: choose one of {names}", self.0)
    }
}

impl std::error::Error for UnknownApi {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_a_name_and_another_name_is_none() {
        for (kind, name) in Kind::NAMES {
            assert_eq!(
                (name.parse(), kind.to_string()),
                (Ok(kind), name.to_owned())
            );
        }
        let expected =
            "no API is called \"gpt\": choose one of chat, responses, messages, gemini, embeddings";
        assert_eq!("gpt".parse::<Kind>().unwrap_err().to_string(), expected);
    }
}
