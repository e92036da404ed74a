//! The rooms that somebody wants: which are on their way up and which are awake, and what waits in front of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use enfilade_proto::{Epoch, RoomId};
use enfilade_store::Shard;
use ractor::{ActorId, ActorRef};
use tokio::sync::Semaphore;

use super::heat::Heat;
use super::restarts::Restarts;
use super::shards::Shards;
use crate::room_actor::RoomMessage;

/// Bytes of ops that may wait in and in front of one room: the frames of a few dozen clients at the bound of their own. Beyond that
/// the room is busy.
pub(super) const ROOM_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
pub(super) struct Rooms {
    pub(super) shards: Shards,
    /// Every room that somebody wants. Ordered, so that a simulation runs the same way again.
    pub(super) cells: BTreeMap<RoomId, Cell>,
    pub(super) by_actor: HashMap<ActorId, (RoomId, Epoch)>,
    pub(super) restarts: Restarts,
}

/// A room on its way up, or up.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) epoch: Epoch,
    pub(super) bytes: Arc<Semaphore>,
    pub(super) heat: Heat,
    pub(super) life: Life,
}

#[derive(Debug)]
pub(super) enum Life {
    /// What came meanwhile, in order.
    Waking(Vec<RoomMessage>),
    Awake(ActorRef<RoomMessage>),
}

impl Rooms {
    pub(super) fn actor(&self, room: RoomId) -> Option<ActorRef<RoomMessage>> {
        match &self.cells.get(&room)?.life {
            Life::Awake(actor) => Some(actor.clone()),
            Life::Waking(_) => None,
        }
    }

    /// Takes the rooms of shards away, with what waits in front of them. Their actors are still to be ended, and what waits is
    /// answered when it is dropped: not under the lock.
    pub(super) fn remove(&mut self, shards: &[Shard]) -> Vec<Cell> {
        let shards: BTreeSet<Shard> = shards.iter().copied().collect();
        self.cells
            .extract_if(.., |room, _| shards.contains(&Shard::of(*room)))
            .map(|(_, cell)| cell)
            .collect()
    }

    /// Takes an actor's cell away, unless another actor has taken its place.
    pub(super) fn forget_actor(&mut self, room: RoomId, actor: ActorId) {
        let ours = |it: &Cell| matches!(&it.life, Life::Awake(known) if known.get_id() == actor);
        if self.cells.get(&room).is_some_and(ours) {
            self.cells.remove(&room);
        }
    }
}

impl Cell {
    pub(super) fn new(epoch: Epoch) -> Self {
        let bytes = Arc::new(Semaphore::new(ROOM_BYTES));
        Self { epoch, bytes, heat: Heat::default(), life: Life::Waking(Vec::new()) }
    }
}
