//! The bus: what edges and owners of rooms say to each other. One of the two seams of the cluster (the other is the log).
//!
//! A lost message costs time, never data: requests are repeated (ops are recognised by their op id), events carry their seq, so
//! that an edge notices a gap and attaches anew, and presence is reported whole on every attach.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::{
    ClientId, DisplayName, Epoch, LoggedOp, LoginId, Member, Op, OpId, Position, Presence, Role, RoomId,
    RoomKind, Seq, SignalOut, UserId,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::host::{Host, WeakHost};
use crate::kind::Contents;
use crate::presence::EdgeId;
use crate::refusal::Refusal;

/// Who writes with what: a person and one of their clients. A client's id is no secret, so alone it names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Writer {
    pub author: UserId,
    pub client: ClientId,
}

/// An op on its way to the owner of its room. The edge has found out who sends it and what role they have; the room decides
/// what that role may do.
#[derive(Clone, Debug)]
pub struct Submission {
    pub writer: Writer,
    pub role: Role,
    pub op_id: OpId,
    pub op: Op,
    /// Bytes of the frame it came in: what it counts towards the bounds of mailboxes.
    pub weight: u32,
}

/// How long an answer is waited for. The client sends the op again, and it will be recognised.
const ANSWER: Duration = Duration::from_secs(10);

/// What will become of a submitted op.
#[derive(Debug)]
pub struct Answer(pub oneshot::Receiver<Result<Seq, Refusal>>);

impl Answer {
    /// The seq of the op, once it is durable.
    ///
    /// # Errors
    /// What the room refuses; `busy` when the owner crashed or did not answer in time. The op may be applied all the same: the
    /// same op under the same id gets its seq.
    pub async fn wait(self) -> Result<Seq, Refusal> {
        match tokio::time::timeout(ANSWER, self.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Refusal::busy("the room is restarting", 200)),
            Err(_) => Err(Refusal::busy("the room does not answer", 1_000)),
        }
    }
}

/// What an owner tells an edge that attaches to a room.
#[derive(Clone, Debug)]
pub struct Attached {
    pub kind: RoomKind,
    pub position: Position,
    pub contents: Contents,
    pub presence: Presence,
}

/// News of one edge for the owner of a room; no answer.
#[derive(Clone, Debug)]
pub enum Notice {
    /// These people have a connection here now.
    Arrived { edge: EdgeId, members: Vec<Member> },
    /// These people have none here any more.
    Departed { edge: EdgeId, users: Vec<UserId> },
    /// Exactly these people are here.
    Present { edge: EdgeId, members: Vec<Member> },
    /// A writer is connected (again).
    WriterBack(Writer),
    /// A writer has left the room, or (not `left`) the connection was lost.
    WriterGone { writer: Writer, left: bool },
    /// A signal that the kind wants to know of.
    Signal(SignalOut),
    /// Nobody is in the room here any more.
    Detached { edge: EdgeId },
}

/// What an owner tells every edge that is attached to its room.
#[derive(Clone, Debug)]
pub enum RoomEvent {
    /// These ops were committed.
    Ops {
        epoch: Epoch,
        first: Seq,
        ops: Arc<[Arc<LoggedOp>]>,
    },
    Presence(Presence),
    /// The owner is gone (it crashed, or moved): attach again.
    OwnerLost,
}

/// What every edge of the cluster hears.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterEvent {
    /// A login was ended: its connections close.
    LoginEnded(LoginId),
    /// Who may enter a room has changed: look again for everybody who is in it.
    AccessChanged(RoomId),
    RoomRenamed(RoomId, DisplayName),
}

/// What an edge has to offer to the bus. None of these waits.
pub trait Edge: fmt::Debug + Send + Sync + 'static {
    fn room_event(&self, room: RoomId, event: RoomEvent);
    fn signals(&self, room: RoomId, signals: Vec<SignalOut>);
    fn cluster_event(&self, event: ClusterEvent);
}

#[async_trait]
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Puts an op into the queue of the owner of its room, wherever that is. Ops that are put there one after the other stay in
    /// that order; their answers may come in any.
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    async fn submit(&self, room: RoomId, submission: Submission) -> Result<Answer, Refusal>;

    /// Makes this edge one of those that hear of a room's events, and returns the room as it stands.
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    async fn attach(&self, room: RoomId, edge: EdgeId) -> Result<Attached, Refusal>;

    /// The room as it stands, for somebody who does not stay.
    ///
    /// # Errors
    /// As [`Bus::attach`].
    async fn read(&self, room: RoomId) -> Result<(Position, Contents), Refusal>;

    /// Tells the owner of a room something.
    fn notify(&self, room: RoomId, notice: Notice);

    /// To all edges that an owner named.
    fn publish(&self, room: RoomId, edges: &[EdgeId], event: RoomEvent);

    /// To every edge that has members of a room.
    fn signal(&self, room: RoomId, signals: Vec<SignalOut>);

    /// To every edge there is.
    fn announce(&self, event: ClusterEvent);
}

/// The bus of a node on its own: everything is a call away. It holds on to neither end, because both hold on to it.
#[derive(Debug, Default)]
pub struct LocalBus {
    host: OnceLock<WeakHost>,
    edge: OnceLock<Weak<dyn Edge>>,
}

impl LocalBus {
    /// Plugs in the two ends. What is sent before that is lost, as it may be on any bus.
    pub fn connect(&self, host: &Host, edge: Weak<dyn Edge>) {
        let _ = self.host.set(host.downgrade());
        let _ = self.edge.set(edge);
    }

    fn host(&self) -> Result<Host, Refusal> {
        self.host.get().and_then(WeakHost::upgrade).ok_or_else(|| Refusal::busy("the node is not there", 100))
    }

    fn edge(&self) -> Option<Arc<dyn Edge>> {
        self.edge.get().and_then(Weak::upgrade)
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn submit(&self, room: RoomId, submission: Submission) -> Result<Answer, Refusal> {
        self.host()?.submit(room, submission).await
    }

    async fn attach(&self, room: RoomId, edge: EdgeId) -> Result<Attached, Refusal> {
        self.host()?.attach(room, edge).await
    }

    async fn read(&self, room: RoomId) -> Result<(Position, Contents), Refusal> {
        let attached = self.host()?.read(room).await?;
        Ok((attached.position, attached.contents))
    }

    fn notify(&self, room: RoomId, notice: Notice) {
        if let Ok(host) = self.host() {
            host.notify(room, notice);
        }
    }

    fn publish(&self, room: RoomId, _edges: &[EdgeId], event: RoomEvent) {
        if let Some(edge) = self.edge() {
            edge.room_event(room, event);
        }
    }

    fn signal(&self, room: RoomId, signals: Vec<SignalOut>) {
        if let Some(edge) = self.edge() {
            edge.signals(room, signals);
        }
    }

    fn announce(&self, event: ClusterEvent) {
        if let Some(edge) = self.edge() {
            edge.cluster_event(event);
        }
    }
}
