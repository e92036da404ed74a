//! What is finite: a node's, and what all nodes share.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::constants::Constants;
use super::demand::{Database, Demand};
use super::needs::Needs;

/// What one node may use. The defaults are those of the Helm chart, on machines of two cores and a gigabit.
#[derive(Args, Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NodeSize {
    /// Connections that a node takes: its `max_connections`
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.max_connections)]
    pub max_connections: f64,
    /// Bytes of a node's memory limit; the kernel's memory for its sockets counts, too
    #[arg(long, value_name = "BYTES", default_value_t = Self::USUAL.node_memory)]
    pub node_memory: f64,
    /// Cores of a node
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.node_cores)]
    pub node_cores: f64,
    /// Files that a node may have open
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.node_files)]
    pub node_files: f64,
    /// Bits a second of a node's network, each way
    #[arg(long, value_name = "BITS", default_value_t = Self::USUAL.node_bandwidth)]
    pub node_bandwidth: f64,
}

impl NodeSize {
    pub const USUAL: Self = Self {
        max_connections: 16_384.0,
        node_memory: 1_073_741_824.0,
        node_cores: 2.0,
        node_files: 1_048_576.0,
        node_bandwidth: 1e9,
    };
}

/// A node's limits, and those of what all nodes share.
#[derive(Args, Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    #[command(flatten)]
    pub node: NodeSize,
    /// Cores of the database
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.database_cores)]
    pub database_cores: f64,
    /// Cores of the one NATS server that a node is connected to
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.bus_cores)]
    pub bus_cores: f64,
    /// The share of each limit that is planned to be used
    #[arg(long, value_name = "SHARE", default_value_t = Self::USUAL.fill)]
    pub fill: f64,
    /// Nodes that may be lost at once
    #[arg(long, value_name = "N", default_value_t = Self::USUAL.spare)]
    pub spare: u32,
}

impl Limits {
    pub const USUAL: Self =
        Self { node: NodeSize::USUAL, database_cores: 4.0, bus_cores: 2.0, fill: 0.7, spare: 1 };
}

/// What can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Connections,
    Files,
    Memory,
    Cpu,
    Bandwidth,
    DatabaseCpu,
    BusCpu,
    RoomOps,
}

impl Resource {
    /// What belongs to nodes there is more of with more nodes.
    #[must_use]
    pub fn more_nodes_help(self) -> bool {
        !matches!(self, Self::DatabaseCpu | Self::BusCpu | Self::RoomOps)
    }

    /// What helps whoever meets it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Connections => "raise `settings.maxConnections` while memory allows, or add nodes",
            Self::Files => "raise the limit of open files, or add nodes",
            Self::Memory => "raise `nodes.resources.limits.memory`, or add nodes",
            Self::Cpu | Self::Bandwidth => "add nodes; let those who only watch come as audience",
            Self::DatabaseCpu => "give the database more cores; more nodes do not help",
            Self::BusCpu => "give NATS more cores or servers; more nodes do not help",
            Self::RoomOps => "the room has one owner: spread people over more rooms",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "connections of a node",
            Self::Files => "open files of a node",
            Self::Memory => "memory of a node",
            Self::Cpu => "CPU of a node",
            Self::Bandwidth => "network of a node",
            Self::DatabaseCpu => "CPU of the database",
            Self::BusCpu => "CPU of NATS",
            Self::RoomOps => "ops of one room",
        })
    }
}

/// How much of a limit is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    pub resource: Resource,
    pub used: f64,
    pub limit: f64,
}

impl Load {
    #[must_use]
    pub fn share(&self) -> f64 {
        self.used / self.limit
    }
}

/// How full everything is while so few nodes carry it all, the fullest first. What all nodes share is used most by all of them.
#[must_use]
pub fn loads(
    demand: &Demand,
    nodes: u32,
    carriers: u32,
    limits: &Limits,
    constants: &Constants,
) -> Vec<Load> {
    let load = |resource, used, limit| Load { resource, used, limit };
    let carried = Needs::of(demand, carriers, constants);
    let (node, each) = (&limits.node, |all: f64| all / f64::from(carriers));
    let mut loads = vec![
        load(Resource::Connections, each(demand.connections), node.max_connections),
        load(Resource::Files, each(carried.files), node.node_files),
        load(Resource::Memory, each(carried.memory()), node.node_memory),
        load(Resource::Cpu, each(carried.cores()), node.node_cores),
        load(Resource::Bandwidth, each(carried.bytes_in.max(carried.bytes_out)) * 8.0, node.node_bandwidth),
        load(Resource::RoomOps, demand.ops / demand.rooms(), constants.room_ops),
    ];
    if demand.database == Database::Postgres {
        let all = Needs::of(demand, nodes, constants);
        loads.push(load(Resource::DatabaseCpu, all.database_cores, limits.database_cores));
        loads.push(load(Resource::BusCpu, all.bus_cores, limits.bus_cores));
    }
    loads.sort_by(|one, other| other.share().total_cmp(&one.share()));
    loads
}
