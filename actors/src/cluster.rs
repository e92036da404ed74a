//! The cluster as one node sees it: where every room lives, and the way there and back.
//!
//! Edges ask [`Cluster`] for rooms and do not know where they are; rooms publish and do not know where their members are. What is
//! for this node is a call, what is for another goes over the bus. A node on its own is the cluster of one.

mod calls;
mod courier;
mod handover;
mod membership;
mod placement;
mod post;
mod questions;
mod routes;
mod sessions;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use enfilade_proto::{Epoch, RoomId, Seq, SignalOut};
use enfilade_store::{Incarnation, NewNode, NodeRow, NodeState, Ownership, Shard, StoreError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::calls::Calls;
use self::courier::Outgoing;
use self::membership::Members;
use self::post::Post;
use self::routes::Routes;
use crate::bus::{
    Attached, Bus, ClusterEvent, Endpoint, Message, Notice, Refused, RoomEvent, Submission, Ticket, Told,
};
use crate::host::{Host, Outlet};
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::room::Audience;

pub use self::membership::{LEASE, Probe, Standing, Verdict};

/// How long an edge waits for an owner to be found and to answer,
const ATTACH: Duration = Duration::from_secs(10);
/// for one that it has asked, and for one that has a large room to show.
const ASKED: Duration = Duration::from_secs(3);
const SHOWN: Duration = Duration::from_secs(6);
/// Between attempts: doubled each time, up to the latter.
const RETRY: Duration = Duration::from_millis(10);
const RETRY_MOST: Duration = Duration::from_millis(500);
/// How often it is looked whether ops are overdue.
const ROUND: Duration = Duration::from_millis(250);

/// What an edge has to offer to the cluster. None of these waits.
pub trait Edge: fmt::Debug + Send + Sync + 'static {
    /// False if the room is not there: then its owner need not tell.
    fn room_event(&self, room: RoomId, epoch: Epoch, event: RoomEvent) -> bool;
    fn signals(&self, room: RoomId, signals: Vec<SignalOut>);
    fn cluster_event(&self, event: ClusterEvent);
    /// These shards have owners in these epochs now.
    fn moved(&self, shards: &[(Shard, Epoch)]);
    /// Messages may have been lost: compare notes with all owners.
    fn compare_notes(&self);
}

/// What a node's view of the cluster is made from.
#[derive(Debug)]
pub struct ClusterArgs {
    pub node: NewNode,
    pub ownership: Arc<dyn Ownership>,
    pub bus: Arc<dyn Bus>,
    pub probe: Arc<dyn Probe>,
    /// None: this node runs no rooms.
    pub host: Option<Host>,
}

/// What will become of a submitted op.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Result<Seq, Refusal>>);

impl Answer {
    /// The seq of the op, once it is durable.
    ///
    /// # Errors
    /// What the room refuses; `busy` when its owner could not be reached in time. The op may be applied all the same: the same
    /// op under the same id gets its seq.
    pub async fn wait(self) -> Result<Seq, Refusal> {
        self.0.await.unwrap_or_else(|_| Err(unreachable_owner()))
    }
}

fn unreachable_owner() -> Refusal {
    Refusal::busy("the room cannot be reached right now", 1_000)
}

/// The cluster as one node sees it.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    this: Weak<Self>,
    node: NewNode,
    ownership: Arc<dyn Ownership>,
    bus: Arc<dyn Bus>,
    /// All time here is counted from then: what the clock says may be set.
    started: Instant,
    probe: Arc<dyn Probe>,
    host: Option<Host>,
    edge: OnceLock<Weak<dyn Edge>>,
    state: Mutex<State>,
    /// Told when another look at the database is wanted.
    look: Notify,
    /// Told when ops have to go again.
    resend: Notify,
    /// Told when owners have changed.
    moved: Notify,
    standing: watch::Sender<Standing>,
    handover: watch::Sender<handover::Orders>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct State {
    routes: Routes,
    post: Post,
    calls: Calls<Attached>,
    questions: Calls<Told>,
    members: Members,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node.incarnation).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Enters the node, takes its share of the shards, and begins to take part.
    ///
    /// # Errors
    /// When the database does not let it in.
    pub async fn start(args: ClusterArgs) -> Result<Self, StoreError> {
        let ClusterArgs { node, ownership, bus, probe, host } = args;
        ownership.enter(&node, membership::LEASE).await?;
        let inner = Arc::new_cyclic(|this| Inner {
            this: this.clone(),
            node,
            ownership,
            bus,
            started: Instant::now(),
            probe,
            host,
            edge: OnceLock::new(),
            state: Mutex::default(),
            look: Notify::new(),
            resend: Notify::new(),
            moved: Notify::new(),
            standing: watch::Sender::new(Standing::default()),
            handover: watch::Sender::default(),
            tasks: Mutex::default(),
        });
        let (endpoint, outlet): (Arc<dyn Endpoint>, Arc<dyn Outlet>) = (inner.clone(), inner.clone());
        if let Some(host) = &inner.host {
            host.connect(Arc::downgrade(&outlet));
        }
        inner.bus.open(Arc::downgrade(&endpoint));
        inner.first_look().await?;
        {
            let mut tasks = inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(membership::renew(Arc::downgrade(&inner)));
            tasks.spawn(membership::look(Arc::downgrade(&inner)));
            tasks.spawn(membership::beat(Arc::downgrade(&inner)));
            tasks.spawn(handover::run(Arc::downgrade(&inner), inner.handover.subscribe()));
            tasks.spawn(resend(Arc::downgrade(&inner)));
        }
        Ok(Self(inner))
    }

    /// Plugs in this node's edge. What comes for it before that is lost.
    pub fn connect(&self, edge: Weak<dyn Edge>) {
        let _ = self.0.edge.set(edge);
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> Incarnation {
        self.0.node.incarnation
    }

    /// How this node stands in the cluster, as it changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.0.standing.subscribe()
    }

    /// How long ago this node's lease was renewed, which is a write; None before the first time.
    #[must_use]
    pub fn renewed_ago(&self) -> Option<Duration> {
        self.0.renewed_ago()
    }

    /// Gives all shards to others, if there are others, and is given none from now on. Returns whether none is left.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.0.drain(patience).await
    }

    /// Leaves the cluster. Nothing of it is running afterwards.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if let Some(host) = &self.0.host {
            if *self.0.standing.borrow() == Standing::Buried {
                // Whatever it would still write is fenced.
                host.forget(&Shard::all().collect::<Vec<_>>());
            }
            host.stop().await;
        }
        let me = [self.me()];
        if let Err(error) = self.0.ownership.bury(&me).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the others will find out that this node left"
            );
        }
    }

    /// Nodes as the database has them, and how many shards each owns.
    #[must_use]
    pub fn nodes(&self) -> Vec<(NodeRow, usize)> {
        let state = self.0.lock();
        let counts = state.routes.counts();
        let count = |node: &NodeRow| counts.get(&node.node.incarnation).copied().unwrap_or_default();
        state.members.nodes().map(|node| (node.clone(), count(node))).collect()
    }

    /// Whether people can connect to another node, as far as this one knows.
    #[must_use]
    pub fn has_other_edges(&self) -> bool {
        let state = self.0.lock();
        let mut others = state.members.nodes().filter(|row| row.node.incarnation != self.me());
        others.any(|row| row.node.edge && row.renewal.state == NodeState::Alive && !row.expired)
    }

    /// Who owns a shard, as far as this node knows.
    #[must_use]
    pub fn owner_of(&self, shard: Shard) -> Option<Incarnation> {
        self.0.owner_of(shard)
    }

    /// Sends an op to the owner of its room, wherever that is. Ops of a room that are sent from here one after the other arrive
    /// in that order; their answers may come in any.
    ///
    /// # Errors
    /// `busy` if too many are on their way.
    pub fn submit(&self, room: RoomId, submission: Submission) -> Result<Answer, Refusal> {
        let answer = self.0.lock().post.take(self.0.now_ms(), room, submission)?;
        self.0.send_ops(room);
        Ok(Answer(answer))
    }

    /// The room as it stands: durable, and certain to have everything that was acknowledged before this was called. This edge
    /// hears of what happens in it from now on.
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    pub async fn attach(&self, room: RoomId, contents: bool) -> Result<Attached, Refusal> {
        self.look(room, true, contents).await
    }

    /// The room as it stands, for somebody who does not stay.
    ///
    /// # Errors
    /// As [`Cluster::attach`].
    pub async fn read(&self, room: RoomId) -> Result<Attached, Refusal> {
        self.look(room, false, true).await
    }

    async fn look(&self, room: RoomId, stay: bool, contents: bool) -> Result<Attached, Refusal> {
        self.0.persist(ATTACH, || self.0.ask(room, stay, contents)).await
    }

    /// Tells the owner of a room something.
    pub fn notify(&self, room: RoomId, notice: Notice) {
        match self.0.owner(room) {
            Some(owner) if owner == self.me() => self.0.take_notice(owner, room, notice),
            Some(owner) => self.0.bus.send(owner, Message::Notice { room, notice }),
            None => {}
        }
    }

    /// To the other edges that have members of a room: these, or (`multicast`) all that listen.
    pub fn signal(&self, room: RoomId, edges: &[Incarnation], multicast: bool, signals: &[SignalOut]) {
        let message = || Message::Signals { room, signals: signals.to_vec() };
        if multicast {
            self.0.bus.multicast(room, message());
        } else {
            for edge in edges.iter().filter(|edge| **edge != self.me()) {
                self.0.bus.send(*edge, message());
            }
        }
    }

    /// Begins or ends to hear what is multicast to a room.
    pub fn listen(&self, room: RoomId, on: bool) {
        self.0.bus.listen(room, on);
    }

    /// To every node there is.
    pub fn announce(&self, event: ClusterEvent) {
        self.0.bus.broadcast(Message::Announced(event.clone()));
        self.0.announced(event);
    }
}

/// Sends ops again that were turned away or lost, until the cluster is gone.
async fn resend(cluster: Weak<Inner>) {
    loop {
        let wait = {
            let Some(cluster) = cluster.upgrade() else { return };
            let next = cluster.lock().post.next_deadline();
            next.map_or(ROUND, |at_ms| {
                ROUND.min(Duration::from_millis(at_ms.saturating_sub(cluster.now_ms())))
            })
        };
        // Half a millisecond at least, should a deadline stand still.
        let nap = tokio::time::sleep(wait.max(Duration::from_micros(500)));
        {
            let Some(cluster) = cluster.upgrade() else { return };
            tokio::select! {
                biased;
                () = nap => {}
                () = cluster.resend.notified() => {}
            }
        }
        let Some(cluster) = cluster.upgrade() else { return };
        let (expired, due) = cluster.lock().post.tick(cluster.now_ms());
        for back in expired {
            let _ = back.send(Err(unreachable_owner()));
        }
        due.into_iter().for_each(|room| cluster.send_ops(room));
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        // An age of the universe fits in.
        self.started.elapsed().as_millis() as u64
    }

    fn me(&self) -> Incarnation {
        self.node.incarnation
    }

    fn edge(&self) -> Option<Arc<dyn Edge>> {
        self.edge.get().and_then(Weak::upgrade)
    }

    /// Whether the node owns the shard and is not known to be gone.
    fn is_owner(&self, node: Incarnation, shard: Shard) -> bool {
        let state = self.lock();
        state.routes.owner(shard) == Some(node) && state.members.knows(node)
    }

    fn owner(&self, room: RoomId) -> Option<Incarnation> {
        self.owner_of(Shard::of(room))
    }

    fn owner_of(&self, shard: Shard) -> Option<Incarnation> {
        self.lock().routes.owner(shard)
    }

    // ---- ops --------------------------------------------------------------------------------------------------

    /// Sends what waits for a room, in order. No lock is held: an owner on this node may answer at once.
    fn send_ops(&self, room: RoomId) {
        let mut outgoing = self.lock().post.begin(self.now_ms(), room);
        while !outgoing.is_empty() {
            match self.owner(room) {
                Some(owner) => outgoing.into_iter().for_each(|op| self.send_op(owner, room, op)),
                None => {
                    self.lock().post.pause(self.now_ms(), |it| it == room);
                    self.look.notify_one();
                    self.resend.notify_one();
                }
            }
            outgoing = self.lock().post.go_on(self.now_ms(), room);
        }
    }

    fn send_op(&self, owner: Incarnation, room: RoomId, op: Outgoing) {
        let Outgoing { ticket, after, submission } = op;
        if owner != self.me() {
            return self.bus.send(owner, Message::Submit { room, ticket, after, submission });
        }
        let cluster = self.this.clone();
        let reply = Reply::new(move |result| {
            if let Some(cluster) = cluster.upgrade() {
                cluster.op_answered(room, ticket, result);
            }
        });
        self.take_op(owner, room, (ticket, after), submission, reply);
    }

    fn op_answered(&self, room: RoomId, ticket: Ticket, result: Result<Seq, Refused>) {
        let again = matches!(result, Err(Refused::NotOwner | Refused::Gone));
        if matches!(result, Err(Refused::NotOwner)) {
            self.look.notify_one();
        }
        let answered = self.lock().post.answered(self.now_ms(), room, ticket, result);
        if let Some(answered) = answered {
            let _ = answered.reply.send(answered.result);
        } else if again {
            self.resend.notify_one();
        }
    }

    // ---- questions --------------------------------------------------------------------------------------------

    async fn ask(&self, room: RoomId, stay: bool, contents: bool) -> Result<Attached, Refused> {
        let owner = self.owner(room).ok_or(Refused::NotOwner)?;
        let answer = if owner == self.me() {
            let (back, answer) = oneshot::channel();
            self.take_look(owner, room, stay, contents, Reply::new(|result| drop(back.send(result))));
            answer
        } else {
            let (ticket, answer) = self.lock().calls.ask(owner);
            self.bus.send(owner, Message::Attach { room, ticket, stay, contents });
            answer
        };
        let patience = if contents { SHOWN } else { ASKED };
        self.answer_of(owner, Shard::of(room), patience, answer).await
    }

    /// Waits for an answer as long as whoever was asked can give it.
    async fn answer_of<T>(
        &self,
        owner: Incarnation,
        shard: Shard,
        patience: Duration,
        mut answer: oneshot::Receiver<Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let waiting = async {
            loop {
                let moved = self.moved.notified();
                if !self.is_owner(owner, shard) {
                    return Err(Refused::NotOwner);
                }
                tokio::select! {
                    biased;
                    result = &mut answer => return result.unwrap_or(Err(Refused::Gone)),
                    () = moved => {}
                }
            }
        };
        tokio::time::timeout(patience, waiting).await.unwrap_or(Err(Refused::Gone))
    }

    // ---- as the owner -----------------------------------------------------------------------------------------

    fn take_op(
        &self,
        from: Incarnation,
        room: RoomId,
        tickets: (Ticket, Option<Ticket>),
        submission: Submission,
        reply: Reply<Seq>,
    ) {
        match &self.host {
            Some(host) => host.submit(room, from, tickets, submission, reply),
            None => reply.send(Err(Refused::NotOwner)),
        }
    }

    fn take_look(&self, from: Incarnation, room: RoomId, stay: bool, contents: bool, reply: Reply<Attached>) {
        match &self.host {
            Some(host) => host.attach(room, stay.then_some(from), contents, reply),
            None => reply.send(Err(Refused::NotOwner)),
        }
    }

    fn take_notice(&self, from: Incarnation, room: RoomId, notice: Notice) {
        if let Some(host) = &self.host {
            host.notice(room, from, notice);
        } else if let Notice::Standing(standing) = notice {
            self.publish(room, standing.position.epoch, Audience::Edges(vec![from]), RoomEvent::OwnerLost);
        }
    }

    // ---- owners -----------------------------------------------------------------------------------------------

    /// Acts upon other owners than before.
    fn owners_changed(&self, changed: &[(Shard, Epoch)]) {
        if changed.is_empty() {
            return;
        }
        self.moved.notify_waiters();
        let shards: BTreeSet<Shard> = changed.iter().map(|(shard, _)| *shard).collect();
        let waiting = self.lock().post.resume(|shard| shards.contains(&shard));
        waiting.into_iter().for_each(|room| self.send_ops(room));
        if let Some(edge) = self.edge() {
            edge.moved(changed);
        }
    }

    fn shards_moved(&self, shards: &[(Shard, Epoch)], to: Incarnation) {
        if to == self.me()
            && let Some(host) = &self.host
        {
            host.adopt(shards);
        }
        let changed = self.lock().routes.moved(shards, to);
        self.owners_changed(&changed);
    }

    fn announced(&self, event: ClusterEvent) {
        if let (ClusterEvent::RoomDeleted(room), Some(host)) = (&event, &self.host) {
            host.end(*room);
        }
        if let Some(edge) = self.edge() {
            edge.cluster_event(event);
        }
    }

    fn take_event(&self, from: Incarnation, room: RoomId, epoch: Epoch, event: RoomEvent) {
        let Some(edge) = self.edge() else { return };
        let last = matches!(event, RoomEvent::OwnerLost);
        if !edge.room_event(room, epoch, event) && !last {
            // Our farewell was lost.
            self.bus.send(from, Message::Notice { room, notice: Notice::Detached });
        }
    }
}

impl Outlet for Inner {
    fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent) {
        let message = |event| Message::Event { room, epoch, event };
        let here = match to {
            Audience::Edges(edges) => {
                for edge in edges.iter().filter(|edge| **edge != self.me()) {
                    self.bus.send(*edge, message(event.clone()));
                }
                edges.contains(&self.me())
            }
            Audience::Listeners => {
                self.bus.multicast(room, message(event.clone()));
                true
            }
            Audience::Everybody => {
                self.bus.broadcast(message(event.clone()));
                true
            }
        };
        if here && let Some(edge) = self.edge() {
            edge.room_event(room, epoch, event);
        }
    }

    fn fenced(&self, shard: Shard) {
        if let Some(host) = &self.host {
            host.forget(&[shard]);
        }
        self.look.notify_one();
    }
}

impl Endpoint for Inner {
    fn hear(&self, from: Incarnation, message: Message) {
        self.lock().members.heard(from, self.now_ms());
        match message {
            Message::Submit { room, ticket, after, submission } => {
                let bus = self.bus.clone();
                let reply =
                    Reply::new(move |result| bus.send(from, Message::Answer { room, ticket, result }));
                self.take_op(from, room, (ticket, after), submission, reply);
            }
            Message::Attach { room, ticket, stay, contents } => {
                let bus = self.bus.clone();
                let reply = Reply::new(move |result| bus.send(from, Message::Attached { ticket, result }));
                self.take_look(from, room, stay, contents, reply);
            }
            Message::Notice { room, notice } => self.take_notice(from, room, notice),
            Message::Answer { room, ticket, result } => self.op_answered(room, ticket, result),
            Message::Attached { ticket, result } => self.lock().calls.answered(ticket, result),
            Message::Ask { ticket, question } => {
                let bus = self.bus.clone();
                let reply = Reply::new(move |result| bus.send(from, Message::Told { ticket, result }));
                self.take_question(question, reply);
            }
            Message::Told { ticket, result } => self.lock().questions.answered(ticket, result),
            Message::Devices(reports) => self.take_reports(from, reports),
            Message::SignedOut { user, login } => self.signed_out(from, user, login),
            Message::Event { room, epoch, event } => self.take_event(from, room, epoch, event),
            Message::Signals { room, signals } => {
                if let Some(edge) = self.edge() {
                    edge.signals(room, signals);
                }
            }
            Message::Announced(event) => self.announced(event),
            Message::Moved { shards, to } => self.shards_moved(&shards, to),
            Message::Heartbeat => {}
        }
    }

    fn unreachable(&self, node: Incarnation) {
        let now_ms = self.now_ms();
        {
            let mut state = self.lock();
            state.calls.lost(node);
            state.questions.lost(node);
            let State { routes, post, .. } = &mut *state;
            post.pause(now_ms, |room| routes.owner(Shard::of(room)) == Some(node));
        }
        self.resend.notify_one();
        self.suspect(node);
    }

    fn disrupted(&self) {
        let (now_ms, me) = (self.now_ms(), self.me());
        {
            let mut state = self.lock();
            state.calls.all_lost();
            state.questions.all_lost();
            let State { routes, post, .. } = &mut *state;
            post.pause(now_ms, |room| routes.owner(Shard::of(room)) != Some(me));
        }
        self.resend.notify_one();
        self.look.notify_one();
        if let Some(edge) = self.edge() {
            edge.compare_notes();
        }
    }
}
