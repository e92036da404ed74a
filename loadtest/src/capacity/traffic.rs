//! How events travel: how many of them go in one write, over how many nodes a room is spread, and what comes of it each second.

use super::constants::Constants;
use super::demand::{Database, Demand};

/// Each second, in all rooms together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Traffic {
    /// Writes of news to a connection: what came in a tick travels together.
    pub(super) writes: f64,
    /// Ops and signals that somebody is told.
    pub(super) deliveries: f64,
    pub(super) commits: f64,
    pub(super) pings: f64,
    /// Rooms that a node has in mind, over all nodes: once where people are connected to it.
    pub(super) mirrors: f64,
    /// WebSocket frames with their payload, to clients and from them.
    pub(super) bytes_out: f64,
    pub(super) bytes_in: f64,
    /// Packets to clients and from them.
    pub(super) packets_out: f64,
    pub(super) packets_in: f64,
    /// Messages that nodes send, and messages that they are sent: one to many is many of these.
    pub(super) bus_sent: f64,
    pub(super) bus_received: f64,
    pub(super) bus_bytes: f64,
}

impl Traffic {
    pub(super) fn of(demand: &Demand, nodes: u32, constants: &Constants) -> Self {
        let Demand { connections, audience, ops, signals, payload, joins, .. } = *demand;
        let rooms = demand.rooms();
        let told = |events: f64| {
            let within = |tick: f64| (events / rooms / demand.together).min(1.0 / tick);
            connections
                * ((1.0 - audience) * within(constants.member_tick)
                    + audience * within(constants.audience_tick))
        };
        let writes = told(ops + signals);
        let deliveries = (ops + signals) * demand.members;
        let pings = connections / constants.ping_interval;
        let wire = constants.wire(demand.codec);
        let bytes_out = ops * (demand.members * (wire.op + payload) + wire.accepted)
            + signals * demand.members * (wire.signal + payload)
            + told(ops) * wire.ops
            + told(signals) * wire.signals
            + pings * wire.ping
            + joins * wire.joined;
        let bytes_in = ops * (wire.submit + payload)
            + signals * (wire.sent + payload)
            + pings * wire.pong
            + joins * wire.join;
        let segments = |bytes: f64| (bytes / constants.segment_bytes).max(1.0);
        let news =
            writes * segments(if writes > 0.0 { deliveries * (wire.signal + payload) / writes } else { 0.0 });
        let said = ops + signals;
        let bus = Bus::of(demand, nodes, constants);
        Self {
            writes,
            deliveries,
            commits: commits(demand, nodes, constants),
            pings,
            mirrors: rooms * bus.edges,
            bytes_out,
            bytes_in,
            // A ping is answered, and the answer is confirmed.
            packets_out: news + said + 2.0 * pings + joins * constants.join_packets,
            packets_in: news + said + pings + joins * constants.join_packets,
            bus_sent: bus.sent,
            bus_received: bus.received,
            bus_bytes: bus.bytes,
        }
    }
}

/// A commit carries what came while the one before it ran. So committers that are hardly used commit every op alone, and
/// those that never rest commit as often as they can.
fn commits(demand: &Demand, nodes: u32, constants: &Constants) -> f64 {
    // Whoever comes in asks the fence, which is a commit of nothing.
    let asked = demand.ops / demand.together + demand.joins;
    if asked == 0.0 {
        return 0.0;
    }
    let (committers, takes) = match demand.database {
        Database::Sqlite => (1.0, constants.sqlite_commit_seconds),
        Database::Postgres => {
            (f64::from(nodes) * constants.postgres_committers, constants.postgres_commit_seconds)
        }
    };
    let each = asked / committers;
    // Whoever rests waits for the next: 1 / each, unless one came meanwhile.
    committers / (takes + (-each * takes).exp() / each)
}

/// What nodes tell each other each second.
struct Bus {
    /// Nodes with members of a room.
    edges: f64,
    sent: f64,
    received: f64,
    bytes: f64,
}

impl Bus {
    fn of(demand: &Demand, nodes: u32, constants: &Constants) -> Self {
        let all = f64::from(nodes);
        // Load balancers know nothing of rooms: each member is on any node.
        let elsewhere = 1.0 - 1.0 / all;
        let edges = all * (1.0 - elsewhere.powf(demand.members));
        let rooms = demand.rooms();
        // Of the edges of a room its owner's own needs no message.
        let others = edges * elsewhere;
        let published = told_at_once(others, constants);
        // To the owner, and its answer.
        let asked = demand.ops * elsewhere;
        // What comes together travels together.
        let batch = demand.together;
        let batches =
            rooms * edges * (demand.signals / rooms / edges / batch).min(1.0 / constants.member_tick);
        let passed = told_at_once(edges - 1.0, constants);
        let notes = Notes::of(rooms * others, nodes, constants);
        Self {
            edges,
            sent: (2.0 * asked + demand.ops * published) / batch + batches * passed + notes.messages,
            received: (2.0 * asked + demand.ops * others) / batch + batches * (edges - 1.0) + notes.messages,
            bytes: 2.0 * asked * (constants.bus_submit_bytes + demand.payload + constants.bus_accepted_bytes)
                + demand.ops * (published + others) * (constants.bus_op_bytes + demand.payload)
                + demand.signals * (passed + edges - 1.0) * (constants.bus_signal_bytes + demand.payload)
                + 2.0 * notes.rooms * constants.bus_note_bytes,
        }
    }
}

/// How far nodes are with rooms that others own, each second.
struct Notes {
    rooms: f64,
    messages: f64,
}

impl Notes {
    /// A node does it in turns; what goes to the same owner in a turn is one message.
    fn of(rooms: f64, nodes: u32, constants: &Constants) -> Self {
        let (all, owners) = (f64::from(nodes), f64::from(nodes.saturating_sub(1)));
        if owners == 0.0 {
            return Self { rooms: 0.0, messages: 0.0 };
        }
        let each = rooms / all;
        let turns = each.min(constants.note_turns);
        let a_turn = if turns > 0.0 { each / turns } else { 0.0 };
        let told = owners * (1.0 - (1.0 - 1.0 / owners).powf(a_turn));
        Self {
            rooms: rooms / constants.note_interval,
            messages: all * turns * told / constants.note_interval,
        }
    }
}

/// Messages that tell so many nodes: one each, or one for all.
fn told_at_once(nodes: f64, constants: &Constants) -> f64 {
    if nodes > constants.multicast_above { 1.0 } else { nodes }
}
