//! The size of a request in tokens, as far as it is known before the first answer.

use serde::Deserialize;

use crate::api::Counting;

/// How many tokens requests and answers have: plain data.
///
/// # Default
/// For use before the first answer. English text has about four bytes per token; answers have a page or less.
/// * `input`: 0.25
/// * `output`: 400
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Density {
    /// Tokens per byte of the request.
    pub input: f64,
    /// Tokens of an answer without a limit.
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

/// Bytes of text that a file counts for: about 1,000 tokens. Makers state 85 to 1,600 for an image.
pub(crate) const FILE_BYTES: u32 = 4000;

/// The size of a request: what its tokens are estimated from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestSize {
    /// Bytes of its body.
    pub bytes: u32,
    /// The most tokens that its answer may have, if the request limits them.
    pub most: Option<u32>,
}

impl RequestSize {
    /// The size of the request with this body.
    pub(crate) fn of(request: &[u8]) -> Self {
        let bytes = request.len() - attached(request);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        RequestSize {
            bytes,
            most: most_tokens(request),
        }
    }

    /// Estimated prompt tokens.
    pub(crate) fn input(&self, density: Density) -> f64 {
        f64::from(self.bytes) * density.input
    }

    /// Estimated completion tokens.
    pub(crate) fn output(&self, density: Density) -> f64 {
        self.most
            .map_or(density.output, |most| density.output.min(most.into()))
    }

    /// Those of its estimated completion tokens that the server counts against its limit.
    pub(super) fn counted_output(&self, density: Density, counting: Counting) -> f64 {
        match counting {
            Counting::Reserved => self.most.map_or(density.output, f64::from),
            Counting::Used => self.output(density),
            Counting::Input => 0.0,
        }
    }

    /// Estimated tokens that the server counts against its limit.
    pub(crate) fn counted(&self, density: Density, counting: Counting) -> f64 {
        self.input(density) + self.counted_output(density, counting)
    }

    /// The completion tokens that the server counts before it answers.
    pub(super) fn reserved(&self, counting: Counting) -> Option<u32> {
        self.most.filter(|_| counting == Counting::Reserved)
    }

    /// The fewest tokens that the server counts for this request. If this is more than it allows per minute, it can never
    /// accept the call.
    pub(crate) fn least(&self, counting: Counting) -> f64 {
        let reserved = self.reserved(counting).unwrap_or(0);
        self.input(Density::default()) + f64::from(reserved)
    }
}

/// The bytes of a request that are no text: those of files, but for [`FILE_BYTES`] each.
fn attached(request: &[u8]) -> usize {
    /// No word is as long.
    const SHORTEST: usize = 4096;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let runs = request.split(|byte| !is_base64(byte));
    let files = runs.filter(|run| run.len() >= SHORTEST);
    files.map(|file| file.len() - FILE_BYTES as usize).sum()
}

/// The most tokens that the answer may have, under each API's name for it.
fn most_tokens(request: &[u8]) -> Option<u32> {
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
    fn a_file_counts_as_an_image_does_and_not_by_its_bytes() {
        let request = |base64: &str| format!("{{\"url\":\"data:image/png;base64,{base64}\"}}");
        let small = RequestSize::of(request("").as_bytes()).bytes;
        let large = request(&"A/+z".repeat(300_000));
        assert_eq!(RequestSize::of(large.as_bytes()).bytes, small + 4000);
    }

    #[test]
    fn a_server_counts_at_least_the_input_and_the_tokens_that_it_reserves() {
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
        assert_eq!(
            size.least(Counting::Used),
            250.0,
            "where nothing is reserved"
        );
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
