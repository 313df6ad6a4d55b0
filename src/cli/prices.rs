//! Looks a model's price up in LiteLLM's list, `model_prices_and_context_window.json`. No list is shipped: prices change.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::error::CommandError;
use crate::batch::Price;
use crate::text::shortened;

/// Names that are shown for one that is not in the list.
const NEAR: usize = 5;
/// The least likeness of a near name, from 0 to 1: below it, names have little in common.
const LIKENESS: f64 = 0.8;

/// The price of a model.
pub(super) fn find(list: &Path, model: &str) -> Result<Price, CommandError> {
    let text =
        fs::read_to_string(list).map_err(CommandError::file("cannot read the prices in", list))?;
    let prices: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
        CommandError::usage(format!("{}: {error}", list.display()))
            .help("--prices takes LiteLLM's model_prices_and_context_window.json")
    })?;
    let shown = shortened(model, 100);
    match prices.get(model) {
        Some(entry) => price_of(entry).ok_or_else(|| {
            let message = format!("{} has no price per token for {shown}", list.display());
            CommandError::usage(message).help("give its price with --price IN,OUT")
        }),
        None => {
            let message = format!("{} has no model {shown}", list.display());
            Err(CommandError::usage(message).help(advice(&prices, model)))
        }
    }
}

/// An entry's price per million tokens. A price of the cache that it leaves out is that of the input.
fn price_of(entry: &Value) -> Option<Price> {
    let per_million = |name: &str| {
        let per_token = entry[name].as_f64().filter(|price| *price >= 0.0)?;
        Some((per_token * 1e15).round() / 1e9) // 1.5e-7 a token is 0.15, to the last digit
    };
    let input = per_million("input_cost_per_token")?;
    let output = per_million("output_cost_per_token").unwrap_or(0.0); // embeddings have none
    Some(Price {
        cached: per_million("cache_read_input_token_cost").unwrap_or(input),
        cache_write: per_million("cache_creation_input_token_cost").unwrap_or(input),
        ..Price::new(input, output)
    })
}

/// Near names with their prices, to be given by hand, the most alike first. Most names begin with that of a provider,
/// which does not count.
fn advice(prices: &Map<String, Value>, model: &str) -> String {
    let bare = |name: &str| name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let wanted = bare(model);
    let mut near: Vec<_> = prices
        .iter()
        .map(|(name, entry)| (strsim::jaro_winkler(&bare(name), &wanted), name, entry))
        .filter(|(likeness, ..)| *likeness >= LIKENESS)
        .collect();
    near.sort_by(|one, other| {
        other
            .0
            .total_cmp(&one.0)
            .then(one.1.len().cmp(&other.1.len()))
    });
    let priced = near.into_iter().filter_map(|(_, name, entry)| {
        let price = price_of(entry)?;
        Some(format!("{} (--price {price})", shortened(name, 60)))
    });
    let near: Vec<_> = priced.take(NEAR).collect();
    match near.is_empty() {
        true => "give its price with --price IN,OUT".into(),
        false => format!("near names: {}", near.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Entries as the list has them, with the fields that matter and some that do not.
    fn look_up(model: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("prices.json");
        let prices = json!({
            "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of: chat, embedding"},
            "gpt-4o-mini": {"input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7,
                "cache_read_input_token_cost": 7.5e-8, "max_tokens": 16384, "litellm_provider": "openai"},
            "azure/gpt-4o-mini": {"input_cost_per_token": 1.65e-7, "output_cost_per_token": 6.6e-7},
            "claude-sonnet-4-5": {"input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5,
                "cache_creation_input_token_cost": 3.75e-6, "cache_read_input_token_cost": 3e-7},
            "text-embedding-3-small": {"input_cost_per_token": 2e-8, "mode": "embedding"},
            "dall-e-3": {"input_cost_per_pixel": 1e-8},
        });
        fs::write(&list, prices.to_string()).unwrap();
        let found = find(&list, model).map(|price| price.to_string());
        found.map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_has_the_prices_of_its_entry_per_million() {
        assert_eq!(look_up("gpt-4o-mini").unwrap(), "0.15,0.6,0.075");
        assert_eq!(look_up("azure/gpt-4o-mini").unwrap(), "0.165,0.66");
        assert_eq!(look_up("claude-sonnet-4-5").unwrap(), "3,15,0.3,3.75");
        assert_eq!(look_up("text-embedding-3-small").unwrap(), "0.02,0");
    }

    #[test]
    fn an_unknown_model_is_refused_with_near_names_and_their_prices() {
        let error = look_up("openai/gpt-4o-mni").unwrap_err();
        let near = "near names: gpt-4o-mini (--price 0.15,0.6,0.075), azure/gpt-4o-mini (--price 0.165,0.66)";
        assert!(error.contains("has no model openai/gpt-4o-mni"), "{error}");
        assert!(error.contains(near), "{error}");
        let error = look_up("zzz").unwrap_err();
        assert!(error.contains("--price IN,OUT"), "{error}");
        let error = look_up("dall-e-3").unwrap_err();
        assert!(error.contains("no price per token"), "{error}");
    }
}
