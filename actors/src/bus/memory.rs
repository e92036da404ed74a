//! The bus between nodes of one process. A node on its own has one with nobody else on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use enfilade_proto::RoomId;
use enfilade_store::Incarnation;
use tokio::sync::mpsc;

use super::{Bus, Endpoint, Message};

/// Messages that may wait for a node; beyond that they are lost.
const QUEUE: usize = 65_536;

/// What the nodes of one process share.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork(Arc<Mutex<Network>>);

#[derive(Debug, Default)]
struct Network {
    nodes: BTreeMap<Incarnation, mpsc::Sender<(Incarnation, Message)>>,
    listeners: BTreeMap<RoomId, BTreeSet<Incarnation>>,
}

/// One node's connection to a [`MemoryNetwork`].
#[derive(Debug)]
pub struct MemoryBus {
    me: Incarnation,
    network: MemoryNetwork,
}

impl MemoryNetwork {
    #[must_use]
    pub fn connect(&self, me: Incarnation) -> MemoryBus {
        MemoryBus { me, network: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        // Nothing under this lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBus {
    /// The bus of a node that is alone.
    #[must_use]
    pub fn alone(me: Incarnation) -> Self {
        MemoryNetwork::default().connect(me)
    }

    /// Sends to those that are there; the others are returned.
    fn pass(&self, to: Vec<Incarnation>, message: &Message) -> Vec<Incarnation> {
        let network = self.network.lock();
        let gone = |to: &Incarnation| match network.nodes.get(to) {
            Some(queue) => {
                // Full is lost: whoever sends does not wait.
                matches!(
                    queue.try_send((self.me, message.clone())),
                    Err(mpsc::error::TrySendError::Closed(_))
                )
            }
            None => true,
        };
        to.into_iter().filter(gone).collect()
    }

    fn others(&self) -> Vec<Incarnation> {
        self.network.lock().nodes.keys().copied().filter(|node| *node != self.me).collect()
    }
}

impl Bus for MemoryBus {
    fn open(&self, endpoint: Weak<dyn Endpoint>) {
        let (queue, mut messages) = mpsc::channel(QUEUE);
        self.network.lock().nodes.insert(self.me, queue);
        tokio::spawn(async move {
            while let Some((from, message)) = messages.recv().await {
                let Some(endpoint) = endpoint.upgrade() else { return };
                endpoint.hear(from, message);
            }
        });
    }

    fn send(&self, to: Incarnation, message: Message) {
        let gone = self.pass(vec![to], &message);
        if !gone.is_empty() {
            tracing::debug!(%to, "nobody there to hear a message");
        }
    }

    fn broadcast(&self, message: Message) {
        self.pass(self.others(), &message);
    }

    fn multicast(&self, room: RoomId, message: Message) {
        let listeners = self.network.lock().listeners.get(&room).cloned().unwrap_or_default();
        self.pass(listeners.into_iter().filter(|node| *node != self.me).collect(), &message);
    }

    fn listen(&self, room: RoomId, on: bool) {
        let mut network = self.network.lock();
        if on {
            network.listeners.entry(room).or_default().insert(self.me);
        } else if let Some(listeners) = network.listeners.get_mut(&room) {
            listeners.remove(&self.me);
            if listeners.is_empty() {
                network.listeners.remove(&room);
            }
        }
    }

    fn is_connected(&self) -> bool {
        true
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        let mut network = self.network.lock();
        network.nodes.remove(&self.me);
        network.listeners.retain(|_, listeners| {
            listeners.remove(&self.me);
            !listeners.is_empty()
        });
    }
}
