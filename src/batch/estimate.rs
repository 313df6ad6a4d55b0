//! What a call will cost in tokens, before it is made: from the size of its text, corrected by what the answers report.
//!
//! No vocabulary is needed: the tokens of a text are proportional to its length for one model and one kind of text, and
//! the first few answers tell how.

use serde::Deserialize;

use crate::api::Usage;

/// Learns from each answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// Tokens and bytes of the requests so far, those of long ago counting less. Their ratio is dominated by the long
    /// ones, as the cost is.
    tokens: f64,
    bytes: f64,
    /// Tokens of an answer that may be as long as it likes, and how far from that answers usually are.
    output: f64,
    spread: f64,
}

impl Default for Estimate {
    /// English has about four bytes a token; answers are a page or less.
    fn default() -> Self {
        Estimate { tokens: 25.0, bytes: 100.0, output: 400.0, spread: 50.0 }
    }
}

impl Estimate {
    /// Rather too much than too little, by so many parts of the input and so many times the usual spread of the output:
    /// what was too much is given back with the answer.
    const MARGIN: f64 = 1.1;
    const SPREADS: f64 = 2.0;
    /// What one answer more counts.
    const WEIGHT: f64 = 0.2;

    /// What this request is thought to cost. Servers count the most tokens that an answer may have, where that is given.
    pub(super) fn cost(&self, request: &[u8]) -> u32 {
        let output = most_tokens(request).unwrap_or((self.output + Self::SPREADS * self.spread) as u32);
        let density = self.tokens / self.bytes;
        ((request.len() as f64 * density * Self::MARGIN).ceil() as u32).saturating_add(output)
    }

    /// What an answered request has cost; and the next ones are estimated better.
    pub(super) fn learn(&mut self, request: &[u8], usage: Usage) -> u32 {
        let toward = |from: f64, to: f64| from + Self::WEIGHT * (to - from);
        self.tokens = toward(self.tokens, f64::from(usage.input));
        self.bytes = toward(self.bytes, request.len().max(1) as f64);
        let most = most_tokens(request);
        if most.is_none() {
            let output = f64::from(usage.output);
            self.spread = toward(self.spread, (output - self.output).abs());
            self.output = toward(self.output, output);
        }
        usage.input.saturating_add(most.unwrap_or_default().max(usage.output))
    }
}

/// The most tokens that the answer may have, in the APIs' several words.
fn most_tokens(request: &[u8]) -> Option<u32> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Most {
        max_tokens: Option<u32>,
        max_completion_tokens: Option<u32>,
        max_output_tokens: Option<u32>,
    }
    let most: Most = serde_json::from_slice(request).ok()?;
    most.max_completion_tokens.or(most.max_tokens).or(most.max_output_tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_comes_near_after_a_few_answers() {
        let mut estimate = Estimate::default();
        let request = vec![b' '; 1000];
        assert_eq!(estimate.cost(&request), 275 + 500);
        for _ in 0..40 {
            assert_eq!(estimate.learn(&request, Usage { input: 500, output: 90 }), 590);
        }
        assert!(estimate.cost(&request).abs_diff(550 + 90) < 15, "{estimate:?}");
    }

    #[test]
    fn short_requests_and_answers_of_every_length_do_not_make_it_too_low() {
        let mut estimate = Estimate::default();
        let (short, long) = (vec![b' '; 100], vec![b' '; 10_000]); // with a frame, so less dense
        let mut too_low = 0;
        for n in 0..200 {
            let output = 70 + n * 37 % 65;
            let (request, input) = if n % 2 == 0 { (&short, 14) } else { (&long, 2490) };
            too_low += u32::from(n > 20 && estimate.cost(request) < input + output);
            estimate.learn(request, Usage { input, output });
        }
        assert!(too_low <= 5, "{too_low} of 180 were too low: {estimate:?}");
        assert!(estimate.cost(&long) < 2490 * 112 / 100 + 180, "{estimate:?}");
    }

    #[test]
    fn the_most_tokens_that_an_answer_may_have_count_whatever_it_has() {
        let mut estimate = Estimate::default();
        let request = br#"{"max_tokens": 1000, "x": 1}"#;
        assert_eq!(estimate.cost(request), 1008);
        assert_eq!(estimate.learn(request, Usage { input: 10, output: 90 }), 1010);
        assert_eq!(estimate.cost(b"{}"), 501, "and nothing is learnt about answers without a limit");
        assert_eq!(most_tokens(br#"{"max_completion_tokens": 7}"#), Some(7));
        assert_eq!(most_tokens(b"no JSON"), None);
    }
}
