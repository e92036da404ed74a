//! What can happen to a room, and what it wants done about it.

use std::sync::Arc;

use enfilade_proto::{LoggedOp, Seq};
use enfilade_store::Incarnation;

use super::form::CheckpointParts;
use crate::bus::{Attached, Notice, RoomEvent, Submission};
use crate::refusal::Refusal;

/// Names a request while its answer is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Everything that can happen to a room; nothing else wakes it.
#[derive(Debug)]
pub enum Input {
    Submit {
        token: Token,
        submission: Submission,
    },
    /// Somebody wants to see the room; an edge also wants to hear of what happens in it from now on.
    Attach {
        token: Token,
        edge: Option<Incarnation>,
        /// Whether the answer shall have the room's contents.
        contents: bool,
    },
    Notice {
        from: Incarnation,
        notice: Notice,
    },
    /// An edge is gone for good.
    EdgeGone(Incarnation),
    /// The batch in flight is on disk.
    Committed,
    /// The batch in flight was certainly not written; the database is not available.
    CommitFailed,
    /// The checkpoint at this seq is on disk, in so many bytes.
    CheckpointWritten {
        seq: Seq,
        bytes: u64,
    },
    CheckpointFailed,
    /// The time that [`Room::next_deadline`](super::Room::next_deadline) gave has come.
    Tick,
}

/// What the outside has to do, in exactly this order.
#[derive(Debug)]
pub enum Effect {
    /// Write these ops, the first of which has this seq. None: only ask the fence. Answered by `Committed` or `CommitFailed`.
    Commit {
        first: Seq,
        ops: Vec<Arc<LoggedOp>>,
    },
    Accept {
        token: Token,
        seq: Seq,
    },
    Refuse {
        token: Token,
        refusal: Refusal,
    },
    Attached {
        token: Token,
        attached: Attached,
    },
    Publish {
        to: Audience,
        event: RoomEvent,
    },
    Checkpoint {
        seq: Seq,
        parts: CheckpointParts,
    },
    /// Nobody needs the room; all of it is on disk.
    Sleep,
}

/// Who is to hear of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    Edges(Vec<Incarnation>),
    /// All edges that are attached: so many that they listen to the room together.
    Listeners,
    /// Every edge there is.
    Everybody,
}
