//! Estimates the tokens of a call before it is made, from the size of its request and the usage that answers report.
//!
//! No tokenizer is needed: for one model and one kind of text, tokens are proportional to bytes, and the first few
//! answers give the factor.

use super::size::{Density, RequestSize};
use crate::api::{Counting, Usage};

/// Estimates tokens; each answer makes it better.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
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
    pub(crate) fn new(counting: Counting) -> Self {
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
    pub(crate) fn cost(&self, request: &[u8]) -> Usage {
        let size = RequestSize::of(request);
        let density = Density {
            input: self.tokens / self.bytes * Self::MARGIN,
            output: self.output + Self::SPREADS * self.spread,
        };
        Usage {
            input: size.input(density).ceil() as u64,
            output: size.counted_output(density, self.counting) as u64,
            ..Usage::default()
        }
    }

    /// Learns from an answered request. Returns its tokens, as the server counts them.
    pub(crate) fn learn(&mut self, request: &[u8], usage: Usage) -> Usage {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
