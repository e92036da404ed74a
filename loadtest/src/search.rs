//! The most that holds: doubling until something does not, halving the distance, and confirming what was found.
//!
//! Pure. It says what to try next, and is told whether that held.

/// A search for the highest value that holds.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    /// Values are no further apart than this share when the search is over.
    precision: f64,
    /// How often what was found must hold again.
    confirm: u32,
    /// What held, each higher than the one before.
    held: Vec<f64>,
    /// How often the highest of them held again.
    confirmed: u32,
    /// The lowest that did not hold.
    failed: Option<f64>,
    tries: u32,
}

/// Tries after which the search ends with what it has.
const TRIES: u32 = 40;
/// Nothing below this part of the start is tried.
const LEAST: f64 = 1.0 / 1024.0;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Held, and held again as often as was asked for; the next one up did not.
    Highest(f64),
    /// Held, but there were too many tries.
    AtLeast(f64),
    Nothing,
}

impl Search {
    #[must_use]
    pub fn new(start: f64, precision: f64, confirm: u32) -> Self {
        Self { start, precision, confirm, held: Vec::new(), confirmed: 0, failed: None, tries: 0 }
    }

    /// What to try next; None when the search is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        if self.tries >= TRIES {
            return None;
        }
        match (self.held.last(), self.failed) {
            (None, None) => Some(self.start),
            (Some(held), None) => Some(held * 2.0),
            (None, Some(failed)) => Some(failed / 2.0).filter(|next| *next >= self.start * LEAST),
            (Some(held), Some(failed)) if failed / held <= 1.0 + self.precision => {
                (self.confirmed < self.confirm).then_some(*held)
            }
            // In the middle of the ratio: rates are compared as ratios.
            (Some(held), Some(failed)) => Some((held * failed).sqrt()),
        }
    }

    /// Whether what was to be tried held.
    pub fn tell(&mut self, held: bool) {
        let Some(tried) = self.next() else { return };
        self.tries += 1;
        let again = self.held.last() == Some(&tried);
        match (held, again) {
            (true, true) => self.confirmed += 1,
            (true, false) => {
                self.held.push(tried);
                self.confirmed = 0;
            }
            (false, again) => {
                // What did not hold again was luck: back to what held below it.
                if again {
                    self.held.pop();
                    self.confirmed = 0;
                }
                self.failed = Some(tried);
            }
        }
    }

    #[must_use]
    pub fn found(&self) -> Found {
        match self.held.last() {
            Some(held) if self.failed.is_some() && self.confirmed >= self.confirm => Found::Highest(*held),
            Some(held) => Found::AtLeast(*held),
            None => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(mut search: Search, mut holds: impl FnMut(f64) -> bool) -> (Found, u32) {
        while let Some(next) = search.next() {
            search.tell(holds(next));
        }
        (search.found(), search.tries)
    }

    proptest! {
        #[test]
        fn the_highest_is_found_wherever_it_is(limit in 10.0f64..1e6, start in 1.0f64..1e5, confirm in 0u32..4) {
            prop_assume!(limit > start * LEAST * 2.0);
            let (found, tries) = search(Search::new(start, 0.05, confirm), |value| value <= limit);
            let Found::Highest(found) = found else { panic!("{found:?}") };
            prop_assert!(found <= limit && found * 1.05 >= limit * 0.999, "{found} of {limit}");
            prop_assert!(tries <= 36);
        }
    }

    #[test]
    fn what_held_once_by_luck_is_not_believed() {
        let mut lucky = true;
        let holds = |value: f64| value <= 100.0 || (value < 130.0 && std::mem::take(&mut lucky));
        let (found, _) = search(Search::new(60.0, 0.05, 2), holds);
        let Found::Highest(found) = found else { panic!("{found:?}") };
        assert!((95.0..=100.0).contains(&found), "{found}");
    }

    #[test]
    fn it_ends_where_nothing_or_everything_holds() {
        assert_eq!(search(Search::new(100.0, 0.05, 2), |_| false).0, Found::Nothing);
        let (found, tries) = search(Search::new(1.0, 0.05, 2), |_| true);
        assert!(matches!(found, Found::AtLeast(found) if found > 1e10), "{found:?}");
        assert_eq!(tries, TRIES);
    }
}
