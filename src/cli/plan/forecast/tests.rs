//! Whole forecasts of batches whose duration is known by calculation.

use super::*;
use crate::batch::{Density, RequestSize};
use crate::limiter::Rate;
use crate::practice::Latency;
use std::num::NonZeroU32;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// At ten calls a second and answers after a second: lost until ten calls are in flight, of which three leave at first.
const FILLING: Duration = Duration::from_millis(800);

fn case(prompts: u64, rpm: u32, workers: Option<usize>, latency: Latency) -> PlanInputs {
    let rate = match rpm {
        0 => RateLimit::Adaptive,
        rpm => RateLimit::Fixed(Rate::per_minute(rpm).exact()),
    };
    let settings = Settings {
        rate,
        workers: workers.and_then(NonZeroUsize::new),
        ..Settings::default()
    };
    let density = Density {
        input: 0.25,
        output: 100.0,
    };
    let mut load = Workload::new(density, crate::api::Counting::Reserved);
    let size = RequestSize {
        bytes: 400,
        most: None,
    };
    (0..prompts).for_each(|_| load.add(size));
    PlanInputs {
        settings,
        keys: 1,
        load,
        known: CallStatistics {
            density,
            ..CallStatistics::with_latency(latency)
        },
        timeout: SECOND * 600,
    }
}

#[track_caller]
fn near(took: Duration, expected: Duration, parts: f64) {
    let off = took.as_secs_f64() / expected.as_secs_f64() - 1.0;
    assert!(off.abs() <= parts, "{took:?} for {expected:?}");
}

#[test]
fn the_articles_batch_takes_its_twenty_minutes_and_two_workers_are_enough() {
    let forecast = Forecast::of(&case(200, 10, None, Latency::Constant(SECOND * 2)));
    assert_eq!(forecast.took, SECOND * (199 * 6 + 2));
    assert_eq!(forecast.bottleneck(), Some(Bottleneck::Rate));
    assert_eq!(
        forecast.enough,
        Some(1),
        "one is back before the next turn: {:?}",
        forecast.choices
    );
}

#[test]
fn a_large_batch_is_extended_from_its_steady_part() {
    let forecast = Forecast::of(&case(1_000_000, 600, None, Latency::Constant(SECOND)));
    assert_eq!(forecast.simulated, 2000);
    near(forecast.took, MS * 100 * 999_999 + SECOND + FILLING, 1e-6);
    assert_eq!(forecast.calls, 1e6);
}

#[test]
fn with_too_few_workers_they_are_the_bottleneck_and_enough_are_named() {
    let forecast = Forecast::of(&case(
        10_000,
        600,
        Some(10),
        Latency::LogNormal(SECOND * 2, 0.5),
    ));
    let mean = 2.0 * (0.125f64).exp();
    let expected = Duration::from_secs_f64(10_000.0 * mean / 10.0);
    near(forecast.took, expected, 0.02);
    assert!(
        forecast.took > expected,
        "turns are a distance apart, and so the workers get into each other's way"
    );
    assert_eq!(
        (forecast.bottleneck(), forecast.busiest),
        (Some(Bottleneck::Workers), 10)
    );
    let enough = forecast.enough.unwrap();
    assert!(
        (23..32).contains(&enough),
        "{enough}, a few more than {mean} x 10"
    );
    let took = |workers| {
        forecast
            .choices
            .iter()
            .find(|row| row.workers == workers)
            .unwrap()
            .took
    };
    near(took(enough), MS * 100 * 9_999 + SECOND * 3, 0.02);
    assert!(forecast.choices.is_sorted_by(
        |one, other| one.workers < other.workers && one.took >= other.took.mul_f64(0.99)
    ));
    assert_eq!(
        took(10),
        forecast.took,
        "the table has the number that was asked for"
    );
}

#[test]
fn a_limit_in_tokens_is_kept_and_found_to_be_the_bottleneck() {
    let mut case = case(3000, 6000, None, Latency::Constant(SECOND));
    case.settings.tokens = NonZeroU32::new(60_000);
    let forecast = Forecast::of(&case);
    assert_eq!(forecast.bottleneck(), Some(Bottleneck::Tokens));
    near(forecast.took, SECOND * 3000 * 200 / 1000, 0.03);
}

#[test]
fn a_handful_of_calls_takes_as_long_as_a_call_takes() {
    let handful = |workers| case(5, 60_000, workers, Latency::Constant(SECOND * 30));
    near(Forecast::of(&handful(Some(5))).took, SECOND * 30, 0.01);
    let careful = Forecast::of(&handful(None));
    assert_eq!(careful.bottleneck(), Some(Bottleneck::Latency));
    near(careful.took, SECOND * 90, 0.01); // one first, then two, to see what the server bears
}

#[test]
fn nothing_to_send_takes_no_time() {
    let forecast = Forecast::of(&case(0, 600, None, Latency::Constant(SECOND)));
    assert_eq!(
        (forecast.took, forecast.calls, forecast.enough),
        (Duration::ZERO, 0.0, None)
    );
}

#[test]
fn faults_cost_calls_and_a_broken_server_is_said_to_stop_the_batch() {
    let mut case = case(2000, 600, None, Latency::Constant(SECOND));
    (case.known.faults, case.known.rejected) = (0.05, 0.01);
    let forecast = Forecast::of(&case);
    assert!(
        forecast.ends && (2060.0..2150.0).contains(&forecast.calls),
        "{forecast:?}"
    );
    near(
        forecast.took,
        (MS * 100).mul_f64(forecast.calls) + FILLING + SECOND, // the first call is alone
        0.01,
    );
    case.known.faults = 0.9;
    assert!(!Forecast::of(&case).ends);
}

#[test]
fn without_a_limit_every_doubling_of_workers_is_shown_and_none_is_enough() {
    let forecast = Forecast::of(&case(300, 0, Some(4), Latency::Constant(SECOND)));
    assert_eq!(forecast.enough, None);
    assert_eq!(
        forecast
            .choices
            .iter()
            .map(|row| row.workers)
            .collect::<Vec<_>>(),
        [1, 2, 4, 8, 16, 32, 64, 128, 256]
    );
    near(forecast.took, SECOND * 300 / 4, 0.02);
}

#[test]
fn a_call_that_takes_longer_than_the_timeout_is_sent_once_more_and_then_given_up() {
    let mut case = case(10, 60_000, Some(10), Latency::Constant(SECOND * 900));
    near(Forecast::of(&case).took, SECOND * 600 * 2, 0.01);
    assert_eq!(Forecast::of(&case).calls, 20.0);
    case.settings.timeout_retries = 0;
    assert_eq!(Forecast::of(&case).calls, 10.0);
    case.timeout = SECOND * 1000;
    near(Forecast::of(&case).took, SECOND * 900, 0.01);
}

#[test]
fn the_calls_in_flight_are_those_that_an_adaptive_limit_finds() {
    let of = |workers| Forecast::of(&case(400, 0, workers, Latency::Constant(SECOND)));
    let [found, many] = [of(None), of(Some(256))];
    assert!((8..=256).contains(&found.busiest), "{found:?}");
    assert!(found.took > many.took, "it starts with one call, and grows");
}
