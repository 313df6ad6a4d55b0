//! Figures of many values: percentiles, histograms, and the busiest time. Pure.

/// The least value that this percentage of all does not exceed; `None` without values. They are in ascending order.
pub(super) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

/// Counts things by their kind, in equal parts of a length. A thing is its place and its kind; one that lies beyond the
/// length does not count.
pub(super) fn histogram<const KINDS: usize>(
    parts: usize,
    length: u64,
    things: impl Iterator<Item = (u64, usize)>,
) -> Vec<[u64; KINDS]> {
    let mut counts = vec![[0; KINDS]; parts];
    for (place, kind) in things {
        let part = u128::from(place) * parts as u128 / u128::from(length.max(1));
        if let Some(counts) = counts.get_mut(part as usize) {
            counts[kind] += 1;
        }
    }
    counts
}

/// The most items whose instants lie within less than `length` of the first of them; the first such. They come in order.
pub(super) fn busiest<T>(items: &[T], length: u64, at: impl Fn(&T) -> u64) -> &[T] {
    let mut busiest = &items[..0];
    let mut first = 0;
    for (last, item) in items.iter().enumerate() {
        while at(item) - at(&items[first]) >= length {
            first += 1;
        }
        if last - first >= busiest.len() {
            busiest = &items[first..=last];
        }
    }
    busiest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_least_that_this_part_does_not_exceed() {
        let of = |sorted: &[u32]| [50, 95, 99, 100].map(|percent| percentile(sorted, percent));
        let hundred: Vec<_> = (1..=100).collect();
        assert_eq!(of(&hundred), [50, 95, 99, 100].map(Some));
        assert_eq!(of(&[7]), [Some(7); 4]);
        assert_eq!(of(&[]), [None; 4]);
    }

    #[test]
    fn things_are_counted_by_place_and_kind_and_none_beyond_the_end() {
        let things = [(0, 0), (4, 1), (5, 1), (9, 1), (10, 0), (1 << 60, 0)];
        assert_eq!(histogram(2, 10, things.into_iter()), [[1, 1], [0, 2]]);
    }

    #[test]
    fn the_busiest_time_slides_and_does_not_hold_what_comes_its_length_after_its_first() {
        let most = |instants: &[u64]| busiest(instants, 60_000, |at| *at).to_vec();
        let four = [59_999, 60_000, 60_001, 119_998];
        assert_eq!(most(&[0, 59_999, 60_000, 60_001, 119_998]), four);
        assert_eq!(most(&[0, 1, 90_000, 90_001]), [0, 1], "the first of two");
        assert!(most(&[]).is_empty());
    }
}
