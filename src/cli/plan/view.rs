//! What a plan shows: its figures, which the template `text.txt` lays out. Tokens are estimates, times in milliseconds.

use serde_json::{Value, json};

use super::forecast::{Forecast, PlanInputs};
use super::survey::Survey;
use crate::api::Usage;
use crate::cli::args::PlanArgs;
use crate::cli::setup;
use crate::text::millis;

pub(super) fn view(
    args: &PlanArgs,
    survey: &Survey,
    inputs: &PlanInputs,
    forecast: &Forecast,
) -> Value {
    let (load, known) = (&inputs.load, &inputs.known);
    let (calls, rate) = (&args.run.calls, &args.run.calls.rate);
    let usage = expected(inputs);
    let spent = Some(survey.spent).filter(|spent| *spent != Usage::default());
    let alone = forecast.alone.iter();
    let alone = alone.map(|(limit, took)| json!([limit, millis(*took)]));
    let choices = forecast.choices.iter();
    let choices =
        choices.map(|(workers, run)| json!({"workers": workers, "took_ms": millis(run.took)}));
    json!({
        "counts": survey.counts,
        "calls": load.count(),
        "repeat": args.run.repeat,
        "has_schema": calls.request.schema.is_some(),
        "input": load.input.round(),
        "output": load.output.round(),
        "bytes_a_token": 1.0 / load.density.input,
        "answer_tokens": load.density.output,
        "tokens_are_measured": known.has_tokens,
        "price": calls.cost.price.map(|price| price.to_string()),
        "cost": calls.cost.of(usage),
        "half": calls.cost.of(usage.at_half()),
        "is_bulk": args.run.via.is_some(),
        "is_flex": calls.tier.tier.is_some(),
        "spent": spent.and_then(|spent| calls.cost.of(spent)),
        "too_large": survey.oversized.warning(),
        // As --rpm none says.
        "has_no_limit": rate.has_no_limit() && rate.tpm.is_none(),
        "rpm": setup::rpm(calls),
        "tpm": rate.tpm,
        "keys": inputs.keys,
        "latency_ms": millis(known.mean_latency()),
        "latency_p95_ms": millis(known.quantile(0.95)),
        "is_given": args.latency.is_some(),
        "is_practice": calls.practice,
        "earlier_answers": known.answers,
        "faults": known.faults * 100.0,
        "rejected": known.rejected * 100.0,
        "timed_out": known.part_above(inputs.timeout) * 100.0,
        "timeout_ms": millis(inputs.timeout),
        "took_ms": millis(forecast.run.took),
        "all_calls": forecast.run.calls,
        "alone": alone.collect::<Vec<_>>(),
        "busiest": forecast.run.busiest,
        "ends": forecast.ends,
        "choices": choices.collect::<Vec<_>>(),
        "enough": forecast.enough,
        "wanted": inputs.settings.workers,
    })
}

/// The tokens of what there is to send. Only an earlier run tells how much of the input a cache holds.
fn expected(inputs: &PlanInputs) -> Usage {
    let (load, known) = (&inputs.load, &inputs.known);
    Usage {
        input: load.input as u64,
        cached: (load.input * known.cached) as u64,
        cache_write: (load.input * known.cache_write) as u64,
        output: load.output as u64,
        ..Usage::default()
    }
}
