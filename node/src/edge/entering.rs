//! Entering a room: may this person, and what are they told? Everything that takes time about a join is done here, on the joiner's own
//! time, before the hub hears of it.

use std::sync::Arc;

use bytes::Bytes;
use enfilade_actors::bus::{Notice, Writer};
use enfilade_proto::{ClientId, Error, Join, Member, Role};

use super::mirror::Cursor;
use super::room::{As, Came, EdgeRoom, Joiner};
use super::snapshot::Reads;
use super::{Ends, joined};
use crate::people::{self, Principal, Refusal, Visitor};

/// So many ops are written on the hub's thread; it has no time for more.
const FEW_OPS: usize = 32;

/// Who wants to enter, and through which hub.
#[derive(Debug)]
pub(crate) struct Entrant {
    pub(crate) hub: usize,
    /// Nobody: an audience without a name.
    pub(crate) person: Option<Principal>,
    /// They only want to watch.
    pub(crate) audience: bool,
    pub(crate) client: ClientId,
    pub(crate) reads: Reads,
}

/// A room that has let somebody in, and what to tell them.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) room: Arc<EdgeRoom>,
    pub(crate) came: Came,
    pub(crate) role: Role,
    /// With what they entered.
    pub(crate) visitor: Visitor,
    pub(crate) frames: Vec<Bytes>,
    /// Where the room stood then.
    pub(crate) cursor: Cursor,
    /// How often access had changed when it was looked at.
    pub(crate) access_changes: u64,
}

/// # Errors
/// When there is no such room for this person, or its owner cannot be reached.
pub(crate) async fn enter(
    ends: Arc<Ends>,
    entrant: Entrant,
    id: Option<u32>,
    join: Join,
) -> Result<Entered, Error> {
    let Entrant { hub, person, audience, client, reads } = entrant;
    let access_changes = ends.access_changes();
    let link = join.link.as_deref().map(people::link_hash);
    let visitor = person.as_ref().map_or(Visitor { member: None, link }, |person| person.visitor(link));
    let mut admission = ends.admission(join.room, visitor).await.map_err(|refusal| Error::from(&refusal))?;
    admission.role = role_as(admission.role, audience);
    let role = admission.role;
    let comes = match person {
        Some(person) if !audience => As::Member(Member { id: person.user.id, name: person.user.name, role }),
        _ => As::Audience,
    };
    let came = comes.came();
    let joiner = Joiner { hub, comes, since: join.since, reads };
    let (room, joining) = loop {
        let room = ends.room(join.room);
        match room.join(&joiner).await {
            Ok(Some(joining)) => break (room, joining),
            // Given up while we were about to enter: a new one takes its place.
            Ok(None) => ends.forget(&room),
            Err(refusal) => {
                room.drop_if_empty();
                return Err(refusal.into());
            }
        }
    };
    if let (Came::Member(author), true) = (came, role >= Role::Editor) {
        ends.cluster.notify(join.room, Notice::WriterBack(Writer { author, client }));
    }
    let cursor = joining.cursor;
    let frames = if joining.ops.len() > FEW_OPS {
        let (room, reads) = (room.clone(), reads);
        let write = move || joined::frames(reads.codec, id, &room, &admission, &joining);
        ends.offload.run(write).await.map_err(|broken| Error::from(&Refusal::internal(broken)))?
    } else {
        joined::frames(reads.codec, id, &room, &admission, &joining)
    };
    Ok(Entered { room, came, role, visitor, frames, cursor, access_changes })
}

/// Whoever only watches may do no more than that.
pub(crate) fn role_as(role: Role, audience: bool) -> Role {
    if audience { Role::Viewer } else { role }
}
