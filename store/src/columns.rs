//! Between columns and the types of the design, whatever the database. What does not decode was not written by us.

use enfilade_proto::{Role, RoomKind};
use sqlx::{Error, Result};

use crate::ownership::NodeState;

/// Integers of databases end at 2^63. No count or time of ours gets there; what a client makes up stops there.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Roles are stored as ranks: a greater one may all that a lesser one may.
pub(crate) fn rank(role: Role) -> i16 {
    match role {
        Role::Viewer => 1,
        Role::Editor => 2,
        Role::Owner => 3,
    }
}

pub(crate) fn role(rank: i16) -> Result<Role> {
    match rank {
        1 => Ok(Role::Viewer),
        2 => Ok(Role::Editor),
        3 => Ok(Role::Owner),
        rank => Err(damaged(format!("there is no role {rank}"))),
    }
}

pub(crate) fn kind(text: &str) -> Result<RoomKind> {
    let kinds = [RoomKind::Board, RoomKind::Document, RoomKind::Chat, RoomKind::Thread];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == text);
    kind.ok_or_else(|| damaged(format!("there is no room kind {text:?}")))
}

pub(crate) fn node_state(text: &str) -> Result<NodeState> {
    let states = [NodeState::Alive, NodeState::Draining, NodeState::Dead];
    let state = states.into_iter().find(|state| node_state_text(*state) == text);
    state.ok_or_else(|| damaged(format!("there is no state {text:?}")))
}

pub(crate) fn node_state_text(state: NodeState) -> &'static str {
    match state {
        NodeState::Alive => "alive",
        NodeState::Draining => "draining",
        NodeState::Dead => "dead",
    }
}

pub(crate) fn damaged(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(reason.into())
}
