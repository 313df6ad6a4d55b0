//! `paceline plan`: reads what a run would read, sends nothing, writes nothing, and tells what the run will take.

mod earlier;
mod forecast;
mod latencies;
mod simulation;
mod survey;
mod view;
mod workers;
mod workload;

use std::time::Duration;

use super::args::PlanArgs;
use super::bulk;
use super::error::{CommandError, print};
use super::exit::Exit;
use super::setup::{self, PRACTICE_LATENCY};
use super::template::{self, TextLook};
use crate::api::ApiKind;
use crate::batch::{Density, Settings};
use crate::practice::Latency;

use forecast::{FailureRates, Forecast, PlanInputs};
use survey::Survey;
use view::PlanView;

/// The latency of a model about which nothing is known.
const GUESSED_LATENCY: Latency = Latency::LogNormal(Duration::from_secs(2), 0.5);

pub(super) fn run(args: &PlanArgs) -> Result<Exit, CommandError> {
    let calls = &args.run.calls;
    bulk::check_via(&args.run)?;
    let client = setup::draft_client(calls)?;
    let settings = Settings {
        seed: 0,
        ..setup::settings(calls)?
    };
    let earlier = match &args.from {
        Some(path) => Some(earlier::read(path, &client)?),
        None => None,
    };
    let usual = match calls.practice {
        true => PRACTICE_LATENCY,
        false => GUESSED_LATENCY,
    };
    let (density, latency, failures) = match &earlier {
        Some(run) => (run.density, run.latency.clone(), run.failures),
        None => (
            match calls.server.api {
                // A vector costs no tokens.
                ApiKind::Embeddings => Density {
                    output: 0.0,
                    ..Density::default()
                },
                _ => Density::default(),
            },
            args.latency.unwrap_or(usual).into(),
            FailureRates::default(),
        ),
    };
    let survey = Survey::of(&args.run, &client, density)?;
    let inputs = PlanInputs {
        settings,
        keys: calls
            .server
            .key_env
            .len()
            .max(calls.server.base_url.len())
            .max(1),
        load: survey.load.clone(),
        latency,
        failures,
        timeout: calls.server.timeout,
    };
    let forecast = Forecast::of(&inputs);
    let view = PlanView::new(args, &survey, earlier.as_ref(), &inputs, &forecast);
    let text = template::text(include_str!("plan/text.txt"), &view, TextLook::of_stdout())?;
    print(text + "\n")
}
