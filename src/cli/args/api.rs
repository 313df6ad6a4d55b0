//! Which API is spoken, and what goes into its requests.

use std::str::FromStr;

use serde_json::Value;

use crate::api::ApiKind;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Spoken {
    /// chat, responses, messages, gemini or embeddings
    ///
    /// chat, responses and embeddings are as OpenAI and its like have them ($OPENAI_API_KEY, $OPENAI_BASE_URL),
    /// messages as Anthropic ($ANTHROPIC_API_KEY, $ANTHROPIC_BASE_URL), gemini as Google ($GEMINI_API_KEY,
    /// $GOOGLE_GEMINI_BASE_URL). The text of an embedding is its vector, as JSON.
    #[arg(
        long,
        value_name = "API",
        default_value = "chat",
        help_heading = "The server"
    )]
    pub(in crate::cli) api: ApiKind,
}

/// A field of the request's body.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Param {
    pub(in crate::cli) name: String,
    pub(in crate::cli) value: Value,
}

impl FromStr for Param {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, json) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or("give KEY=JSON")?;
        let value = serde_json::from_str(json);
        let value = value.map_err(|error| {
            format!("the value is not JSON ({error}); a text needs quotes: '{name}=\"…\"'")
        })?;
        Ok(Param {
            name: name.to_owned(),
            value,
        })
    }
}

/// Answers until a key has no money left, and which key that is, from 0; none is each.
pub(super) fn quota(text: &str) -> Result<(u64, Option<usize>), String> {
    const BAD: &str =
        "give a number of answers, or N@K for the key that comes as the K-th, as in 100@2";
    let (answers, key) = text
        .split_once('@')
        .map_or((text, None), |(answers, key)| (answers, Some(key)));
    let key = key
        .map(|key| {
            key.parse()
                .ok()
                .and_then(|key: usize| key.checked_sub(1))
                .ok_or(BAD)
        })
        .transpose()?;
    Ok((answers.parse().map_err(|_| BAD)?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_json() {
        let param: Param = "stop=[\"a=b\"]".parse().unwrap();
        assert_eq!(
            (param.name.as_str(), param.value),
            ("stop", serde_json::json!(["a=b"]))
        );
        assert!(
            "user=me"
                .parse::<Param>()
                .unwrap_err()
                .contains("'user=\"…\"'")
        );
        assert!("=1".parse::<Param>().is_err());
    }

    #[test]
    fn money_runs_out_for_each_key_or_for_one() {
        assert_eq!(
            (quota("100"), quota("100@2")),
            (Ok((100, None)), Ok((100, Some(1))))
        );
        for bad in ["", "many", "100@", "100@0", "@2", "-1", "1@2@3"] {
            assert!(quota(bad).is_err(), "{bad}");
        }
    }
}
