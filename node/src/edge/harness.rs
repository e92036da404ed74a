//! An edge without sockets, for simulations: what a reader and a hub do for one connection, done for a client in the same process.

use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::Refusal;
use enfilade_actors::bus::{Notice, Submission, Writer};
use enfilade_actors::cluster::{Answer, Cluster, Edge};
use enfilade_actors::host::{Clock, Offload};
use enfilade_actors::kind::Contents;
use enfilade_proto::{
    Codec, Epoch, LoggedOp, Member, Op, OpId, Position, Presence, Role, RoomId, Seq, SignalOut,
};
use enfilade_store::RoomLog;

use super::hub::HubHandle;
use super::mirror::Cursor;
use super::room::{As, Came, EdgeRoom, Joiner, Joining};
use super::{Allowances, EdgeNode, EdgeSettings};
use crate::people::People;

/// An edge in which every client has a hub of its own.
#[derive(Clone, Debug)]
pub(crate) struct BareEdge(Arc<EdgeNode>);

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// Its hub.
    pub(crate) hub: usize,
    pub(crate) member: Member,
    pub(crate) writer: Writer,
    pub(crate) room: RoomId,
}

/// A connection that has joined a room.
#[derive(Debug)]
pub(crate) struct Session {
    guest: Guest,
    edge: BareEdge,
    room: Arc<EdgeRoom>,
    cursor: Cursor,
    /// It fell off the ring and was not given a new beginning yet.
    behind: bool,
}

/// What a joiner is shown, or somebody who fell behind.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) position: Position,
    pub(crate) snapshot: Option<(Seq, Contents)>,
    pub(crate) ops: Vec<Arc<LoggedOp>>,
    pub(crate) presence: Presence,
}

/// What a connection is sent.
#[derive(Debug)]
pub(crate) enum Pushed {
    Ops { epoch: Epoch, first: Seq, ops: Vec<Arc<LoggedOp>> },
    Presence(Presence),
    Reset(View),
}

impl From<&Joining> for View {
    fn from(joining: &Joining) -> Self {
        Self {
            position: joining.position,
            snapshot: joining
                .snapshot
                .as_ref()
                .map(|it| (it.snapshot.position.seq, it.snapshot.contents.clone())),
            ops: joining.ops.clone(),
            presence: joining.presence.clone(),
        }
    }
}

impl BareEdge {
    pub(crate) fn start(
        cluster: Cluster,
        log: Arc<dyn RoomLog>,
        people: Arc<People>,
        clock: Arc<dyn Clock>,
        hubs: usize,
        linger: Duration,
    ) -> Self {
        let settings = EdgeSettings {
            hubs,
            linger,
            allowed_origins: Vec::new(),
            max_connections: 1_000,
            connection_age_s: 0,
            hellos_per_second: 1_000,
            allowances: Allowances::default(),
            sampling: Arc::default(),
            offload: Offload::Inline,
        };
        let (edge, _) =
            EdgeNode::without_hubs("simulated".to_owned(), cluster.clone(), log, people, clock, settings);
        let edge = Arc::new(edge);
        let ends: Arc<dyn Edge> = edge.clone();
        cluster.connect(Arc::downgrade(&ends));
        Self(edge)
    }

    /// Rooms and their edge know each other; of a node that is gone nothing shall stay in memory.
    pub(crate) fn take_apart(&self) {
        let rooms = std::mem::take(&mut *self.0.0.lock());
        drop(rooms);
    }

    fn hub(&self, index: usize) -> &HubHandle {
        &self.0.0.hubs[index]
    }

    /// As [`super::reader`] does it.
    pub(crate) async fn join(
        &self,
        guest: Guest,
        since: Option<Position>,
    ) -> Result<(Session, View), Refusal> {
        let ends = &self.0.0;
        let comes = As::Member(guest.member.clone());
        let joiner = Joiner { hub: guest.hub, comes, since, reads: Codec::MessagePack.into() };
        let (room, joining) = loop {
            let room = ends.room(guest.room);
            match room.join(&joiner).await {
                Ok(Some(joining)) => break (room, joining),
                Ok(None) => ends.forget(&room),
                Err(refusal) => {
                    room.drop_if_empty();
                    return Err(refusal);
                }
            }
        };
        ends.cluster.notify(guest.room, Notice::WriterBack(guest.writer));
        let view = View::from(&joining);
        Ok((Session { guest, edge: self.clone(), room, cursor: joining.cursor, behind: false }, view))
    }
}

impl Session {
    pub(crate) fn submit(&self, op_id: OpId, op: Op) -> Result<Answer, Refusal> {
        let submission =
            Submission { writer: self.guest.writer, role: Role::Editor, op_id, op, weight: 200, trace: None };
        self.edge.0.0.cluster.submit(self.guest.room, submission)
    }

    pub(crate) fn signal(&self) {
        let Writer { author, client } = self.guest.writer;
        let signal = SignalOut { author, client, key: "cursor".to_owned(), body: serde_json::json!(1) };
        self.room.send_signals(vec![signal]);
    }

    /// What there is to be sent, as soon as there is something. As [`super::hub`] does it. Nothing is lost if it is dropped
    /// before it returns.
    pub(crate) async fn news(&mut self) -> Result<Vec<Pushed>, Refusal> {
        if !self.behind {
            self.edge.hub(self.guest.hub).news().await;
        }
        let news = self.room.news_for_hub(self.guest.hub, &mut self.cursor);
        self.behind |= news.behind;
        if self.behind {
            let joining = self.room.reset(Codec::MessagePack.into()).await?;
            self.behind = false;
            self.cursor = joining.cursor;
            return Ok(vec![Pushed::Reset(View::from(&joining))]);
        }
        let ops = news.ops().map(|(epoch, first, ops)| Pushed::Ops { epoch, first, ops: ops.to_vec() });
        let presence = news.presence().cloned().map(Pushed::Presence);
        Ok(ops.chain(presence).collect())
    }

    /// `left`: the client said goodbye.
    pub(crate) fn end(self, left: bool) {
        let gone = Notice::WriterGone { writer: self.guest.writer, left };
        self.edge.0.0.cluster.notify(self.guest.room, gone);
        self.room.leave(self.guest.hub, Came::Member(self.guest.member.id));
    }
}
