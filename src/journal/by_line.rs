//! Something small for each line of the input, in a sorted list: half the memory of a map, or less.

/// What is added later for a line replaces what was there.
#[derive(Clone, Debug)]
pub(crate) struct ByLine<T> {
    /// Sorted, and one a line, once [`settle`](ByLine::settle) has been called.
    entries: Vec<(u64, T)>,
}

impl<T: Copy> ByLine<T> {
    /// Adds something for a line. Before the list grows, what was replaced makes room: a file that was retried ten times
    /// takes no more memory than one that was not.
    fn push(&mut self, line: u64, value: T) {
        if self.entries.len() == self.entries.capacity() {
            self.settle();
            self.entries.reserve(self.entries.len().max(1024));
        }
        self.entries.push((line, value));
    }

    /// Sorts by line, and of each line keeps the last.
    fn settle(&mut self) {
        self.entries.sort_by_key(|(line, _)| *line);
        self.entries.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
    }

    /// Collects until the first error.
    pub(crate) fn try_collect<E>(
        entries: impl Iterator<Item = Result<(u64, T), E>>,
    ) -> Result<Self, E> {
        let mut list = ByLine::default();
        for entry in entries {
            let (line, value) = entry?;
            list.push(line, value);
        }
        list.settle();
        list.entries.shrink_to_fit();
        Ok(list)
    }

    pub(crate) fn get(&self, line: u64) -> Option<T> {
        let found = self.entries.binary_search_by_key(&line, |(line, _)| *line);
        found.ok().map(|at| self.entries[at].1)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many lines up to this one have something.
    pub(crate) fn up_to(&self, last: u64) -> usize {
        self.entries.partition_point(|(line, _)| *line <= last)
    }

    /// In order of the lines.
    pub(crate) fn values(&self) -> impl Iterator<Item = T> {
        self.entries.iter().map(|(_, value)| *value)
    }
}

impl<T> Default for ByLine<T> {
    fn default() -> Self {
        ByLine {
            entries: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    #[test]
    fn what_was_replaced_takes_no_room() {
        let mut list = ByLine::default();
        (0..100_000).for_each(|n| list.push(n % 1000, n));
        assert!(
            list.entries.capacity() <= 4096,
            "{}",
            list.entries.capacity()
        );
        list.settle();
        assert!(list.values().eq(99_000..100_000));
    }

    proptest! {
        #[test]
        fn a_list_says_what_a_map_would_say(entries: Vec<(u8, u16)>) {
            let entries = entries.into_iter().map(|(line, value)| (u64::from(line), value));
            let map: BTreeMap<_, _> = entries.clone().collect();
            let list = ByLine::try_collect(entries.map(Ok::<_, Infallible>)).unwrap();
            prop_assert!(list.values().eq(map.values().copied()));
            for line in 0..=256 {
                prop_assert_eq!(list.get(line), map.get(&line).copied());
                prop_assert_eq!(list.up_to(line), map.range(..=line).count());
            }
        }
    }
}
