//! How a room is woken: it is looked up and read, while whoever wants it waits in front of it.

use std::sync::Arc;

use enfilade_proto::{Epoch, ErrorCode, RoomId};
use enfilade_store::Shard;
use ractor::{Actor, ActorProcessingErr, ActorRef, SpawnErr};

use super::Inner;
use super::rooms::{Cell, Life};
use crate::bus::Refused;
use crate::refusal::Refusal;
use crate::room_actor::{Outdated, RoomActor, RoomArgs, RoomMessage};

impl Inner {
    pub(super) fn start_to_wake(self: &Arc<Self>, room: RoomId, epoch: Epoch) {
        let host = self.clone();
        tokio::spawn(async move {
            match host.wake(room, epoch).await {
                Ok(actor) => host.woken(room, epoch, actor),
                Err(refused) => host.not_woken(room, epoch, &refused),
            }
        });
    }

    fn woken(&self, room: RoomId, epoch: Epoch, actor: ActorRef<RoomMessage>) {
        let mut rooms = self.lock();
        rooms.by_actor.insert(actor.get_id(), (room, epoch));
        match rooms.cells.get_mut(&room) {
            Some(cell) if cell.epoch == epoch && matches!(cell.life, Life::Waking(_)) => {
                let Life::Waking(waiting) = std::mem::replace(&mut cell.life, Life::Awake(actor.clone()))
                else {
                    return;
                };
                for message in waiting {
                    let _ = actor.cast(message);
                }
            }
            // The shard was given up meanwhile.
            _ => actor.stop(Some("not wanted".to_owned())),
        }
    }

    fn not_woken(&self, room: RoomId, epoch: Epoch, refused: &Refused) {
        let cell = {
            let mut rooms = self.lock();
            let ours = |cell: &Cell| cell.epoch == epoch && matches!(cell.life, Life::Waking(_));
            if rooms.cells.get(&room).is_some_and(ours) { rooms.cells.remove(&room) } else { None }
        };
        if let Some(Cell { life: Life::Waking(waiting), .. }) = cell {
            waiting.into_iter().for_each(|message| message.refuse(refused));
        }
    }

    async fn wake(self: &Arc<Self>, room: RoomId, epoch: Epoch) -> Result<ActorRef<RoomMessage>, Refused> {
        let known = self.deps.directory.room(room).await.map_err(|error| {
            tracing::error!(%room, error = &error as &dyn std::error::Error, "the room cannot be looked up");
            Refusal::busy("the database does not answer", 500)
        })?;
        let known = known.ok_or_else(|| Refusal::new(ErrorCode::RoomNotFound, "there is no such room"))?;
        let args = RoomArgs { id: room, kind: known.kind, epoch, deps: self.deps.clone() };
        let supervisor = self.supervisor.get().ok_or_else(|| Refusal::busy("the node is starting", 100))?;
        match Actor::spawn_linked(None, RoomActor, args, supervisor.get_cell()).await {
            Ok((actor, _)) => Ok(actor),
            Err(SpawnErr::StartupFailed(error)) => Err(self.failed_to_wake(room, error)),
            Err(error) => Err(self.failed_to_wake(room, Box::new(error))),
        }
    }

    /// A room whose data cannot be read is as bad as one that crashes; a database that does not answer, or says that somebody else
    /// has the room, is no fault of the room's.
    fn failed_to_wake(&self, room: RoomId, error: ActorProcessingErr) -> Refused {
        if error.downcast_ref::<Outdated>().is_some() {
            self.deps.fenced(Shard::of(room));
            return Refused::NotOwner;
        }
        let refusal = match error.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(error) => Refusal::new(ErrorCode::Internal, error.to_string()),
        };
        if refusal.code == ErrorCode::Internal {
            tracing::error!(%room, error = %refusal, "the room cannot be woken");
            self.crashed(room);
        }
        refusal.into()
    }
}
