//! What tokens cost: prices per million tokens, and a limit on the sum.

use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

use crate::api::Usage;

/// The tokens of several calls, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Prompt tokens.
    pub input: u64,
    /// Completion tokens, including reasoning tokens.
    pub output: u64,
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Tokens {
            input: usage.input.into(),
            output: usage.output.into(),
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, more: Self) {
        self.input = self.input.saturating_add(more.input);
        self.output = self.output.saturating_add(more.output);
    }
}

/// Prices per million tokens, in any currency: plain data.
///
/// ```
/// use paceline::batch::Price;
///
/// let price: Price = "0.15,0.60".parse().unwrap();
/// assert_eq!((price.input, price.output), (0.15, 0.60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Price {
    /// Per million prompt tokens.
    pub input: f64,
    /// Per million completion tokens.
    pub output: f64,
}

impl Price {
    /// The cost of a [`Usage`] or of [`Tokens`].
    #[must_use]
    pub(crate) fn cost(self, tokens: impl Into<Tokens>) -> f64 {
        let Tokens { input, output } = tokens.into();
        (input as f64 * self.input + output as f64 * self.output) / 1e6
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.input, self.output)
    }
}

impl FromStr for Price {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let amount = |text: &str| {
            text.trim()
                .parse()
                .ok()
                .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        };
        let both = text
            .split_once(',')
            .and_then(|(input, output)| amount(input).zip(amount(output)));
        both.map(|(input, output)| Price { input, output }).ok_or(
            "give two prices per million tokens, for input and for output, such as 0.15,0.60",
        )
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
    #[must_use]
    pub(crate) fn spent(self, tokens: Tokens) -> Option<f64> {
        Some(self.price.cost(tokens)).filter(|spent| *spent >= self.most)
    }
}

/// An amount for people: two decimal places, or four to six if it is less than one.
#[must_use]
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
    fn a_price_is_two_numbers_that_are_not_negative() {
        assert_eq!(
            "2.5, 10".parse(),
            Ok(Price {
                input: 2.5,
                output: 10.0
            })
        );
        assert_eq!("0,0".parse::<Price>().unwrap().to_string(), "0,0");
        for bad in [
            "", "1", "1,", ",1", "1,2,3", "-1,2", "1,inf", "NaN,1", "1;2",
        ] {
            assert!(bad.parse::<Price>().is_err(), "{bad}");
        }
    }

    #[test]
    fn input_and_output_have_separate_prices() {
        let price = Price {
            input: 1.0,
            output: 4.0,
        };
        assert_eq!(
            price.cost(Usage {
                input: 500_000,
                output: 250_000,
                ..Usage::default()
            }),
            1.5
        );
        let mut tokens = Tokens::default();
        tokens += Usage {
            input: u32::MAX,
            output: 1,
            ..Usage::default()
        }
        .into();
        tokens += Usage {
            input: u32::MAX,
            output: 1,
            ..Usage::default()
        }
        .into();
        assert_eq!(
            tokens,
            Tokens {
                input: 2 * u64::from(u32::MAX),
                output: 2
            }
        );
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
