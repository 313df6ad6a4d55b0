//! `paceline plan`: reads what a run would read, sends nothing, writes nothing, and tells what the run will take.

mod earlier;
mod forecast;
mod latencies;
mod simulation;
mod survey;
mod view;
mod workers;
mod workload;

use super::args::PlanArgs;
use super::bulk;
use super::error::{CommandError, print};
use super::exit::Exit;
use super::setup;
use super::template::{self, TextLook};
use crate::batch::Settings;

use earlier::CallStatistics;
use forecast::{Forecast, PlanInputs};
use survey::Survey;

pub(super) fn run(args: &PlanArgs) -> Result<Exit, CommandError> {
    let calls = &args.run.calls;
    bulk::check_via(&args.run)?;
    let client = setup::draft_client(calls)?;
    let settings = Settings {
        seed: 0,
        ..setup::settings(calls)?
    };
    let known = CallStatistics::of(args, &client)?;
    let survey = Survey::of(&args.run, &client, known.density)?;
    let server = &calls.server;
    let keys = server.key_env.len().max(server.base_url.len());
    let inputs = PlanInputs {
        settings,
        keys: keys.max(1),
        load: survey.load.clone(),
        known,
        timeout: server.timeout,
    };
    let view = view::view(args, &survey, &inputs, &Forecast::of(&inputs));
    let text = template::text(include_str!("plan/text.txt"), &view, TextLook::of_stdout())?;
    print(text + "\n")
}
