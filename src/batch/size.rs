//! How large a request is in tokens, as far as can be told before anybody has answered one.

use serde::Deserialize;

use crate::api::Counting;

/// How many tokens there are to a text: plain data.
///
/// # Default
/// What is thought before there is an answer to learn from. English has about four bytes a token; answers are a page or
/// less.
/// * `input`: 0.25
/// * `output`: 400
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Density {
    /// Tokens a byte of the request.
    pub input: f64,
    /// Tokens of an answer that may be as long as it likes.
    pub output: f64,
}

impl Default for Density {
    fn default() -> Self {
        Density {
            input: 0.25,
            output: 400.0,
        }
    }
}

/// How large a request is, as far as it tells the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestSize {
    /// Of its body.
    pub bytes: u32,
    /// The most tokens that its answer may have, where that is given.
    pub most: Option<u32>,
}

impl RequestSize {
    /// Looks at the body of a call.
    #[must_use]
    pub fn of(request: &[u8]) -> Self {
        let bytes = u32::try_from(request.len()).unwrap_or(u32::MAX);
        RequestSize {
            bytes,
            most: most_tokens(request),
        }
    }

    /// Tokens that are read.
    #[must_use]
    pub fn input(&self, density: Density) -> f64 {
        f64::from(self.bytes) * density.input
    }

    /// Tokens that are written.
    #[must_use]
    pub fn output(&self, density: Density) -> f64 {
        self.most
            .map_or(density.output, |most| density.output.min(most.into()))
    }

    /// Tokens that the call counts for against a limit.
    #[must_use]
    pub fn counted(&self, density: Density, counting: Counting) -> f64 {
        self.input(density)
            + match counting {
                Counting::Reserved => self.most.map_or(density.output, f64::from),
                Counting::Used => self.output(density),
                Counting::Input => 0.0,
            }
    }

    /// What a server that reads the request and has not answered yet must count for it at least. Where this is more
    /// than it allows in a minute, it can never let the call in.
    #[must_use]
    pub fn least(&self, counting: Counting) -> f64 {
        let reserved = self.most.filter(|_| counting == Counting::Reserved);
        self.input(Density::default()) + reserved.map_or(0.0, f64::from)
    }
}

/// The most tokens that the answer may have, in the APIs' several words.
pub(super) fn most_tokens(request: &[u8]) -> Option<u32> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Most {
        max_tokens: Option<u32>,
        max_completion_tokens: Option<u32>,
        #[serde(alias = "maxOutputTokens")]
        max_output_tokens: Option<u32>,
        #[serde(alias = "generationConfig")]
        generation_config: Option<Box<Most>>,
    }
    let most: Most = serde_json::from_slice(request).ok()?;
    let configured = most
        .generation_config
        .and_then(|config| config.max_output_tokens);
    most.max_completion_tokens
        .or(most.max_tokens)
        .or(most.max_output_tokens)
        .or(configured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_counts_at_least_what_it_reads_and_what_it_must_keep_for_the_answer() {
        let request = format!("{:<1000}", r#"{"max_tokens": 300}"#);
        let size = RequestSize::of(request.as_bytes());
        assert_eq!(
            size,
            RequestSize {
                bytes: 1000,
                most: Some(300)
            }
        );
        assert_eq!(size.least(Counting::Reserved), 550.0);
        assert_eq!(size.least(Counting::Used), 250.0, "where nothing is kept");
        assert_eq!(
            RequestSize { most: None, ..size }.least(Counting::Reserved),
            250.0,
            "whatever the answer will be"
        );
        let density = Density {
            input: 0.5,
            output: 100.0,
        };
        assert_eq!((size.input(density), size.output(density)), (500.0, 100.0));
        let counted = [Counting::Reserved, Counting::Used, Counting::Input]
            .map(|so| size.counted(density, so));
        assert_eq!(counted, [800.0, 600.0, 500.0]);
    }

    #[test]
    fn the_most_tokens_have_a_name_in_each_api() {
        for request in [
            r#"{"max_tokens": 7}"#,
            r#"{"max_completion_tokens": 7, "max_tokens": 9}"#,
            r#"{"max_output_tokens": 7}"#,
            r#"{"generationConfig": {"temperature": 1, "maxOutputTokens": 7}}"#,
            r#"{"generation_config": {"max_output_tokens": 7}}"#,
        ] {
            assert_eq!(most_tokens(request.as_bytes()), Some(7), "{request}");
        }
        for request in ["no JSON", "{}", r#"{"generationConfig": {}}"#] {
            assert_eq!(most_tokens(request.as_bytes()), None, "{request}");
        }
    }
}
