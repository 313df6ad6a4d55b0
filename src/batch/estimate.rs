//! What a call will cost in tokens, before it is made: from the size of its text, corrected by what the answers report.
//!
//! No vocabulary is needed: the tokens of a text are proportional to its length for one model and one kind of text, and
//! the first few answers tell how.

use super::size::{Density, most_tokens};
use crate::api::{Counting, Usage};

/// Learns from each answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    /// What the server counts.
    counting: Counting,
    /// Tokens and bytes of the requests so far, those of long ago counting less. Their ratio is dominated by the long
    /// ones, as the cost is.
    tokens: f64,
    bytes: f64,
    /// Tokens of an answer that may be as long as it likes, and how far from that answers usually are.
    output: f64,
    spread: f64,
}

impl Estimate {
    /// Rather too much than too little, by so many parts of the input and so many times the usual spread of the output:
    /// what was too much is given back with the answer.
    const MARGIN: f64 = 1.1;
    const SPREADS: f64 = 2.0;
    /// What one answer more counts.
    const WEIGHT: f64 = 0.2;

    /// What is thought before there is an answer to learn from.
    pub(super) fn new(counting: Counting) -> Self {
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

    /// What this request is thought to cost, as far as the server counts it.
    pub(super) fn cost(&self, request: &[u8]) -> Usage {
        let input = (request.len() as f64 * self.tokens / self.bytes * Self::MARGIN).ceil() as u32;
        let usual = (self.output + Self::SPREADS * self.spread) as u32;
        let output = match self.counting {
            Counting::Reserved => most_tokens(request).unwrap_or(usual),
            Counting::Used => most_tokens(request).unwrap_or(usual).min(usual),
            Counting::Input => 0,
        };
        Usage { input, output }
    }

    /// What an answered request has cost, as far as the server counts it; and the next ones are estimated better.
    pub(super) fn learn(&mut self, request: &[u8], usage: Usage) -> Usage {
        let toward = |from: f64, to: f64| from + Self::WEIGHT * (to - from);
        self.tokens = toward(self.tokens, f64::from(usage.input));
        self.bytes = toward(self.bytes, request.len().max(1) as f64);
        let reserved = most_tokens(request).filter(|_| self.counting == Counting::Reserved);
        if reserved.is_none() {
            let output = f64::from(usage.output);
            self.spread = toward(self.spread, (output - self.output).abs());
            self.output = toward(self.output, output);
        }
        let output = match self.counting {
            Counting::Reserved => reserved.unwrap_or_default().max(usage.output),
            Counting::Used => usage.output,
            Counting::Input => 0,
        };
        Usage {
            input: usage.input,
            output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(usage: Usage) -> u32 {
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
                output: 500
            }
        );
        for _ in 0..40 {
            assert_eq!(
                sum(estimate.learn(
                    &request,
                    Usage {
                        input: 500,
                        output: 90
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
        let (short, long) = (vec![b' '; 100], vec![b' '; 10_000]); // with a frame, so less dense
        let mut too_low = 0;
        for n in 0..200 {
            let output = 70 + n * 37 % 65;
            let (request, input) = if n % 2 == 0 {
                (&short, 14)
            } else {
                (&long, 2490)
            };
            too_low += u32::from(n > 20 && sum(estimate.cost(request)) < input + output);
            estimate.learn(request, Usage { input, output });
        }
        assert!(too_low <= 5, "{too_low} of 180 were too low: {estimate:?}");
        assert!(
            sum(estimate.cost(&long)) < 2490 * 112 / 100 + 180,
            "{estimate:?}"
        );
    }

    #[test]
    fn the_most_tokens_that_an_answer_may_have_count_whatever_it_has() {
        let mut estimate = Estimate::new(Counting::Reserved);
        let request = br#"{"max_tokens": 1000, "x": 1}"#;
        assert_eq!(sum(estimate.cost(request)), 1008);
        assert_eq!(
            sum(estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90
                }
            )),
            1010
        );
        assert_eq!(
            sum(estimate.cost(b"{}")),
            501,
            "and nothing is learnt about answers without a limit"
        );
    }

    #[test]
    fn where_only_what_is_used_counts_what_might_have_been_is_but_a_bound() {
        let mut estimate = Estimate::new(Counting::Used);
        let request = br#"{"max_tokens": 4096}"#;
        assert_eq!(estimate.cost(request).output, 500);
        assert_eq!(estimate.cost(br#"{"max_tokens": 9}"#).output, 9);
        assert_eq!(
            estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90
                }
            ),
            Usage {
                input: 10,
                output: 90
            }
        );
        (0..20).for_each(|_| {
            _ = estimate.learn(
                request,
                Usage {
                    input: 10,
                    output: 90,
                },
            )
        });
        assert!(
            estimate.cost(request).output < 200,
            "and something is learnt"
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
                    output: 90
                }
            ),
            Usage {
                input: 10,
                output: 0
            }
        );
    }
}
