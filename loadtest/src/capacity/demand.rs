//! What is asked of a service: who is connected, and what they do. Numbers are of all nodes together.

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::scenario::CodecName;

/// Where ops are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// One node that needs nothing else.
    Sqlite,
    /// A cluster, with NATS.
    #[default]
    Postgres,
}

/// All rooms are alike. What is not can be planned in parts: their [`super::Needs`] add up.
#[derive(Args, Clone, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// Connections, each in one room
    #[arg(long, value_name = "N")]
    pub connections: f64,
    /// Connections in each room
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub members: f64,
    /// The share of the connections that only watch
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub audience: f64,
    /// The share of the others that are signed in
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub signed_in: f64,
    /// Ops a second, in all rooms together
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub ops: f64,
    /// Signals a second, in all rooms together
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub signals: f64,
    /// Events of a room that come at about the same moment, and so in one write
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub together: f64,
    /// Bytes of what an op or a signal says
    #[arg(long, value_name = "BYTES", default_value_t = 100.0)]
    pub payload: f64,
    /// How many come anew each second
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub joins: f64,
    /// Ops of a room that each node with members of it keeps: those since the first of them came, 4,096 at the most
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    pub history: f64,
    /// The codec that is spoken
    #[arg(long, value_enum, default_value_t)]
    pub codec: CodecName,
    /// Connections are encrypted, by the load balancer
    #[arg(long)]
    pub tls: bool,
    /// Where ops are kept
    #[arg(long, value_enum, default_value_t)]
    pub database: Database,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is out of bounds: {bounds}")]
pub struct InvalidDemand {
    name: &'static str,
    bounds: &'static str,
}

impl Demand {
    /// Guests who say nothing, in rooms of so many.
    #[must_use]
    pub fn idle(connections: f64, members: f64) -> Self {
        Self {
            connections,
            members,
            audience: 0.0,
            signed_in: 0.0,
            ops: 0.0,
            signals: 0.0,
            together: 1.0,
            payload: 100.0,
            joins: 0.0,
            history: 0.0,
            codec: CodecName::Msgpack,
            tls: false,
            database: Database::Postgres,
        }
    }

    /// # Errors
    /// When a number is not possible.
    pub fn check(&self) -> Result<(), InvalidDemand> {
        let bounds =
            |name, holds: bool, bounds| if holds { Ok(()) } else { Err(InvalidDemand { name, bounds }) };
        let share = |number: f64| (0.0..=1.0).contains(&number);
        let rate = |number: f64| (0.0..=1e9).contains(&number);
        bounds("connections", (1.0..=1e9).contains(&self.connections), "1 to a thousand million")?;
        bounds("members", self.members >= 1.0 && self.members <= self.connections, "1 to all connections")?;
        bounds("audience", share(self.audience), "0 to 1")?;
        bounds("signed-in", share(self.signed_in), "0 to 1")?;
        bounds("ops", rate(self.ops), "0 to a thousand million")?;
        bounds("signals", rate(self.signals), "0 to a thousand million")?;
        bounds("together", (1.0..=1e6).contains(&self.together), "1 to a million")?;
        bounds("joins", rate(self.joins), "0 to a thousand million")?;
        bounds("history", rate(self.history), "0 to a thousand million")?;
        bounds("payload", (0.0..=65_536.0).contains(&self.payload), "0 to 65,536 bytes")
    }

    #[must_use]
    pub fn rooms(&self) -> f64 {
        self.connections / self.members
    }
}
