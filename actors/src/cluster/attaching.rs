//! How this edge comes to a room, or looks at it: by asking the owner, whoever that is by then.

use std::time::Duration;

use enfilade_proto::RoomId;
use enfilade_store::Shard;
use tokio::sync::oneshot;

use super::{ATTACH, Cluster, Inner};
use crate::bus::{Attached, Message, Refused};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// How long an owner that was asked is waited for, and one that has a large room to show.
const ASKED: Duration = Duration::from_secs(3);
const SHOWN: Duration = Duration::from_secs(6);

impl Cluster {
    /// The room as it stands: durable, and certain to have everything that was acknowledged before this was called. This edge
    /// hears of what happens in it from now on.
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    pub async fn attach(&self, room: RoomId, contents: bool) -> Result<Attached, Refusal> {
        self.look(room, true, contents).await
    }

    /// The room as it stands, for somebody who does not stay.
    ///
    /// # Errors
    /// As [`Cluster::attach`].
    pub async fn read(&self, room: RoomId) -> Result<Attached, Refusal> {
        self.look(room, false, true).await
    }

    async fn look(&self, room: RoomId, stay: bool, contents: bool) -> Result<Attached, Refusal> {
        self.0.persist(ATTACH, || self.0.ask(room, stay, contents)).await
    }
}

impl Inner {
    async fn ask(&self, room: RoomId, stay: bool, contents: bool) -> Result<Attached, Refused> {
        let owner = self.owner(room).ok_or(Refused::NotOwner)?;
        let answer = if owner == self.me() {
            let (back, answer) = oneshot::channel();
            self.take_look(owner, room, stay, contents, Reply::new(|result| drop(back.send(result))));
            answer
        } else {
            let (ticket, answer) = self.lock().calls.ask(owner);
            self.bus.send(owner, Message::Attach { room, ticket, stay, contents });
            answer
        };
        let patience = if contents { SHOWN } else { ASKED };
        self.answer_of(owner, Shard::of(room), patience, answer).await
    }
}
