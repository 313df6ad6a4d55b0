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

/// Counts the tokens of a batch's calls against the limits of its keys. Its estimates get better with each answer.
#[derive(Debug)]
pub(crate) struct TokenMeter {
    /// Which tokens the server counts.
    counting: Counting,
    /// By key: tokens per minute of input and output together, of input, and of output.
    limits: Vec<Limits>,
    /// Whether the settings give the limit, which takes precedence.
    is_given: bool,
    /// Weighted means of the tokens and bytes of the requests so far; recent ones count more. In the ratio, long requests
    /// dominate, as they do in the cost.
    tokens: f64,
    bytes: f64,
    /// Mean tokens of an answer without a limit, and the mean deviation.
    output: f64,
    spread: f64,
}

type Limits = [Option<NonZeroU32>; 3];

impl TokenMeter {
    /// Safety margins: input tokens x 1.1, output tokens + 2 mean deviations. The surplus is returned when the answer
    /// reports its usage.
    const MARGIN: f64 = 1.1;
    const SPREADS: f64 = 2.0;
    /// Weight of the latest answer in the means: a change shows after five answers.
    const WEIGHT: f64 = 0.2;

    pub(crate) fn new(counting: Counting, given: Option<NonZeroU32>, keys: usize) -> Self {
        let Density { input, output } = Density::default();
        let bytes = 100.0;
        TokenMeter {
            counting,
            limits: vec![[given, None, None]; keys],
            is_given: given.is_some(),
            tokens: input * bytes,
            bytes,
            output,
            spread: output / 8.0,
        }
    }

    /// The estimated cost of a call, whichever key it gets. Without a limit, tokens are not estimated, and the size is not
    /// asked for.
    pub(crate) fn cost(&self, size: impl FnOnce() -> RequestSize) -> u32 {
        if !self.is_limited() {
            return 0;
        }
        let (size, density) = (size(), self.density());
        let output = size.counted_output(density, self.counting);
        self.weigh(size.input(density).ceil() as u64, output as u64)
    }

    /// Learns from an answered request. Returns its cost, if it is known and counts.
    pub(crate) fn learn(
        &mut self,
        size: impl FnOnce() -> RequestSize,
        usage: Option<Usage>,
    ) -> Option<u32> {
        let usage = usage.filter(|_| self.is_limited())?;
        let size = size();
        let toward = |from: f64, to: f64| from + Self::WEIGHT * (to - from);
        let input = match self.counting {
            Counting::Used => usage.input - usage.cached, // Anthropic's limits leave these out
            Counting::Reserved | Counting::Input => usage.input,
        };
        self.tokens = toward(self.tokens, input as f64);
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
        Some(self.weigh(input, output))
    }

    /// Takes over the limits that a response states for a key; others keep their value. Returns the one to keep, unless
    /// the settings give it.
    pub(super) fn read(&mut self, key: usize, hints: &Hints) -> Option<NonZeroU32> {
        if self.is_given {
            return None;
        }
        let stated = [&hints.tokens, &hints.input_tokens, &hints.output_tokens];
        for (limit, quota) in self.limits[key].iter_mut().zip(stated) {
            *limit = a_minute(quota).or(*limit);
        }
        tightest(&self.limits[key])
    }

    /// The most bytes of a request for several prompts.
    pub(super) fn most_bytes(&self) -> usize {
        let limits = self.limits.iter().filter_map(tightest);
        most_bytes(limits.min(), self.density().input)
    }

    fn density(&self) -> Density {
        Density {
            input: self.tokens / self.bytes * Self::MARGIN,
            output: self.output + Self::SPREADS * self.spread,
        }
    }

    fn is_limited(&self) -> bool {
        self.limits.iter().flatten().any(Option::is_some)
    }

    /// The cost of a call, to be counted against the tightest limit of its key.
    fn weigh(&self, input: u64, output: u64) -> u32 {
        let used = [input.saturating_add(output), input, output];
        let shares = self.limits.iter().flat_map(|limits| {
            let tightest = tightest(limits).map_or(0, NonZeroU32::get);
            let used = used.into_iter().zip(limits);
            used.filter_map(move |(tokens, limit)| {
                let weighed = tokens.saturating_mul(tightest.into());
                limit.map(|limit| weighed.div_ceil(limit.get().into()))
            })
        });
        shares.max().unwrap_or(0).try_into().unwrap_or(u32::MAX)
    }
}

/// The lowest limit; `None` if there is none.
fn tightest(limits: &Limits) -> Option<NonZeroU32> {
    limits.iter().copied().flatten().min()
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

    /// A meter of one key, for which a response states these limits.
    fn stated(together: u64, input: u64, output: u64) -> TokenMeter {
        let mut meter = TokenMeter::new(Counting::Reserved, None, 1);
        meter.read(0, &hints(together, input, output));
        meter
    }

    #[test]
    fn a_call_costs_its_largest_share_of_any_limit() {
        let table = [
            ([60_000, 0, 0], [1000, 500], 1500, "one limit for both"),
            (
                [0, 50_000, 10_000],
                [1000, 10],
                200,
                "input binds: a 50th of the minute",
            ),
            ([0, 50_000, 10_000], [100, 500], 500, "output binds"),
            (
                [60_000, 50_000, 10_000],
                [5000, 1000],
                1000,
                "both, and their sum",
            ),
            ([30_000, 50_000, 10_000], [5000, 100], 1700, "the sum binds"),
            ([0, 50_000, 0], [1000, 9999], 1000, "output has no limit"),
            ([0, 0, 0], [1, 1], 0, "nothing has"),
        ];
        for (limits, [input, output], cost, why) in table {
            let [together, of_input, of_output] = limits;
            let meter = stated(together, of_input, of_output);
            assert_eq!(meter.weigh(input, output), cost, "{why}");
            let lowest = limits.into_iter().filter(|limit| *limit > 0).min();
            let tightest = tightest(&meter.limits[0]).map(|limit| u64::from(limit.get()));
            assert_eq!(tightest, lowest, "{why}");
        }
    }

    #[test]
    fn calls_that_keep_to_the_tightest_limit_keep_to_all_limits() {
        let meter = stated(45_000, 40_000, 8000);
        let mut spent = 0;
        let mut input = 0;
        let mut output = 0;
        for n in 0u32.. {
            let used = [
                (n.wrapping_mul(7919) % 1500).into(),
                (n.wrapping_mul(104_729) % 400).into(),
            ];
            let cost = meter.weigh(used[0], used[1]);
            if spent + cost > 8000 {
                break;
            }
            spent += cost;
            input += used[0];
            output += used[1];
        }
        assert!(
            input <= 40_000 && output <= 8000 && input + output <= 45_000,
            "{input} {output}"
        );
    }

    #[test]
    fn limits_that_a_response_does_not_state_keep_their_value() {
        let mut meter = stated(0, 50_000, 10_000);
        meter.read(0, &hints(0, 0, 20_000));
        assert_eq!(meter.limits, stated(0, 50_000, 20_000).limits);
    }

    #[test]
    fn a_limit_that_is_not_per_minute_is_ignored() {
        let mut by_the_day = hints(1_000_000, 0, 0);
        by_the_day.tokens.window = Some(Duration::from_secs(86_400));
        let mut meter = stated(0, 0, 0);
        assert_eq!(meter.read(0, &by_the_day), None);
        assert!(!meter.is_limited());
    }

    /// A meter with a limit on input and output together, so that a cost is their sum.
    fn meter(counting: Counting) -> TokenMeter {
        TokenMeter::new(counting, NonZeroU32::new(u32::MAX), 1)
    }

    fn cost(meter: &TokenMeter, request: &[u8]) -> u32 {
        meter.cost(|| RequestSize::of(request))
    }

    /// Learns from an answered request. Returns its cost.
    fn learn(meter: &mut TokenMeter, request: &[u8], [input, output]: [u64; 2]) -> u32 {
        let usage = Usage {
            input,
            output,
            ..Usage::default()
        };
        let cost = meter.learn(|| RequestSize::of(request), Some(usage));
        cost.expect("a limit")
    }

    #[test]
    fn without_a_limit_no_request_is_measured() {
        let mut meter = TokenMeter::new(Counting::Reserved, None, 2);
        assert_eq!(meter.cost(|| unreachable!()), 0);
        let usage = Some(Usage::default());
        assert_eq!(meter.learn(|| unreachable!(), usage), None);
    }

    #[test]
    fn an_estimate_comes_near_after_a_few_answers() {
        let mut meter = meter(Counting::Reserved);
        let request = vec![b' '; 1000];
        assert_eq!(cost(&meter, &request), 275 + 500);
        for _ in 0..40 {
            assert_eq!(learn(&mut meter, &request, [500, 90]), 590);
        }
        assert!(cost(&meter, &request).abs_diff(550 + 90) < 15, "{meter:?}");
    }

    #[test]
    fn short_requests_and_answers_of_every_length_do_not_make_it_too_low() {
        let mut meter = meter(Counting::Reserved);
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
            let used = u64::from(cost(&meter, request));
            too_low += u32::from(n > 20 && used < input + output);
            learn(&mut meter, request, [input, output]);
        }
        assert!(too_low <= 5, "{too_low} of 180 were too low: {meter:?}");
        assert!(cost(&meter, &long) < 2490 * 112 / 100 + 180, "{meter:?}");
    }

    #[test]
    fn max_tokens_count_in_full_where_the_server_reserves_them() {
        let mut meter = meter(Counting::Reserved);
        let request = br#"{"max_tokens": 1000, "x": 1}"#;
        assert_eq!(cost(&meter, request), 1008);
        assert_eq!(learn(&mut meter, request, [10, 90]), 1010);
        assert_eq!(
            cost(&meter, b"{}"),
            501,
            "answers with a limit say nothing about those without"
        );
    }

    #[test]
    fn where_only_used_tokens_count_max_tokens_is_an_upper_bound() {
        let mut meter = meter(Counting::Used);
        let request = br#"{"max_tokens": 4096}"#;
        assert_eq!(cost(&meter, request), 6 + 500);
        assert_eq!(cost(&meter, br#"{"max_tokens": 9}"#), 5 + 9);
        for _ in 0..21 {
            assert_eq!(learn(&mut meter, request, [10, 90]), 100);
        }
        let of_output = cost(&meter, request) - 11;
        assert!(of_output < 200, "the estimate follows the answers");
    }

    #[test]
    fn where_only_input_counts_output_costs_nothing() {
        let mut meter = meter(Counting::Input);
        assert_eq!(cost(&meter, b"{}"), 1);
        assert_eq!(learn(&mut meter, b"{}", [10, 90]), 10);
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
