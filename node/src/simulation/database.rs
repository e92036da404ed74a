//! The database of a simulation: the log, who owns what, and which rooms there are. A plain struct that does what it is asked at
//! once; what can go wrong on the way to it is in [`store`](super::store).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{
    Batch, Checkpoint, Incarnation, Lease, LogRow, NewNode, NodeRow, NodeState, Outcome, Renewal, Renewed,
    Shard, StoreError, View,
};

use super::settings::Fence;

#[derive(Debug)]
pub(super) struct Database {
    fence: Fence,
    nodes: BTreeMap<Incarnation, Node>,
    owners: BTreeMap<Shard, (Incarnation, Epoch)>,
    version: u64,
    rooms: BTreeMap<RoomId, Room>,
    /// It answers nobody until then.
    pub(super) down_until_ms: u64,
    up_since_ms: u64,
    /// By how much its clock is fast, or slow.
    clock_ms: i64,
    /// How often it was started.
    pub(super) starts: u64,
    /// Nodes that do not reach it.
    pub(super) cut: BTreeSet<Incarnation>,
    /// Nodes whose calls take so much longer to get there.
    pub(super) far_ms: BTreeMap<Incarnation, u64>,
    pub(super) faults: Faults,
}

/// How often calls go wrong, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) unavailable: u64,
    pub(super) unknown: u64,
    pub(super) slow: u64,
}

#[derive(Clone, Debug)]
struct Node {
    row: NewNode,
    renewal: Renewal,
    lease_until_ms: u64,
}

impl Node {
    fn lease(&self) -> Lease {
        Lease { node: self.row.incarnation, until: i64::try_from(self.lease_until_ms).unwrap_or(i64::MAX) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// Every row that was ever written, in the order of writing.
    pub(super) rows: Vec<LogRow>,
    /// Every change of owner: its epoch, and where the log ended then.
    pub(super) takeovers: Vec<(Epoch, Seq)>,
    /// So many of the rows, in front, were pruned.
    pruned: usize,
    checkpoint: Option<Checkpoint>,
}

impl Room {
    fn last(&self) -> Seq {
        self.rows.last().map_or(Seq(0), |row| row.last)
    }
}

impl Database {
    pub(super) fn new(fence: Fence) -> Self {
        Self {
            fence,
            nodes: BTreeMap::new(),
            owners: BTreeMap::new(),
            version: 1,
            rooms: BTreeMap::new(),
            down_until_ms: 0,
            up_since_ms: 0,
            clock_ms: 0,
            starts: 1,
            cut: BTreeSet::new(),
            far_ms: BTreeMap::new(),
            faults: Faults::default(),
        }
    }

    pub(super) fn create_room(&mut self, room: RoomId) {
        self.rooms.insert(room, Room::default());
    }

    pub(super) fn has_room(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.rooms.iter().map(|(id, room)| (*id, room))
    }

    // ---- what befalls it --------------------------------------------------------------------------------------

    /// It is started anew, and is away until then. The last renewals of leases were not on disk.
    pub(super) fn restart(&mut self, until_ms: u64) {
        self.down_until_ms = until_ms;
        self.up_since_ms = until_ms;
        self.starts += 1;
        for node in self.nodes.values_mut() {
            node.lease_until_ms = node.lease_until_ms.saturating_sub(1_000);
        }
    }

    pub(super) fn set_clock(&mut self, by_ms: i64) {
        self.clock_ms += by_ms;
    }

    /// What its clock says.
    fn clock(&self, now_ms: u64) -> u64 {
        now_ms.saturating_add_signed(self.clock_ms)
    }

    pub(super) fn is_down(&self, now_ms: u64) -> bool {
        now_ms < self.down_until_ms
    }

    pub(super) fn owners(&self) -> &BTreeMap<Shard, (Incarnation, Epoch)> {
        &self.owners
    }

    /// The owners are set back to what they were, the log is not.
    pub(super) fn set_back(&mut self, owners: BTreeMap<Shard, (Incarnation, Epoch)>) {
        self.owners = owners;
        self.version += 1;
    }

    // ---- the log ----------------------------------------------------------------------------------------------

    fn owns(&self, writer: Incarnation, batch: &Batch) -> bool {
        self.owners.get(&Shard::of(batch.room)) == Some(&(writer, batch.epoch))
    }

    /// What a naive fence finds out when the statement begins.
    pub(super) fn look_at_fence(&self, writer: Incarnation, batches: &[Batch]) -> Vec<bool> {
        batches.iter().map(|batch| self.owns(writer, batch)).collect()
    }

    /// `admitted`: what was found out when the statement began.
    pub(super) fn append(
        &mut self,
        writer: Incarnation,
        batches: &[Batch],
        admitted: &[bool],
    ) -> Vec<Outcome> {
        let mut broken = BTreeSet::new();
        let mut outcomes = Vec::with_capacity(batches.len());
        for (batch, admitted) in batches.iter().zip(admitted) {
            let ours = if self.fence == Fence::Locked { self.owns(writer, batch) } else { *admitted };
            let fits = self.fence == Fence::NaiveWithoutKey
                || batch.is_empty()
                || self.rooms.get(&batch.room).is_some_and(|room| room.last().next() == batch.first);
            if !ours || !fits || broken.contains(&batch.room) {
                broken.insert(batch.room);
                outcomes.push(Outcome::Fenced);
                continue;
            }
            if !batch.is_empty() {
                let Batch { room, epoch, first, last, at_ms, ref ops } = *batch;
                let row = LogRow { first, last, epoch, at_ms, ops: ops.clone() };
                self.rooms.entry(room).or_default().rows.push(row);
            }
            outcomes.push(Outcome::Committed);
        }
        outcomes
    }

    pub(super) fn read(&self, room: RoomId, after: Seq, max_bytes: usize) -> Vec<LogRow> {
        let Some(room) = self.rooms.get(&room) else { return Vec::new() };
        let mut bytes = 0;
        let mut rows: Vec<LogRow> = Vec::new();
        for row in room.rows.iter().skip(room.pruned).filter(|row| row.last > after) {
            bytes += row.ops.len();
            if !rows.is_empty() && bytes > max_bytes {
                break;
            }
            rows.push(row.clone());
        }
        rows
    }

    pub(super) fn checkpoint(&self, room: RoomId) -> Option<Checkpoint> {
        self.rooms.get(&room)?.checkpoint.clone()
    }

    pub(super) fn put_checkpoint(&mut self, checkpoint: Checkpoint) {
        let Some(room) = self.rooms.get_mut(&checkpoint.room) else { return };
        let newer = room.checkpoint.as_ref().is_none_or(|known| known.seq <= checkpoint.seq);
        if newer && checkpoint.seq <= room.last() {
            room.checkpoint = Some(checkpoint);
        }
    }

    /// Everything that lies wholly behind a checkpoint is pruned.
    pub(super) fn prune(&mut self) -> u64 {
        let mut pruned = 0;
        for room in self.rooms.values_mut() {
            let Some(through) = room.checkpoint.as_ref().map(|checkpoint| checkpoint.seq) else { continue };
            let behind = room.rows.iter().take_while(|row| row.last <= through).count();
            pruned += behind.saturating_sub(room.pruned) as u64;
            room.pruned = room.pruned.max(behind);
        }
        pruned
    }

    // ---- nodes ------------------------------------------------------------------------------------------------

    fn is_alive(&self, node: Incarnation) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.renewal.state == NodeState::Alive)
    }

    pub(super) fn is_buried(&self, node: Incarnation) -> bool {
        self.nodes.get(&node).is_none_or(|node| node.renewal.state == NodeState::Dead)
    }

    pub(super) fn enter(&mut self, node: &NewNode, lease: Duration, now_ms: u64) -> Result<(), StoreError> {
        if self.nodes.contains_key(&node.incarnation) {
            return Err(StoreError::Exists);
        }
        let renewal = Renewal { state: NodeState::Alive, on_bus: true };
        let entered = Node { row: node.clone(), renewal, lease_until_ms: self.clock(now_ms) + millis(lease) };
        self.nodes.insert(node.incarnation, entered);
        self.version += 1;
        Ok(())
    }

    pub(super) fn renew(
        &mut self,
        node: Incarnation,
        renewal: Renewal,
        lease: Duration,
        now_ms: u64,
    ) -> Option<Renewed> {
        let until_ms = self.clock(now_ms) + millis(lease);
        let known = self.nodes.get_mut(&node).filter(|node| node.renewal.state != NodeState::Dead)?;
        known.lease_until_ms = until_ms;
        if known.renewal != renewal {
            known.renewal = renewal;
            self.version += 1;
        }
        let others = self.nodes.iter().filter(|(id, it)| **id != node && it.renewal.state != NodeState::Dead);
        Some(Renewed { version: self.version, leases: others.map(|(_, it)| it.lease()).collect() })
    }

    pub(super) fn view(&self, now_ms: u64) -> View {
        let living = self.nodes.values().filter(|node| node.renewal.state != NodeState::Dead);
        let nodes = living.map(|node| NodeRow {
            node: node.row.clone(),
            renewal: node.renewal,
            expired: node.lease_until_ms < self.clock(now_ms),
        });
        let owners = self.owners.iter().map(|(shard, (owner, epoch))| (*shard, *owner, *epoch));
        View { version: self.version, nodes: nodes.collect(), owners: owners.collect() }
    }

    pub(super) fn bury(&mut self, gone: &[Incarnation]) -> Vec<Incarnation> {
        let mut buried = Vec::new();
        for id in gone {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            if node.renewal.state != NodeState::Dead {
                node.renewal.state = NodeState::Dead;
                buried.push(*id);
            }
        }
        self.version += u64::from(!buried.is_empty());
        buried
    }

    pub(super) fn expire(&mut self, seen: &[Lease], grace: Duration, now_ms: u64) -> Vec<Incarnation> {
        if now_ms < self.up_since_ms + millis(grace) {
            return Vec::new();
        }
        let same = |lease: &Lease| self.nodes.get(&lease.node).is_some_and(|it| it.lease() == *lease);
        let gone: Vec<Incarnation> =
            seen.iter().filter(|lease| same(lease)).map(|lease| lease.node).collect();
        self.bury(&gone)
    }

    pub(super) fn claim(&mut self, owner: Incarnation, shards: &[Shard]) -> Vec<(Shard, Epoch)> {
        let free = |database: &Self, shard: &Shard| {
            let known = database.owners.get(shard);
            known.is_none_or(|(known, _)| *known == owner || database.is_buried(*known))
        };
        if self.is_alive(owner) { self.give(owner, shards, free) } else { Vec::new() }
    }

    pub(super) fn hand_over(
        &mut self,
        from: Incarnation,
        to: Incarnation,
        shards: &[Shard],
    ) -> Vec<(Shard, Epoch)> {
        let ours = |database: &Self, shard: &Shard| {
            database.owners.get(shard).is_some_and(|(known, _)| *known == from)
        };
        if self.is_alive(to) { self.give(to, shards, ours) } else { Vec::new() }
    }

    fn give(
        &mut self,
        to: Incarnation,
        shards: &[Shard],
        which: impl Fn(&Self, &Shard) -> bool,
    ) -> Vec<(Shard, Epoch)> {
        let mut given = Vec::new();
        let mut asked = BTreeSet::new();
        for shard in shards {
            if asked.insert(*shard) && which(self, shard) {
                let epoch = self.owners.get(shard).map_or(Epoch(1), |(_, epoch)| Epoch(epoch.0 + 1));
                self.owners.insert(*shard, (to, epoch));
                given.push((*shard, epoch));
                for (_, room) in self.rooms.iter_mut().filter(|(id, _)| Shard::of(**id) == *shard) {
                    room.takeovers.push((epoch, room.last()));
                }
            }
        }
        self.version += u64::from(!given.is_empty());
        given
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
