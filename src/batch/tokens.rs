//! The tokens of a call: estimated before it is made, learned from the usage that answers report, and weighed against the
//! limits of its key.
//!
//! No tokenizer is needed: for one model and one kind of text, tokens are proportional to bytes, and the first few answers
//! give the factor.
//!
//! The limiter knows a single token limit, but input and output may have separate ones. So the cost of a call is scaled: a
//! call uses a share of each limit, and its cost is its largest share, times the lowest limit. Calls that keep to the lowest
//! limit by this cost keep to all of them. This is exact while the same limit binds for every call, and cautious otherwise.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::joined::most_bytes;
use crate::api::{Counting, Usage};
use crate::hints::{Hints, Quota};

/// Counts the tokens of a batch's calls against the limits of its keys.
#[derive(Debug)]
pub(crate) struct TokenMeter {
    estimate: Estimate,
    /// The limits of each key.
    allowances: Vec<Allowance>,
    /// Whether the settings give the limit, which takes precedence.
    is_given: bool,
}

impl TokenMeter {
    pub(crate) fn new(counting: Counting, given: Option<NonZeroU32>, keys: usize) -> Self {
        TokenMeter {
            estimate: Estimate::new(counting),
            allowances: vec![Allowance([given, None, None]); keys],
            is_given: given.is_some(),
        }
    }

    /// The estimated cost of a call, whichever key it gets. Without a limit, tokens are not estimated.
    pub(crate) fn cost(&self, request: &[u8]) -> u32 {
        match self.is_limited() {
            true => self.weigh(self.estimate.cost(request)),
            false => 0,
        }
    }

    /// Learns from an answered request. Returns its cost, if it is known and counts.
    pub(crate) fn learn(&mut self, request: &[u8], usage: Option<Usage>) -> Option<u32> {
        let usage = usage.filter(|_| self.is_limited())?;
        let counted = self.estimate.learn(request, usage);
        Some(self.weigh(counted))
    }

    /// Takes over the limits that a response states for a key. Returns the one to keep, unless the settings give it.
    pub(super) fn read(&mut self, key: usize, hints: &Hints) -> Option<NonZeroU32> {
        if self.is_given {
            return None;
        }
        self.allowances[key].read(hints);
        self.allowances[key].tightest()
    }

    /// The most bytes of a request for several prompts.
    pub(super) fn most_bytes(&self) -> usize {
        let limits = self.allowances.iter().filter_map(Allowance::tightest);
        most_bytes(limits.min(), self.estimate.density().input)
    }

    fn is_limited(&self) -> bool {
        self.allowances.iter().any(|key| key.tightest().is_some())
    }

    fn weigh(&self, usage: Usage) -> u32 {
        let costs = self.allowances.iter().map(|key| key.weigh(usage));
        costs.max().unwrap_or(0)
    }
}

/// Estimates tokens; each answer makes it better.
#[derive(Clone, Copy, Debug)]
struct Estimate {
    /// Which tokens the server counts.
    counting: Counting,
    /// Weighted means of the tokens and bytes of the requests so far; recent ones count more. In the ratio, long requests
    /// dominate, as they do in the cost.
    tokens: f64,
    bytes: f64,
    /// Mean tokens of an answer without a limit, and the mean deviation.
    output: f64,
    spread: f64,
}

impl Estimate {
    /// Safety margins: input tokens x 1.1, output tokens + 2 mean deviations. The surplus is returned when the answer
    /// reports its usage.
    const MARGIN: f64 = 1.1;
    const SPREADS: f64 = 2.0;
    /// Weight of the latest answer in the means: a change shows after five answers.
    const WEIGHT: f64 = 0.2;

    /// The estimate before the first answer.
    fn new(counting: Counting) -> Self {
        let Density { input, output } = Density::default();
        let bytes = 100.0;
        Estimate {
            counting,
            tokens: input * bytes,
            bytes,
            output,
            spread: output / 8.0,
        }
    }

    /// Estimated tokens of this request, as the server counts them.
    fn cost(&self, request: &[u8]) -> Usage {
        let size = RequestSize::of(request);
        let density = self.density();
        Usage {
            input: size.input(density).ceil() as u64,
            output: size.counted_output(density, self.counting) as u64,
            ..Usage::default()
        }
    }

    fn density(&self) -> Density {
        Density {
            input: self.tokens / self.bytes * Self::MARGIN,
            output: self.output + Self::SPREADS * self.spread,
        }
    }

    /// Learns from an answered request. Returns its tokens, as the server counts them.
    fn learn(&mut self, request: &[u8], usage: Usage) -> Usage {
        let toward = |from: f64, to: f64| from + Self::WEIGHT * (to - from);
        let input = match self.counting {
            Counting::Used => usage.input - usage.cached, // Anthropic's limits leave these out
            Counting::Reserved | Counting::Input => usage.input,
        };
        self.tokens = toward(self.tokens, input as f64);
        let size = RequestSize::of(request);
        self.bytes = toward(self.bytes, size.bytes.max(1).into());
        let reserved = size.reserved(self.counting);
        if reserved.is_none() {
            let output = usage.output as f64;
            self.spread = toward(self.spread, (output - self.output).abs());
            self.output = toward(self.output, output);
        }
        let output = match self.counting {
            Counting::Reserved => usage.output.max(reserved.unwrap_or_default().into()),
            Counting::Used => usage.output,
            Counting::Input => 0,
        };
        Usage {
            input,
            output,
            ..Usage::default()
        }
    }
}

/// Limits in tokens per minute: of input and output together, of input, and of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allowance([Option<NonZeroU32>; 3]);

impl Allowance {
    /// Takes over the limits that a response states; others keep their value.
    fn read(&mut self, hints: &Hints) {
        let stated = [&hints.tokens, &hints.input_tokens, &hints.output_tokens];
        for (limit, quota) in self.0.iter_mut().zip(stated) {
            *limit = a_minute(quota).or(*limit);
        }
    }

    /// The lowest limit; `None` if there is none.
    fn tightest(&self) -> Option<NonZeroU32> {
        self.0.into_iter().flatten().min()
    }

    /// The cost of a call, to be counted against the [`tightest`](Allowance::tightest) limit.
    fn weigh(&self, usage: Usage) -> u32 {
        let tightest = self.tightest().map_or(0, NonZeroU32::get);
        let together = usage.input.saturating_add(usage.output);
        let used = [together, usage.input, usage.output].into_iter();
        let costs = used.zip(self.0).filter_map(|(tokens, limit)| {
            let weighed = tokens.saturating_mul(tightest.into());
            limit.map(|limit| weighed.div_ceil(limit.get().into()))
        });
        costs.max().unwrap_or(0).try_into().unwrap_or(u32::MAX)
    }
}

/// The limit, if it is per minute.
fn a_minute(quota: &Quota) -> Option<NonZeroU32> {
    let limit = quota
        .limit
        .filter(|_| quota.window.is_none_or(|window| window.as_secs() == 60))?;
    NonZeroU32::new(limit.try_into().ok()?)
}

/// How many tokens requests and answers have: plain data.
///
/// # Default
/// For use before the first answer. English text has about four bytes per token; answers have a page or less.
/// * `input`: 0.25
/// * `output`: 400
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Density {
    /// Tokens per byte of the request.
    pub input: f64,
    /// Tokens of an answer without a limit.
    pub output: f64,
}

impl Default for Density {
    fn default() -> Self {
        Density {
            input: 0.25,
            output: 400.0,
        }
    }
}

/// Bytes of text that a file counts for: about 1,000 tokens. Makers state 85 to 1,600 for an image.
pub(crate) const FILE_BYTES: u32 = 4000;

/// The size of a request: what its tokens are estimated from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestSize {
    /// Bytes of its body.
    pub bytes: u32,
    /// The most tokens that its answer may have, if the request limits them.
    pub most: Option<u32>,
}

impl RequestSize {
    /// The size of the request with this body.
    pub(crate) fn of(request: &[u8]) -> Self {
        let bytes = request.len() - attached(request);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        RequestSize {
            bytes,
            most: most_tokens(request),
        }
    }

    /// Estimated prompt tokens.
    pub(crate) fn input(&self, density: Density) -> f64 {
        f64::from(self.bytes) * density.input
    }

    /// Estimated completion tokens.
    pub(crate) fn output(&self, density: Density) -> f64 {
        self.most
            .map_or(density.output, |most| density.output.min(most.into()))
    }

    /// Those of its estimated completion tokens that the server counts against its limit.
    fn counted_output(&self, density: Density, counting: Counting) -> f64 {
        match counting {
            Counting::Reserved => self.most.map_or(density.output, f64::from),
            Counting::Used => self.output(density),
            Counting::Input => 0.0,
        }
    }

    /// Estimated tokens that the server counts against its limit.
    pub(crate) fn counted(&self, density: Density, counting: Counting) -> f64 {
        self.input(density) + self.counted_output(density, counting)
    }

    /// The completion tokens that the server counts before it answers.
    fn reserved(&self, counting: Counting) -> Option<u32> {
        self.most.filter(|_| counting == Counting::Reserved)
    }

    /// The fewest tokens that the server counts for this request. If this is more than it allows per minute, it can never
    /// accept the call.
    pub(crate) fn least(&self, counting: Counting) -> f64 {
        let reserved = self.reserved(counting).unwrap_or(0);
        self.input(Density::default()) + f64::from(reserved)
    }
}

/// The bytes of a request that are no text: those of files, but for [`FILE_BYTES`] each.
fn attached(request: &[u8]) -> usize {
    /// No word is as long.
    const SHORTEST: usize = 4096;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let runs = request.split(|byte| !is_base64(byte));
    let files = runs.filter(|run| run.len() >= SHORTEST);
    files.map(|file| file.len() - FILE_BYTES as usize).sum()
}

/// The most tokens that the answer may have, under each API's name for it.
fn most_tokens(request: &[u8]) -> Option<u32> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Most {
        max_tokens: Option<u32>,
        max_completion_tokens: Option<u32>,
        #[serde(alias = "maxOutputTokens")]
        max_output_tokens: Option<u32>,
        #[serde(alias = "generationConfig")]
        generation_config: Option<Box<Most>>,
    }
    let most: Most = serde_json::from_slice(request).ok()?;
    let configured = most
        .generation_config
        .and_then(|config| config.max_output_tokens);
    most.max_completion_tokens
        .or(most.max_tokens)
        .or(most.max_output_tokens)
        .or(configured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hints(together: u64, input: u64, output: u64) -> Hints {
        let quota = |limit| Quota {
            limit: Some(limit).filter(|limit| *limit > 0),
            ..Quota::default()
        };
        Hints {
            tokens: quota(together),
            input_tokens: quota(input),
            output_tokens: quota(output),
            ..Hints::default()
        }
    }

    fn stated(together: u64, input: u64, output: u64) -> Allowance {
        let mut allowance = Allowance::default();
        allowance.read(&hints(together, input, output));
        allowance
    }

    #[test]
    fn a_call_costs_its_largest_share_of_any_limit() {
        let usage = |input, output| Usage {
            input,
            output,
            ..Usage::default()
        };
        let table = [
            (
                stated(60_000, 0, 0),
                usage(1000, 500),
                60_000,
                1500,
                "one limit for both",
            ),
            (
                stated(0, 50_000, 10_000),
                usage(1000, 10),
                10_000,
                200,
                "input binds: a 50th of the minute",
            ),
            (
                stated(0, 50_000, 10_000),
                usage(100, 500),
                10_000,
                500,
                "output binds",
            ),
            (
                stated(60_000, 50_000, 10_000),
                usage(5000, 1000),
                10_000,
                1000,
                "both, and their sum",
            ),
            (
                stated(30_000, 50_000, 10_000),
                usage(5000, 100),
                10_000,
                1700,
                "the sum binds",
            ),
            (
                stated(0, 50_000, 0),
                usage(1000, 9999),
                50_000,
                1000,
                "output has no limit",
            ),
        ];
        for (allowance, usage, tightest, cost, why) in table {
            assert_eq!(
                allowance.tightest().map(NonZeroU32::get),
                Some(tightest),
                "{why}"
            );
            assert_eq!(allowance.weigh(usage), cost, "{why}");
        }
        assert_eq!(
            (
                stated(0, 0, 0).tightest(),
                stated(0, 0, 0).weigh(usage(1, 1))
            ),
            (None, 0)
        );
    }

    #[test]
    fn calls_that_keep_to_the_tightest_limit_keep_to_all_limits() {
        let allowance = stated(45_000, 40_000, 8000);
        let mut spent = 0;
        let mut input = 0;
        let mut output = 0;
        for n in 0u32.. {
            let usage = Usage {
                input: (n.wrapping_mul(7919) % 1500).into(),
                output: (n.wrapping_mul(104_729) % 400).into(),
                ..Usage::default()
            };
            let cost = allowance.weigh(usage);
            if spent + cost > 8000 {
                break;
            }
            spent += cost;
            input += usage.input;
            output += usage.output;
        }
        assert!(
            input <= 40_000 && output <= 8000 && input + output <= 45_000,
            "{input} {output}"
        );
    }

    #[test]
    fn limits_that_a_response_does_not_state_keep_their_value() {
        let mut allowance = stated(0, 50_000, 10_000);
        allowance.read(&hints(0, 0, 20_000));
        assert_eq!(allowance, stated(0, 50_000, 20_000));
    }

    #[test]
    fn a_limit_that_is_not_per_minute_is_ignored() {
        let mut by_the_day = hints(1_000_000, 0, 0);
        by_the_day.tokens.window = Some(Duration::from_secs(86_400));
        let mut allowance = Allowance::default();
        allowance.read(&by_the_day);
        assert_eq!(allowance, Allowance::default());
    }

    fn sum(usage: Usage) -> u64 {
        usage.input + usage.output
    }

    #[test]
    fn an_estimate_comes_near_after_a_few_answers() {
        let mut estimate = Estimate::new(Counting::Reserved);
        let request = vec![b' '; 1000];
        assert_eq!(
            estimate.cost(&request),
            Usage {
                input: 275,
                output: 500,
                ..Usage::default()
            }
        );
        for _ in 0..40 {
            assert_eq!(
                sum(estimate.learn(
                    &request,
                    Usage {
                        input: 500,
                        output: 90,
                        ..Usage::default()
                    }
                )),
                590
            );
        }
        assert!(
            sum(estimate.cost(&request)).abs_diff(550 + 90) < 15,
            "{estimate:?}"
        );
    }

    #[test]
    fn short_requests_and_answers_of_every_length_do_not_make_it_too_low() {
        let mut estimate = Estimate::new(Counting::Reserved);
        let short = vec![b' '; 100]; // mostly JSON around the prompt, so fewer tokens per byte
        let long = vec![b' '; 10_000];
        let mut too_low = 0;
        for n in 0..200 {
            let output = 70 + n * 37 % 65;
            let (request, input) = if n % 2 == 0 {
                (&short, 14)
            } else {
                (&long, 2490)
            };
            too_low += u32::from(n > 20 && sum(estimate.cost(request)) < input + output);
            estimate.learn(
                request,
                Usage {
                    input,
                    output,
                    ..Usage::default()
                },
            );
        }
        assert!(too_low <= 5, "{too_low} of 180 were too low: {estimate:?}");
        assert!(
            sum(estimate.cost(&long)) < 2490 * 112 / 100 + 180,
            "{estimate:?}"
        );
    }

    #[test]
    fn max_tokens_count_in_full_where_the_server_reserves_them() {
        let mut estimate = Estimate::new(Counting::Reserved);
        let request = br#"{"max_tokens": 1000, "x": 1}"#;
        assert_eq!(sum(estimate.cost(request)), 1008);
        assert_eq!(
            sum(estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90,
                    ..Usage::default()
                }
            )),
            1010
        );
        assert_eq!(
            sum(estimate.cost(b"{}")),
            501,
            "answers with a limit say nothing about those without"
        );
    }

    #[test]
    fn where_only_used_tokens_count_max_tokens_is_an_upper_bound() {
        let mut estimate = Estimate::new(Counting::Used);
        let request = br#"{"max_tokens": 4096}"#;
        assert_eq!(estimate.cost(request).output, 500);
        assert_eq!(estimate.cost(br#"{"max_tokens": 9}"#).output, 9);
        assert_eq!(
            estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90,
                    ..Usage::default()
                }
            ),
            Usage {
                input: 10,
                output: 90,
                ..Usage::default()
            }
        );
        (0..20).for_each(|_| {
            _ = estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90,
                    ..Usage::default()
                },
            )
        });
        assert!(
            estimate.cost(request).output < 200,
            "the estimate follows the answers"
        );
    }

    #[test]
    fn where_only_input_counts_output_costs_nothing() {
        let mut estimate = Estimate::new(Counting::Input);
        assert_eq!(estimate.cost(b"{}").output, 0);
        assert_eq!(
            estimate.learn(
                b"{}",
                Usage {
                    input: 10,
                    output: 90,
                    ..Usage::default()
                }
            ),
            Usage {
                input: 10,
                output: 0,
                ..Usage::default()
            }
        );
    }

    #[test]
    fn a_file_counts_as_an_image_does_and_not_by_its_bytes() {
        let request = |base64: &str| format!("{{\"url\":\"data:image/png;base64,{base64}\"}}");
        let small = RequestSize::of(request("").as_bytes()).bytes;
        let large = request(&"A/+z".repeat(300_000));
        assert_eq!(RequestSize::of(large.as_bytes()).bytes, small + 4000);
    }

    #[test]
    fn a_server_counts_at_least_the_input_and_the_tokens_that_it_reserves() {
        let request = format!("{:<1000}", r#"{"max_tokens": 300}"#);
        let size = RequestSize::of(request.as_bytes());
        assert_eq!(
            size,
            RequestSize {
                bytes: 1000,
                most: Some(300)
            }
        );
        assert_eq!(size.least(Counting::Reserved), 550.0);
        assert_eq!(
            size.least(Counting::Used),
            250.0,
            "where nothing is reserved"
        );
        assert_eq!(
            RequestSize { most: None, ..size }.least(Counting::Reserved),
            250.0,
            "whatever the answer will be"
        );
        let density = Density {
            input: 0.5,
            output: 100.0,
        };
        assert_eq!((size.input(density), size.output(density)), (500.0, 100.0));
        let counted = [Counting::Reserved, Counting::Used, Counting::Input]
            .map(|so| size.counted(density, so));
        assert_eq!(counted, [800.0, 600.0, 500.0]);
    }

    #[test]
    fn the_most_tokens_have_a_name_in_each_api() {
        for request in [
            r#"{"max_tokens": 7}"#,
            r#"{"max_completion_tokens": 7, "max_tokens": 9}"#,
            r#"{"max_output_tokens": 7}"#,
            r#"{"generationConfig": {"temperature": 1, "maxOutputTokens": 7}}"#,
            r#"{"generation_config": {"max_output_tokens": 7}}"#,
        ] {
            assert_eq!(most_tokens(request.as_bytes()), Some(7), "{request}");
        }
        for request in ["no JSON", "{}", r#"{"generationConfig": {}}"#] {
            assert_eq!(most_tokens(request.as_bytes()), None, "{request}");
        }
    }
}
