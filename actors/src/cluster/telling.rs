//! What this node tells others: as an edge, and as the owner of rooms. What is for this node is a call, what is for another goes over
//! the bus.

use enfilade_proto::{Epoch, RoomId, SignalOut};
use enfilade_store::{Incarnation, Shard};

use super::{Cluster, Inner};
use crate::bus::{ClusterEvent, Message, Notice, RoomEvent};
use crate::host::Outlet;
use crate::room::Audience;

impl Cluster {
    /// Tells the owner of a room something.
    pub fn notify(&self, room: RoomId, notice: Notice) {
        match self.0.owner(room) {
            Some(owner) if owner == self.me() => self.0.take_notice(owner, room, notice),
            Some(owner) => self.0.bus.send(owner, Message::Notice { room, notice }),
            None => {}
        }
    }

    /// To the other edges that have members of a room: these, or (`multicast`) all that listen.
    pub fn signal(&self, room: RoomId, edges: &[Incarnation], multicast: bool, signals: &[SignalOut]) {
        let message = || Message::Signals { room, signals: signals.to_vec() };
        if multicast {
            self.0.bus.multicast(room, message());
        } else {
            for edge in edges.iter().filter(|edge| **edge != self.me()) {
                self.0.bus.send(*edge, message());
            }
        }
    }

    /// Begins or ends to hear what is multicast to a room.
    pub fn listen(&self, room: RoomId, on: bool) {
        self.0.bus.listen(room, on);
    }

    /// To every node there is.
    pub fn announce(&self, event: ClusterEvent) {
        self.0.bus.broadcast(Message::Announced(event.clone()));
        self.0.announced(event);
    }
}

impl Outlet for Inner {
    fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent) {
        let message = |event| Message::Event { room, epoch, event };
        let here = match to {
            Audience::Edges(edges) => {
                for edge in edges.iter().filter(|edge| **edge != self.me()) {
                    self.bus.send(*edge, message(event.clone()));
                }
                edges.contains(&self.me())
            }
            Audience::Listeners => {
                self.bus.multicast(room, message(event.clone()));
                true
            }
            Audience::Everybody => {
                self.bus.broadcast(message(event.clone()));
                true
            }
        };
        if here && let Some(edge) = self.edge() {
            edge.room_event(room, epoch, event);
        }
    }

    fn fenced(&self, shard: Shard) {
        if let Some(host) = &self.host {
            host.forget(&[shard]);
        }
        self.look.notify_one();
    }
}
