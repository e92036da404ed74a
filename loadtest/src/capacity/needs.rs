//! What a demand needs, on all nodes together.

use std::ops::Add;

use serde::Serialize;

use super::constants::Constants;
use super::demand::{Database, Demand};
use super::traffic::Traffic;

const DAY: f64 = 86_400.0;

/// Bytes, cores and counts a second, of all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Needs {
    /// What nodes have in memory themselves, and the kernel for their sockets.
    pub user_memory: f64,
    pub kernel_memory: f64,
    pub edge_cores: f64,
    pub host_cores: f64,
    /// Zero with SQLite: the node's own cores do it.
    pub database_cores: f64,
    pub bus_cores: f64,
    /// Each second, headers of TCP and IP included.
    pub bytes_out: f64,
    pub bytes_in: f64,
    /// Writes to connections each second: what costs.
    pub writes: f64,
    /// What NATS takes in and hands out each second.
    pub bus_messages: f64,
    pub bus_bytes: f64,
    pub commits: f64,
    pub database_bytes_a_day: f64,
    /// What the database writes beside: its write-ahead log.
    pub database_log_bytes: f64,
    pub files: f64,
}

impl Needs {
    #[must_use]
    pub fn of(demand: &Demand, nodes: u32, constants: &Constants) -> Self {
        let traffic = Traffic::of(demand, nodes, constants);
        let (edge_cores, host_cores) = cores(demand, &traffic, nodes, constants);
        let tls = if demand.tls { constants.tls_record_bytes } else { 0.0 };
        let on_the_wire = |bytes: f64, packets: f64| bytes + packets * (constants.packet_bytes + tls);
        let (row, log_row, log_commit) = match demand.database {
            Database::Sqlite => (constants.sqlite_op_bytes, 0.0, constants.sqlite_commit_log_bytes),
            Database::Postgres => (
                constants.postgres_op_bytes,
                constants.postgres_op_log_bytes + demand.payload,
                constants.postgres_commit_log_bytes,
            ),
        };
        let is_cluster = demand.database == Database::Postgres;
        let in_cluster = |need: f64| if is_cluster { need } else { 0.0 };
        let bus_messages = traffic.bus_sent + traffic.bus_received;
        Self {
            user_memory: user_memory(demand, &traffic, nodes, constants),
            kernel_memory: demand.connections * constants.kernel_connection,
            edge_cores,
            host_cores,
            database_cores: in_cluster(
                demand.ops * constants.postgres_op_cpu + traffic.commits * constants.postgres_commit_cpu,
            ),
            bus_cores: in_cluster(constants.nats_cpu + bus_messages * constants.nats_message_cpu),
            bytes_out: on_the_wire(traffic.bytes_out, traffic.packets_out),
            bytes_in: on_the_wire(traffic.bytes_in, traffic.packets_in),
            writes: traffic.writes,
            bus_messages: in_cluster(bus_messages),
            bus_bytes: in_cluster(traffic.bus_bytes),
            commits: traffic.commits,
            database_bytes_a_day: demand.ops * (row + demand.payload) * DAY,
            database_log_bytes: demand.ops * log_row + traffic.commits * log_commit,
            files: demand.connections + f64::from(nodes) * constants.node_files,
        }
    }

    #[must_use]
    pub fn memory(&self) -> f64 {
        self.user_memory + self.kernel_memory
    }

    /// Of the nodes.
    #[must_use]
    pub fn cores(&self) -> f64 {
        self.edge_cores + self.host_cores
    }
}

fn user_memory(demand: &Demand, traffic: &Traffic, nodes: u32, constants: &Constants) -> f64 {
    let watching = demand.connections * demand.audience;
    let members = demand.connections - watching;
    let signed_in = members * demand.signed_in;
    let remembered = demand.history.min(constants.ring_ops);
    let op = constants.mirror_op + constants.mirror_payload * demand.payload;
    let mirror = constants.mirror_room + remembered * op;
    f64::from(nodes) * constants.node_memory
        + watching * constants.watcher
        + members * constants.guest
        + signed_in * constants.session
        + traffic.mirrors * mirror
        + demand.rooms() * constants.owner_room
}

/// Of edges, and of hosts.
fn cores(demand: &Demand, traffic: &Traffic, nodes: u32, constants: &Constants) -> (f64, f64) {
    let Costs { node, signal, op, commit, messages } = Costs::of(demand.database, traffic, constants);
    let edge = f64::from(nodes) * node
        + traffic.writes * constants.write_cpu
        + traffic.deliveries * constants.delivery_cpu
        + demand.signals * signal
        + traffic.pings * constants.ping_cpu
        + demand.joins * constants.join_cpu
        + messages * constants.bus_message_cpu;
    (edge, demand.rooms() * constants.room_cpu + demand.ops * op + traffic.commits * commit)
}

/// What costs a node other CPU in a cluster than where it is alone.
struct Costs {
    node: f64,
    signal: f64,
    op: f64,
    commit: f64,
    /// With other nodes.
    messages: f64,
}

impl Costs {
    fn of(database: Database, traffic: &Traffic, constants: &Constants) -> Self {
        match database {
            Database::Sqlite => Self {
                node: constants.node_cpu,
                signal: constants.signal_cpu,
                op: constants.sqlite_op_cpu,
                commit: constants.sqlite_commit_cpu,
                messages: 0.0,
            },
            Database::Postgres => Self {
                node: constants.cluster_node_cpu,
                signal: constants.cluster_signal_cpu,
                op: constants.cluster_op_cpu,
                commit: constants.cluster_commit_cpu,
                messages: traffic.bus_sent + traffic.bus_received,
            },
        }
    }
}

impl Add for Needs {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            user_memory: self.user_memory + other.user_memory,
            kernel_memory: self.kernel_memory + other.kernel_memory,
            edge_cores: self.edge_cores + other.edge_cores,
            host_cores: self.host_cores + other.host_cores,
            database_cores: self.database_cores + other.database_cores,
            bus_cores: self.bus_cores + other.bus_cores,
            bytes_out: self.bytes_out + other.bytes_out,
            bytes_in: self.bytes_in + other.bytes_in,
            writes: self.writes + other.writes,
            bus_messages: self.bus_messages + other.bus_messages,
            bus_bytes: self.bus_bytes + other.bus_bytes,
            commits: self.commits + other.commits,
            database_bytes_a_day: self.database_bytes_a_day + other.database_bytes_a_day,
            database_log_bytes: self.database_log_bytes + other.database_log_bytes,
            files: self.files + other.files,
        }
    }
}
