//! `paceline plan`: reads what a run would read, sends nothing, writes nothing, and tells what the run will take.

mod forecast;
mod known;
mod survey;
mod view;

use super::args::PlanArgs;
use super::bulk;
use super::error::{CommandError, print};
use super::exit::Exit;
use super::setup;
use super::template::{self, TextLook};

use forecast::{Forecast, PlanInputs};
use known::CallStatistics;
use survey::Survey;

pub(super) fn run(args: &PlanArgs) -> Result<Exit, CommandError> {
    let calls = &args.run.calls;
    bulk::check_via(&args.run)?;
    let client = setup::draft_client(calls)?;
    let known = CallStatistics::of(args, &client)?;
    let survey = Survey::of(&args.run, &client, known.density)?;
    let server = &calls.server;
    let keys = server.key_env.len().max(server.base_url.len());
    let inputs = PlanInputs {
        settings: setup::settings(calls)?,
        keys: keys.max(1),
        load: survey.load.clone(),
        known,
        timeout: server.timeout,
        order: forecast::order(survey.load.count()),
    };
    let view = view::view(args, &survey, &inputs, &Forecast::of(&inputs));
    let text = template::text(include_str!("plan/text.txt"), &view, TextLook::of_stdout())?;
    print(text + "\n")
}
