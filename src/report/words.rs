//! Words that come again and again, by a small number.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Gives numbers to words, from 0.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: BTreeMap<String, u16>,
}

impl Words {
    /// A server may put anything into a code: beyond so many, all are one.
    const MOST: usize = 1000;
    const OTHERS: &str = "(others)";

    pub(super) fn number(&mut self, word: &str) -> u16 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let word = if self.numbers.len() < Self::MOST {
            word
        } else {
            Self::OTHERS
        };
        let next = self.numbers.len() as u16;
        *self.numbers.entry(word.to_owned()).or_insert(next)
    }

    /// The words with what is counted of each, the most first and then by the alphabet; without those that do not occur.
    pub(super) fn by_count<T>(
        self,
        mut counts: BTreeMap<u16, T>,
        count: impl Fn(&T) -> u64,
    ) -> Vec<(String, T)> {
        let words = self.numbers.into_iter();
        let mut counted: Vec<_> = words
            .filter_map(|(word, number)| Some((word, counts.remove(&number)?)))
            .collect();
        counted.sort_by_key(|(_, counted)| Reverse(count(counted)));
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_word_comes_first() {
        let (mut words, mut counts) = (Words::default(), BTreeMap::new());
        for word in ["b", "c", "a", "c", "c", "b", "a"] {
            *counts.entry(words.number(word)).or_default() += 1;
        }
        words.number("never counted");
        let counted = words.by_count(counts, |count| *count);
        assert_eq!(
            counted,
            [
                ("c".to_owned(), 3),
                ("a".to_owned(), 2),
                ("b".to_owned(), 2)
            ]
        );
    }

    #[test]
    fn beyond_a_thousand_words_all_others_are_one() {
        let mut words = Words::default();
        let numbers: Vec<_> = (0..2000).map(|n| words.number(&n.to_string())).collect();
        assert!(
            numbers[..1000].iter().copied().eq(0..1000)
                && numbers[1000..].iter().all(|n| *n == 1000)
        );
        assert_eq!(words.number("7"), 7);
    }
}
