//! Who is in the cluster, and who owns which shards: the part of the database by which nodes agree.
//!
//! A node is its incarnation: a process from its start to its end. One that was declared dead never comes back under that
//! name. Leases are written by the database's clock alone, so that no two nodes have to agree about the time; and since clocks are
//! set, whoever judges goes by whether a [`Lease`] changes, not by when it is over. A wrong suspicion costs a reload and nothing
//! else: what protects the log is the epoch, which every change of owner raises and every [`append`](crate::RoomLog::append) asks
//! for.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::Epoch;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;
use crate::log::Incarnation;
use crate::shard::Shard;

/// How long a dead node is remembered, so that its incarnation cannot be entered again.
pub(crate) const DEAD_ARE_KEPT: Duration = Duration::from_secs(60 * 60);

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It takes part.
    Alive,
    /// It is about to leave: it gives its shards away and is given none.
    Draining,
    /// It left, or was declared dead. It owns nothing that others may not claim.
    Dead,
}

/// What a node says of itself when it enters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNode {
    pub incarnation: Incarnation,
    /// What operators call it, at most 100 characters.
    pub name: String,
    /// `host:port` at which others find out whether the process lives: a refused connection means that it does not.
    pub address: String,
    /// The version of the program.
    pub version: String,
    /// Whether it runs rooms, and whether people connect to it.
    pub host: bool,
    pub edge: bool,
}

/// What a node says of itself every time it renews its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub state: NodeState,
    /// Whether it reaches the bus, by which nodes talk.
    pub on_bus: bool,
}

/// A node as the others see it. Dead ones are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    pub node: NewNode,
    pub renewal: Renewal,
    /// Its lease is over, as the database's clock has it. That makes it doubtful, not dead.
    pub expired: bool,
}

/// The cluster as the database has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Grows with every change of nodes (their state included, their leases not) or owners.
    pub version: u64,
    pub nodes: Vec<NodeRow>,
    /// The owner of every shard that ever had one, by shard. The owner may be dead.
    pub owners: Vec<(Shard, Incarnation, Epoch)>,
}

/// A node's lease as another one sees it. Each renewal makes it another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub node: Incarnation,
    /// Until when it is good, in the store's own measure. Only good for being compared: that clock may be set.
    pub until: i64,
}

/// The answer to a renewed lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// See [`View::version`].
    pub version: u64,
    /// The leases of all other nodes that nobody has declared dead yet, by node. None in a store that lets in one process only.
    pub leases: Vec<Lease>,
}

#[async_trait]
pub trait Ownership: std::fmt::Debug + Send + Sync + 'static {
    /// Enters a node, alive and on the bus, with a lease from now on. A store that lets in one process only (SQLite) declares
    /// every other node dead at that.
    ///
    /// # Errors
    /// `Exists` when the incarnation was entered before; `Unavailable`, `UnknownOutcome`. Likewise below.
    async fn enter(&self, node: &NewNode, lease: Duration) -> Result<(), StoreError>;

    /// Lets the lease run from now on again. `None`: the node was declared dead and has to leave. A node that says it is dead
    /// leaves by that, and this is the last answer it gets. A lease need not survive a crash of the database; what the node
    /// says of itself does.
    async fn renew(
        &self,
        node: Incarnation,
        renewal: Renewal,
        lease: Duration,
    ) -> Result<Option<Renewed>, StoreError>;

    /// The cluster as it is now, in one consistent look.
    async fn view(&self) -> Result<View, StoreError>;

    /// Declares dead nodes whose processes are known to be gone. Returns those that this call declared dead.
    async fn bury(&self, gone: &[Incarnation]) -> Result<Vec<Incarnation>, StoreError>;

    /// Declares dead those that still have the lease that was seen: who renewed it meanwhile lives. Returns as
    /// [`Ownership::bury`]. While the database itself was away nobody could renew, so until it has been up for `grace` it
    /// declares nobody dead.
    async fn expire(&self, seen: &[Lease], grace: Duration) -> Result<Vec<Incarnation>, StoreError>;

    /// Makes `owner` the owner of those shards that nobody alive owns: that have no owner, a dead or unknown one, or `owner`
    /// itself. Who drains still owns. Returns them in the order asked (each once) with their new epochs, each one higher than
    /// before (the first is 1). An owner that is itself not alive, but draining or dead, gets none. Appends of former owners
    /// that are under way are waited for; later ones are fenced.
    async fn claim(&self, owner: Incarnation, shards: &[Shard]) -> Result<Vec<(Shard, Epoch)>, StoreError>;

    /// Gives those of the shards that `from` owns to `to`, which has to be alive. Returns as [`Ownership::claim`].
    async fn hand_over(
        &self,
        from: Incarnation,
        to: Incarnation,
        shards: &[Shard],
    ) -> Result<Vec<(Shard, Epoch)>, StoreError>;
}

/// The shards that got an epoch, in the order asked, each once.
pub(crate) fn in_order(asked: &[Shard], epochs: &HashMap<Shard, Epoch>) -> Vec<(Shard, Epoch)> {
    let mut seen = HashSet::new();
    asked
        .iter()
        .filter(|shard| seen.insert(**shard))
        .filter_map(|shard| Some((*shard, *epochs.get(shard)?)))
        .collect()
}
