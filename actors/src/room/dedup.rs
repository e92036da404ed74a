//! Which ops of which writers were applied: why an op that is sent twice is applied once.
//!
//! Of a writer the answers to the last [`OPS_IN_FLIGHT`] ops are known, which is all that may be unanswered. When a room has had so
//! many writers that this is too much, of those who have been quiet for longest only the newest answer is kept: enough to never apply
//! anything twice.

use std::collections::{BTreeMap, VecDeque};

use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{ClientId, OpId, Seq};
use serde::{Deserialize, Serialize};

use crate::bus::Writer;

/// Answers remembered per room: all of the last ones of 512 writers. At 16 bytes each.
const ANSWERS: usize = 512 * OPS_IN_FLIGHT;

/// Clients remembered per room; beyond that the one that was quiet for longest is forgotten. At about 50 bytes each.
const CLIENTS: usize = 100_000;

/// What is known of an op id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Not applied yet.
    New,
    /// Applied, as this seq.
    Applied(Seq),
    /// Too long ago to tell. It must not be applied.
    Expired,
}

#[derive(Debug, Default)]
pub(super) struct Dedup {
    writers: BTreeMap<Writer, Answers>,
    /// Clients by their newest seq, so that quiet ones are found without a search.
    by_newest: BTreeMap<Seq, Writer>,
    /// The sum of the answers of all writers.
    answers: usize,
    /// Writers whose newest seq is up to here have one answer left.
    shortened_through: Seq,
}

/// What a room answered to a client, in the order of its op ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Answers {
    newest: Seq,
    answers: VecDeque<(OpId, Seq)>,
    /// Whether ops before the first of `answers` were applied and forgotten.
    cut: bool,
}

impl Dedup {
    pub(super) fn look_up(&self, writer: Writer, op_id: OpId) -> Known {
        let Some(known) = self.writers.get(&writer) else { return Known::New };
        match known.answers.binary_search_by_key(&op_id, |&(op_id, _)| op_id) {
            Ok(found) => Known::Applied(known.answers[found].1),
            Err(0) if known.cut => Known::Expired,
            Err(_) => Known::New,
        }
    }

    /// Remembers that an op was applied. Op ids usually grow; a late one (refused before, accepted now) finds its place.
    pub(super) fn applied(&mut self, writer: Writer, op_id: OpId, seq: Seq) {
        if writer.client == ClientId::ROOM {
            return;
        }
        let known = self.writers.entry(writer).or_default();
        self.by_newest.remove(&known.newest);
        self.by_newest.insert(seq, writer);
        known.newest = seq;
        let place = known.answers.partition_point(|&(known, _)| known < op_id);
        known.answers.insert(place, (op_id, seq));
        self.answers += 1;
        if known.answers.len() > OPS_IN_FLIGHT {
            known.answers.pop_front();
            known.cut = true;
            self.answers -= 1;
        }
        self.shorten_beyond(ANSWERS);
        self.forget_beyond(CLIENTS);
    }

    /// Shortens the answers of those who have been quiet for longest.
    fn shorten_beyond(&mut self, most: usize) {
        while self.answers > most {
            let Some((&newest, writer)) = self.by_newest.range(self.shortened_through.next()..).next() else {
                return;
            };
            self.shortened_through = newest;
            if let Some(known) = self.writers.get_mut(writer)
                && known.answers.len() > 1
            {
                self.answers -= known.answers.len() - 1;
                known.answers.drain(..known.answers.len() - 1);
                known.answers.shrink_to_fit();
                known.cut = true;
            }
        }
    }

    fn forget_beyond(&mut self, most: usize) {
        while self.writers.len() > most {
            let Some((_, writer)) = self.by_newest.pop_first() else { return };
            self.answers -= self.writers.remove(&writer).map_or(0, |known| known.answers.len());
        }
    }

    /// For a checkpoint.
    pub(super) fn to_form(&self) -> DedupForm {
        DedupForm(self.writers.iter().map(|(writer, answers)| (*writer, answers.clone())).collect())
    }

    pub(super) fn from_form(form: DedupForm) -> Self {
        let by_newest = form.0.iter().map(|(writer, answers)| (answers.newest, *writer)).collect();
        let answers = form.0.iter().map(|(_, answers)| answers.answers.len()).sum();
        Self { writers: form.0.into_iter().collect(), by_newest, answers, shortened_through: Seq::default() }
    }
}

/// How a [`Dedup`] stands in a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct DedupForm(Vec<(Writer, Answers)>);

#[cfg(test)]
mod tests {
    use enfilade_proto::UserId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn client(n: u128) -> Writer {
        Writer { author: UserId(Uuid::from_u128(1)), client: ClientId(Uuid::from_u128(n + 1)) }
    }

    #[test]
    fn a_resent_op_gets_its_first_seq() {
        let mut dedup = Dedup::default();
        assert_eq!(dedup.look_up(client(1), OpId(7)), Known::New);
        dedup.applied(client(1), OpId(7), Seq(42));
        assert_eq!(dedup.look_up(client(1), OpId(7)), Known::Applied(Seq(42)));
        assert_eq!(dedup.look_up(client(2), OpId(7)), Known::New);
        // Somebody else who says to be the same client names other ops.
        let stranger = Writer { author: UserId(Uuid::from_u128(2)), ..client(1) };
        assert_eq!(dedup.look_up(stranger, OpId(7)), Known::New);
    }

    #[test]
    fn an_op_that_was_refused_may_come_again_later() {
        let mut dedup = Dedup::default();
        dedup.applied(client(1), OpId(5), Seq(1));
        dedup.applied(client(1), OpId(7), Seq(2));
        assert_eq!(dedup.look_up(client(1), OpId(6)), Known::New);
        assert_eq!(dedup.look_up(client(1), OpId(4)), Known::New);
        dedup.applied(client(1), OpId(6), Seq(3));
        assert_eq!(dedup.look_up(client(1), OpId(6)), Known::Applied(Seq(3)));
    }

    #[test]
    fn what_lies_too_far_back_is_never_new() {
        let mut dedup = Dedup::default();
        for n in 1..=1_000 {
            dedup.applied(client(1), OpId(n), Seq(n));
        }
        assert_eq!(dedup.look_up(client(1), OpId(1)), Known::Expired);
        let oldest = 1_000 - OPS_IN_FLIGHT as u64;
        assert_eq!(dedup.look_up(client(1), OpId(oldest)), Known::Expired);
        assert_eq!(dedup.look_up(client(1), OpId(oldest + 1)), Known::Applied(Seq(oldest + 1)));
    }

    #[test]
    fn of_those_who_were_quiet_for_longest_the_newest_answer_stays() {
        let mut dedup = Dedup::default();
        for n in 1..=30 {
            dedup.applied(client(u128::from((n - 1) / 10)), OpId(n), Seq(n));
        }
        dedup.shorten_beyond(25);
        assert_eq!(dedup.look_up(client(0), OpId(10)), Known::Applied(Seq(10)));
        assert_eq!(dedup.look_up(client(0), OpId(9)), Known::Expired);
        assert_eq!(dedup.look_up(client(1), OpId(11)), Known::Applied(Seq(11)), "the others stay whole");
        dedup.shorten_beyond(5);
        assert_eq!(dedup.answers, 3);
        let again = Dedup::from_form(dedup.to_form());
        assert_eq!((again.answers, again.look_up(client(2), OpId(29))), (3, Known::Expired));
    }

    #[test]
    fn the_number_of_clients_is_bounded() {
        let mut dedup = Dedup::default();
        for n in 1..=20 {
            dedup.applied(client(u128::from(n)), OpId(1), Seq(n));
            dedup.forget_beyond(10);
        }
        assert_eq!((dedup.writers.len(), dedup.by_newest.len()), (10, 10));
        assert_eq!(dedup.look_up(client(20), OpId(1)), Known::Applied(Seq(20)));
    }

    proptest! {
        #[test]
        fn nothing_is_ever_applied_twice(ops in prop::collection::vec((0u128..4, 1u64..600), 1..2_000)) {
            let mut dedup = Dedup::default();
            let mut applied = BTreeMap::new();
            let mut seq = Seq(0);
            for (i, (who, op_id)) in ops.into_iter().enumerate() {
                if i % 500 == 499 {
                    dedup = Dedup::from_form(dedup.to_form());
                    dedup.shorten_beyond(i % 7 * 60);
                    prop_assert_eq!(dedup.answers, dedup.writers.values().map(|known| known.answers.len()).sum::<usize>());
                }
                let (who, op_id) = (client(who), OpId(op_id));
                match dedup.look_up(who, op_id) {
                    Known::New => {
                        seq = seq.next();
                        dedup.applied(who, op_id, seq);
                        prop_assert_eq!(applied.insert((who, op_id), seq), None);
                    }
                    Known::Applied(seq) => prop_assert_eq!(applied.get(&(who, op_id)), Some(&seq)),
                    Known::Expired => {}
                }
            }
        }
    }
}
