//! Somebody who was never there comes into a room when all is quiet, and must find what all the others have.

use std::time::Duration;

use enfilade_proto::{ClientId, Guest, Join};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::drive::Carrier;
use super::{Shared, lock};
use crate::connection::{ConnectError, Visit};
use crate::journal::{By, Entry};
use crate::oracle::{Entrance, Seen};
use crate::room::{Room, what_was_shown};

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(250);

pub(super) async fn visit(room: &Shared, carrier: &Carrier, patience: Duration) {
    let client = ClientId(Uuid::new_v4());
    let who = lock(room).register(client, "the newcomer".into());
    let deadline = Instant::now() + patience;
    for connection in 1.. {
        match attempt(room, carrier, client, connection).await {
            Ok(visit) => return meet(&mut lock(room), carrier, who, (client, connection), visit),
            Err(error) if error.is_passing() && Instant::now() < deadline => sleep(AGAIN).await,
            Err(error) => return lock(room).oracle.dismissed(who, &error.to_string()),
        }
    }
}

async fn attempt(
    room: &Shared,
    carrier: &Carrier,
    client: ClientId,
    connection: u32,
) -> Result<Visit, ConnectError> {
    let join = {
        let room = lock(room);
        // It asks a little later than it says here, which accuses nobody wrongly.
        room.note(carrier.clock.now(), || Entry::Join { client, connection, room: room.id, since: None });
        Join { room: room.id, link: room.link.clone(), since: None }
    };
    let target = carrier.target(0, connection);
    let visit = Visit::begin(target, carrier.codec, client, Guest { name: "Newcomer".into() }, join).await;
    if visit.is_err() {
        let gone = Entry::Closed { client, connection, by: By::Loss, code: None };
        lock(room).note(carrier.clock.now(), || gone);
    }
    visit
}

fn meet(room: &mut Room, carrier: &Carrier, who: usize, name: (ClientId, u32), visit: Visit) {
    let ((client, connection), now, id) = (name, carrier.clock.now(), room.id);
    let Visit { welcome, user: viewer, joined, .. } = visit;
    room.oracle.welcomed(who, viewer);
    let ops: Vec<Seen> = joined.ops.unwrap_or_default().into_iter().map(Seen::new).collect();
    let position = joined.position;
    let entrance = Entrance { position, snapshot: joined.snapshot.as_ref(), ops: &ops };
    let hash = room.oracle.joined(who, None, &entrance);
    let shown = || what_was_shown(&entrance, hash);
    room.note(now, || Entry::Welcome { client, connection, user: viewer, node: welcome.node });
    room.note(now, || Entry::Joined { client, connection, room: id, position, shown: shown() });
    let members = joined.presence.members.map(|members| members.iter().map(|member| member.id).collect());
    room.note(now, || Entry::Presence { room: id, viewer, count: joined.presence.count, members });
    room.note(now, || Entry::Closed { client, connection, by: By::Client, code: None });
    room.oracle.visited(who);
}
