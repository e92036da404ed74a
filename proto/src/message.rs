//! The messages: what clients send ([`Request`]) and what they get ([`ServerMessage`] and the structs it is made of).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::board::AllElements;
use crate::deflated::{Compression, Deflated};
use crate::error::ErrorCode;
use crate::ids::{ClientId, Epoch, OpId, Position, RoomId, Seq, UserId};
use crate::limits::Limits;
use crate::name::DisplayName;
use crate::op::Op;
use crate::trace::TraceId;

/// What a room is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomKind {
    Board,
    Document,
    Chat,
    Thread,
}

impl RoomKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Document => "document",
            Self::Chat => "chat",
            Self::Thread => "thread",
        }
    }
}

/// What a person may do in a room; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Submits ops and signals.
    Editor,
    /// Also shares, renames and deletes the room.
    Owner,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Owner => "owner",
        }
    }
}

// ---- from the client ------------------------------------------------------------------------------------------

/// The first message: who is there. The credentials are tried in the order resume, token, guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub client: ClientId,
    /// Only watches: counted, not listed, and a viewer at most. Needs no credential.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audience: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// How snapshots may be compressed for this connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compression: Vec<Compression>,
    /// A context of W3C to whose trace the connection's ops shall belong. One that is none is no reason to refuse anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Hello {
    /// A hello that does not say who is there.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self {
            client,
            audience: false,
            resume: None,
            token: None,
            guest: None,
            compression: Vec::new(),
            traceparent: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// As it came; whether it is a name is looked at by whoever greets.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub room: RoomId,
    /// The secret of a share link, or the whole link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Where the client stands; the answer then brings what it missed, or a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Position>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leave {
    pub room: RoomId,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submit {
    pub room: RoomId,
    pub op_id: OpId,
    pub op: Op,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    pub room: RoomId,
    pub key: String,
    pub body: Value,
}

/// The person has seen everything through `seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Read {
    pub room: RoomId,
    pub seq: Seq,
}

/// A fresh access token of the same login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    pub token: String,
}

/// Whether somebody uses the device: by it others see the person online or away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub active: bool,
}

/// The short form of submitting a chat message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub room_id: RoomId,
    pub content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pong {}

/// Whatever a client may send.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Hello(Hello),
    Join(Join),
    Leave(Leave),
    Submit(Submit),
    Signal(Signal),
    Read(Read),
    Refresh(Refresh),
    Activity(Activity),
    Message(Message),
    Pong(Pong),
}

// ---- to the client --------------------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub id: UserId,
    pub name: DisplayName,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest: bool,
}

/// Reply to `hello`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Absent for an audience without a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    pub node: String,
    /// How often the server pings, in milliseconds. Silence for this long and 10 s more means that it is gone.
    pub ping_ms: u64,
    /// Says `hello` for the same person from another connection, for a while. Absent where there is no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    pub limits: Limits,
}

/// The whole of a room after its op `seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub seq: Seq,
    /// A board's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<AllElements>,
}

/// Reply to `join`. `snapshot` is the room at `snapshot.seq`; `ops` are those after it (or after `since`), the last
/// of which is `position.seq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    pub room: RoomId,
    pub kind: RoomKind,
    pub title: DisplayName,
    pub role: Role,
    pub position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    /// The snapshot, if it travels compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_deflate: Option<Deflated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<Vec<LoggedOp>>,
    pub presence: Presence,
}

/// Reply to `submit`, after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub seq: Seq,
}

/// Reply to whatever has nothing else to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {}

/// Reply to a request that was refused, or a push when it had no id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Names this error in the server's log, and the trace of the op if its way was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

impl Error {
    /// An error that waiting does not heal.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, trace_id: None }
    }
}

/// An op as it stands in the history of its room. Its seq follows from its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoggedOp {
    pub author: UserId,
    pub client: ClientId,
    pub op_id: OpId,
    /// When the room took it, in milliseconds since 1970.
    pub at: u64,
    pub op: Op,
}

/// Push: what happened in a room, in order. `ops[i]` has the seq `first_seq + i`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ops {
    pub room: RoomId,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub ops: Vec<LoggedOp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalOut {
    pub author: UserId,
    pub client: ClientId,
    pub key: String,
    pub body: Value,
}

/// Push: what is going on in a room right now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    pub room: RoomId,
    pub signals: Vec<SignalOut>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub id: UserId,
    pub name: DisplayName,
    pub role: Role,
}

/// Who is in a room: all of them (`members`), or what changed (`joined`, `left`), or, in a large room, how many; and how many
/// watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Presence {
    /// Absent inside `joined`, which names the room itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    pub count: u64,
    /// Connections that only watch. They are not among `count`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub audience: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Vec<Member>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Vec<UserId>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it asks about by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Push: the client fell too far behind; this is the room now, as in [`Joined`], with one of the two snapshots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reset {
    pub room: RoomId,
    pub position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_deflate: Option<Deflated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<Vec<LoggedOp>>,
}

/// Push: the room has another title.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Renamed {
    pub room: RoomId,
    pub title: DisplayName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub room: RoomId,
    pub seq: Seq,
}

/// Push: are you there? And this is how far each of your rooms has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    pub heads: Vec<Head>,
}

/// Push `reconnect`: go elsewhere after `after_ms`, and say `hello` with `resume` there before leaving here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reconnecting {
    pub after_ms: u64,
    /// As in [`Welcome`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
}

/// Push: the connection will be closed with this code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    pub code: u16,
    pub reason: String,
    /// As in [`Error`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

/// Whatever a server may send, as a client reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    Welcome(Welcome),
    Joined(Box<Joined>),
    Accepted(Accepted),
    Done(Done),
    Error(Error),
    Ops(Ops),
    Signals(Signals),
    Presence(Presence),
    Reset(Reset),
    Renamed(Renamed),
    Ping(Ping),
    Reconnect(Reconnecting),
    Closing(Closing),
    /// A type that this version does not know, to be skipped.
    Unknown(String),
}
