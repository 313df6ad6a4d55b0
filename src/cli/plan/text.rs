//! The plan as text, for a terminal of 80 columns.

use std::fmt::{self, Display, Formatter};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::earlier::EarlierRun;
use super::forecast::{Bottleneck, FailureRates, Forecast, PlanInputs, WorkerChoice};
use super::survey::Survey;
use crate::batch::Tokens;
use crate::cli::args::PlanArgs;
use crate::cli::format::{counted, duration, grouped, number};
use crate::cli::setup;

/// Lines with a label and a value.
#[derive(Default)]
pub(super) struct PlanText(String);

impl PlanText {
    fn line(&mut self, text: impl Display) {
        self.0 += &format!("{text}\n");
    }

    /// Without a label, the value continues the line above.
    fn row(&mut self, label: &str, value: impl Display) {
        self.line(format!("  {label:<17} {value}"));
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// What there is to send.
    pub(super) fn prompts(
        &mut self,
        args: &PlanArgs,
        survey: &Survey,
        earlier: Option<&EarlierRun>,
    ) {
        let load = &survey.load;
        let done = match (survey.before.answered, survey.before.failed) {
            (0, 0) => String::new(),
            (answered, failed) => format!(
                " of {}: {answered} answered and {failed} failed are on record",
                grouped(survey.total)
            ),
        };
        self.line("Prompts");
        self.row("to send", grouped(load.count) + &done);
        if survey.changed > 0 {
            let changed = format!("{} on record would be sent differently now", survey.changed);
            self.row("changed", changed + ": run stops");
            self.row("", "without --keep or --restart");
        }
        let [input, output] = [load.input, load.output].map(|tokens| number(tokens.round()));
        self.row("tokens", format!("about {input} in, {output} out"));
        let density = load.density;
        let [bytes, answer] = [1.0 / density.input, density.output].map(number);
        self.row(
            "",
            match earlier.filter(|earlier| earlier.has_tokens) {
                Some(_) => "as in the earlier run".to_owned(),
                None => format!("a guess: {bytes} bytes a token, answers of {answer}"),
            },
        );
        let cost = &args.run.calls.cost;
        if let Some(price) = cost.price {
            let (input, output) = (load.input as u64, load.output as u64);
            let cost = cost.money(price.cost(Tokens { input, output }));
            self.row("cost", format!("about {cost}, at {price} a million"));
        }
        if let Some(warning) = survey.oversized.warning() {
            self.row("too large", warning);
        }
    }

    /// What the forecast is based on.
    pub(super) fn known(
        &mut self,
        args: &PlanArgs,
        inputs: &PlanInputs,
        earlier: Option<&EarlierRun>,
    ) {
        self.line("\nWhat is known");
        self.limits(args, inputs.keys);
        let latency = &inputs.latency;
        let [mean, p95] = [latency.mean(), latency.percentile(95)].map(duration);
        self.row("latency", format!("{mean} on average, 95 % within {p95}"));
        self.row(
            "",
            match (earlier, args.latency) {
                (Some(earlier), _) => format!("measured in {}", counted(earlier.answers, "answer")),
                (None, Some(_)) => "given with --latency".to_owned(),
                (None, None) if args.run.calls.practice => "the practice server's".to_owned(),
                (None, None) => "a guess: give --latency, or --from an earlier run".to_owned(),
            },
        );
        let FailureRates { faults, rejected } = inputs.failures;
        if faults + rejected > 0.0 {
            let [faults, rejected] =
                [faults, rejected].map(|part| format!("{:.1} %", part * 100.0));
            self.row(
                "failures",
                format!("{faults} of the calls are retried, {rejected} rejected"),
            );
        }
    }

    fn limits(&mut self, args: &PlanArgs, keys: usize) {
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
            self.row(
                "limit",
                "unknown: a run follows the server's headers, or finds it.",
            );
            self.row(
                "",
                "Give --rpm N or --tpm N to plan with it; without, this is",
            );
            self.row("", "how long it takes without any limit");
            return;
        }
        let each = match keys {
            1 => String::new(),
            keys => format!(" with each of {keys} keys"),
        };
        self.row("limit", limits.join(", ") + &each);
    }

    /// How long it takes, why, and with how many workers.
    pub(super) fn forecast(&mut self, inputs: &PlanInputs, forecast: &Forecast) {
        self.line("\nForecast");
        if inputs.load.count == 0 {
            return self.row("takes", "no time: there is nothing left to send");
        }
        let rate = number(calls_a_minute(forecast, forecast.took));
        let took = duration(forecast.took);
        self.row("takes", format!("about {took}, at {rate} calls a minute"));
        if let Some(bottleneck) = forecast.bottleneck() {
            self.row(
                "limited by",
                format!("{bottleneck}: {}", bottleneck.advice()),
            );
        }
        for (n, (limit, took)) in forecast.alone.iter().enumerate() {
            let label = if n == 0 { "each alone" } else { "" };
            self.row(label, format!("{limit} {}", duration(*took)));
        }
        let busiest = counted(forecast.busiest as u64, "call");
        self.row("in flight", format!("at most {busiest} at once"));
        if !forecast.ends {
            self.row("but", "too many calls fail: the batch would stop early");
        }
        self.workers(inputs, forecast);
        if inputs.load.count > forecast.simulated as u64 {
            let simulated = grouped(forecast.simulated as u64);
            let sample = "of the prompts were simulated, their steady part stands for the rest";
            self.line(format!("  {simulated} {sample}"));
        }
    }

    fn workers(&mut self, inputs: &PlanInputs, forecast: &Forecast) {
        let wanted = inputs.settings.workers.map(NonZeroUsize::get);
        let best = forecast.choices.iter().map(|choice| choice.took).min();
        self.line("\nWorkers");
        self.table_row("workers", "duration", "calls a minute", "longer", "");
        for WorkerChoice { workers, took } in &forecast.choices {
            let best = best.unwrap_or_default().as_secs_f64().max(1e-9);
            let longer = match took.as_secs_f64() / best {
                ..1.005 => String::new(),
                ratio => format!("x {ratio:.2}"),
            };
            let note = match (forecast.enough == Some(*workers), wanted == Some(*workers)) {
                (true, true) => "enough, yours",
                (true, false) => "enough",
                (false, true) => "yours",
                (false, false) => "",
            };
            let rate = number(calls_a_minute(forecast, *took));
            self.table_row(workers, &duration(*took), &rate, &longer, note);
        }
        let enough = match forecast.enough {
            Some(1) => "1 is enough: more only wait.".to_owned(),
            Some(enough) => format!("{enough} are enough: more only wait."),
            None => "How many are enough depends on the limit.".to_owned(),
        };
        self.line(format!("  {enough} -w auto, the default, adds as needed"));
    }

    fn table_row(
        &mut self,
        workers: impl Display,
        took: &str,
        rate: &str,
        longer: &str,
        note: &str,
    ) {
        let row = format!("  {workers:>7} {took:>14} {rate:>16} {longer:>9}  {note}");
        self.line(row.trim_end());
    }
}

fn calls_a_minute(forecast: &Forecast, took: Duration) -> f64 {
    forecast.calls * 60.0 / took.as_secs_f64().max(1e-3)
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
