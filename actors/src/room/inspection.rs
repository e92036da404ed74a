//! What a room looks like from outside, for operators and tests.

use enfilade_proto::{Epoch, RoomId, RoomKind, Seq};

use super::Room;

/// What a room looks like from outside.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Inspection {
    pub room: RoomId,
    pub kind: RoomKind,
    pub epoch: Epoch,
    pub head: Seq,
    pub committed: Seq,
    pub checkpoint: Seq,
    pub pending_ops: usize,
    pub edges: usize,
    pub people: usize,
    pub audience: u64,
}

impl Room {
    /// For operators and tests.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        Inspection {
            room: self.id,
            kind: self.kind_name,
            epoch: self.epoch,
            head: self.head,
            committed: self.committed,
            checkpoint: self.checkpoint.seq,
            pending_ops: self.pending.len() + self.in_flight.as_ref().map_or(0, Vec::len),
            edges: self.edges.len(),
            people: self.presence.count(),
            audience: self.presence.audience(),
        }
    }
}
