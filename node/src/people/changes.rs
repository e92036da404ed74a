//! What sockets must hear of at once: the seam between people and the edge.

use std::fmt;

use async_trait::async_trait;
use enfilade_proto::{DisplayName, LoginId, RoomId, UserId};

/// Told right after the commit of what it names, and sometimes without need (when the database did not say
/// whether it committed), so whoever listens looks again instead of believing. Returns when the news is on
/// its way.
#[async_trait]
pub trait AccessChanges: fmt::Debug + Send + Sync + 'static {
    /// A login of a person was ended: its sockets have to close.
    async fn login_ended(&self, user: UserId, login: LoginId);

    /// A link was revoked, a member removed or the room deleted: whoever is in the room has to be asked for
    /// again.
    async fn access_changed(&self, room: RoomId);

    /// A room has another title.
    async fn room_renamed(&self, room: RoomId, title: DisplayName);
}
