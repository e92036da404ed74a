//! The history of a room as the clients saw it together, and the state that it makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use enfilade_proto::board::Element;
use enfilade_proto::{LoggedOp, Seq};

use super::{Seen, Who};
use crate::replica::{Replica, StateHash};

/// No server is this far ahead of what anybody was shown; a seq beyond is not worth the memory.
const FAR_AHEAD: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(super) struct History {
    /// The state after this op was learnt from a snapshot (or from an empty room); ops follow from here.
    base: Option<Seq>,
    /// Ops up to here happened before the run.
    before_run: Option<Seq>,
    /// Of base + 1 and on.
    slots: Vec<Option<Slot>>,
    /// The state after base, base + 1 and so on, as far as there is no hole.
    states: Vec<StateHash>,
    replica: Replica,
    /// Ops beyond a hole.
    ahead: BTreeMap<Seq, Arc<LoggedOp>>,
    /// Snapshots beyond a hole.
    waiting: BTreeMap<Seq, Vec<(StateHash, Who)>>,
    head: Seq,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    digest: u64,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Member {
        who: Who,
        op_id: u64,
    },
    /// The room itself, or somebody before the run.
    Room,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    New { older_than_the_run: bool },
    Same,
    Different,
    OutOfProportion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongSnapshot {
    pub(super) seq: Seq,
    pub(super) who: Who,
    pub(super) shown: StateHash,
    pub(super) made: StateHash,
}

impl History {
    /// The history begins with an empty room.
    pub(super) fn begin_empty(&mut self) {
        self.begin(Seq(0), Replica::default());
    }

    fn begin(&mut self, base: Seq, replica: Replica) {
        if self.base.is_none() {
            self.base = Some(base);
            self.states.push(replica.hash());
            self.replica = replica;
            self.known(base);
        }
    }

    pub(super) fn run_begins_after(&mut self, seq: Seq) {
        self.before_run.get_or_insert(seq);
    }

    pub(super) fn is_older_than_the_run(&self, seq: Seq) -> bool {
        self.before_run.is_none_or(|before| seq <= before)
    }

    /// That there is such an op is known, if not what it is.
    pub(super) fn known(&mut self, seq: Seq) {
        if seq.0 <= self.head.0 + FAR_AHEAD {
            self.head = self.head.max(seq);
        }
    }

    pub(super) fn head(&self) -> Seq {
        self.head
    }

    /// The last op up to which everything is known.
    pub(super) fn applied(&self) -> Seq {
        Seq(self.base.unwrap_or_default().0 + (self.states.len() as u64).saturating_sub(1))
    }

    pub(super) fn hash(&self) -> StateHash {
        self.replica.hash()
    }

    /// The first op that exists and was not shown to anybody.
    pub(super) fn hole(&self) -> Option<Seq> {
        self.base.is_some().then(|| self.applied().next()).filter(|next| *next <= self.head)
    }

    pub(super) fn source(&self, seq: Seq) -> Option<Source> {
        Some(self.slot(seq)?.source)
    }

    fn slot(&self, seq: Seq) -> Option<&Slot> {
        self.slots.get(self.index(seq)?)?.as_ref()
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        usize::try_from(seq.0.checked_sub(self.base?.0 + 1)?).ok()
    }

    pub(super) fn sight(&self, seq: Seq, digest: u64) -> Sight {
        if seq.0 > self.head.0 + FAR_AHEAD {
            return Sight::OutOfProportion;
        }
        match (self.index(seq), self.slot(seq)) {
            // Older than the first snapshot: what it made is in there.
            (None, _) => Sight::Same,
            (_, Some(slot)) if slot.digest == digest => Sight::Same,
            (_, Some(_)) => Sight::Different,
            (_, None) => Sight::New { older_than_the_run: self.is_older_than_the_run(seq) },
        }
    }

    /// Writes an op that is [`Sight::New`]. Returns snapshots that it shows to be wrong.
    pub(super) fn write(&mut self, seq: Seq, seen: &Seen, source: Source) -> Vec<WrongSnapshot> {
        let Some(index) = self.index(seq) else { return Vec::new() };
        if index >= self.slots.len() {
            self.slots.resize(index + 1, None);
        }
        self.slots[index] = Some(Slot { digest: seen.digest, source });
        self.known(seq);
        if seq > self.applied() {
            self.ahead.insert(seq, seen.op.clone());
        }
        self.advance()
    }

    fn advance(&mut self) -> Vec<WrongSnapshot> {
        let mut wrong = Vec::new();
        while let Some(op) = self.ahead.remove(&self.applied().next()) {
            let seq = self.applied().next();
            self.replica.apply(seq, op.author, &op.op);
            self.states.push(self.replica.hash());
            for (shown, who) in self.waiting.remove(&seq).unwrap_or_default() {
                let made = self.replica.hash();
                wrong.extend((shown != made).then_some(WrongSnapshot { seq, who, shown, made }));
            }
        }
        wrong
    }

    /// Somebody was shown the room after the op `seq`.
    pub(super) fn snapshot(
        &mut self,
        seq: Seq,
        elements: &[Element],
        shown: StateHash,
        who: Who,
    ) -> Vec<WrongSnapshot> {
        let Some(base) = self.base else {
            self.begin(seq, Replica::from_elements(elements));
            return Vec::new();
        };
        if seq > self.applied() || seq < base {
            self.known(seq);
            self.waiting.entry(seq).or_default().push((shown, who));
            return Vec::new();
        }
        // The bounds were just checked.
        let made = self.states[(seq.0 - base.0) as usize];
        (shown != made).then_some(WrongSnapshot { seq, who, shown, made }).into_iter().collect()
    }

    /// Seqs up to which something was claimed that could not be compared, and by whose account.
    pub(super) fn unproven(&self) -> Vec<(Seq, Option<Who>)> {
        let snapshots =
            self.waiting.iter().flat_map(|(seq, shown)| shown.iter().map(|(_, who)| (*seq, Some(*who))));
        let hole = self.hole().map(|_| (self.head, None));
        snapshots.chain(hole).collect()
    }
}
