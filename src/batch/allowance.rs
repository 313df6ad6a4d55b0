//! Tokens per minute that a key may use. Input and output may have separate limits.
//!
//! The limiter knows a single token limit. So the cost of a call is scaled: a call uses a share of each limit, and its
//! cost is its largest share, times the lowest limit. Calls that keep to the lowest limit by this cost keep to all of
//! them. This is exact while the same limit binds for every call, and cautious otherwise.

use std::num::NonZeroU32;

use crate::api::Usage;
use crate::hints::{Hints, Quota};

/// Limits in tokens per minute: of input and output together, of input, and of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowance([Option<NonZeroU32>; 3]);

impl Allowance {
    /// One limit for input and output together.
    pub(super) fn together(limit: Option<NonZeroU32>) -> Self {
        Allowance([limit, None, None])
    }

    /// Takes over the limits that a response states; others keep their value.
    pub(super) fn read(&mut self, hints: &Hints) {
        let stated = [&hints.tokens, &hints.input_tokens, &hints.output_tokens];
        for (limit, quota) in self.0.iter_mut().zip(stated) {
            *limit = a_minute(quota).or(*limit);
        }
    }

    /// The lowest limit; `None` if there is none.
    pub(super) fn tightest(&self) -> Option<NonZeroU32> {
        self.0.into_iter().flatten().min()
    }

    /// The cost of a call, to be counted against the [`tightest`](Allowance::tightest) limit.
    pub(super) fn weigh(&self, usage: Usage) -> u32 {
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
}
