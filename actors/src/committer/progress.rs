//! How the commits of a node are getting on: whether what people draw can be written at present.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::stopwatch::Stopwatch;

/// A commit that takes longer is stuck. No disk that does its work is so slow.
const STUCK: Duration = Duration::from_secs(5);
/// For how long a failure counts. Rooms try again at least every 2 s, and a try that gets no answer counts as stuck after 5 s; a room
/// that tries no more has gone to another node.
const RECENT: Duration = Duration::from_secs(8);

/// Why ops cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The last commit failed.
    Failing,
    /// A commit has been under way for long.
    Stuck,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Wrote,
    /// The database answered and wrote nothing, as there was nothing to write or other nodes own the rooms: whether writing works is
    /// not known any better.
    Answered,
    Failed {
        /// There was nothing to write: that nobody answered says nothing about writing.
        asked: bool,
    },
}

/// What one committer does.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    under_way: Option<Stopwatch>,
    /// Since its last commit failed, and whether that was only asked something.
    failed: Option<(Stopwatch, bool)>,
}

impl Turn {
    fn trouble(self) -> Option<Trouble> {
        let lasts = |watch: Option<Stopwatch>| watch.map(Stopwatch::elapsed).unwrap_or_default();
        if lasts(self.under_way) > STUCK {
            Some(Trouble::Stuck)
        } else {
            self.failed.filter(|(failed, _)| failed.elapsed() < RECENT).map(|_| Trouble::Failing)
        }
    }
}

/// All committers of a node.
#[derive(Debug)]
pub(super) struct Progress(Mutex<Vec<Turn>>);

impl Progress {
    pub(super) fn of(committers: usize) -> Self {
        Self(Mutex::new(vec![Turn::default(); committers]))
    }

    pub(super) fn begins(&self, committer: usize) {
        self.turn(committer, |turn| turn.under_way = Some(Stopwatch::start()));
    }

    pub(super) fn ends(&self, committer: usize, end: End) {
        self.turn(committer, |turn| {
            turn.under_way = None;
            match end {
                End::Wrote => turn.failed = None,
                End::Answered => turn.failed = turn.failed.filter(|(_, asked)| !asked),
                End::Failed { asked } => {
                    // That writing failed is still so when asking fails, too.
                    let asked = asked && turn.failed.is_none_or(|(_, asked)| asked);
                    turn.failed = Some((Stopwatch::start(), asked));
                }
            }
        });
    }

    /// The worst that is known of any.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let troubles: Vec<Trouble> = turns.iter().filter_map(|turn| turn.trouble()).collect();
        troubles.iter().copied().find(|trouble| *trouble == Trouble::Stuck).or(troubles.first().copied())
    }

    /// For how long the commit that began first has been under way.
    pub(super) fn under_way(&self) -> Duration {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.iter().filter_map(|turn| turn.under_way).map(Stopwatch::elapsed).max().unwrap_or_default()
    }

    fn turn(&self, committer: usize, change: impl FnOnce(&mut Turn)) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get_mut(committer) {
            change(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_enough_where_only_a_question_failed() {
        let progress = Progress::of(1);
        progress.ends(0, End::Failed { asked: true });
        assert_eq!(progress.trouble(), Some(Trouble::Failing));
        progress.ends(0, End::Answered);
        assert_eq!(progress.trouble(), None);
        progress.ends(0, End::Failed { asked: false });
        progress.ends(0, End::Failed { asked: true });
        progress.ends(0, End::Answered);
        assert_eq!(progress.trouble(), Some(Trouble::Failing), "whether it writes is not known");
    }

    #[test]
    fn one_committer_in_trouble_is_trouble_until_its_next_success() {
        let progress = Progress::of(2);
        assert_eq!(progress.trouble(), None);
        progress.begins(0);
        progress.begins(1);
        assert_eq!(progress.trouble(), None, "it takes its time");
        progress.ends(0, End::Wrote);
        progress.ends(1, End::Failed { asked: false });
        assert_eq!(progress.trouble(), Some(Trouble::Failing));
        progress.begins(1);
        assert_eq!(progress.trouble(), Some(Trouble::Failing), "nobody knows better yet");
        progress.ends(1, End::Answered);
        assert_eq!(progress.trouble(), Some(Trouble::Failing), "nothing was written");
        progress.ends(0, End::Wrote);
        assert_eq!(progress.trouble(), Some(Trouble::Failing), "another one's success is no comfort");
        progress.ends(1, End::Wrote);
        assert_eq!((progress.trouble(), progress.under_way()), (None, Duration::ZERO));
    }
}
