//! Brings changes of access to the edges at once, and ends rooms that were deleted.

use std::sync::Arc;

use async_trait::async_trait;
use enfilade_actors::bus::{Bus, ClusterEvent};
use enfilade_proto::{DisplayName, LoginId, RoomId};

use crate::people::AccessChanges;

#[derive(Debug)]
pub(crate) struct Announcer(pub(crate) Arc<dyn Bus>);

#[async_trait]
impl AccessChanges for Announcer {
    async fn login_ended(&self, login: LoginId) {
        self.0.announce(ClusterEvent::LoginEnded(login));
    }

    async fn access_changed(&self, room: RoomId) {
        self.0.announce(ClusterEvent::AccessChanged(room));
    }

    async fn room_renamed(&self, _: RoomId, _: DisplayName) {}
}
