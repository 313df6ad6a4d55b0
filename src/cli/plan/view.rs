//! What a plan shows: its figures, which the template `text.txt` lays out.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use serde::Serialize;

use super::earlier::EarlierRun;
use super::forecast::{Bottleneck, Forecast, PlanInputs};
use super::survey::{Survey, SurveyCounts};
use crate::api::Usage;
use crate::cli::args::{CostArgs, PlanArgs};
use crate::cli::format::millis;
use crate::cli::setup;

/// Tokens are estimates, and times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct PlanView {
    #[serde(flatten)]
    counts: SurveyCounts,
    calls: u64,
    repeat: u32,
    has_schema: bool,
    input: f64,
    output: f64,
    bytes_a_token: f64,
    answer_tokens: f64,
    tokens_are_measured: bool,
    cost: Option<String>,
    /// The cost through the provider's batch endpoint.
    half: Option<String>,
    is_bulk: bool,
    spent: Option<String>,
    too_large: Option<String>,
    /// As --rpm none says.
    has_no_limit: bool,
    rpm: Option<NonZeroU32>,
    tpm: Option<NonZeroU32>,
    keys: usize,
    latency_ms: u64,
    latency_p95_ms: u64,
    latency_from: &'static str,
    earlier_answers: u64,
    /// Calls in a hundred that fail.
    faults: f64,
    rejected: f64,
    timed_out: f64,
    timeout_ms: u64,
    took_ms: u64,
    calls_a_minute: f64,
    /// How long each limit alone would let it take, the longest first.
    alone: Vec<(Bottleneck, u64)>,
    busiest: u64,
    workers_are_automatic: bool,
    ends: bool,
    choices: Vec<ChoiceView>,
    enough: Option<usize>,
    wanted: Option<NonZeroUsize>,
    simulated: u64,
}

/// A number of workers.
#[derive(Debug, Serialize)]
struct ChoiceView {
    workers: usize,
    took_ms: u64,
    calls_a_minute: f64,
    /// How many times as long as with the best number.
    longer: f64,
}

impl PlanView {
    pub(super) fn new(
        args: &PlanArgs,
        survey: &Survey,
        earlier: Option<&EarlierRun>,
        inputs: &PlanInputs,
        forecast: &Forecast,
    ) -> Self {
        let (load, latency) = (&inputs.load, &inputs.latency);
        let calls = &args.run.calls;
        let usage = expected(inputs, earlier);
        let is_bulk = args.run.via.is_some();
        let half = calls
            .cost
            .of(usage.at_half())
            .filter(|_| is_bulk || calls.tier.tier.is_some());
        PlanView {
            counts: survey.counts,
            calls: load.count,
            repeat: args.run.repeat.get(),
            has_schema: calls.request.schema.is_some(),
            input: load.input.round(),
            output: load.output.round(),
            bytes_a_token: 1.0 / load.density.input,
            answer_tokens: load.density.output,
            tokens_are_measured: earlier.is_some_and(|earlier| earlier.has_tokens),
            cost: cost(&calls.cost, usage),
            half,
            is_bulk,
            spent: spent(&calls.cost, survey),
            too_large: survey.oversized.warning(),
            has_no_limit: calls.rate.has_no_limit() && calls.rate.tpm.is_none(),
            rpm: setup::rpm(calls),
            tpm: calls.rate.tpm,
            keys: inputs.keys,
            latency_ms: millis(latency.mean()),
            latency_p95_ms: millis(latency.percentile(95)),
            latency_from: match (earlier, args.latency) {
                (Some(_), _) => "earlier",
                (None, Some(_)) => "given",
                (None, None) if calls.practice => "practice",
                (None, None) => "guess",
            },
            earlier_answers: earlier.map_or(0, |earlier| earlier.answers),
            faults: inputs.failures.faults * 100.0,
            rejected: inputs.failures.rejected * 100.0,
            timed_out: latency.part_above(inputs.timeout) * 100.0,
            timeout_ms: millis(inputs.timeout),
            took_ms: millis(forecast.took),
            calls_a_minute: calls_a_minute(forecast, forecast.took),
            alone: forecast
                .alone
                .iter()
                .map(|(limit, took)| (*limit, millis(*took)))
                .collect(),
            busiest: forecast.busiest as u64,
            workers_are_automatic: inputs.settings.workers.is_none(),
            ends: forecast.ends,
            choices: choices(forecast),
            enough: forecast.enough,
            wanted: inputs.settings.workers,
            simulated: forecast.simulated as u64,
        }
    }
}

/// The tokens of what there is to send. Only an earlier run tells how much of the input a cache holds.
fn expected(inputs: &PlanInputs, earlier: Option<&EarlierRun>) -> Usage {
    let load = &inputs.load;
    let part = |of: fn(&EarlierRun) -> f64| earlier.map_or(0.0, |run| load.input * of(run));
    Usage {
        input: load.input as u64,
        cached: part(|run| run.cached) as u64,
        cache_write: part(|run| run.cache_write) as u64,
        output: load.output as u64,
        ..Usage::default()
    }
}

fn cost(cost: &CostArgs, usage: Usage) -> Option<String> {
    Some(format!("{}, at {}", cost.of(usage)?, cost.price?))
}

/// The cost of what is on record, if there is anything.
fn spent(cost: &CostArgs, survey: &Survey) -> Option<String> {
    (survey.spent != Usage::default())
        .then(|| cost.of(survey.spent))
        .flatten()
}

fn choices(forecast: &Forecast) -> Vec<ChoiceView> {
    let choices = forecast.choices.iter();
    let best = choices.clone().map(|choice| choice.took).min();
    let best = best.unwrap_or_default().as_secs_f64().max(1e-9);
    let view = choices.map(|choice| ChoiceView {
        workers: choice.workers,
        took_ms: millis(choice.took),
        calls_a_minute: calls_a_minute(forecast, choice.took),
        longer: choice.took.as_secs_f64() / best,
    });
    view.collect()
}

fn calls_a_minute(forecast: &Forecast, took: Duration) -> f64 {
    forecast.calls * 60.0 / took.as_secs_f64().max(1e-3)
}
