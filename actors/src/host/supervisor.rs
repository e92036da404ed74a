//! The supervisor of the rooms: what happens when an actor ends, and whether that was a crash.

use std::sync::Weak;

use enfilade_proto::RoomId;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::Inner;
use crate::bus::RoomEvent;
use crate::room::Audience;
use crate::room_actor::Outdated;

/// Survives every death among its rooms.
pub(super) struct Supervisor;

/// The supervisor is sent nothing but the fates of its rooms.
pub(super) enum Never {}

impl Actor for Supervisor {
    type Msg = Never;
    type State = Weak<Inner>;
    type Arguments = Weak<Inner>;

    async fn pre_start(
        &self,
        _: ActorRef<Never>,
        host: Weak<Inner>,
    ) -> Result<Weak<Inner>, ActorProcessingErr> {
        Ok(host)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Never>,
        event: SupervisionEvent,
        host: &mut Weak<Inner>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(host) = host.upgrade() else { return Ok(()) };
        match event {
            SupervisionEvent::ActorFailed(actor, error) => host.ended(actor.get_id(), Some(&error)),
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                let killed =
                    (reason.as_deref() == Some("killed")).then(|| ActorProcessingErr::from("killed"));
                host.ended(ActorCell::get_id(&actor), killed.as_ref());
            }
            _ => {}
        }
        Ok(())
    }
}

impl Inner {
    pub(super) fn crashed(&self, room: RoomId) {
        metrics::counter!("enfilade_room_crashes_total").increment(1);
        let now_ms = self.deps.clock.now_ms();
        if self.lock().restarts.crashed(room, now_ms) {
            metrics::counter!("enfilade_rooms_quarantined_total").increment(1);
            tracing::error!(%room, "the room crashed again and again and is set aside");
        }
    }

    /// An actor is gone. Edges attach again, which wakes the room, here or elsewhere.
    fn ended(&self, actor: ActorId, crash: Option<&ActorProcessingErr>) {
        let (room, epoch) = {
            let mut rooms = self.lock();
            let Some((room, epoch)) = rooms.by_actor.remove(&actor) else { return };
            rooms.forget_actor(room, actor);
            (room, epoch)
        };
        // One that was put to sleep, or given up, has nobody to tell or was told of.
        let Some(error) = crash else { return };
        if error.downcast_ref::<Outdated>().is_some() {
            tracing::warn!(%room, %error, "the room starts anew from the log");
        } else {
            tracing::error!(%room, %error, "the room crashed");
            self.crashed(room);
        }
        // Which edges it had is lost with it.
        self.deps.publish(room, epoch, Audience::Everybody, RoomEvent::OwnerLost);
    }
}
