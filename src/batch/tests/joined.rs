//! Several prompts a call: how many calls it takes, and when they leave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::api::Counting;

/// What a server says about the inputs of one call, if it does not answer.
type Refusals = fn(&[String]) -> Option<CallError>;

/// A server of embeddings in simulated time.
#[derive(Debug)]
struct Embedder {
    clock: SimClock,
    refuses: Refusals,
    /// When each call came, and its inputs.
    calls: Mutex<Vec<(Duration, Vec<String>)>>,
}

impl Ask for Embedder {
    fn request(&self, prompt: &str) -> Vec<u8> {
        format!(r#"{{"model":"m","input":"{prompt}"}}"#).into_bytes()
    }

    fn counting(&self) -> Counting {
        Counting::Input
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let body: serde_json::Value = serde_json::from_slice(request).unwrap();
        let inputs: Vec<String> = match &body["input"] {
            serde_json::Value::String(text) => vec![text.clone()],
            list => serde_json::from_value(list.clone()).unwrap(),
        };
        let vectors: Vec<_> = inputs
            .iter()
            .map(|text| format!("[{}]", text.len()))
            .collect();
        let text = match body["input"].is_string() {
            true => vectors[0].clone(),
            false => format!("[{}]", vectors.join(",")),
        };
        self.calls
            .lock()
            .push((self.clock.elapsed(), inputs.clone()));
        self.clock.sleep_until(self.clock.now() + MS);
        match (self.refuses)(&inputs) {
            Some(error) => Err(error),
            None => Ok(Answer::new(text)),
        }
    }
}

struct Joined {
    summary: Summary,
    records: Vec<Record>,
    /// When each call came, and its inputs.
    calls: Vec<(Duration, Vec<String>)>,
}

impl Joined {
    fn sizes(&self) -> Vec<usize> {
        self.calls.iter().map(|(_, inputs)| inputs.len()).collect()
    }

    /// The prompts without an answer.
    fn failed(&self) -> BTreeSet<String> {
        let failed = self.records.iter().filter(|record| record.text.is_none());
        failed.map(|record| record.prompt.clone()).collect()
    }
}

/// Prompts of which thirty come at once, every second.
#[derive(Debug)]
struct SlowPipe {
    clock: SimClock,
    start: Instant,
    /// The line that comes next.
    next: AtomicU32,
}

impl SlowPipe {
    const LINES: u32 = 90;

    /// When the next line comes.
    fn due(&self) -> Instant {
        self.start + SECOND * (1 + (self.next.load(Ordering::Relaxed) - 1) / 30)
    }

    fn prompts(&self) -> impl Iterator<Item = Result<Prompt, PromptError>> + Send {
        prompts(Self::LINES).inspect(|_| {
            self.clock.sleep_until(self.due());
            self.next.fetch_add(1, Ordering::Relaxed);
        })
    }
}

impl PromptSource for SlowPipe {
    fn is_coming(&self, by: Instant) -> bool {
        let has_ended = self.next.load(Ordering::Relaxed) > Self::LINES;
        let due = if has_ended {
            self.clock.now()
        } else {
            self.due()
        };
        self.clock.sleep_until(due.min(by));
        due <= by
    }
}

/// Prompts that are all there.
#[derive(Debug)]
struct AllThere;

impl PromptSource for AllThere {
    fn is_coming(&self, _: Instant) -> bool {
        true
    }
}

/// Sends prompts, up to 100 in a call.
fn embed(
    settings: Settings,
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    refuses: Refusals,
) -> Joined {
    embed_from(SimClock::new(), &AllThere, settings, prompts, refuses)
}

fn embed_from(
    clock: SimClock,
    source: &dyn PromptSource,
    settings: Settings,
    prompts: impl Iterator<Item = Result<Prompt, PromptError>> + Send,
    refuses: Refusals,
) -> Joined {
    let server = Embedder {
        clock: clock.clone(),
        refuses,
        calls: Mutex::default(),
    };
    let on: Arc<dyn Clock> = Arc::new(clock.clone());
    let cancel = CancelToken::on(on.clone());
    let batch = Batch::new(settings, [&server as &dyn Ask], on, cancel).joining(100, source);
    let mut records = Vec::new();
    let summary = batch.run(prompts, |record| {
        records.push(record.clone());
        Ok(())
    });
    Joined {
        summary,
        records,
        calls: server.calls.into_inner(),
    }
}

fn one_worker() -> Settings {
    let settings = with_workers(paced(60_000), 1);
    let retry = settings.retry.retries(0);
    Settings {
        keep_going: true,
        retry,
        ..settings
    }
}

fn refusal(status: u16, body: &str) -> Option<CallError> {
    Some(CallError::of_response(status, &[], body.as_bytes()))
}

#[test]
fn a_failure_of_the_whole_call_is_not_looked_for_in_its_prompts() {
    let table: [Refusals; 8] = [
        |_| refusal(401, r#"{"error":{"message":"wrong key"}}"#),
        |_| refusal(403, r#"{"error":{"message":"not for you"}}"#),
        |_| refusal(404, "no such page"),
        |_| refusal(405, ""),
        |_| {
            refusal(
                400,
                r#"{"error":{"message":"no","code":"model_not_found"}}"#,
            )
        },
        |_| {
            refusal(
                400,
                r#"{"error":{"message":"The model `e` does not exist"}}"#,
            )
        },
        |_| refusal(400, r#"{"error":{"message":"wrong","param":"dimensions"}}"#),
        |_| {
            refusal(
                422,
                r#"{"detail":[{"loc":["body","encoding_format"],"msg":"wrong"}]}"#,
            )
        },
    ];
    for (n, refuses) in table.into_iter().enumerate() {
        let ran = embed(one_worker(), prompts(100), refuses);
        assert_eq!(ran.sizes(), [100], "{n}");
        let causes = &ran.summary.failed_prompts.list;
        let expected = if n == 0 { 0 } else { 100 };
        assert_eq!(ran.summary.failed, expected, "{n}");
        assert!(causes.len() <= 1, "{n}: all for one reason: {causes:?}");
    }
}

#[test]
fn a_refusal_that_says_nothing_costs_a_group_few_calls() {
    for status in [400, 413, 422, 500] {
        let refuses: Refusals = match status {
            400 => |_| refusal(400, "no"),
            413 => |_| refusal(413, ""),
            422 => |_| refusal(422, "{}"),
            _ => |_| refusal(500, ""),
        };
        let ran = embed(one_worker(), prompts(100), refuses);
        assert!(ran.calls.len() <= 10, "{status}: {:?}", ran.sizes());
        assert_eq!(ran.records.len(), 100);
        assert_eq!(ran.summary.failed_prompts.list.len(), 1, "for one reason");
        let attempts: usize = ran.records.iter().map(|record| record.attempts.len()).sum();
        assert_eq!(attempts, ran.calls.len(), "each call is on record once");
    }
}

#[test]
fn a_run_whose_calls_are_all_wrong_costs_a_few_calls_a_worker() {
    let settings = Settings {
        keep_going: false,
        ..with_workers(paced(60_000), 8)
    };
    let ran = embed(settings, prompts(10_000), |_| refusal(400, "no"));
    assert!(matches!(ran.summary.stop, Some(Stop::AllAlike { .. })));
    assert!(ran.calls.len() <= 8 * 10, "{}", ran.calls.len());
}

#[test]
fn every_prompt_that_can_be_answered_is_whichever_others_cannot() {
    /// Whether a prompt is bad, by its number.
    type Bad = fn(u32) -> bool;
    let table: [(Bad, Refusals); 5] = [
        (|n| n == 1, |inputs| bad(inputs, |n| n == 1)),
        (|n| n <= 60, |inputs| bad(inputs, |n| n <= 60)),
        (|n| n % 2 == 1, |inputs| bad(inputs, |n| n % 2 == 1)),
        (|n| n % 3 != 0, |inputs| bad(inputs, |n| n % 3 != 0)),
        (|n| n > 98, |inputs| bad(inputs, |n| n > 98)),
    ];
    for (n, (is_bad, refuses)) in table.into_iter().enumerate() {
        let ran = embed(one_worker(), prompts(100), refuses);
        let expected = (1..=100).filter(|n| is_bad(*n)).map(|n| n.to_string());
        assert_eq!(ran.failed(), expected.collect(), "{n}");
        assert_eq!(ran.records.len(), 100, "{n}");
    }
}

/// Refuses calls with a bad input.
fn bad(inputs: &[String], is_bad: fn(u32) -> bool) -> Option<CallError> {
    let mut numbers = inputs.iter().map(|input| input.parse().unwrap());
    numbers.any(is_bad).then(|| refusal(400, "bad"))?
}

#[test]
fn in_a_small_group_every_prompt_is_asked_before_it_fails() {
    for count in 2..=4 {
        for good in 1..=count {
            let refuses: Refusals = match good {
                1 => |inputs| bad(inputs, |n| n != 1),
                2 => |inputs| bad(inputs, |n| n != 2),
                3 => |inputs| bad(inputs, |n| n != 3),
                _ => |inputs| bad(inputs, |n| n != 4),
            };
            let ran = embed(one_worker(), prompts(count), refuses);
            assert_eq!(ran.summary.answered, 1, "{good} of {count}");
        }
    }
}

#[test]
fn a_prompt_that_is_moderated_is_found_and_costs_no_key() {
    let moderated: Refusals = |inputs| {
        let said = r#"{"error":{"message":"your input was flagged"}}"#;
        bad(inputs, |n| n == 1).and_then(|_| refusal(403, said))
    };
    let ran = embed(one_worker(), prompts(1000), moderated);
    assert_eq!((ran.summary.answered, ran.summary.failed), (999, 1));
    assert!(ran.summary.stop.is_none());
}

#[test]
fn one_bad_prompt_in_many_is_found_in_few_calls() {
    let ran = embed(one_worker(), prompts(100), |inputs| {
        bad(inputs, |n| n == 37)
    });
    assert!(ran.calls.len() <= 18, "{:?}", ran.sizes());
}

#[test]
fn calls_get_smaller_where_the_server_takes_fewer_inputs() {
    fn more_than(most: usize, inputs: &[String]) -> Option<CallError> {
        let said = r#"{"error":"batch size > maximum allowed batch size"}"#;
        (inputs.len() > most).then(|| refusal(413, said))?
    }
    let table: [(usize, usize, Refusals); 3] = [
        (96, 25, |inputs| more_than(96, inputs)),
        (32, 45, |inputs| more_than(32, inputs)),
        (1, 1110, |inputs| more_than(1, inputs)),
    ];
    for (most, calls, refuses) in table {
        let ran = embed(one_worker(), prompts(1000), refuses);
        assert_eq!(ran.summary.answered, 1000, "{most}");
        assert!(ran.calls.len() <= calls, "{most}: {}", ran.calls.len());
        let is_larger = |size: &&usize| **size > most;
        let sizes = ran.sizes();
        assert!(
            sizes.iter().skip(12).filter(is_larger).count() == 0,
            "{most}"
        );
    }
}

#[test]
fn prompts_that_are_there_do_not_wait_for_those_of_a_slow_pipe() {
    let clock = SimClock::new();
    let pipe = SlowPipe {
        clock: clock.clone(),
        start: clock.now(),
        next: AtomicU32::new(1),
    };
    let ran = embed_from(clock, &pipe, one_worker(), pipe.prompts(), |_| None);
    assert_eq!(ran.sizes(), [30; 3]);
    for ((at, _), came) in ran.calls.iter().zip(1..) {
        let waited = *at - SECOND * came;
        assert!(waited <= MS * 110, "{waited:?}");
    }
}

#[test]
fn a_call_for_several_prompts_takes_no_more_tokens_than_those_of_six_seconds() {
    let long = prompts(200).map(|prompt| {
        let text = "x".repeat(400); // about 100 tokens
        prompt.map(|prompt| Prompt { text, ..prompt })
    });
    let settings = Settings {
        tokens: NonZeroU32::new(6000),
        ..one_worker()
    };
    let ran = embed(settings, long, |_| None);
    assert!(
        ran.sizes().iter().all(|size| *size <= 6),
        "{:?}",
        ran.sizes()
    );
    assert!(ran.calls[0].0 < SECOND, "the first call waits for nothing");
    let gaps = ran.calls.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let gaps: Vec<_> = gaps.collect();
    let longest = gaps.iter().max().unwrap();
    // The tenth call of a minute waits for the first to leave the window.
    assert!(*longest <= SECOND * 10, "none waits for a burst: {gaps:?}");
}
