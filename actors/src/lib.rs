//! What lives: rooms and their kinds, the host that runs them, group commit, presence, and the cluster of hosts and edges with the
//! bus between them.
//!
//! *Invariant*: nothing here knows a socket or HTTP. Decisions are plain structs ([`room::Room`], [`presence::Presence`], the
//! [`kind`]s, the parts of [`cluster`]); actors are thin shells around them.

pub mod bus;
pub mod cluster;
pub mod committer;
pub mod fingerprint;
pub mod host;
pub mod kind;
pub mod presence;
mod refusal;
mod reply;
pub mod room;
mod room_actor;
pub mod session;
mod stopwatch;
pub mod trace;

pub use fingerprint::Fingerprint;
pub use refusal::Refusal;
pub use reply::Reply;
pub use stopwatch::Stopwatch;
