//! What lasts: the op log and checkpoints of rooms ([`RoomLog`]), who owns them ([`Ownership`]), and people, rooms and links
//! ([`Directory`]).
//!
//! Three traits, so that the same node runs on SQLite, on PostgreSQL and in simulation. Times are milliseconds since 1970 and
//! are handed in; only leases are kept by a clock, the database's. [`Store::open`] opens whichever database a URL names.

pub mod backup;
mod checkpoint;
mod columns;
mod continuity;
mod database_url;
mod directory;
mod era;
mod error;
mod log;
pub mod migrate;
mod ownership;
mod postgres;
mod shard;
mod sqlite;
mod store;

pub use checkpoint::Checkpoint;
pub use database_url::{DatabaseUrl, InvalidDatabaseUrl, PostgresUrl};
pub use directory::{
    Access, Directory, Idempotency, LinkHash, LinkRow, LoginRow, MemberRow, NewLink, NewRoom, NewUser,
    RoomRow, UserRow, VISITS, Visit,
};
pub use era::after_restore;
pub use error::StoreError;
pub use log::{Batch, Incarnation, LogRow, Outcome, RoomLog};
pub use ownership::{Lease, NewNode, NodeRow, NodeState, Ownership, Renewal, Renewed, View};
pub use postgres::{Postgres, PostgresOptions};
pub use shard::Shard;
pub use sqlite::{Sqlite, SqliteOptions};
pub use store::{OpenOptions, Store};
