//! Real servers as processes of this machine, for tests, for `make cluster` and for the fault runner.
//!
//! [`process`] starts and ends programs so that none is left behind; [`node`], [`haproxy`], `postgres` and `nats` know one
//! program each; [`link`] is a TCP proxy that delays, cuts and swallows; [`cluster`] puts them together; [`faults`] breaks
//! them while people draw, and writes down what that did; [`measure`] measures them beside the least that a server can do.
//!
//! Invariant: nothing here is part of the product, and nothing here outlives the process that started it.

pub mod admin;
pub mod authority;
pub mod cluster;
pub mod disk;
pub mod enclosure;
pub mod faults;
pub mod haproxy;
pub mod link;
pub mod measure;
pub mod memory;
pub mod nats;
pub mod netns;
pub mod node;
pub mod ports;
pub mod process;
pub mod program;
pub mod prometheus;
pub mod state;

mod postgres;

pub use postgres::{Home, Postgres, PostgresOptions, Shutdown, postgres_program};
