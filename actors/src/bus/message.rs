//! What nodes say to each other.
//!
//! Nodes of two versions talk while a cluster is upgraded: fields may be added if they have a default, and a message of a kind
//! that a node does not know is skipped.

use std::sync::Arc;

use enfilade_proto::{
    ClientId, DisplayName, Epoch, LoggedOp, LoginId, Member, Op, OpId, Position, Presence, Role, RoomId,
    RoomKind, Seq, SignalOut, TraceParent, UserId,
};
use enfilade_store::{Incarnation, Shard};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::kind::Contents;
use crate::refusal::Refusal;

/// Names a question of one node until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

/// Who writes with what: a person and one of their clients. A client's id is no secret, so alone it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Writer {
    pub author: UserId,
    pub client: ClientId,
}

/// An op on its way to the owner of its room. The edge has found out who sends it and what role they have; the room decides
/// what that role may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub writer: Writer,
    pub role: Role,
    pub op_id: OpId,
    pub op: Op,
    /// Bytes of the frame it came in: what it counts towards the bounds of queues.
    pub weight: u32,
    /// The step before, if its way is traced. Travels beside the message, not in it.
    #[serde(skip)]
    pub trace: Option<TraceParent>,
}

/// Why a question was not answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Refused {
    /// The room does not run here (any more). Look for its owner.
    NotOwner,
    /// The room's actor ended with the question in its mailbox. Ask again.
    Gone,
    /// The room, or its node, said no.
    No(Refusal),
}

impl Refused {
    /// What steps of a trace are told to have failed by.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotOwner => "not_owner",
            Self::Gone => "gone",
            Self::No(refusal) => refusal.code.as_str(),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::No(refusal)
    }
}

/// What an owner tells an edge that attaches to a room, or looks at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attached {
    pub kind: RoomKind,
    pub position: Position,
    /// The room at that position, if it was asked for.
    pub contents: Option<Contents>,
    pub presence: Presence,
    /// The edges that are attached: to them go signals. See [`RoomEvent::Edges`].
    pub edges: Vec<Incarnation>,
    pub multicast: bool,
    /// Whether the edge was attached before: then the owner knows who is there.
    pub known: bool,
}

/// What an edge knows of a room, by which is noticed what was lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How far it has got.
    pub position: Position,
    /// Who has a connection here.
    pub here: Fingerprint,
    /// Who is in the room; see [`roster`].
    pub people: Fingerprint,
    /// The edges that are attached.
    pub edges: Fingerprint,
    /// Unknown to a node of an earlier version, which has no audience.
    #[serde(default)]
    pub audience: Option<Watching>,
}

/// How many watch a room: on one edge, and everywhere as far as that edge was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    pub here: u64,
    pub everywhere: u64,
}

/// The fingerprint of who is in a room; where they are not listed, of how many they are.
#[must_use]
pub fn roster(count: u64, listed: Option<Fingerprint>) -> Fingerprint {
    listed.unwrap_or_else(|| std::iter::once(Uuid::from_u64_pair(0, count)).collect())
}

/// News of one edge for the owner of a room; no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// These people have a connection here now.
    Arrived(Vec<Member>),
    /// These people have none here any more.
    Departed(Vec<UserId>),
    /// Exactly these people are here.
    Present(Vec<Member>),
    /// So many connections only watch here.
    Audience(u64),
    /// A writer is connected (again).
    WriterBack(Writer),
    /// A writer has left the room, or (not `left`) the connection was lost.
    WriterGone { writer: Writer, left: bool },
    /// A signal that the kind wants to know of.
    Signal(SignalOut),
    /// The edge is attached, and this is what it knows. Said every few seconds: whoever lacks something is told.
    Standing(Standing),
    /// Nobody is in the room here any more.
    Detached,
}

/// What an owner tells every edge that is attached to its room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RoomEvent {
    /// These ops were committed.
    Ops {
        first: Seq,
        ops: Arc<[Arc<LoggedOp>]>,
        /// The last steps of those that are traced. They travel beside the message, not in it.
        #[serde(skip)]
        traces: Vec<TraceParent>,
    },
    Presence(Presence),
    /// These edges are attached now. `multicast`: what concerns all of them is multicast to the room from now on.
    Edges {
        edges: Vec<Incarnation>,
        multicast: bool,
    },
    /// The room has come this far: whoever lacks something reads it from the log.
    Head(Seq),
    /// The owner is gone (it crashed, or moved), or does not know who is there: attach again.
    OwnerLost,
}

/// How one device of a person is connected to an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    pub since_ms: u64,
    /// Somebody uses it right now, as far as it knows.
    pub active: bool,
}

/// What an edge says of a device to the owner of its person's session; no answer. Said when it changes, and again every few
/// seconds while it is connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    pub user: UserId,
    pub login: LoginId,
    /// None: it is not connected any more.
    pub connected: Option<Connected>,
}

/// Whether a person is there, on any device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserPresence {
    Online,
    /// Connected, but nobody uses any of the devices.
    Away,
    Offline,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectedDevice {
    pub login: LoginId,
    pub node: Incarnation,
    pub connected: Connected,
}

/// A session, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    pub presence: UserPresence,
    pub devices: Vec<ConnectedDevice>,
}

/// What a node asks the owner of a room or a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Question {
    /// Who is in a room? Some of them, by id.
    People { room: RoomId, after: Option<UserId>, limit: u32 },
    /// On which devices is a person connected?
    Session(UserId),
    /// A login was ended. Who still has connections of it?
    EndLogin { user: UserId, login: LoginId },
}

impl Question {
    /// The shard whose owner knows.
    #[must_use]
    pub fn shard(&self) -> Shard {
        match self {
            Self::People { room, .. } => Shard::of(*room),
            Self::Session(user) | Self::EndLogin { user, .. } => Shard::of_user(*user),
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Told {
    People(Vec<Member>),
    Session(SessionView),
    /// So many edges, which were told to close them.
    Ending(u32),
}

/// What every edge of the cluster hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClusterEvent {
    /// A login was ended: its connections close.
    LoginEnded(LoginId),
    /// Who may enter a room has changed: look again for everybody who is in it.
    AccessChanged(RoomId),
    RoomRenamed(RoomId, DisplayName),
    /// The room was deleted: its owner ends it.
    RoomDeleted(RoomId),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    // From an edge to an owner.
    /// To be taken only after `after`, which went the same way just before; none: nothing comes before it.
    Submit {
        room: RoomId,
        ticket: Ticket,
        after: Option<Ticket>,
        submission: Submission,
    },
    /// `stay`: the edge hears of the room's events from now on. `contents`: it wants to see the room, too. Without either
    /// it asks where the room stands.
    Attach {
        room: RoomId,
        ticket: Ticket,
        stay: bool,
        contents: bool,
    },
    Notice {
        room: RoomId,
        notice: Notice,
    },

    Ask {
        ticket: Ticket,
        question: Question,
    },
    Devices(Vec<DeviceReport>),

    // From an owner to an edge.
    Told {
        ticket: Ticket,
        result: Result<Told, Refused>,
    },
    /// This login was ended: close its connections, and say so.
    SignedOut {
        user: UserId,
        login: LoginId,
    },
    Answer {
        room: RoomId,
        ticket: Ticket,
        result: Result<Seq, Refused>,
    },
    Attached {
        ticket: Ticket,
        result: Result<Attached, Refused>,
    },
    Event {
        room: RoomId,
        epoch: Epoch,
        event: RoomEvent,
    },

    // From an edge to edges.
    Signals {
        room: RoomId,
        signals: Vec<SignalOut>,
    },

    // From a node to all.
    Announced(ClusterEvent),
    /// These shards have a new owner.
    Moved {
        shards: Vec<(Shard, Epoch)>,
        to: Incarnation,
    },
    /// I am there. Said twice a second.
    Heartbeat,
}

impl Message {
    /// Whether it may be of any size, and nothing that is urgent should wait behind it.
    #[must_use]
    pub fn is_bulky(&self) -> bool {
        matches!(self, Self::Attached { result: Ok(Attached { contents: Some(_), .. }), .. })
    }

    /// The traces that the message belongs to. They travel beside the message.
    #[must_use]
    pub fn traces(&self) -> &[TraceParent] {
        match self {
            Self::Submit { submission, .. } => submission.trace.as_slice(),
            Self::Event { event: RoomEvent::Ops { traces, .. }, .. } => traces,
            _ => &[],
        }
    }

    /// Puts the traces back that travelled beside the message.
    pub fn set_traces(&mut self, told: Vec<TraceParent>) {
        match self {
            Self::Submit { submission, .. } => submission.trace = told.first().copied(),
            Self::Event { event: RoomEvent::Ops { traces, .. }, .. } => *traces = told,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::Seq;

    use super::*;

    /// What the version before says and understands.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct StandingBefore {
        position: Position,
        here: Fingerprint,
        people: Fingerprint,
        edges: Fingerprint,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum NoticeBefore {
        Standing(StandingBefore),
        Detached,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct PresenceBefore {
        count: u64,
        #[serde(default)]
        joined: Option<Vec<Member>>,
    }

    fn written<T: Serialize>(message: &T) -> Vec<u8> {
        rmp_serde::to_vec_named(message).unwrap()
    }

    fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
        rmp_serde::from_slice(bytes).ok()
    }

    #[test]
    fn nodes_of_the_version_before_understand_all_but_the_audience() {
        let position = Position { epoch: Epoch(2), seq: Seq(3) };
        let [here, people, edges] = [1, 2, 3].map(|n| [Uuid::from_u128(n)].into_iter().collect());
        let before = || StandingBefore { position, here, people, edges };
        let standing = Standing { position, here, people, edges, audience: None };
        let from_before = written(&NoticeBefore::Standing(before()));
        assert_eq!(read(&from_before), Some(Notice::Standing(standing)));
        let watching = Standing { audience: Some(Watching { here: 5, everywhere: 9 }), ..standing };
        assert_eq!(read(&written(&Notice::Standing(watching))), Some(NoticeBefore::Standing(before())));
        assert_eq!(read::<NoticeBefore>(&written(&Notice::Audience(5))), None, "it is skipped");

        let digest = Presence { count: 1, audience: 5, joined: Some(Vec::new()), ..Presence::default() };
        let understood = PresenceBefore { count: 1, joined: Some(Vec::new()) };
        assert_eq!(read(&written(&digest)), Some(understood));
        let from_before = written(&PresenceBefore { count: 1, joined: None });
        assert_eq!(read(&from_before), Some(Presence { count: 1, ..Presence::default() }));
    }
}
