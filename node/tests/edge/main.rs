//! The edge through real sockets: what people get, what strangers get, and that neither notices the other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod access;
mod arrival;
mod bad_input;
mod bounds;
mod joining;
mod large;
mod raw;
#[path = "../support/mod.rs"]
mod support;
mod together;
