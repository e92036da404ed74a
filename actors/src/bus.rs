//! The bus: how nodes talk. One of the two seams of the cluster (the other is the log).
//!
//! A bus only carries: it is quick, keeps the order between two nodes, and may lose anything. A lost message costs time, never
//! data: ops are sent again until they are answered (and recognised by their op id), events carry their seq, so that an edge
//! notices a gap, and edges and owners compare notes every few seconds.

mod memory;
mod message;
mod nats;

use std::fmt;
use std::sync::Weak;

use enfilade_proto::RoomId;
use enfilade_store::Incarnation;

pub use self::memory::{MemoryBus, MemoryNetwork};
pub use self::message::{
    Attached, ClusterEvent, Connected, ConnectedDevice, DeviceReport, Message, Notice, Question, Refused,
    RoomEvent, SessionView, Standing, Submission, Ticket, Told, UserPresence, Watching, Writer, roster,
};
pub use self::nats::{Identity as NatsIdentity, NatsBus, NatsError, NatsOptions};

/// The way to other nodes. Nothing here waits, and nothing says whether it arrived.
pub trait Bus: fmt::Debug + Send + Sync + 'static {
    /// Begins to deliver to this node. What came before is lost.
    fn open(&self, endpoint: Weak<dyn Endpoint>);

    /// To one other node. What one node sends to another arrives in the order in which it was sent, or not at all; only
    /// messages with [`Message::is_bulky`] may be late.
    fn send(&self, to: Incarnation, message: Message);

    /// To every other node, in order with what else is broadcast.
    fn broadcast(&self, message: Message);

    /// To every other node that listens to the room, sent once however many they are. No order with what is sent to one.
    fn multicast(&self, room: RoomId, message: Message);

    /// Begins or ends to hear what is multicast to a room.
    fn listen(&self, room: RoomId, on: bool);

    /// Whether the bus carries anything just now, as far as this node can tell.
    fn is_connected(&self) -> bool;
}

/// A node as the bus sees it. None of these waits.
pub trait Endpoint: fmt::Debug + Send + Sync + 'static {
    fn hear(&self, from: Incarnation, message: Message);

    /// What was sent to that node found nobody: a hint that it is gone.
    fn unreachable(&self, node: Incarnation);

    /// Messages may have been lost, in both directions and with every node.
    fn disrupted(&self);
}
