//! What can be typed about what is seen of a run, and what it may cost.

use std::str::FromStr;

use crate::batch::{MaxCost, Price};

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Watching {
    /// Show how it goes: auto, always or never
    ///
    /// auto is live on a terminal, else a line every 10 s, and nothing with -q; always is with -q, too.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "What you see"
    )]
    pub(in crate::cli) progress: When,

    /// How the log is written: text or json
    ///
    /// json is one object a line for each call and each change of state, as if with -v.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "What you see"
    )]
    pub(in crate::cli) log_format: LogFormat,

    /// What a million tokens cost, in and out, as in 0.15,0.60
    ///
    /// It shows the cost so far, projected and final.
    #[arg(long, value_name = "IN,OUT", help_heading = "Cost")]
    pub(in crate::cli) price: Option<Price>,

    /// Stop once the answers have cost so much [default: never]
    ///
    /// What counts are the answers of this run. Those in flight then come on top, and answers that do not say what
    /// they cost are not counted.
    #[arg(long, value_name = "X", requires = "price", value_parser = amount, help_heading = "Cost")]
    pub(in crate::cli) max_cost: Option<f64>,
}

impl Watching {
    pub(in crate::cli) fn ceiling(&self) -> Option<MaxCost> {
        Some(MaxCost {
            price: self.price?,
            most: self.max_cost?,
        })
    }
}

/// When the display is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    Auto,
    Always,
    Never,
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(When::Auto),
            "always" => Ok(When::Always),
            "never" => Ok(When::Never),
            _ => Err("give auto, always or never"),
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum LogFormat {
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("give text or json"),
        }
    }
}

/// Nothing at all would be spent at once.
fn amount(text: &str) -> Result<f64, &'static str> {
    let amount = text
        .parse()
        .ok()
        .filter(|amount: &f64| amount.is_finite() && *amount > 0.0);
    amount.ok_or("give an amount above 0, in the currency of --price")
}
