//! The cluster as one node sees it: where every room lives, and the way there and back.
//!
//! Edges ask [`Cluster`] for rooms and do not know where they are; rooms publish and do not know where their members are. What is
//! for this node is a call, what is for another goes over the bus. A node on its own is the cluster of one.

mod attaching;
mod calls;
mod courier;
mod handover;
mod hearing;
mod membership;
mod placement;
mod post;
mod questions;
mod routes;
mod sending;
mod sessions;
mod telling;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use enfilade_proto::{Epoch, RoomId, SignalOut};
use enfilade_store::{Incarnation, NewNode, NodeRow, NodeState, Ownership, Shard, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::calls::Calls;
use self::membership::Members;
use self::post::Post;
use self::routes::Routes;
use crate::bus::{Attached, Bus, ClusterEvent, Endpoint, RoomEvent, Told};
use crate::host::{Host, Outlet};
use crate::refusal::Refusal;

pub use self::membership::{LEASE, Probe, Standing, Verdict};
pub use self::sending::Answer;

/// How long an edge waits for an owner to be found and to answer.
const ATTACH: Duration = Duration::from_secs(10);

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
            tasks.spawn(sending::resend(Arc::downgrade(&inner)));
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
}
