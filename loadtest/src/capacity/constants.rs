//! What one of everything costs, as it was measured, each with its unit and with how it was measured.
//!
//! Change a number here, or what it is a number of, and `make bless` writes `docs/capacity.md` anew.

use crate::scenario::CodecName;

/// A row of the page's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant {
    pub name: &'static str,
    pub meaning: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// The key of the page's list of commands; empty where nothing was measured, because it is a setting of the code.
    pub how: &'static str,
}

macro_rules! constants {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal $unit:literal $how:literal,)*) => {
        /// In bytes and seconds.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Constants {
            $($(#[doc = $doc])+ pub $name: f64,)*
        }

        impl Constants {
            pub const MEASURED: Self = Self { $($name: $value,)* };

            /// All of them, with what they are.
            #[must_use]
            pub fn rows(&self) -> Vec<Constant> {
                vec![$(Constant {
                    name: stringify!($name),
                    meaning: concat!($($doc),+).trim_ascii(),
                    value: self.$name,
                    unit: $unit,
                    how: $how,
                },)*]
            }
        }
    };
}

constants! {
    /// Memory of a node that nobody is connected to
    node_memory = 6.5e6 "B" "idle",
    /// Memory of a guest's connection
    guest = 1_256.0 "B" "idle",
    /// Memory of the connection of somebody who only watches
    watcher = 900.0 "B" "idle",
    /// Memory of a signed-in person's connection and session, beyond a guest's, with ten connections each
    session = 400.0 "B" "people",
    /// Memory of a room at its owner
    owner_room = 10.1e3 "B" "idle (the sum)",
    /// Memory of a room at each node with members of it
    mirror_room = 7.2e3 "B" "idle (the sum)",
    /// Memory of an op at each node with members of its room, what it says aside
    mirror_op = 800.0 "B" "history",
    /// Memory there of each byte that it says
    mirror_payload = 1.7 "B" "history",
    /// Ops that a node keeps of a room with members there, at the most
    ring_ops = 4_096.0 "ops" "",
    /// Kernel memory of a connection that is silent
    kernel_connection = 4_050.0 "B" "slab",
    /// Files that a node has open besides its connections
    node_files = 64.0 "files" "idle",

    /// Between two pings of a connection
    ping_interval = 25.0 "s" "",
    /// Between two deliveries of a busy room to members
    member_tick = 0.016 "s" "",
    /// Between two deliveries of a busy room to those who only watch
    audience_tick = 0.05 "s" "",

    /// CPU of a node that nobody is connected to, each second
    node_cpu = 0.0018 "s" "idle",
    /// CPU of a room that is awake, each second
    room_cpu = 12e-6 "s" "idle",
    /// CPU of a ping and its answer
    ping_cpu = 21e-6 "s" "idle",
    /// CPU of a write to a connection: what came in a tick, in one; the receiver's half of loopback included
    write_cpu = 6.3e-6 "s" "fanout",
    /// CPU of each op or signal in such a write
    delivery_cpu = 0.03e-6 "s" "fanout",
    /// CPU of a signal that comes in
    signal_cpu = 25e-6 "s" "rooms",
    /// CPU of somebody who comes in alone, the fence's commit not included; in a crowd it is half of that
    join_cpu = 270e-6 "s" "churn",
    /// CPU of an op on a single node, SQLite included
    sqlite_op_cpu = 40e-6 "s" "ops",
    /// CPU of a commit on a single node, SQLite included
    sqlite_commit_cpu = 330e-6 "s" "ops",
    /// CPU of a node of a cluster that nobody is connected to, each second
    cluster_node_cpu = 0.006 "s" "cluster",
    /// CPU of a signal that comes in to a node of a cluster, beside its messages and writes
    cluster_signal_cpu = 40e-6 "s" "cluster",
    /// CPU of an op in a cluster, at the edge that it came to and at its owner, beside its messages and writes
    cluster_op_cpu = 45e-6 "s" "cluster",
    /// CPU of a commit at the node that owns the room
    cluster_commit_cpu = 70e-6 "s" "cluster",
    /// CPU of a node for a message to or from another
    bus_message_cpu = 50e-6 "s" "cluster",
    /// CPU of PostgreSQL for an op
    postgres_op_cpu = 15e-6 "s" "cluster",
    /// CPU of PostgreSQL for a commit
    postgres_commit_cpu = 320e-6 "s" "cluster",
    /// CPU of NATS as soon as there is something to do
    nats_cpu = 0.1 "s" "nats",
    /// CPU of NATS for a message that it takes in or hands out
    nats_message_cpu = 6e-6 "s" "nats",

    /// How long a commit of SQLite takes
    sqlite_commit_seconds = 0.6e-3 "s" "ops",
    /// How long a commit of PostgreSQL takes
    postgres_commit_seconds = 1e-3 "s" "cluster",
    /// Committers of a node in a cluster
    postgres_committers = 4.0 "" "",
    /// Ops that one room takes each second
    room_ops = 8_000.0 "ops/s" "room",

    /// What an op adds to SQLite's file, beside what it says
    sqlite_op_bytes = 240.0 "B" "ops",
    /// What SQLite writes into its log for a commit
    sqlite_commit_log_bytes = 12e3 "B" "ops",
    /// What an op adds to PostgreSQL's table and its index, beside what it says
    postgres_op_bytes = 230.0 "B" "cluster",
    /// What PostgreSQL writes into its log for an op, beside what it says
    postgres_op_log_bytes = 180.0 "B" "cluster",
    /// What PostgreSQL writes into its log for a commit
    postgres_commit_log_bytes = 405.0 "B" "cluster",

    /// With more nodes than these, a room's events are told by one message for all
    multicast_above = 8.0 "nodes" "",
    /// Between two times that a node tells a room's owner how far it is
    note_interval = 2.0 "s" "",
    /// Parts in which it does so, one after the other
    note_turns = 100.0 "" "",
    /// Bytes between nodes of an op on its way to its owner, beside what it says
    bus_submit_bytes = 245.0 "B" "cluster",
    /// Bytes between nodes of its answer
    bus_accepted_bytes = 120.0 "B" "cluster",
    /// Bytes between nodes of an op that is told to one, beside what it says
    bus_op_bytes = 170.0 "B" "cluster",
    /// Bytes between nodes of a signal that is told to one, beside what it says
    bus_signal_bytes = 115.0 "B" "cluster",
    /// Bytes between nodes of a room in a note of how far a node is
    bus_note_bytes = 121.0 "B" "cluster",

    /// Headers of IPv4 and of TCP with timestamps
    packet_bytes = 52.0 "B" "wire",
    /// Payload of a packet in Ethernet's usual 1,500 bytes
    segment_bytes = 1_448.0 "B" "",
    /// Packets each way of somebody who comes in
    join_packets = 8.0 "packets" "wire",
    /// What TLS 1.3 adds to a write
    tls_record_bytes = 22.0 "B" "",

    /// In MessagePack: a ping of one room
    msgpack_ping = 46.0 "B" "idle",
    /// In MessagePack: its answer
    msgpack_pong = 14.0 "B" "idle",
    /// In MessagePack: an op as it is submitted, beside what it says
    msgpack_submit = 134.0 "B" "ops",
    /// In MessagePack: what acknowledges it
    msgpack_accepted = 24.0 "B" "ops",
    /// In MessagePack: an op as it is told, beside what it says
    msgpack_op = 117.0 "B" "ops",
    /// In MessagePack: the frame of ops that are told together
    msgpack_ops = 96.0 "B" "ops",
    /// In MessagePack: a signal as it is sent, beside what it says
    msgpack_sent = 50.0 "B" "fanout",
    /// In MessagePack: a signal as it is told, beside what it says
    msgpack_signal = 60.0 "B" "fanout",
    /// In MessagePack: the frame of signals that are told together
    msgpack_signals = 48.0 "B" "fanout",
    /// In MessagePack: handshake, `hello` and `join`
    msgpack_join = 315.0 "B" "churn",
    /// In MessagePack: their answers, and what others are told of it; the board itself comes on top
    msgpack_joined = 1_340.0 "B" "churn",

    /// In JSON: a ping of one room
    json_ping = 92.0 "B" "idle",
    /// In JSON: the answer to a ping
    json_pong = 31.0 "B" "idle",
    /// In JSON: an op as it is submitted, beside what it says
    json_submit = 213.0 "B" "ops",
    /// In JSON: what acknowledges it
    json_accepted = 45.0 "B" "ops",
    /// In JSON: an op as it is told, beside what it says
    json_op = 217.0 "B" "ops",
    /// In JSON: the frame of ops that are told together
    json_ops = 130.0 "B" "ops",
    /// In JSON: a signal as it is sent, beside what it says
    json_sent = 105.0 "B" "fanout",
    /// In JSON: a signal as it is told, beside what it says
    json_signal = 124.0 "B" "fanout",
    /// In JSON: the frame of signals that are told together
    json_signals = 84.0 "B" "fanout",
    /// In JSON: handshake, `hello` and `join`
    json_join = 430.0 "B" "churn",
    /// In JSON: their answers, and what others are told of it
    json_joined = 1_850.0 "B" "churn",
}

/// Bytes of WebSocket frames, in one codec.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    pub ping: f64,
    pub pong: f64,
    pub submit: f64,
    pub accepted: f64,
    pub op: f64,
    pub ops: f64,
    pub sent: f64,
    pub signal: f64,
    pub signals: f64,
    pub join: f64,
    pub joined: f64,
}

impl Constants {
    #[must_use]
    pub fn wire(&self, codec: CodecName) -> Wire {
        match codec {
            CodecName::Msgpack => Wire {
                ping: self.msgpack_ping,
                pong: self.msgpack_pong,
                submit: self.msgpack_submit,
                accepted: self.msgpack_accepted,
                op: self.msgpack_op,
                ops: self.msgpack_ops,
                sent: self.msgpack_sent,
                signal: self.msgpack_signal,
                signals: self.msgpack_signals,
                join: self.msgpack_join,
                joined: self.msgpack_joined,
            },
            CodecName::Json => Wire {
                ping: self.json_ping,
                pong: self.json_pong,
                submit: self.json_submit,
                accepted: self.json_accepted,
                op: self.json_op,
                ops: self.json_ops,
                sent: self.json_sent,
                signal: self.json_signal,
                signals: self.json_signals,
                join: self.json_join,
                joined: self.json_joined,
            },
        }
    }
}
