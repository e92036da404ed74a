//! Brings changes of access to the edges at once, and ends rooms that were deleted.

use std::sync::Arc;

use async_trait::async_trait;
use enfilade_actors::bus::{Bus, ClusterEvent};
use enfilade_actors::host::Host;
use enfilade_proto::{DisplayName, LoginId, RoomId};
use enfilade_store::Directory;

use crate::people::AccessChanges;

#[derive(Debug)]
pub(crate) struct Announcer {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) host: Host,
    pub(crate) directory: Arc<dyn Directory>,
}

#[async_trait]
impl AccessChanges for Announcer {
    async fn login_ended(&self, login: LoginId) {
        self.bus.announce(ClusterEvent::LoginEnded(login));
    }

    async fn access_changed(&self, room: RoomId) {
        self.bus.announce(ClusterEvent::AccessChanged(room));
        if let Ok(None) = self.directory.room(room).await {
            self.host.end(room);
        }
    }

    async fn room_renamed(&self, room: RoomId, title: DisplayName) {
        self.bus.announce(ClusterEvent::RoomRenamed(room, title));
    }
}
