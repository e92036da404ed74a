//! The HTTP API as clients meet it: every answer comes out of the router, over the real store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod auth;
mod content;
mod document;
mod idempotency;
mod people;
mod problems;
mod rooms;
mod sessions;
mod snapshots;
mod world;
