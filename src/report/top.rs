//! The few prompts that have the most of something.

use std::cmp::Reverse;

/// The first ten, each prompt once.
#[derive(Debug, Default)]
pub(super) struct Top {
    /// The most first; of equals the one that came first.
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How much it has.
    pub(super) amount: u64,
    /// The line of its prompt.
    pub(super) prompt: u64,
    /// The line of the results that its record is.
    pub(super) record: u64,
}

impl Top {
    const MOST: usize = 10;

    pub(super) fn offer(&mut self, place: Place) {
        let is_full = self.places.len() == Self::MOST;
        if is_full
            && self
                .places
                .last()
                .is_some_and(|last| last.amount >= place.amount)
        {
            return;
        }
        match self
            .places
            .iter_mut()
            .find(|other| other.prompt == place.prompt)
        {
            Some(same) if same.amount < place.amount => *same = place,
            Some(_) => {}
            None => self.places.push(place),
        }
        self.places.sort_by_key(|place| Reverse(place.amount));
        self.places.truncate(Self::MOST);
    }

    pub(super) fn into_places(self) -> Vec<Place> {
        self.places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_prompt_has_one_place_and_of_equals_the_first_comes_first() {
        let mut top = Top::default();
        for (record, (prompt, amount)) in (1..).zip(
            [
                (1, 5),
                (2, 9),
                (1, 7),
                (3, 7),
                (4, 1),
                (5, 8),
                (2, 3),
                (6, 7),
            ]
            .into_iter()
            .chain((7..20).map(|prompt| (prompt, 6))),
        ) {
            top.offer(Place {
                amount,
                prompt,
                record,
            });
        }
        let places = top.into_places();
        let expected = [
            (2, 9, 2),
            (5, 8, 6),
            (1, 7, 3),
            (3, 7, 4),
            (6, 7, 8),
            (7, 6, 9),
        ];
        assert!(
            places.len() == 10
                && places
                    .iter()
                    .take(6)
                    .map(|place| (place.prompt, place.amount, place.record))
                    .eq(expected),
            "{places:?}"
        );
    }
}
