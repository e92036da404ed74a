//! A set of numbers that mostly follow each other, as a few runs of them: the op ids of a client in a log of millions.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// First to last.
    runs: BTreeMap<u64, u64>,
}

impl Runs {
    /// False if it was in there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let after = number.checked_add(1).and_then(|next| self.runs.remove(&next));
        let first = before.filter(|(_, last)| last + 1 == number).map_or(number, |(first, _)| first);
        self.runs.insert(first, after.unwrap_or(number));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_join_into_runs_and_are_known_again() {
        let mut runs = Runs::default();
        assert!([5, 3, 4, 9, 1, 2].into_iter().all(|n| runs.insert(n)));
        assert_eq!(runs.runs, BTreeMap::from([(1, 5), (9, 9)]));
        assert!(![1, 3, 5, 9].into_iter().any(|n| runs.insert(n)));
        assert!(runs.insert(u64::MAX) && !runs.insert(u64::MAX));
    }
}
