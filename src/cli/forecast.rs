//! `paceline plan`: reads what a run would read, sends nothing, writes nothing, and says what the run will come to.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Exit;
use super::args;
use super::earlier::{self, Lesson};
use super::input;
use super::oversize::Oversize;
use super::plan::{PRACTICE_LATENCY, Plan};
use super::unusable::Unusable;
use crate::api::{Ask, Client};
use crate::batch::{Before, Density, RequestSize, Settings, Tokens, amount, body, record_id};
use crate::cancel::CancelToken;
use crate::clock::SystemClock;
use crate::forecast::text::{count, figure, row};
use crate::forecast::{Case, Faults, Forecast, Latencies, Load};
use crate::journal::{Index, JournalError, RecordId, Results};
use crate::practice::Latency;
use crate::prompts::{Prompt, PromptError};
use crate::report::duration;

/// What is thought of a model that nobody has told anything about.
const GUESS: Latency = Latency::LogNormal(Duration::from_secs(2), 0.5);

pub(super) fn run(args: &args::Plan, _quiet: bool) -> Result<Exit, Unusable> {
    let client = Plan::draft(&args.run)?;
    let (_, settings) = Plan::settings(&args.run)?;
    let settings = Settings {
        seed: 0,
        ..settings
    };
    let lesson = args
        .from
        .as_deref()
        .map(|path| earlier::read(path, &client))
        .transpose()?;
    let density = lesson
        .as_ref()
        .map_or_else(Density::default, |lesson| lesson.density);
    let survey = Survey::of(&args.run, &client, density)?;
    let keys = args.run.key_env.len().max(args.run.base_url.len()).max(1);
    let latency = latency(args, lesson.as_ref());
    let faults = lesson
        .as_ref()
        .map_or_else(Faults::default, |lesson| lesson.faults);
    let case = Case {
        settings,
        keys,
        load: survey.load.clone(),
        latency,
        faults,
    };
    let forecast = Forecast::of(&case);
    let sections = [
        prompts(args, &survey, lesson.as_ref()),
        known(args, &case, lesson.as_ref()),
        outlook(&case, &forecast),
    ];
    say(&sections.concat())
}

fn latency(args: &args::Plan, lesson: Option<&Lesson>) -> Latencies {
    let usual = if args.run.practice {
        PRACTICE_LATENCY
    } else {
        GUESS
    };
    lesson.map_or_else(
        || args.latency.unwrap_or(usual).into(),
        |lesson| lesson.latency.clone(),
    )
}

// ---- What there is to send ------------------------------------------------------------------------------------------

/// The input, held against what is on record.
struct Survey {
    load: Load,
    total: u64,
    before: Before,
    /// Prompts that would be sent differently now.
    changed: u64,
    oversize: Oversize,
}

impl Survey {
    fn of(args: &args::Run, client: &Client, density: Density) -> Result<Self, Unusable> {
        let index = on_record(args)?;
        let (load, oversize) = (
            Load::new(density, client.counting()),
            Oversize::of(args.tpm, client.counting()),
        );
        let mut survey = Survey {
            load,
            total: 0,
            before: Before::default(),
            changed: 0,
            oversize,
        };
        for prompt in stream(args, client)? {
            let prompt = prompt.map_err(|source| Unusable::Input {
                path: args.prompts.clone(),
                source,
            })?;
            survey.total += 1;
            let request = body(client, &prompt);
            if survey.is_to_do(args, &index, &record_id(client, prompt.line, &request)) {
                let size = RequestSize::of(&request);
                survey.load.add(size);
                survey.oversize.weigh(prompt.line, size);
            }
        }
        if survey.total == 0 && args.limit != Some(0) {
            Err(Unusable::Empty(args.prompts.clone()))
        } else {
            Ok(survey)
        }
    }

    fn is_to_do(&mut self, args: &args::Run, index: &Index, id: &RecordId) -> bool {
        let status = index.status(id);
        let is_done = status.is_done(args.retry_failed, args.keep);
        self.changed += u64::from(is_done.is_none());
        if is_done != Some(true) {
            return true;
        }
        self.before.answered += u64::from(status.is_answered());
        self.before.failed += u64::from(!status.is_answered());
        false
    }
}

/// The prompts of a file, or of a pipe to its end.
fn stream<'a>(
    args: &'a args::Run,
    client: &'a Client,
) -> Result<Box<dyn Iterator<Item = Result<Prompt, PromptError>> + 'a>, Unusable> {
    if let Some(prompts) = input::read_again(args, client.path())? {
        return Ok(Box::new(prompts));
    }
    let never = CancelToken::on(SystemClock);
    Ok(input::open(args, client.path(), &never, |_| ())?.0)
}

/// What earlier runs have done, unless the run would begin anew. The file is only read.
fn on_record(args: &args::Run) -> Result<Index, Unusable> {
    let Some(path) = Plan::output(args).filter(|path| !args.restart && path.exists()) else {
        return Ok(Index::default());
    };
    let opened = Results::open(&path);
    let mut results = opened.map_err(|source| Unusable::OpenEarlier {
        path: path.clone(),
        source,
    })?;
    Ok(Index::read(&mut results).map_err(|source| JournalError::Results { path, source })?)
}

// ---- What is said ---------------------------------------------------------------------------------------------------

fn prompts(args: &args::Plan, survey: &Survey, lesson: Option<&Lesson>) -> Vec<String> {
    let Survey {
        load,
        total,
        before,
        changed,
        oversize,
    } = survey;
    let mut lines = vec!["Prompts".to_owned()];
    let done = match (before.answered, before.failed) {
        (0, 0) => String::new(),
        (answered, failed) => {
            format!(
                " of {}: {answered} answered and {failed} failed are on record",
                figure(*total as f64)
            )
        }
    };
    lines.push(row(
        "to send",
        format!("{}{done}", figure(load.count as f64)),
    ));
    if *changed > 0 {
        lines.push(row(
            "changed",
            format!("{changed} on record would be sent differently now: run refuses that"),
        ));
        lines.push(row("", "without --keep or --restart"));
    }
    lines.push(row(
        "tokens",
        format!(
            "about {} read, {} written",
            figure(load.input),
            figure(load.output)
        ),
    ));
    let source = match lesson {
        Some(lesson) if lesson.tells_tokens => "going by the earlier run".to_owned(),
        _ => format!(
            "a guess: {} bytes a token, answers of {}",
            figure(1.0 / load.density.input),
            figure(load.density.output)
        ),
    };
    lines.push(row("", source));
    if let Some(price) = args.run.watching.price {
        let tokens = Tokens {
            input: load.input as u64,
            output: load.output as u64,
        };
        lines.push(row(
            "cost",
            format!("about {}, at {price} a million", amount(price.cost(tokens))),
        ));
    }
    lines.extend(oversize.warning().map(|warning| row("too large", warning)));
    lines
}

/// What the forecast rests on.
fn known(args: &args::Plan, case: &Case, lesson: Option<&Lesson>) -> Vec<String> {
    let ms = |latency: Duration| duration(latency.as_millis() as u64);
    let mut lines = vec![String::new(), "What is known".to_owned()];
    lines.extend(limits(args, case.keys));
    let source = match (lesson, args.latency) {
        (Some(lesson), _) => format!("measured in {}", count(lesson.answers as f64, "answer")),
        (None, Some(_)) => "as told".to_owned(),
        (None, None) if args.run.practice => "the practice server's".to_owned(),
        (None, None) => "a guess: give --latency, or --from an earlier run".to_owned(),
    };
    let (mean, p95) = (ms(case.latency.mean()), ms(case.latency.percentile(95)));
    lines.push(row(
        "latency",
        format!("{mean} on average, 95 % within {p95}"),
    ));
    lines.push(row("", source));
    let Faults { faults, rejected } = case.faults;
    if faults + rejected > 0.0 {
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        lines.push(row(
            "failures",
            format!(
                "{} of the calls, and {} for good",
                percent(faults),
                percent(rejected)
            ),
        ));
    }
    lines
}

fn limits(args: &args::Plan, keys: usize) -> Vec<String> {
    let each = if keys > 1 {
        format!(" with each of {keys} keys")
    } else {
        String::new()
    };
    let limit = |number: Option<std::num::NonZeroU32>, of| {
        number.map(|n| format!("{} {of} a minute", figure(n.get().into())))
    };
    let rpm = Plan::rpm(&args.run);
    let told: Vec<_> = [limit(rpm, "calls"), limit(args.run.tpm, "tokens")]
        .into_iter()
        .flatten()
        .collect();
    match told.is_empty() {
        false => vec![row("limit", format!("{}{each}", told.join(", ")))],
        true => vec![
            row(
                "limit",
                "unknown: the server's headers will tell, or it will be",
            ),
            row(
                "",
                "found out; with --rpm N or --tpm N it is part of the plan.",
            ),
            row("", "Until then this is how long it takes without any limit"),
        ],
    }
}

fn outlook(case: &Case, forecast: &Forecast) -> Vec<String> {
    let yours = case.settings.workers.map(NonZeroUsize::get);
    let mut lines = vec![String::new(), "Forecast".to_owned()];
    if case.load.count == 0 {
        lines.push(row("takes", "no time: nothing is left to send"));
        return lines;
    }
    lines.extend(forecast.lines());
    if !forecast.ends {
        lines.push(row(
            "but",
            "the server fails so often that the batch would stop early",
        ));
    }
    lines.extend([String::new(), "Workers".to_owned()]);
    lines.extend(forecast.table(yours));
    lines.push(match forecast.enough {
        Some(1) => {
            "  1 is enough: more only wait. -w auto, the default, hires as many as it takes".to_owned()
        }
        Some(enough) => {
            format!("  {enough} are enough: more only wait. -w auto, the default, hires as many as it takes")
        }
        None => "  how many are enough depends on the limit; -w auto, the default, finds out".to_owned(),
    });
    if case.load.count > forecast.simulated as u64 {
        let simulated = figure(forecast.simulated as f64);
        lines.push(format!(
            "  simulated with {simulated} of the prompts, the rest extended from the steady part"
        ));
    }
    lines
}

/// Whoever reads may have had enough, as `head` has.
fn say(lines: &[String]) -> Result<Exit, Unusable> {
    let mut to = io::stdout().lock();
    match writeln!(to, "{}", lines.join("\n")).and_then(|()| to.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Unusable::Say(error)),
        _ => Ok(Exit::Answered),
    }
}
