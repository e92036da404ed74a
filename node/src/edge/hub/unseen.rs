//! Accepted ops that those in the room have not been told of yet: from the one until the other is measured how long it takes an op to be
//! seen.

use std::collections::VecDeque;

use enfilade_actors::Stopwatch;
use enfilade_proto::{Seq, TraceId};

/// Ops of one room that may wait. Those beyond are not measured.
const WAITING: usize = 4_096;

/// An op that was accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Since it arrived.
    pub(super) watch: Stopwatch,
    pub(super) trace: Option<TraceId>,
}

/// In the order of their answers, which is that of their seqs but for what was sent twice.
#[derive(Debug)]
pub(super) struct Unseen<T>(VecDeque<(Seq, T)>);

impl<T> Default for Unseen<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Unseen<T> {
    /// An op was accepted. It is given back if everybody was told through `told` already.
    pub(super) fn accepted(&mut self, seq: Seq, op: T, told: Seq) -> Option<T> {
        if seq <= told {
            return Some(op);
        }
        if self.0.len() < WAITING {
            self.0.push_back((seq, op));
        }
        None
    }

    /// Everybody was told through this one: one of those that were seen by that.
    pub(super) fn take_seen(&mut self, told: Seq) -> Option<T> {
        let (_, op) = self.0.pop_front_if(|(seq, _)| *seq <= told)?;
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_op_is_seen_when_it_was_told_and_answered_whichever_comes_first() {
        let mut unseen = Unseen::default();
        assert_eq!(unseen.accepted(Seq(3), "told before", Seq(3)), Some("told before"));
        assert_eq!(unseen.accepted(Seq(4), "a", Seq(3)), None);
        assert_eq!(unseen.accepted(Seq(6), "b", Seq(3)), None);
        assert_eq!(unseen.take_seen(Seq(3)), None);
        assert_eq!((unseen.take_seen(Seq(5)), unseen.take_seen(Seq(5))), (Some("a"), None));
        assert_eq!((unseen.take_seen(Seq(9)), unseen.take_seen(Seq(9))), (Some("b"), None));
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut unseen = Unseen::default();
        for seq in 1..=2 * WAITING as u64 {
            unseen.accepted(Seq(seq), seq, Seq(0));
        }
        let seen = std::iter::from_fn(|| unseen.take_seen(Seq(u64::MAX)));
        assert_eq!(seen.count(), WAITING);
    }
}
