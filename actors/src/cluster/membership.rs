//! Taking part: renewing one's lease, noticing who is gone, and owning one's share.
//!
//! There is no leader. Every node looks at the same table, comes to the same conclusion about who should own what, and claims what
//! falls to itself. The lease is what counts ([`judge`]); silence on the bus and a probe only let a death be noticed sooner. All times
//! are counted from when the node started, so that a clock that is set says nothing.

mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use enfilade_proto::Epoch;
use enfilade_store::{Incarnation, NodeRow, NodeState, Renewal, Shard, StoreError, View};
use tokio::time::Instant;

use self::judge::Judge;
use super::placement::{Plan, candidates, plan};
use super::{Inner, handover};
use crate::bus::Message;

/// How long a node counts as alive after it said so, and how often it says so.
pub const LEASE: Duration = Duration::from_secs(5);
const RENEW: Duration = Duration::from_secs(1);
/// Looks that are asked for come no closer than this.
const LOOK: Duration = Duration::from_millis(30);
/// One that nobody asks for comes after so long, where there are others.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// How often nodes greet each other, and how long one is silent until it is asked whether it lives.
const BEAT: Duration = Duration::from_millis(500);
const SILENT_MS: u64 = 1_500;
/// A node is probed no more often than this.
const PROBE_MS: u64 = 250;
/// A bus that is away for less is a hiccup.
const BUS_AWAY_MS: u64 = 3_000;

/// What a probe found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The process answers.
    Alive,
    /// Nobody listens there, or somebody else does: the process is gone.
    Gone,
    /// No answer. That proves nothing.
    Silent,
}

/// Asks a process whether it lives.
#[async_trait]
pub trait Probe: std::fmt::Debug + Send + Sync + 'static {
    async fn probe(&self, node: Incarnation, address: &str) -> Verdict;
}

/// How this node stands in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    Member,
    /// Others reach the bus and this node does not: what people want from here they get elsewhere.
    CutOff,
    /// It was declared dead. It has to leave, and may come back under another name.
    Buried,
}

impl Standing {
    /// The standing after another look at the cluster. Nobody rises from the dead: a look that was under way when the node was
    /// buried must not let whoever waits for that miss it.
    fn after(self, look: Self) -> Self {
        if self == Self::Buried { Self::Buried } else { look }
    }
}

/// What this node knows of the others, and of how it stands itself.
#[derive(Debug, Default)]
pub(super) struct Members {
    view_version: u64,
    nodes: BTreeMap<Incarnation, NodeRow>,
    heard_ms: BTreeMap<Incarnation, u64>,
    probed_ms: BTreeMap<Incarnation, u64>,
    draining: bool,
    /// Since when the bus has been away.
    bus_away_since_ms: Option<u64>,
    judge: Judge,
}

impl Members {
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values()
    }

    /// Whether a node is one of the cluster.
    pub(super) fn knows(&self, node: Incarnation) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn heard(&mut self, node: Incarnation, now_ms: u64) {
        self.heard_ms.insert(node, now_ms);
    }

    /// Takes a look at the cluster in. Returns who is not there any more.
    fn set(&mut self, view: &View, now_ms: u64) -> Vec<Incarnation> {
        self.view_version = view.version;
        let nodes = view.nodes.iter().map(|node| (node.node.incarnation, node.clone())).collect();
        let before = std::mem::replace(&mut self.nodes, nodes);
        let known = |node: &Incarnation| self.nodes.contains_key(node);
        self.heard_ms.retain(|node, _| known(node));
        self.probed_ms.retain(|node, _| known(node));
        for node in self.nodes.keys() {
            // From now on it can be silent.
            self.heard_ms.entry(*node).or_insert(now_ms);
        }
        before.into_keys().filter(|node| !self.nodes.contains_key(node)).collect()
    }

    fn silent(&self, me: Incarnation, now_ms: u64) -> Vec<Incarnation> {
        let silent = |node: &&NodeRow| {
            let incarnation = node.node.incarnation;
            let heard_ms = self.heard_ms.get(&incarnation).copied().unwrap_or(now_ms);
            incarnation != me && node.renewal.on_bus && now_ms >= heard_ms + SILENT_MS
        };
        self.nodes.values().filter(silent).map(|node| node.node.incarnation).collect()
    }

    /// Where to probe a node; None if it was probed just now, or is not known.
    fn probe(&mut self, node: Incarnation, now_ms: u64) -> Option<String> {
        let address = self.nodes.get(&node)?.node.address.clone();
        if self.probed_ms.get(&node).is_some_and(|probed_ms| now_ms < probed_ms + PROBE_MS) {
            return None;
        }
        self.probed_ms.insert(node, now_ms);
        Some(address)
    }

    /// Whether this node counts as being on the bus.
    fn on_bus(&mut self, connected: bool, now_ms: u64) -> bool {
        if connected {
            self.bus_away_since_ms = None;
            return true;
        }
        now_ms < *self.bus_away_since_ms.get_or_insert(now_ms) + BUS_AWAY_MS
    }

    fn renewal(&mut self, connected: bool, now_ms: u64) -> Renewal {
        let state = if self.draining { NodeState::Draining } else { NodeState::Alive };
        Renewal { state, on_bus: self.on_bus(connected, now_ms) }
    }
}

/// Renews the lease until the cluster is gone, or this node is buried.
pub(super) async fn renew(cluster: Weak<Inner>) {
    loop {
        {
            let Some(cluster) = cluster.upgrade() else { return };
            match cluster.renew().await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::error!("this node was declared dead and leaves");
                    cluster.standing.send_replace(Standing::Buried);
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the lease cannot be renewed");
                }
            }
        }
        tokio::time::sleep(RENEW).await;
    }
}

/// Looks at the cluster whenever somebody asks for it, and now and then in any case, until it is gone: what was overlooked, or handed
/// over on the strength of what is no longer true, is put right.
pub(super) async fn look(cluster: Weak<Inner>) {
    let mut looked = Instant::now();
    loop {
        {
            let Some(cluster) = cluster.upgrade() else { return };
            let asked = tokio::time::timeout(RENEW, cluster.look.notified()).await.is_ok();
            if asked || (looked.elapsed() >= LOOK_ANYWAY && cluster.lock().members.nodes.len() > 1) {
                looked = Instant::now();
                if let Err(error) = cluster.look_around().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the cluster's table cannot be reached"
                    );
                    cluster.look.notify_one();
                    tokio::time::sleep(BEAT).await;
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Greets the others and notices who has fallen silent.
pub(super) async fn beat(cluster: Weak<Inner>) {
    loop {
        tokio::time::sleep(BEAT).await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.greet();
    }
}

impl Inner {
    /// The first look: whoever was here before under this address, and died, is noticed at once.
    pub(super) async fn first_look(&self) -> Result<(), StoreError> {
        self.look_around().await?;
        let others: Vec<Incarnation> = self.lock().members.nodes.keys().copied().collect();
        let mut buried = false;
        for node in others.into_iter().filter(|node| *node != self.me()) {
            buried |= self.probe_and_bury(node).await;
        }
        if buried { self.look_around().await } else { Ok(()) }
    }

    /// One round. False if this node was declared dead.
    async fn renew(&self) -> Result<bool, StoreError> {
        let connected = self.bus.is_connected();
        let renewal = self.lock().members.renewal(connected, self.now_ms());
        let Some(renewed) = self.ownership.renew(self.me(), renewal, LEASE).await? else { return Ok(false) };
        let (is_news, overdue) = {
            let mut state = self.lock();
            let overdue = state.members.judge.renewed(self.now_ms(), &renewed.leases);
            (renewed.version != state.members.view_version, overdue)
        };
        let mut look = is_news;
        if !overdue.is_empty() {
            match self.ownership.expire(&overdue, LEASE).await {
                Ok(buried) => {
                    buried.iter().for_each(
                        |node| tracing::warn!(%node, "a node's lease is over: it is declared dead"),
                    );
                    look |= !buried.is_empty();
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "nodes whose leases are over cannot be declared dead"
                ),
            }
        }
        if look {
            self.look.notify_one();
        }
        Ok(true)
    }

    /// Takes in what the database says, claims what falls to this node, and orders what is to be handed over.
    async fn look_around(&self) -> Result<(), StoreError> {
        let held_before = self.held();
        let view = self.ownership.view().await?;
        let gone = self.lock().members.set(&view, self.now_ms());
        for node in gone {
            tracing::info!(%node, "a node is gone");
            {
                let mut state = self.lock();
                state.calls.lost(node);
                state.questions.lost(node);
            }
            if let Some(host) = &self.host {
                host.edge_gone(node);
            }
        }
        self.stand(&view);
        let changed = self.lock().routes.set(&view);
        self.owners_changed(&changed);
        let Some(host) = &self.host else { return Ok(()) };
        self.forget_lost(&view, &held_before);
        let Plan { claim, hand_over } = plan(&view, self.me(), &self.held());
        if !claim.is_empty() {
            let claimed = self.ownership.claim(self.me(), &claim).await?;
            // Others may have been quicker.
            if !claimed.is_empty() {
                tracing::info!(shards = claimed.len(), "shards claimed");
                metrics::counter!("enfilade_shards_claimed_total").increment(claimed.len() as u64);
                self.shards_moved(&claimed, self.me());
                self.bus.broadcast(Message::Moved { shards: claimed, to: self.me() });
            }
        }
        metrics::gauge!("enfilade_shards_owned").set(host.owned().len() as f64);
        self.handover.send_if_modified(|orders| handover::renew(orders, hand_over));
        Ok(())
    }

    /// The shards that this node believes to own, by epoch.
    fn held(&self) -> BTreeMap<Shard, Epoch> {
        self.host.as_ref().map(|host| host.owned().into_iter().collect()).unwrap_or_default()
    }

    /// Ends what runs here of shards that are not this node's, according to the database.
    fn forget_lost(&self, view: &View, held_before: &BTreeMap<Shard, Epoch>) {
        let Some(host) = &self.host else { return };
        let ours: BTreeSet<Shard> = view
            .owners
            .iter()
            .filter(|(_, owner, _)| *owner == self.me())
            .map(|(shard, ..)| *shard)
            .collect();
        let held = self.held();
        // What came to us since the look is held in another epoch now. Which one is later does not count: the table may
        // have been set back.
        let lost = |(shard, epoch): (&Shard, &Epoch)| {
            (!ours.contains(shard) && held.get(shard) == Some(epoch)).then_some(*shard)
        };
        let lost: Vec<Shard> = held_before.iter().filter_map(lost).collect();
        if !lost.is_empty() {
            tracing::warn!(shards = lost.len(), "shards were taken over by others");
            host.forget(&lost);
        }
    }

    fn stand(&self, view: &View) {
        let me = view.nodes.iter().find(|node| node.node.incarnation == self.me());
        let alone = me.is_some_and(|me| !me.renewal.on_bus)
            && view.nodes.iter().any(|node| node.renewal.on_bus && !node.expired);
        let standing = if alone { Standing::CutOff } else { Standing::Member };
        self.standing.send_if_modified(|known| {
            let after = known.after(standing);
            std::mem::replace(known, after) != after
        });
    }

    fn greet(&self) {
        let now_ms = self.now_ms();
        let (others, silent) = {
            let state = self.lock();
            let others: Vec<Incarnation> = state.members.nodes.keys().copied().collect();
            (others, state.members.silent(self.me(), now_ms))
        };
        for node in others.into_iter().filter(|node| *node != self.me()) {
            self.bus.send(node, Message::Heartbeat);
        }
        if self.bus.is_connected() {
            silent.into_iter().for_each(|node| self.suspect(node));
        }
    }

    /// Finds out, beside everything else, whether a node is gone.
    pub(super) fn suspect(&self, node: Incarnation) {
        let this = self.this.clone();
        tokio::spawn(async move {
            let Some(cluster) = this.upgrade() else { return };
            if cluster.probe_and_bury(node).await {
                cluster.look.notify_one();
            }
        });
    }

    /// True if a node was found to be gone and declared dead.
    async fn probe_and_bury(&self, node: Incarnation) -> bool {
        let address = self.lock().members.probe(node, self.now_ms());
        let Some(address) = address else { return false };
        // Whoever was at our own address before us is gone.
        let ours = address == self.node.address && node != self.me();
        let verdict = if ours { Verdict::Gone } else { self.probe.probe(node, &address).await };
        tracing::debug!(%node, address, ?verdict, "a silent node was probed");
        if verdict != Verdict::Gone {
            return false;
        }
        match self.ownership.bury(&[node]).await {
            Ok(buried) => {
                buried
                    .iter()
                    .for_each(|node| tracing::warn!(%node, "a node's process is gone: it is declared dead"));
                true
            }
            Err(error) => {
                tracing::warn!(%node, error = &error as &dyn std::error::Error, "a dead node cannot be declared so");
                false
            }
        }
    }

    pub(super) fn renewed_ago(&self) -> Option<Duration> {
        let renewed_ms = self.lock().members.judge.renewed_ms()?;
        Some(Duration::from_millis(self.now_ms().saturating_sub(renewed_ms)))
    }

    // ---- leaving ----------------------------------------------------------------------------------------------

    pub(super) fn is_draining(&self) -> bool {
        self.lock().members.draining
    }

    pub(super) async fn drain(&self, patience: Duration) -> bool {
        self.lock().members.draining = true;
        let left = async {
            // Everybody hears of it when the lease is renewed; that is soon, and now is sooner.
            if let Err(error) = self.renew().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "nobody was told that this node leaves"
                );
            }
            // Whether there is anybody to go to must not be judged by an old look.
            if let Err(error) = self.look_around().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the cluster's table cannot be reached"
                );
                self.look.notify_one();
            }
            while self.host.as_ref().is_some_and(|host| !host.owned().is_empty()) && self.has_others() {
                tokio::time::sleep(LOOK).await;
            }
        };
        // A database that says nothing is waited for no longer than shards are.
        let _ = tokio::time::timeout(patience, left).await;
        self.host.as_ref().is_none_or(|host| host.owned().is_empty())
    }

    /// Whether somebody else could own shards.
    fn has_others(&self) -> bool {
        let nodes = self.lock().members.nodes.values().cloned().collect();
        candidates(&View { nodes, ..View::default() }).iter().any(|node| *node != self.me())
    }
}

#[cfg(test)]
mod tests;
