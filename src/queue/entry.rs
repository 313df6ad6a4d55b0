//! A prompt as an entry of the queue: its JSON, and the digest that recognizes it. Storing it is left to `push`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::journal::RecordId;
use crate::prompts::Prompt;

/// The highest line number: the queue keeps an 8-byte digest a line, and one value of Redis holds 512 MiB.
pub(super) const LAST_LINE: u64 = (512 << 20) / 8 - 1;

#[derive(Serialize, Deserialize)]
struct QueuedPrompt<'a> {
    line: u64,
    custom_id: Cow<'a, str>,
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
}

/// The prompt as JSON.
pub(super) fn write(prompt: &Prompt) -> String {
    let Prompt {
        line,
        custom_id,
        text,
        body,
    } = prompt;
    let body = body.as_deref().map(Cow::from);
    let written = QueuedPrompt {
        line: *line,
        custom_id: custom_id.into(),
        text: text.into(),
        body,
    };
    serde_json::to_string(&written).expect("strings and a number are JSON")
}

/// The prompt of such a JSON text.
pub(super) fn read(json: &str) -> Result<Prompt, serde_json::Error> {
    let QueuedPrompt {
        line,
        custom_id,
        text,
        body,
    } = serde_json::from_str(json)?;
    Ok(Prompt {
        line,
        custom_id: custom_id.into_owned(),
        text: text.into_owned(),
        body: body.map(Cow::into_owned),
    })
}

/// Distinguishes prompts of the same line. Never all zeros: zeros mean that the queue has no prompt at that line.
pub(super) fn digest(line: u64, written: &str) -> [u8; 8] {
    (RecordId::of(line, written.as_bytes()).digest | 1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_prompt_reads_back_as_it_was_written(line in 1u64.., id: String, text: String, body: Option<String>) {
            let prompt = Prompt { line, custom_id: id, text, body };
            prop_assert_eq!(read(&write(&prompt)).unwrap(), prompt);
        }
    }

    #[test]
    fn a_digest_tells_prompts_apart_and_is_never_zero() {
        let digests = ["a", "b", ""].map(|text| digest(1, text));
        assert!(digests[0] != digests[1] && digests.iter().all(|digest| *digest != [0; 8]));
        assert_eq!(
            digest(1, "a"),
            digest(2, "a"),
            "the line is the key already"
        );
    }
}
