//! The log as the checks look things up in it: which op stands where, what a stretch of it digests to, and what state it
//! makes.
//!
//! Memory: 48 bytes an op, and the boards. A stretch that is missing costs nothing, however long it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use enfilade_proto::{ClientId, Epoch, OpId, RoomId, Seq};

use crate::digest::{RangeDigest, op_digest};
use crate::export::Row;
use crate::replica::{Replica, StateHash};

#[derive(Debug, Default)]
pub struct Record {
    rooms: BTreeMap<RoomId, RoomRecord>,
    scope: Scope,
}

/// Of which rooms the record has everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    OnlyThoseSeen,
    These(BTreeSet<RoomId>),
    All,
}

#[derive(Debug, Default)]
pub struct RoomRecord {
    clients: Vec<ClientId>,
    numbers: HashMap<ClientId, u32>,
    stretches: Vec<Stretch>,
    epochs: Vec<Written>,
    /// After op 1, 2, 3 …, as far as nothing is missing.
    states: Vec<StateHash>,
    replica: Replica,
}

/// Ops without a gap between them.
#[derive(Debug)]
struct Stretch {
    first: Seq,
    ops: Vec<(u32, OpId)>,
    /// Digests of everything up to each of them.
    digests: Vec<RangeDigest>,
}

/// Ops that were written in one epoch, in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    pub first: Seq,
    pub last: Seq,
    pub epoch: Epoch,
}

impl Record {
    /// Everything of these rooms is there; of all that there are, if none are named.
    pub(super) fn has_all_of(&mut self, rooms: Option<&BTreeSet<RoomId>>) {
        match (&mut self.scope, rooms) {
            (Scope::All, _) => {}
            (scope, None) => *scope = Scope::All,
            (Scope::These(known), Some(rooms)) => known.extend(rooms),
            (scope, Some(rooms)) => *scope = Scope::These(rooms.clone()),
        }
    }

    pub(super) fn add(&mut self, row: &Row) {
        self.rooms.entry(row.room).or_default().add(row);
    }

    #[must_use]
    pub fn rooms(&self) -> &BTreeMap<RoomId, RoomRecord> {
        &self.rooms
    }

    /// None: nothing can be said about this room. A room that is within the scope and has no rows is empty.
    #[must_use]
    pub fn room(&self, room: RoomId) -> Option<&RoomRecord> {
        static EMPTY: std::sync::LazyLock<RoomRecord> = std::sync::LazyLock::new(RoomRecord::default);
        let known = match &self.scope {
            Scope::OnlyThoseSeen => false,
            Scope::These(rooms) => rooms.contains(&room),
            Scope::All => true,
        };
        self.rooms.get(&room).or_else(|| known.then(|| &*EMPTY))
    }
}

impl RoomRecord {
    fn add(&mut self, row: &Row) {
        for (op, seq) in row.ops.iter().zip(row.first.0..) {
            let seq = Seq(seq);
            // What stands twice stands as it did first.
            if seq <= self.head() {
                continue;
            }
            let digest = op_digest(op);
            let next = self.clients.len() as u32;
            let number = *self.numbers.entry(op.client).or_insert(next);
            if number == next {
                self.clients.push(op.client);
            }
            if seq == self.head().next() && !self.stretches.is_empty() {
                // The guard saw one.
                if let Some(stretch) = self.stretches.last_mut() {
                    stretch.push(seq, (number, op.op_id), digest);
                }
            } else {
                let mut stretch = Stretch { first: seq, ops: Vec::new(), digests: Vec::new() };
                stretch.push(seq, (number, op.op_id), digest);
                self.stretches.push(stretch);
            }
            if seq.0 == self.states.len() as u64 + 1 {
                self.replica.apply(seq, op.author, &op.op);
                self.states.push(self.replica.hash());
            }
        }
        if let Some(epoch) = row.epoch {
            self.add_epoch(row, epoch);
        }
    }

    fn add_epoch(&mut self, row: &Row, epoch: Epoch) {
        match self.epochs.last_mut() {
            Some(last) if last.epoch == epoch && last.last.next() == row.first => last.last = row.last,
            _ => self.epochs.push(Written { first: row.first, last: row.last, epoch }),
        }
    }

    /// The last op; 0 of an empty room.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.stretches.last().map_or(Seq(0), Stretch::last)
    }

    #[must_use]
    pub fn ops(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.ops.len() as u64).sum()
    }

    /// Of rows that have epochs, in the order of the log.
    #[must_use]
    pub fn epochs(&self) -> &[Written] {
        &self.epochs
    }

    /// The epoch in which the op was written.
    #[must_use]
    pub fn epoch_of(&self, seq: Seq) -> Option<Epoch> {
        self.epochs.iter().rev().find(|run| run.first <= seq && seq <= run.last).map(|run| run.epoch)
    }

    /// Whose op stands there.
    #[must_use]
    pub fn op_at(&self, seq: Seq) -> Option<(ClientId, OpId)> {
        let stretch = self.stretch(seq)?;
        let (client, op_id) = stretch.ops[(seq.0 - stretch.first.0) as usize];
        Some((self.clients[client as usize], op_id))
    }

    /// Where the op stands. Looks at all of the room's ops: for evidence, not for judgement.
    #[must_use]
    pub fn find(&self, client: ClientId, op_id: OpId) -> Option<Seq> {
        let name = (*self.numbers.get(&client)?, op_id);
        self.stretches.iter().find_map(|stretch| {
            let at = stretch.ops.iter().position(|op| *op == name)?;
            Some(Seq(stretch.first.0 + at as u64))
        })
    }

    /// The digest of the ops from `first` to `last`, if all of them are there.
    #[must_use]
    pub fn digest(&self, first: Seq, last: Seq) -> Option<RangeDigest> {
        if last < first {
            return Some(RangeDigest::default());
        }
        let stretch = self.stretch(first).filter(|stretch| last <= stretch.last())?;
        let up_to = |seq: Seq| stretch.digests[(seq.0 - stretch.first.0) as usize];
        let before = if first == stretch.first { RangeDigest::default() } else { up_to(Seq(first.0 - 1)) };
        Some(up_to(last).minus(before))
    }

    /// The state after that op, if everything up to it is there.
    #[must_use]
    pub fn state(&self, seq: Seq) -> Option<StateHash> {
        match seq.0.checked_sub(1) {
            None => Some(StateHash::default()),
            Some(index) => self.states.get(usize::try_from(index).ok()?).copied(),
        }
    }

    fn stretch(&self, seq: Seq) -> Option<&Stretch> {
        let after = self.stretches.partition_point(|stretch| stretch.first <= seq);
        self.stretches[..after].last().filter(|stretch| seq <= stretch.last())
    }
}

impl Stretch {
    fn push(&mut self, seq: Seq, op: (u32, OpId), digest: u64) {
        let before = self.digests.last().copied().unwrap_or_default();
        self.ops.push(op);
        self.digests.push(before.plus(RangeDigest::of(seq, digest)));
    }

    fn last(&self) -> Seq {
        Seq(self.first.0 + self.ops.len() as u64 - 1)
    }
}
