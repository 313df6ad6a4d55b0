//! What tokens cost: prices per million tokens, and a limit on the sum.

use std::fmt;
use std::str::FromStr;

use crate::api::Usage;

/// Prices per million tokens, in any currency: plain data.
///
/// ```
/// use paceline::batch::Price;
///
/// let price: Price = "3,15,0.30".parse().unwrap();
/// assert_eq!((price.input, price.output), (3.0, 15.0));
/// assert_eq!((price.cached, price.cache_write), (0.30, 3.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Per million prompt tokens that are in no cache.
    pub input: f64,
    /// Per million completion tokens, including reasoning tokens.
    pub output: f64,
    /// Per million prompt tokens that are read from a cache.
    pub cached: f64,
    /// Per million prompt tokens that are written to a cache.
    pub cache_write: f64,
}

impl Price {
    /// Prices without a discount for a cache.
    pub(crate) fn new(input: f64, output: f64) -> Self {
        Price {
            input,
            output,
            cached: input,
            cache_write: input,
        }
    }

    /// The cost of these tokens.
    pub(crate) fn cost(self, usage: Usage) -> f64 {
        let prices = [self.input, self.cached, self.cache_write, self.output];
        let tokens = usage.by_price().into_iter().zip(usage.half);
        let costs = tokens
            .zip(prices)
            .map(|((tokens, half), price)| (tokens as f64 - half as f64 / 2.0) * price);
        costs.sum::<f64>() / 1e6
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.input, self.output)?;
        if self.cached != self.input || self.cache_write != self.input {
            write!(f, ",{}", self.cached)?;
        }
        if self.cache_write != self.input {
            write!(f, ",{}", self.cache_write)?;
        }
        Ok(())
    }
}

impl FromStr for Price {
    type Err = &'static str;

    /// Reads `IN,OUT[,CACHED[,CACHE_WRITE]]`. A price of the cache that is left out is that of the input.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let amount = |text: &str| {
            let number: Option<f64> = text.trim().parse().ok();
            number.filter(|n| n.is_finite() && *n >= 0.0)
        };
        const WRONG: &str = "give prices per million tokens, for input and for output, such as 0.15,0.60; then \
             perhaps for input read from a cache, and written to it, such as 3,15,0.30,3.75";
        let amounts: Option<Vec<_>> = text.split(',').map(amount).collect();
        let amounts = amounts.ok_or(WRONG)?;
        let (input, output, cache) = match amounts[..] {
            [input, output, ref cache @ ..] if cache.len() <= 2 => (input, output, cache),
            _ => return Err(WRONG),
        };
        Ok(Price {
            cached: cache.first().copied().unwrap_or(input),
            cache_write: cache.get(1).copied().unwrap_or(input),
            ..Price::new(input, output)
        })
    }
}

/// A limit on the cost of a batch: plain data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxCost {
    /// The prices.
    pub price: Price,
    /// The limit, in the same currency.
    pub most: f64,
}

impl MaxCost {
    /// The cost of these tokens, if it has reached the limit.
    pub(crate) fn spent(self, usage: Usage) -> Option<f64> {
        Some(self.price.cost(usage)).filter(|spent| *spent >= self.most)
    }
}

/// An amount for people: two decimal places, or four to six if it is less than one.
pub(crate) fn amount(cost: f64) -> String {
    match cost {
        0.0 => "0".to_owned(),
        ..0.001 => format!("{cost:.6}"),
        0.001..1.0 => format!("{cost:.4}"),
        _ => format!("{cost:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_two_to_four_numbers_that_are_not_negative() {
        assert_eq!("2.5, 10".parse(), Ok(Price::new(2.5, 10.0)));
        for text in ["0,0", "2.5,10,1.25", "3,15,0.3,3.75", "3,15,3,3.75"] {
            assert_eq!(text.parse::<Price>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "1",
            "1,",
            ",1",
            "1,2,3,4,5",
            "1,2,",
            "1,2,-3",
            "-1,2",
            "1,inf",
            "NaN,1",
            "1;2",
        ] {
            assert!(bad.parse::<Price>().is_err(), "{bad}");
        }
    }

    /// Prices of 4 and 16, 1 for a read and 5 for a write, by the usage of each API's reference; the costs are by hand.
    #[test]
    fn the_usage_of_every_api_costs_what_it_does_by_hand() {
        let price: Price = "4,16,1,5".parse().unwrap();
        let table = [
            // 86 x 4 + 1920 x 1 + 300 x 16
            (
                "chat",
                r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920},
                "completion_tokens_details":{"reasoning_tokens":256}}"#,
                7064.0,
            ),
            // 11 x 4 + 64 x 1 + 1186 x 16
            (
                "responses",
                r#"{"input_tokens":75,"input_tokens_details":{"cached_tokens":64},"output_tokens":1186,
                "output_tokens_details":{"reasoning_tokens":1024}}"#,
                19_084.0,
            ),
            // 12 x 4 + 5000 x 1 + 100 x 5 + 34 x 16
            (
                "messages",
                r#"{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":5000,"output_tokens":34}"#,
                6092.0,
            ),
            // 7 x 4 + 8 x 1 + 320 x 16
            (
                "gemini",
                r#"{"promptTokenCount":10,"cachedContentTokenCount":8,"candidatesTokenCount":20,"thoughtsTokenCount":300,
                "toolUsePromptTokenCount":5}"#,
                5156.0,
            ),
            // 10 x 4 + 40 x 1 + 5 x 16
            (
                "deepseek",
                r#"{"prompt_tokens":50,"prompt_cache_hit_tokens":40,"prompt_cache_miss_tokens":10,"completion_tokens":5}"#,
                160.0,
            ),
            // 8 x 4
            (
                "embeddings",
                r#"{"prompt_tokens":8,"total_tokens":8}"#,
                32.0,
            ),
        ];
        for (api, usage, expected) in table {
            let name = if api == "gemini" {
                "usageMetadata"
            } else {
                "usage"
            };
            let usage = crate::api::usage_of(&format!(r#"{{"{name}":{usage}}}"#)).unwrap();
            assert_eq!(price.cost(usage) * 1e6, expected, "{api}");
        }
    }

    #[test]
    fn without_a_price_for_the_cache_all_input_costs_the_same() {
        let usage = Usage {
            input: 500_000,
            cached: 400_000,
            cache_write: 100_000,
            output: 250_000,
            reasoning: 250_000,
            ..Usage::default()
        };
        assert_eq!(Price::new(1.0, 4.0).cost(usage), 1.5);
    }

    #[test]
    fn a_limit_is_reached_by_what_a_cache_costs_no_sooner_and_no_later() {
        let limit = |price: &str, most| MaxCost {
            price: price.parse().unwrap(),
            most,
        };
        let usage = Usage {
            input: 1_000_000,
            cached: 1_000_000,
            ..Usage::default()
        };
        assert_eq!(limit("3,15,0.3", 0.31).spent(usage), None);
        assert_eq!(limit("3,15,0.3", 0.3).spent(usage), Some(0.3));
        assert_eq!(limit("3,15", 0.31).spent(usage), Some(3.0));
    }

    #[test]
    fn amounts_show_the_figures_that_matter() {
        let table = [
            (0.0, "0"),
            (0.000_042, "0.000042"),
            (0.0123, "0.0123"),
            (1.5, "1.50"),
            (1234.0, "1234.00"),
        ];
        for (cost, expected) in table {
            assert_eq!(amount(cost), expected);
        }
    }
}
