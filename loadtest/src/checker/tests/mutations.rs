//! Whatever is done to a true history is noticed.

use enfilade_proto::{Epoch, OpId, Position, Seq};
use proptest::prelude::*;

use super::history::{ADA, History, ROOM};
use super::{Entry, Invariant, Journaled};
use crate::export::LogLine;

/// One thing that must never happen, at a place that chance chooses, and who has to notice.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    DropRow,
    DropOpOfRow,
    SwapOps,
    SwapRows,
    DuplicateOp,
    LowerEpoch,
    WriteAfterTakeover,
    AcknowledgeTheAbsent,
    AcknowledgeElsewhere,
    HidePush,
    RepeatPush,
    ShowAnother,
    ShowTheUncommitted,
    RewindJoin,
    SpoilState,
    ForgetTail,
}

const ALL: [Mutation; 16] = [
    Mutation::DropRow,
    Mutation::DropOpOfRow,
    Mutation::SwapOps,
    Mutation::SwapRows,
    Mutation::DuplicateOp,
    Mutation::LowerEpoch,
    Mutation::WriteAfterTakeover,
    Mutation::AcknowledgeTheAbsent,
    Mutation::AcknowledgeElsewhere,
    Mutation::HidePush,
    Mutation::RepeatPush,
    Mutation::ShowAnother,
    Mutation::ShowTheUncommitted,
    Mutation::RewindJoin,
    Mutation::SpoilState,
    Mutation::ForgetTail,
];

/// Picks by chance from what there is.
fn pick<T: Copy>(from: &[T], chance: usize) -> T {
    from[chance % from.len()]
}

impl Mutation {
    /// Does it, and says which invariant it breaks for certain.
    fn apply(self, history: &mut History, chance: usize) -> Invariant {
        let rows: Vec<usize> = history.rows().collect();
        let entries = |history: &History, test: fn(&Entry) -> bool| -> Vec<usize> {
            let is = |i: &usize| matches!(&history.journal[*i].1, Journaled::Entry(entry) if test(entry));
            (0..history.journal.len()).filter(is).collect()
        };
        match self {
            Self::DropRow => {
                // Not the last: a log that was not yet written is no lie by itself.
                history.log.remove(pick(&rows[..rows.len() - 1], chance));
                Invariant::I1
            }
            Self::DropOpOfRow => {
                history.row_mut(pick(&rows, chance)).ops.pop();
                Invariant::I1
            }
            Self::SwapOps => {
                let (a, b) = (pick(&rows, chance), pick(&rows, chance + 1));
                let op = history.row(a).ops[0].clone();
                let other = std::mem::replace(&mut history.row_mut(b).ops[0], op);
                history.row_mut(a).ops[0] = other;
                Invariant::I2
            }
            Self::SwapRows => {
                let i = chance % (rows.len() - 1);
                history.log.swap(rows[i], rows[i + 1]);
                Invariant::I1
            }
            Self::DuplicateOp => {
                let op = history.row(pick(&rows, chance)).ops[0].clone();
                history.append(op.op_id, op);
                Invariant::I4
            }
            Self::LowerEpoch => {
                history.row_mut(pick(&rows[1..], chance)).epoch = Some(Epoch(0));
                Invariant::I6
            }
            Self::WriteAfterTakeover => {
                let tail = history.tail();
                let later: Vec<usize> = rows.into_iter().filter(|i| history.row(*i).first > tail).collect();
                history.row_mut(pick(&later, chance)).epoch = Some(Epoch(1));
                Invariant::I5
            }
            Self::AcknowledgeTheAbsent => {
                let seq = Seq(chance as u64 % 40 + 1);
                history.push(Entry::Accepted {
                    client: ADA,
                    room: ROOM,
                    op_id: OpId(5_000),
                    seq,
                    epoch: None,
                });
                Invariant::I2
            }
            Self::AcknowledgeElsewhere => {
                let acknowledged = entries(history, |entry| matches!(entry, Entry::Accepted { .. }));
                let i = pick(&acknowledged, chance);
                let Journaled::Entry(Entry::Accepted { seq, .. }) = &mut history.journal[i].1 else {
                    unreachable!()
                };
                *seq = seq.next();
                Invariant::I2
            }
            Self::HidePush => {
                // The last of a connection leaves no gap behind it.
                let pushes = entries(history, |entry| matches!(entry, Entry::Ops { last, .. } if last.0 < 8));
                history.journal.remove(pick(&pushes, chance));
                Invariant::I7
            }
            Self::RepeatPush => {
                let pushes = entries(history, |entry| matches!(entry, Entry::Ops { .. }));
                let i = pick(&pushes, chance);
                let again = history.journal[i].clone();
                history.journal.insert(i + 1, again);
                Invariant::I7
            }
            Self::ShowAnother => {
                let pushes = entries(history, |entry| matches!(entry, Entry::Ops { .. }));
                let other = history.digest(2, 3);
                let Journaled::Entry(Entry::Ops { digest, .. }) =
                    &mut history.journal[pick(&pushes, chance)].1
                else {
                    unreachable!()
                };
                *digest = Some(other);
                Invariant::I9
            }
            Self::ShowTheUncommitted => {
                let (connection, first) = (history.connection_of_ada(), Seq(41));
                let last = Seq(41 + chance as u64 % 5);
                let (client, room, epoch) = (ADA, ROOM, Epoch(3));
                history.push(Entry::Ops { client, connection, room, epoch, first, last, digest: None });
                Invariant::I9
            }
            Self::RewindJoin => {
                let back = Position { epoch: Epoch(3), seq: Seq(chance as u64 % 39 + 1) };
                let (client, connection, room) = (ADA, 9, ROOM);
                history.push(Entry::Join { client, connection, room, since: Some(back) });
                let shown = crate::journal::Shown::default();
                history.push(Entry::Joined { client, connection, room, position: back, shown });
                Invariant::I3
            }
            Self::SpoilState => {
                let seq = Seq(chance as u64 % 40 + 1);
                let hash = history.state((seq.0 + 3) % 40);
                history.push(Entry::State { room: ROOM, state: super::ShownState { seq, hash } });
                Invariant::I8
            }
            Self::ForgetTail => {
                let lower = chance as u64 % history.tail().0;
                for line in &mut history.log {
                    if let LogLine::Takeover(takeover) = line
                        && takeover.epoch == Epoch(3)
                    {
                        takeover.tails.insert(ROOM, Seq(lower));
                    }
                }
                Invariant::I5
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_to_a_true_history_is_noticed(chance in 0usize..10_000) {
        for mutation in ALL {
            let mut history = History::valid(40);
            let broken = mutation.apply(&mut history, chance);
            let report = history.check();
            prop_assert!(report.violated().contains(&broken), "{mutation:?} went unnoticed: {report}");
        }
    }

    #[test]
    fn no_true_history_is_accused(count in 20u64..120) {
        let report = History::valid(count).check();
        prop_assert_eq!(report.violated(), vec![], "{}", report);
    }
}
