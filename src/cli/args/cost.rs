//! What tokens cost: the options of every command that tells a cost.

use std::path::PathBuf;

use crate::api::Usage;
use crate::batch::Price;
use crate::cli::error::CommandError;
use crate::cli::prices;
use crate::text::money;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(in crate::cli) struct CostArgs {
    /// The price of a million tokens, as in 0.15,0.60
    ///
    /// It reads IN,OUT[,CACHED[,CACHE_WRITE]]. CACHED is for input that is read from a cache, CACHE_WRITE for input that is
    /// written to one; without them both cost as much as other input.
    #[arg(long, value_name = "IN,OUT[,…]", group = "priced")]
    pub(in crate::cli) price: Option<Price>,

    /// Take the model's price from LiteLLM's list
    ///
    /// The file is model_prices_and_context_window.json of github.com/BerriAI/litellm, whose prices are in dollars.
    #[arg(long, value_name = "FILE", group = "priced")]
    pub(in crate::cli) prices: Option<PathBuf>,

    /// The currency of --price
    #[arg(long, value_name = "SIGN", default_value = "$")]
    pub(in crate::cli) currency: String,
}

/// The same, for commands that name no model otherwise.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(in crate::cli) struct RecordedCostArgs {
    #[command(flatten)]
    pub(in crate::cli) cost: CostArgs,

    /// The model to look up in --prices
    #[arg(short, long, value_name = "NAME", requires = "prices")]
    pub(in crate::cli) model: Option<String>,
}

impl CostArgs {
    /// Finds the price of this model, if it is to be taken from a list.
    pub(in crate::cli) fn find_price(&mut self, model: Option<&str>) -> Result<(), CommandError> {
        if let Some(list) = &self.prices {
            let no_model = || {
                CommandError::usage("--prices needs the name of the model")
                    .help("say which model to look up, with -m NAME")
            };
            let model = model.ok_or_else(no_model)?;
            self.price = Some(prices::find(list, model)?);
        }
        Ok(())
    }

    /// The cost of these tokens, for people; `None` without a price.
    pub(in crate::cli) fn of(&self, usage: Usage) -> Option<String> {
        Some(self.money(self.price?.cost(usage)))
    }

    /// An amount for people.
    pub(in crate::cli) fn money(&self, amount: f64) -> String {
        money(amount, &self.currency)
    }
}
