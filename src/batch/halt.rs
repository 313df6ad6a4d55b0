//! The halt rule: how many prompts may fail before the batch stops.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Stops the batch after a number of failed prompts (`5`), or a percentage of the finished ones (`10%`).
///
/// ```
/// use paceline::batch::Halt;
///
/// let rule: Halt = "10%".parse().unwrap();
/// assert_eq!(rule, Halt::Percent(10));
/// assert!("101%".parse::<Halt>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Halt {
    /// At this number of failed prompts.
    Count(NonZeroU64),
    /// At this percentage of the finished prompts, once 20 have finished.
    Percent(u8),
}

impl Halt {
    /// A percentage counts from this number of finished prompts; of fewer it says little.
    pub(crate) const SAMPLE: u64 = 20;

    /// Whether `failed` of `finished` prompts stop the batch.
    pub(crate) fn is_reached(self, failed: u64, finished: u64) -> bool {
        match self {
            Halt::Count(most) => failed >= most.get(),
            Halt::Percent(most) => {
                finished >= Self::SAMPLE
                    && failed.saturating_mul(100) >= finished.saturating_mul(most.into())
            }
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Count(most) => most.fmt(f),
            Halt::Percent(most) => write!(f, "{most}%"),
        }
    }
}

impl FromStr for Halt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = match text.strip_suffix('%') {
            None => text.parse().ok().map(Halt::Count),
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|p| (1..=100).contains(p))
                .map(Halt::Percent),
        };
        rule.ok_or("give a number of failures such as 5, or a percentage from 1% to 100%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        for text in ["1", "500", "1%", "100%"] {
            assert_eq!(text.parse::<Halt>().unwrap().to_string(), text);
        }
        for bad in ["", "0", "0%", "101%", "-1", "5 %", "%", "many"] {
            assert!(bad.parse::<Halt>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_percentage_waits_for_a_sample() {
        let half = Halt::Percent(50);
        assert_eq!(
            [(19, 19), (9, 20), (10, 20), (499, 1000)].map(|(f, n)| half.is_reached(f, n)),
            [false, false, true, false]
        );
    }
}
