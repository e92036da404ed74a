//! A node: configuration, people, the HTTP API, the edge, and what holds them together.

mod access;
mod admin;
pub mod api;
mod commands;
mod config;
mod content;
mod deadline;
mod drain;
mod edge;
mod files;
mod named;
mod node;
mod page;
pub mod people;
mod probe;
mod profile;
mod rate;
mod secret;
mod server;
mod sessions;
#[cfg(test)]
mod simulation;
mod telemetry;
mod tls;

pub use commands::main;
pub use config::{Config, InvalidLimit, Limits, Partial, PartialLimits};
#[doc(hidden)]
pub use edge::bench;
pub use edge::{EdgeNode, EdgeSettings, Sampling};
pub use node::{Node, StartError};
pub use rate::{InvalidRate, Rate};
pub use telemetry::{InvalidCollector, Telemetry};
pub use tls::TlsError;
