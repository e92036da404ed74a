//! What clients asked for, were answered and were shown, in the order in which it happened: nothing in a simulation happens at
//! the same time.

use enfilade_actors::bus::Writer;
use enfilade_proto::{Epoch, OpId, Position, RoomId, Seq};

/// An op's name for ever.
pub(super) type OpName = (Writer, OpId);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Submitted {
        client: usize,
        room: RoomId,
        op: OpName,
    },
    Accepted {
        client: usize,
        room: RoomId,
        op: OpName,
        seq: Seq,
    },
    /// A client asks to come in, on its so-manieth connection.
    JoinBegan {
        client: usize,
        room: RoomId,
        connection: u64,
    },
    /// What it was shown then: a snapshot of this seq, or (none) what it had already; the ops after that are `Shown`.
    Joined {
        client: usize,
        room: RoomId,
        connection: u64,
        position: Position,
        base: Option<Seq>,
    },
    Reset {
        client: usize,
        room: RoomId,
        base: Seq,
    },
    Shown {
        client: usize,
        room: RoomId,
        epoch: Epoch,
        seq: Seq,
        op: OpName,
    },
    /// Something that must not happen, seen where it happened.
    Wrong(String),
}

#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) entries: Vec<Entry>,
}
