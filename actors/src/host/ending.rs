//! How rooms are ended: without ceremony, or when they have finished what they began.

use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::oneshot;

use super::rooms::{Cell, Life};
use crate::room::Inspection;
use crate::room_actor::RoomMessage;

/// How long rooms may take to write what they have accepted before they are ended.
const SETTLE: Duration = Duration::from_secs(5);

/// Ends rooms that are not to write anything any more.
pub(super) fn stop(cells: Vec<Cell>) {
    actors(cells).into_iter().for_each(|actor| actor.stop(Some("fenced".to_owned())));
}

/// The actors of rooms that were taken away. Who waits for one that is not awake yet is told to ask again.
pub(super) fn actors(cells: Vec<Cell>) -> Vec<ActorRef<RoomMessage>> {
    let awake = |cell: Cell| match cell.life {
        Life::Awake(actor) => Some(actor),
        Life::Waking(_) => None,
    };
    cells.into_iter().filter_map(awake).collect()
}

/// Lets rooms finish what they have begun, and ends them.
pub(super) async fn end(actors: Vec<ActorRef<RoomMessage>>) {
    let settled = futures_util::future::join_all(actors.iter().map(settled));
    let _ = tokio::time::timeout(SETTLE, settled).await;
    for actor in &actors {
        let _ = actor.drain();
    }
    for actor in actors {
        let _ = actor.wait(Some(SETTLE)).await;
    }
}

/// Waits until everything that a room has accepted is on disk and answered.
async fn settled(actor: &ActorRef<RoomMessage>) {
    while inspect(actor).await.is_some_and(|room| room.pending_ops > 0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) async fn inspect(actor: &ActorRef<RoomMessage>) -> Option<Inspection> {
    let (reply, answer) = oneshot::channel();
    actor.cast(RoomMessage::Inspect(reply)).ok()?;
    answer.await.ok()
}
