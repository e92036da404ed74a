//! SimBus: the bus of a simulation. It does to messages what NATS can do to them: they take their time, each pair of nodes and
//! each way of sending in its own order; they are lost, which is mostly noticed; nobody is told when they reach nobody, or
//! somebody is told who should not be. None comes twice: what a connection had taken is not sent again on the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;

use enfilade_actors::bus::{Bus, Endpoint, Message};
use enfilade_proto::{OpId, RoomId};
use enfilade_store::Incarnation;
use tokio::sync::mpsc;

use super::settings::Mutation;
use super::store::short;
use super::world::{State, World};

/// How long a connection that is cut is believed to be there, at most.
const HALF_OPEN_MS: u64 = 5_000;

/// A node's handle.
#[derive(Debug)]
pub(super) struct SimBus {
    pub(super) me: Incarnation,
    pub(super) world: World,
}

#[derive(Debug, Default)]
pub(super) struct Network {
    ports: BTreeMap<Incarnation, Port>,
    listeners: BTreeMap<RoomId, BTreeSet<Incarnation>>,
    /// Pairs that do not hear each other.
    cut: BTreeSet<(Incarnation, Incarnation)>,
    pub(super) faults: Faults,
    /// When the last message arrives that was sent this way.
    arrivals: BTreeMap<Way, u64>,
    /// Where something was lost that the next message will show.
    gaps: BTreeSet<(Incarnation, Incarnation)>,
    /// Ops that were carried before, for the mutation that loses them then.
    carried: BTreeSet<(Incarnation, OpId)>,
}

/// How often messages fare ill, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) wrong_hints: u64,
}

#[derive(Debug)]
struct Port {
    inbox: mpsc::UnboundedSender<Heard>,
    /// Whether messages pass, and whether the node believes so.
    passes: bool,
    connected: bool,
}

#[derive(Debug)]
enum Heard {
    Message(Incarnation, Box<Message>),
    Unreachable(Incarnation),
    Disrupted,
}

/// Messages that keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Direct,
    Broadcast,
    Room(RoomId),
    /// Bulky: no order at all.
    Bulk,
}

type Way = (Incarnation, Incarnation, Lane);

fn pair(one: Incarnation, other: Incarnation) -> (Incarnation, Incarnation) {
    (one.min(other), one.max(other))
}

impl Network {
    /// The node is gone with its connection.
    pub(super) fn remove(&mut self, node: Incarnation) {
        self.ports.remove(&node);
        self.listeners.values_mut().for_each(|listeners| _ = listeners.remove(&node));
        self.cut.retain(|(one, other)| *one != node && *other != node);
    }

    pub(super) fn cut(&mut self, one: Incarnation, other: Incarnation) {
        self.cut.insert(pair(one, other));
    }

    pub(super) fn is_cut(&self, one: Incarnation, other: Incarnation) -> bool {
        self.cut.contains(&pair(one, other))
    }

    pub(super) fn mend(&mut self, one: Incarnation, other: Incarnation) {
        self.cut.remove(&pair(one, other));
    }

    fn is_off(&self, node: Incarnation) -> bool {
        self.ports.get(&node).is_none_or(|port| !port.passes)
    }

    pub(super) fn nodes(&self) -> Vec<Incarnation> {
        self.ports.keys().copied().collect()
    }

    fn tell(&self, to: Incarnation, heard: Heard) {
        if let Some(port) = self.ports.get(&to) {
            let _ = port.inbox.send(heard);
        }
    }
}

impl State {
    /// Nothing passes to and from the node. It notices after a while.
    pub(super) fn take_off_bus(&mut self, node: Incarnation) {
        let Some(port) = self.network.ports.get_mut(&node) else { return };
        port.passes = false;
        let at_ms = self.now_ms + self.chance.below(HALF_OPEN_MS);
        self.at(at_ms, move |state| {
            if let Some(port) = state.network.ports.get_mut(&node) {
                port.connected = port.passes;
            }
        });
    }

    pub(super) fn put_on_bus(&mut self, node: Incarnation) {
        let at_ms = self.now_ms + self.chance.below(300);
        self.at(at_ms, move |state| {
            let Some(port) = state.network.ports.get_mut(&node) else { return };
            if !std::mem::replace(&mut port.passes, true) {
                port.connected = true;
                state.network.tell(node, Heard::Disrupted);
            }
        });
    }

    fn send(&mut self, from: Incarnation, to: Incarnation, lane: Lane, message: Message) {
        if !self.network.ports.contains_key(&from) || self.forgets(from, &message) {
            return;
        }
        let numbers = [from.0.as_u64_pair().0, to.0.as_u64_pair().0, kind(&message)];
        let faults = self.network.faults;
        if self.network.is_off(from) || self.network.is_cut(from, to) || self.chance.per_mille(faults.lost) {
            self.network.gaps.insert((from, to));
            return self.note("lost", numbers, || words(from, to, &message));
        }
        if self.network.is_off(to) {
            self.note("nobody", numbers, || words(from, to, &message));
            if self.chance.per_mille(900) {
                self.hint(from, to);
            }
            return;
        }
        if self.chance.per_mille(faults.wrong_hints) {
            self.hint(from, to);
        }
        let late = self.chance.per_mille(faults.late);
        let way_ms = if late { self.chance.between(20, 700) } else { self.chance.between(1, 8) };
        let mut at_ms = self.now_ms + way_ms;
        if lane == Lane::Bulk {
            at_ms += self.chance.below(300);
        } else {
            let last_ms = self.network.arrivals.entry((from, to, lane)).or_default();
            at_ms = at_ms.max(*last_ms);
            *last_ms = at_ms;
        }
        self.note("send", numbers, || words(from, to, &message));
        self.at(at_ms, move |state| {
            if state.network.gaps.remove(&(from, to)) && state.chance.per_mille(800) {
                state.network.tell(to, Heard::Disrupted);
            }
            state.note("hear", numbers, || words(from, to, &message));
            state.network.tell(to, Heard::Message(from, Box::new(message)));
        });
    }

    /// Tells a node that another cannot be reached.
    fn hint(&mut self, who: Incarnation, node: Incarnation) {
        let at_ms = self.now_ms + self.chance.between(1, 8);
        self.at(at_ms, move |state| state.network.tell(who, Heard::Unreachable(node)));
    }

    fn forgets(&mut self, from: Incarnation, message: &Message) -> bool {
        match message {
            Message::Submit { submission, .. } if self.settings.mutation == Mutation::LostResends => {
                !self.network.carried.insert((from, submission.op_id))
            }
            _ => false,
        }
    }
}

fn kind(message: &Message) -> u64 {
    match message {
        Message::Submit { ticket, .. } => 1_000 + ticket.0,
        Message::Answer { ticket, .. } => 1_000_000 + ticket.0,
        Message::Attach { .. } => 3,
        Message::Attached { .. } => 4,
        Message::Notice { .. } => 5,
        Message::Event { .. } => 6,
        Message::Signals { .. } => 7,
        Message::Announced(_) => 8,
        Message::Moved { shards, .. } => 9_000_000 + shards.len() as u64,
        Message::Heartbeat => 10,
        // Sessions are not simulated.
        Message::Ask { .. } | Message::Told { .. } | Message::Devices(_) | Message::SignedOut { .. } => 11,
    }
}

fn words(from: Incarnation, to: Incarnation, message: &Message) -> String {
    let mut words = match message {
        Message::Moved { shards, to } => format!("Moved {} shards to {}", shards.len(), short(*to)),
        Message::Attached { ticket, result: Ok(attached) } => {
            format!("Attached {ticket:?} {:?} known {}", attached.position, attached.known)
        }
        message => format!("{message:?}"),
    };
    words.truncate(300);
    format!("{} > {}: {words}", short(from), short(to))
}

impl Bus for SimBus {
    fn open(&self, endpoint: Weak<dyn Endpoint>) {
        let (inbox, mut heard) = mpsc::unbounded_channel();
        let port = Port { inbox, passes: true, connected: true };
        self.world.lock().network.ports.insert(self.me, port);
        tokio::spawn(async move {
            while let Some(heard) = heard.recv().await {
                let Some(endpoint) = endpoint.upgrade() else { return };
                match heard {
                    Heard::Message(from, message) => endpoint.hear(from, *message),
                    Heard::Unreachable(node) => endpoint.unreachable(node),
                    Heard::Disrupted => endpoint.disrupted(),
                }
            }
        });
    }

    fn send(&self, to: Incarnation, message: Message) {
        let lane = if message.is_bulky() { Lane::Bulk } else { Lane::Direct };
        self.world.lock().send(self.me, to, lane, message);
    }

    fn broadcast(&self, message: Message) {
        let mut state = self.world.lock();
        for to in state.network.nodes().into_iter().filter(|node| *node != self.me) {
            state.send(self.me, to, Lane::Broadcast, message.clone());
        }
    }

    fn multicast(&self, room: RoomId, message: Message) {
        let mut state = self.world.lock();
        let listeners = state.network.listeners.get(&room).cloned().unwrap_or_default();
        for to in listeners.into_iter().filter(|node| *node != self.me) {
            state.send(self.me, to, Lane::Room(room), message.clone());
        }
    }

    fn listen(&self, room: RoomId, on: bool) {
        let mut state = self.world.lock();
        let listeners = state.network.listeners.entry(room).or_default();
        if on {
            listeners.insert(self.me);
        } else {
            listeners.remove(&self.me);
        }
    }

    fn is_connected(&self) -> bool {
        self.world.lock().network.ports.get(&self.me).is_some_and(|port| port.connected)
    }
}
