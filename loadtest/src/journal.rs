//! The journal of a replay: what each client asked for, was answered and was shown, so that a checker knows afterwards
//! what the server had promised. [`write`] and [`read`] carry it; `FORMAT.md` describes it for others.
//!
//! Times are microseconds of the writer's monotonic clock; the first line says what the wall clock said at 0, so that
//! journals of several machines can be laid beside each other. Lines with `link` say how to get into a room: a journal
//! holds secrets.

pub mod read;
pub mod write;

use enfilade_proto::{ClientId, Epoch, ErrorCode, OpId, Position, RoomId, Seq, UserId};
use serde::{Deserialize, Serialize};

pub use self::read::{JournalError, JournalReader, Moment, read_journal};
pub use self::write::Journal;
use crate::clock::Micros;
use crate::digest::RangeDigest;
use crate::replica::StateHash;

/// The version of the format.
pub const VERSION: u32 = 2;

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub enfilade_journal: u32,
    /// Microseconds since 1970 when the journal's clock stood at 0.
    pub wall_us: Micros,
}

/// Every line after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// On the journal's clock.
    pub t: Micros,
    #[serde(flatten)]
    pub entry: Entry,
}

/// What was shown by a `joined` or a `reset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<ShownState>,
    /// How many ops there were after it; the last of them is the position's.
    pub ops: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<RangeDigest>,
}

/// A state of a room after an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownState {
    pub seq: Seq,
    pub hash: StateHash,
}

/// Everything that is on record of clients and of what was done to the cluster meanwhile. `connection` counts the
/// connections of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Entry {
    Room {
        room: RoomId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// Nobody is in the room but clients of this journal.
        #[serde(default)]
        alone: bool,
    },
    Opened {
        client: ClientId,
        connection: u32,
    },
    Welcome {
        client: ClientId,
        connection: u32,
        user: UserId,
        node: String,
    },
    /// The client asked to come in.
    Join {
        client: ClientId,
        connection: u32,
        room: RoomId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Position>,
    },
    Joined {
        client: ClientId,
        connection: u32,
        room: RoomId,
        position: Position,
        #[serde(flatten)]
        shown: Shown,
    },
    Reset {
        client: ClientId,
        connection: u32,
        room: RoomId,
        position: Position,
        #[serde(flatten)]
        shown: Shown,
    },
    /// Ops that were pushed; pushes that follow each other may share a line, which then bears the time of the last.
    Ops {
        client: ClientId,
        connection: u32,
        room: RoomId,
        epoch: Epoch,
        first: Seq,
        last: Seq,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<RangeDigest>,
    },
    /// An op for the first time; what is sent again is not written again.
    Submit {
        client: ClientId,
        room: RoomId,
        op_id: OpId,
    },
    Accepted {
        client: ClientId,
        room: RoomId,
        op_id: OpId,
        seq: Seq,
        /// Of the owner that said so, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
    },
    /// A request was refused; `op_id` if it was an op, `last` if the client does not try it again.
    Error {
        client: ClientId,
        room: RoomId,
        code: ErrorCode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op_id: Option<OpId>,
        last: bool,
    },
    /// The server asked the client to move.
    Told {
        client: ClientId,
        connection: u32,
        after_ms: u64,
    },
    Closed {
        client: ClientId,
        connection: u32,
        by: By,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u16>,
    },
    /// What the clients of a room made of all that they were shown.
    State {
        room: RoomId,
        #[serde(flatten)]
        state: ShownState,
    },
    /// Who is in the room, by what a client (which is in it as `viewer`) was told.
    Presence {
        room: RoomId,
        viewer: UserId,
        count: u64,
        /// Absent where the room is too large to list them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        members: Option<Vec<UserId>>,
    },
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Client,
    Server,
    /// Nobody said goodbye.
    Loss,
}

/// What was done to the cluster, as its tormentor wrote it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Milliseconds since 1970.
    pub at: f64,
    pub fault: String,
    pub phase: Phase,
    /// How long rooms may stand still for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Inject,
    Heal,
}

/// How full something was, and how full it may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Milliseconds since 1970.
    pub at: f64,
    #[serde(default)]
    pub node: String,
    pub metric: String,
    pub value: f64,
    pub bound: f64,
}

/// Whatever a journal can hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Journaled {
    Entry(Entry),
    Fault(Fault),
    Bound(Bound),
}
