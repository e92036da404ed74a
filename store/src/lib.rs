//! What lasts: the op log and checkpoints of rooms ([`RoomLog`]), and people, rooms and links ([`Directory`]).
//!
//! Two traits, so that the same node runs on SQLite, on PostgreSQL and in simulation. Times are milliseconds since 1970 and
//! are always handed in: the store has no clock.

mod checkpoint;
mod database_url;
mod directory;
mod error;
mod log;
pub mod migrate;
mod shard;
mod sqlite;

pub use checkpoint::Checkpoint;
pub use database_url::{DatabaseUrl, InvalidDatabaseUrl};
pub use directory::{
    Access, Directory, Idempotency, LinkHash, LinkRow, LoginRow, MemberRow, NewLink, NewRoom, NewUser,
    RoomRow, UserRow,
};
pub use error::StoreError;
pub use log::{Batch, Incarnation, LogRow, Outcome, RoomLog};
pub use shard::Shard;
pub use sqlite::{Sqlite, SqliteOptions};
