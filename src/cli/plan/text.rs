//! The plan as text, for a terminal of 80 columns.

use std::fmt::{self, Display, Formatter};
use std::num::{NonZeroU32, NonZeroUsize};

use super::earlier::EarlierRun;
use super::forecast::{Bottleneck, FailureRates, Forecast, PlanInputs, WorkerChoice};
use super::survey::Survey;
use crate::batch::Tokens;
use crate::cli::args::PlanArgs;
use crate::cli::format::{counted, duration, grouped, money, number};
use crate::cli::setup;

/// A label and its value; without a label, the value continues the line above.
fn row(label: &str, value: impl Display) -> String {
    format!("  {label:<17} {value}")
}

/// What there is to send.
pub(super) fn prompts(
    args: &PlanArgs,
    survey: &Survey,
    earlier: Option<&EarlierRun>,
) -> Vec<String> {
    let load = &survey.load;
    let done = match (survey.before.answered, survey.before.failed) {
        (0, 0) => String::new(),
        (answered, failed) => format!(
            " of {}: {answered} answered and {failed} failed are on record",
            grouped(survey.total)
        ),
    };
    let mut lines = vec![
        "Prompts".to_owned(),
        row("to send", grouped(load.count) + &done),
    ];
    if survey.changed > 0 {
        let changed = grouped(survey.changed);
        lines.push(row(
            "changed",
            format!("{changed} on record would be sent differently now: run stops"),
        ));
        lines.push(row("", "without --keep or --restart"));
    }
    let tokens = format!(
        "about {} in, {} out",
        number(load.input.round()),
        number(load.output.round())
    );
    lines.push(row("tokens", tokens));
    lines.push(match earlier {
        Some(earlier) if earlier.has_tokens => row("", "as in the earlier run"),
        _ => row(
            "",
            format!(
                "a guess: {} bytes a token, answers of {}",
                number(1.0 / load.density.input),
                number(load.density.output)
            ),
        ),
    });
    if let Some(price) = args.run.calls.cost.price {
        let cost = price.cost(Tokens {
            input: load.input as u64,
            output: load.output as u64,
        });
        lines.push(row(
            "cost",
            format!("about {}, at {price} a million", money(cost)),
        ));
    }
    lines.extend(
        survey
            .oversized
            .warning()
            .map(|warning| row("too large", warning)),
    );
    lines
}

/// What the forecast is based on.
pub(super) fn known(
    args: &PlanArgs,
    inputs: &PlanInputs,
    earlier: Option<&EarlierRun>,
) -> Vec<String> {
    let mut lines = vec![String::new(), "What is known".to_owned()];
    lines.extend(limits(args, inputs.keys));
    let latency = &inputs.latency;
    lines.push(row(
        "latency",
        format!(
            "{} on average, 95 % within {}",
            duration(latency.mean()),
            duration(latency.percentile(95))
        ),
    ));
    let source = match (earlier, args.latency) {
        (Some(earlier), _) => format!("measured in {}", counted(earlier.answers, "answer")),
        (None, Some(_)) => "given with --latency".to_owned(),
        (None, None) if args.run.calls.practice => "the practice server's".to_owned(),
        (None, None) => "a guess: give --latency, or --from an earlier run".to_owned(),
    };
    lines.push(row("", source));
    let FailureRates { faults, rejected } = inputs.failures;
    if faults + rejected > 0.0 {
        lines.push(row(
            "failures",
            format!(
                "{:.1} % of the calls are retried, {:.1} % rejected",
                faults * 100.0,
                rejected * 100.0
            ),
        ));
    }
    lines
}

fn limits(args: &PlanArgs, keys: usize) -> Vec<String> {
    let calls = &args.run.calls;
    let limit = |limit: Option<NonZeroU32>, of| {
        limit.map(|n| format!("{} {of} a minute", grouped(n.get().into())))
    };
    let limits = [
        limit(setup::rpm(calls), "calls"),
        limit(calls.rate.tpm, "tokens"),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        return vec![
            row(
                "limit",
                "unknown: a run follows the server's headers, or finds it.",
            ),
            row(
                "",
                "Give --rpm N or --tpm N to plan with it; without, this is",
            ),
            row("", "how long it takes without any limit"),
        ];
    }
    let each = match keys {
        1 => String::new(),
        keys => format!(" with each of {keys} keys"),
    };
    vec![row("limit", limits.join(", ") + &each)]
}

/// How long it takes, why, and with how many workers.
pub(super) fn forecast(inputs: &PlanInputs, forecast: &Forecast) -> Vec<String> {
    let mut lines = vec![String::new(), "Forecast".to_owned()];
    if inputs.load.count == 0 {
        lines.push(row("takes", "no time: there is nothing left to send"));
        return lines;
    }
    let rate = number(calls_a_minute(forecast, forecast.took));
    lines.push(row(
        "takes",
        format!(
            "about {}, at {rate} calls a minute",
            duration(forecast.took)
        ),
    ));
    if let Some(bottleneck) = forecast.bottleneck() {
        lines.push(row(
            "limited by",
            format!("{bottleneck}: {}", bottleneck.advice()),
        ));
    }
    for (n, (limit, took)) in forecast.alone.iter().enumerate() {
        let label = if n == 0 { "each alone" } else { "" };
        lines.push(row(label, format!("{limit} {}", duration(*took))));
    }
    let busiest = counted(forecast.busiest as u64, "call");
    lines.push(row("in flight", format!("at most {busiest} at once")));
    if !forecast.ends {
        lines.push(row(
            "but",
            "so many calls fail that the batch would stop early",
        ));
    }
    lines.extend([String::new(), "Workers".to_owned()]);
    lines.extend(table(inputs, forecast));
    lines.push(advice(forecast));
    if inputs.load.count > forecast.simulated as u64 {
        let simulated = grouped(forecast.simulated as u64);
        lines.push(format!(
            "  {simulated} of the prompts were simulated, their steady part stands for the rest"
        ));
    }
    lines
}

fn advice(forecast: &Forecast) -> String {
    let enough = match forecast.enough {
        Some(1) => "1 is enough: more only wait.".to_owned(),
        Some(enough) => format!("{enough} are enough: more only wait."),
        None => "How many are enough depends on the limit.".to_owned(),
    };
    format!("  {enough} -w auto, the default, adds as needed")
}

fn calls_a_minute(forecast: &Forecast, took: std::time::Duration) -> f64 {
    forecast.calls * 60.0 / took.as_secs_f64().max(1e-3)
}

/// The numbers of workers, line by line.
fn table(inputs: &PlanInputs, forecast: &Forecast) -> Vec<String> {
    let wanted = inputs.settings.workers.map(NonZeroUsize::get);
    let choices = &forecast.choices;
    let best = choices
        .iter()
        .map(|choice| choice.took)
        .min()
        .unwrap_or_default();
    let line = |choice: &WorkerChoice| {
        let ratio = choice.took.as_secs_f64() / best.as_secs_f64().max(1e-9);
        let longer = match ratio {
            ..1.005 => String::new(),
            _ => format!("x {ratio:.2}"),
        };
        let note = match (forecast.enough, wanted) {
            (enough, wanted) if enough == wanted && wanted == Some(choice.workers) => {
                "enough, yours"
            }
            (Some(enough), _) if enough == choice.workers => "enough",
            (_, Some(wanted)) if wanted == choice.workers => "yours",
            _ => "",
        };
        let line = format!(
            "  {:>7} {:>14} {:>16} {longer:>9}  {note}",
            choice.workers,
            duration(choice.took),
            number(calls_a_minute(forecast, choice.took)),
        );
        line.trim_end().to_owned()
    };
    let head = format!(
        "  {:>7} {:>14} {:>16} {:>9}",
        "workers", "duration", "calls a minute", "longer"
    );
    let mut lines = vec![head];
    lines.extend(choices.iter().map(line));
    lines
}

impl Display for Bottleneck {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bottleneck::Rate => "the rate",
            Bottleneck::Tokens => "the tokens",
            Bottleneck::Workers => "the workers",
            Bottleneck::Latency => "the latency",
        })
    }
}

impl Bottleneck {
    /// What would make it faster.
    fn advice(self) -> &'static str {
        match self {
            Bottleneck::Rate => "more workers would not help",
            Bottleneck::Tokens => "fewer tokens a call would help, as with a lower --max-tokens",
            Bottleneck::Workers => "more of them would help",
            Bottleneck::Latency => "only faster answers would help",
        }
    }
}
