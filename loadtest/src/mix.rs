//! The recordings of a run, and how often each is played: a mix.

use std::sync::Arc;

use crate::score::Score;
use crate::session::Recorded;

/// More turns than this are no mix but a list.
const MOST_TURNS: u32 = 10_000;

#[derive(Clone, Debug)]
pub struct Mix {
    scores: Vec<Arc<Score>>,
    /// Whose turn it is, again and again; each recording as often as its weight says, spread evenly.
    turns: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMix {
    #[error("a mix has at least one recording")]
    Empty,
    #[error("there are {weights} weights for {recordings} recordings")]
    Weights { weights: usize, recordings: usize },
    #[error("weights are whole numbers, at least one of them above 0, together at most {MOST_TURNS}")]
    Sum,
}

impl Mix {
    /// Without weights each recording is played as often as the others.
    ///
    /// # Errors
    /// When there is nothing to play.
    pub fn new(recordings: Vec<Recorded>, weights: &[u32]) -> Result<Self, InvalidMix> {
        if recordings.is_empty() {
            return Err(InvalidMix::Empty);
        }
        if !weights.is_empty() && weights.len() != recordings.len() {
            return Err(InvalidMix::Weights { weights: weights.len(), recordings: recordings.len() });
        }
        let equal = vec![1; recordings.len()];
        let turns = turns(if weights.is_empty() { &equal } else { weights })?;
        Ok(Self {
            scores: recordings.into_iter().map(|recorded| Arc::new(Score::new(recorded))).collect(),
            turns,
        })
    }

    #[must_use]
    pub fn scores(&self) -> &[Arc<Score>] {
        &self.scores
    }

    /// What is played in the nth turn.
    #[must_use]
    pub fn turn(&self, nth: usize) -> &Arc<Score> {
        &self.scores[self.turns[nth % self.turns.len()]]
    }

    /// People of all recordings together.
    #[must_use]
    pub fn people(&self) -> usize {
        self.scores.iter().map(|score| score.people()).sum()
    }

    #[must_use]
    pub fn title(&self) -> Option<String> {
        let titles: Vec<&str> =
            self.scores.iter().filter_map(|score| score.header.title.as_deref()).collect();
        (!titles.is_empty()).then(|| titles.join(" + "))
    }
}

impl From<Recorded> for Mix {
    fn from(recorded: Recorded) -> Self {
        Self { scores: vec![Arc::new(Score::new(recorded))], turns: vec![0] }
    }
}

/// Smooth weighted round robin: in each turn everybody gains their weight, and who has most takes it and pays for all.
fn turns(weights: &[u32]) -> Result<Vec<usize>, InvalidMix> {
    let sum = weights.iter().try_fold(0u32, |sum, weight| sum.checked_add(*weight)).ok_or(InvalidMix::Sum)?;
    if !(1..=MOST_TURNS).contains(&sum) {
        return Err(InvalidMix::Sum);
    }
    let mut claims = vec![0i64; weights.len()];
    let mut turn = || {
        let mut most = 0;
        for (i, weight) in weights.iter().enumerate() {
            claims[i] += i64::from(*weight);
            if claims[i] > claims[most] {
                most = i;
            }
        }
        claims[most] -= i64::from(sum);
        most
    };
    Ok((0..sum).map(|_| turn()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_heavier_takes_more_turns_but_not_all_at_once() {
        assert_eq!(turns(&[3, 1]), Ok(vec![0, 0, 1, 0]));
        assert_eq!(turns(&[0, 2]), Ok(vec![1, 1]));
        for wrong in [&[0, 0][..], &[u32::MAX, 1], &[MOST_TURNS + 1]] {
            assert_eq!(turns(wrong), Err(InvalidMix::Sum));
        }
        assert!(matches!(Mix::new(vec![], &[]), Err(InvalidMix::Empty)));
    }

    proptest! {
        #[test]
        fn everybody_gets_as_many_turns_as_they_weigh(weights in prop::collection::vec(0..20u32, 1..8)) {
            prop_assume!(weights.iter().sum::<u32>() > 0);
            let turns = turns(&weights).unwrap();
            for (i, weight) in weights.iter().enumerate() {
                prop_assert_eq!(turns.iter().filter(|turn| **turn == i).count(), *weight as usize);
            }
        }
    }
}
