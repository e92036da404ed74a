//! Brings changes of access to all nodes at once, and ends rooms that were deleted.

use std::sync::Arc;

use async_trait::async_trait;
use enfilade_actors::bus::ClusterEvent;
use enfilade_actors::cluster::Cluster;
use enfilade_proto::{DisplayName, LoginId, RoomId, UserId};
use enfilade_store::Directory;

use crate::people::AccessChanges;

#[derive(Debug)]
pub(crate) struct Announcer {
    pub(crate) cluster: Cluster,
    pub(crate) directory: Arc<dyn Directory>,
}

#[async_trait]
impl AccessChanges for Announcer {
    async fn login_ended(&self, user: UserId, login: LoginId) {
        self.cluster.announce(ClusterEvent::LoginEnded(login));
        // That was quick, and may be lost. The session sees to the rest.
        let cluster = self.cluster.clone();
        tokio::spawn(async move { cluster.end_login(user, login).await });
    }

    async fn access_changed(&self, room: RoomId) {
        self.cluster.announce(ClusterEvent::AccessChanged(room));
        if let Ok(None) = self.directory.room(room).await {
            self.cluster.announce(ClusterEvent::RoomDeleted(room));
        }
    }

    async fn room_renamed(&self, room: RoomId, title: DisplayName) {
        self.cluster.announce(ClusterEvent::RoomRenamed(room, title));
    }
}
