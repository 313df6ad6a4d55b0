//! Separate limits on input and on output, as Anthropic has them: both are kept.

use super::*;
use crate::api::{Counting, Usage};
use crate::hints::{Hints, Quota};

const INPUT: u32 = 30_000;
const OUTPUT: u32 = 6000;

/// A server that states its limits with each answer, and notes when tokens were used.
#[derive(Debug)]
struct Apart {
    clock: SimClock,
    used: Mutex<Vec<(Duration, Usage)>>,
}

/// Every second call has a long input and a short output.
fn usage(request: &[u8]) -> Usage {
    let is_long = request.len() > 1000;
    if is_long {
        Usage {
            input: 2000,
            output: 50,
            ..Usage::default()
        }
    } else {
        Usage {
            input: 100,
            output: 250,
            ..Usage::default()
        }
    }
}

impl Ask for Apart {
    fn request(&self, prompt: &str) -> Vec<u8> {
        let is_long = prompt.parse::<u32>().unwrap() % 2 == 0;
        let text = "x".repeat(if is_long { 8000 } else { 400 });
        format!(r#"{{"max_tokens":4096,"content":"{text}"}}"#).into_bytes()
    }

    fn ask(&self, request: &[u8]) -> Result<Answer, CallError> {
        let usage = usage(request);
        self.used.lock().push((self.clock.elapsed(), usage));
        self.clock.sleep_until(self.clock.now() + SECOND);
        let limit = |limit: u32| Quota {
            limit: Some(limit.into()),
            ..Quota::default()
        };
        let mut hints = Hints::default();
        (hints.input_tokens, hints.output_tokens) = (limit(INPUT), limit(OUTPUT));
        Ok(Answer {
            text: "text".to_owned(),
            finish_reason: None,
            status: 200,
            request_id: None,
            usage: Some(usage),
            hints: Box::new(hints),
            body: Json::default(),
        })
    }

    fn counting(&self) -> Counting {
        Counting::Used
    }
}

#[test]
fn limits_on_input_and_on_output_are_both_kept_and_unused_output_costs_nothing() {
    let clock = SimClock::new();
    let server = Apart {
        clock: clock.clone(),
        used: Mutex::default(),
    };
    let on: Arc<dyn Clock> = Arc::new(clock);
    let batch = Batch::new(
        paced(600),
        [&server as &dyn Ask],
        on.clone(),
        CancelToken::on(on),
    );
    let summary = batch.run(prompts(200), |_| Ok(()));
    assert_eq!((summary.answered, summary.calls), (200, 200));
    let mut used = server.used.into_inner();
    used.sort_by_key(|(at, _)| *at);
    // The first calls leave before the limits are known.
    let known = used.iter().position(|(at, _)| *at > SECOND * 2).unwrap();
    for (first, (begin, _)) in used.iter().enumerate().skip(known) {
        let minute = used[first..]
            .iter()
            .take_while(|(at, _)| *at < *begin + SECOND * 60);
        let (input, output) = minute.fold((0, 0), |(input, output), (_, usage)| {
            (input + usage.input, output + usage.output)
        });
        assert!(
            input <= u64::from(INPUT * 21 / 20),
            "{input} read in the minute from {begin:?}"
        );
        assert!(
            output <= u64::from(OUTPUT * 21 / 20),
            "{output} written in the minute from {begin:?}"
        );
    }
    // Each pair of calls takes 1/15 of a minute's input and 1/24 of its output; the cost is cautious.
    let ideal = SECOND * 60 * 100 / 15;
    assert!(
        summary.elapsed > ideal * 9 / 10 && summary.elapsed < ideal * 19 / 10,
        "{:?}",
        summary.elapsed
    );
}
