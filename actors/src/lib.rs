//! What lives: rooms and their kinds, the host that runs them, group commit, presence, and the bus between edges and owners.
//!
//! *Invariant*: nothing here knows a socket or HTTP. Decisions are plain structs ([`room::Room`], [`presence::Presence`], the
//! [`kind`]s); actors are thin shells around them.

pub mod bus;
pub mod committer;
pub mod host;
pub mod kind;
pub mod presence;
mod refusal;
pub mod room;
mod room_actor;

pub use refusal::Refusal;
