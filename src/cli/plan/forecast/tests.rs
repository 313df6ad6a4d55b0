//! Whole forecasts of batches whose duration is known by calculation.

use super::*;
use crate::api::{Answer, Ask, CallError, Class, Counting, Usage};
use crate::batch::{Batch, Density, RequestSize, Summary};
use crate::cancel::CancelToken;
use crate::clock::{Clock, SimClock};
use crate::limiter::Rate;
use crate::practice::Latency;
use crate::prompts::Prompt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// At ten calls a second and answers after a second: lost until ten calls are in flight, of which one leaves at first.
const FILLING: Duration = Duration::from_millis(1600);

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
    let mut load = Workload::new(density, Counting::Reserved);
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
        order: order(prompts as usize),
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
    assert_eq!(forecast.run.took, SECOND * (199 * 6 + 2));
    assert_eq!(forecast.bottleneck(), Some("rate"));
    assert_eq!(
        forecast.enough,
        Some(1),
        "one is back before the next turn: {:?}",
        forecast.choices
    );
}

#[test]
fn a_large_batch_is_played_to_its_end() {
    let run = case(50_000, 600, None, Latency::Constant(SECOND)).play(None);
    near(run.took, MS * 100 * 49_999 + SECOND + FILLING, 1e-4);
    assert_eq!(run.calls, 50_000);
}

#[test]
fn with_too_few_workers_they_are_the_bottleneck_and_enough_are_named() {
    let forecast = Forecast::of(&case(
        3_000,
        600,
        Some(10),
        Latency::LogNormal(SECOND * 2, 0.5),
    ));
    let mean = 2.0 * (0.125f64).exp();
    let expected = Duration::from_secs_f64(3_000.0 * mean / 10.0);
    near(forecast.run.took, expected, 0.02);
    assert!(
        forecast.run.took > expected,
        "turns are a distance apart, and so the workers get into each other's way"
    );
    assert_eq!(
        (forecast.bottleneck(), forecast.run.busiest),
        (Some("workers"), 10)
    );
    let enough = forecast.enough.unwrap();
    assert!(
        (23..32).contains(&enough),
        "{enough}, a few more than {mean} x 10"
    );
    let took = |workers| {
        let mut choices = forecast.choices.iter();
        choices.find(|row| row.0 == workers).unwrap().1.took
    };
    near(took(enough), MS * 100 * 2_999 + SECOND * 3, 0.02);
    assert!(
        forecast
            .choices
            .is_sorted_by(|one, other| one.0 < other.0 && one.1.took >= other.1.took.mul_f64(0.99))
    );
    assert_eq!(
        took(10),
        forecast.run.took,
        "the table has the number that was asked for"
    );
}

#[test]
fn a_limit_in_tokens_is_kept_and_found_to_be_the_bottleneck() {
    let mut case = case(3000, 6000, None, Latency::Constant(SECOND));
    case.settings.tokens = NonZeroU32::new(60_000);
    let forecast = Forecast::of(&case);
    assert_eq!(forecast.bottleneck(), Some("tokens"));
    near(forecast.run.took, SECOND * 3000 * 200 / 1000, 0.03);
}

#[test]
fn a_handful_of_calls_takes_as_long_as_a_call_takes() {
    let handful = |workers| case(5, 60_000, workers, Latency::Constant(SECOND * 30));
    near(handful(Some(5)).play(Some(5)).took, SECOND * 30, 0.01);
    let careful = Forecast::of(&handful(None));
    assert_eq!(careful.bottleneck(), Some("latency"));
    near(careful.run.took, SECOND * 90, 0.01); // one first, then two, to see what the server bears
}

#[test]
fn nothing_to_send_takes_no_time() {
    let forecast = Forecast::of(&case(0, 600, None, Latency::Constant(SECOND)));
    assert_eq!(
        (forecast.run, forecast.enough),
        (PlayedRun::default(), None)
    );
}

#[test]
fn faults_cost_calls_and_a_broken_server_is_said_to_stop_the_batch() {
    let mut case = case(2000, 600, None, Latency::Constant(SECOND));
    (case.known.faults, case.known.rejected) = (0.05, 0.01);
    let forecast = Forecast::of(&case);
    assert!(
        forecast.ends && (2060..2150).contains(&forecast.run.calls),
        "{forecast:?}"
    );
    near(forecast.run.took, batch(&case).elapsed, 0.01);
    case.known.faults = 0.9;
    assert!(!Forecast::of(&case).ends);
}

#[test]
fn without_a_limit_every_doubling_of_workers_is_shown_and_none_is_enough() {
    let forecast = Forecast::of(&case(300, 0, Some(4), Latency::Constant(SECOND)));
    assert_eq!(forecast.enough, None);
    assert_eq!(
        forecast.choices.iter().map(|row| row.0).collect::<Vec<_>>(),
        [1, 2, 4, 8, 16, 32, 64, 128, 256]
    );
    near(forecast.run.took, SECOND * 300 / 4, 0.02);
}

#[test]
fn a_call_that_takes_longer_than_the_timeout_is_sent_once_more_and_then_given_up() {
    let mut case = case(10, 60_000, Some(10), Latency::Constant(SECOND * 900));
    let twice = case.play(Some(10));
    near(twice.took, SECOND * 600 * 2, 0.01);
    assert_eq!(twice.calls, 20);
    case.settings.timeout_retries = 0;
    assert_eq!(case.play(Some(10)).calls, 10);
    case.timeout = SECOND * 1000;
    near(case.play(Some(10)).took, SECOND * 900, 0.01);
}

#[test]
fn the_calls_in_flight_are_those_that_an_adaptive_limit_finds() {
    let of = |workers| case(400, 0, None, Latency::Constant(SECOND)).play(workers);
    let [found, many] = [of(None), of(Some(256))];
    assert!((8..=256).contains(&found.busiest), "{found:?}");
    assert!(found.took > many.took, "it starts with one call, and grows");
}

/// Answers as the forecast expects it.
#[derive(Debug)]
struct ExpectedServer<'a> {
    inputs: &'a PlanInputs,
    clock: SimClock,
    calls: AtomicU64,
}

impl Ask for ExpectedServer<'_> {
    fn request(&self, _prompt: &str) -> Vec<u8> {
        vec![b' '; 400]
    }

    fn counting(&self) -> Counting {
        Counting::Reserved
    }

    fn ask(&self, _request: &[u8]) -> Result<Answer, CallError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (took, outcome) = self.inputs.call(call);
        self.clock.sleep_until(self.clock.now() + took);
        let failed = |status| CallError {
            status,
            maybe_billed: status.is_none(),
            ..CallError::new(Class::Fault, "timeout", "")
        };
        match outcome {
            CallOutcome::ServerError => Err(failed(Some(500))),
            CallOutcome::Timeout => Err(failed(None)),
            _ => Ok(Answer {
                usage: Some(Usage {
                    input: 100,
                    output: 100,
                    ..Usage::default()
                }),
                ..Answer::new("")
            }),
        }
    }
}

/// The batch itself on the simulated clock.
fn batch(inputs: &PlanInputs) -> Summary {
    let clock = SimClock::new();
    let server = ExpectedServer {
        inputs,
        clock: clock.clone(),
        calls: AtomicU64::new(0),
    };
    let on: Arc<dyn Clock> = Arc::new(clock);
    let asks = (0..inputs.keys).map(|_| &server as &dyn Ask);
    let batch = Batch::new(inputs.settings, asks, on.clone(), CancelToken::on(on));
    let prompts = (1..=inputs.load.count() as u64).map(|line| Ok(Prompt::new(line, "")));
    batch.run(prompts, |_| Ok(()))
}

#[test]
fn the_time_is_within_3_percent_of_that_of_the_batch_itself() {
    let usual = Latency::LogNormal(SECOND * 2, 0.5);
    let mut cases = vec![
        case(1000, 600, None, usual),
        case(1000, 600, Some(8), usual),
        case(1000, 600, Some(25), usual),
        case(1000, 0, Some(16), usual),
        case(100, 60, None, Latency::Uniform(SECOND, SECOND * 9)),
        case(500, 6000, Some(64), usual),
        case(500, 6000, Some(64), usual),
        case(1000, 600, None, usual),
        case(300, 600, Some(20), Latency::LogNormal(SECOND * 2, 1.0)),
    ];
    cases[5].settings.tokens = NonZeroU32::new(60_000);
    cases[6].keys = 3;
    cases[7].known.faults = 0.04;
    cases[8].timeout = SECOND * 9;
    for (number, case) in cases.iter().enumerate() {
        let (played, real) = (
            case.play(case.settings.workers.map(NonZeroUsize::get)),
            batch(case),
        );
        let off = played.took.as_secs_f64() / real.elapsed.as_secs_f64() - 1.0;
        eprintln!(
            "case {number}: {off:+.4}, {} calls for {}, busiest {}, {:?}",
            played.calls, real.calls, played.busiest, real.stop
        );
        assert!(
            off.abs() < 0.03,
            "case {number}: {off} ({played:?}, {:?})",
            real.elapsed
        );
    }
}
