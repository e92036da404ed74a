//! The edge: the part of a node that terminates WebSockets.
//!
//! A connection is a small reading task and a slot in a hub. The reader finds out what a client wants; what concerns a room goes over
//! the bus to its owner; what comes back goes through the room's mirror to the hubs, which write it to their sockets.
//!
//! ```text
//! socket ─▶ reader ─▶ bus ─▶ owner ─▶ bus ─▶ EdgeRoom (mirror) ─▶ hub ─▶ sockets
//! ```

mod frame;
mod greeting;
mod hub;
mod joined;
mod meter;
mod mirror;
mod outgoing;
mod reader;
mod room;
mod upgrade;
mod wheel;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use enfilade_actors::bus::{Bus, ClusterEvent, Edge, RoomEvent};
use enfilade_actors::host::Clock;
use enfilade_actors::presence::EdgeId;
use enfilade_proto::{CloseCode, RoomId, SignalOut};
use enfilade_store::RoomLog;
use tokio::sync::oneshot;

use self::hub::{Command, HubHandle, HubInbox};
use self::room::EdgeRoom;
use crate::people::People;

pub(crate) use self::upgrade::upgrade;

/// What an edge works with, and what its parts find each other by.
#[derive(Debug)]
pub(crate) struct Ends {
    id: EdgeId,
    node: String,
    bus: Arc<dyn Bus>,
    log: Arc<dyn RoomLog>,
    people: Arc<People>,
    clock: Arc<dyn Clock>,
    hubs: Vec<HubHandle>,
    rooms: Mutex<HashMap<RoomId, Arc<EdgeRoom>>>,
    next_hub: AtomicUsize,
    /// Counts changes of access, so that nobody enters on the strength of what was true a moment ago.
    access_changes: AtomicU64,
    /// How long a mirror outlives its last member.
    linger: Duration,
    /// Sites besides our own whose pages may connect.
    allowed_origins: Vec<String>,
    /// Connections that may exist at once.
    slots: Arc<tokio::sync::Semaphore>,
}

/// What an edge is made from.
#[derive(Debug)]
pub struct EdgeSettings {
    pub hubs: usize,
    pub linger: Duration,
    pub allowed_origins: Vec<String>,
    pub max_connections: usize,
}

/// The edge of a node.
#[derive(Clone, Debug)]
pub struct EdgeNode(pub(crate) Arc<Ends>);

impl EdgeNode {
    /// Starts the hubs.
    #[must_use]
    pub fn start(
        id: EdgeId,
        node: String,
        bus: Arc<dyn Bus>,
        log: Arc<dyn RoomLog>,
        people: Arc<People>,
        clock: Arc<dyn Clock>,
        settings: EdgeSettings,
    ) -> Self {
        let (hubs, inboxes): (Vec<HubHandle>, Vec<HubInbox>) =
            (0..settings.hubs.max(1)).map(|_| HubHandle::new()).unzip();
        let ends = Arc::new(Ends {
            id,
            node,
            bus,
            log,
            people,
            clock,
            hubs,
            rooms: Mutex::default(),
            next_hub: AtomicUsize::new(0),
            access_changes: AtomicU64::new(0),
            linger: settings.linger,
            allowed_origins: settings.allowed_origins,
            slots: Arc::new(tokio::sync::Semaphore::new(settings.max_connections)),
        });
        for (index, inbox) in inboxes.into_iter().enumerate() {
            tokio::spawn(hub::run(index, ends.clone(), inbox));
        }
        Self(ends)
    }

    /// Says goodbye to every connection and ends the hubs. Returns how many connections there were.
    pub async fn stop(&self, code: CloseCode) -> usize {
        let mut count = 0;
        for hub in &self.0.hubs {
            let (done, stopped) = oneshot::channel();
            hub.tell(Command::Stop { code, done }).await;
            count += stopped.await.unwrap_or(0);
        }
        count
    }
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomId, Arc<EdgeRoom>>> {
        // Nothing under this lock can fail half-way.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room, as this edge has it or is about to have it.
    fn room(self: &Arc<Self>, id: RoomId) -> Arc<EdgeRoom> {
        self.lock().entry(id).or_insert_with(|| Arc::new(EdgeRoom::new(id, self.clone()))).clone()
    }

    fn known_room(&self, id: RoomId) -> Option<Arc<EdgeRoom>> {
        self.lock().get(&id).cloned()
    }

    /// Gives a room up, unless another one has taken its place.
    fn forget(&self, room: &Arc<EdgeRoom>) {
        let mut rooms = self.lock();
        if rooms.get(&room.id).is_some_and(|known| Arc::ptr_eq(known, room)) {
            rooms.remove(&room.id);
        }
    }

    fn access_changes(&self) -> u64 {
        self.access_changes.load(Ordering::Acquire)
    }

    /// Connections go around, so that every core has as many.
    fn next_hub(&self) -> usize {
        self.next_hub.fetch_add(1, Ordering::Relaxed) % self.hubs.len()
    }

    /// Tells every hub, from where nothing waits.
    fn tell_all(self: &Arc<Self>, command: impl Fn() -> Command + Send + 'static) {
        let ends = self.clone();
        tokio::spawn(async move {
            for hub in &ends.hubs {
                hub.tell(command()).await;
            }
        });
    }
}

impl Edge for EdgeNode {
    fn room_event(&self, room: RoomId, event: RoomEvent) {
        if let Some(room) = self.0.known_room(room) {
            room.take(event);
        }
    }

    fn signals(&self, room: RoomId, signals: Vec<SignalOut>) {
        if let Some(room) = self.0.known_room(room) {
            room.take_signals(signals);
        }
    }

    fn cluster_event(&self, event: ClusterEvent) {
        match event {
            ClusterEvent::LoginEnded(login) => {
                self.0.people.forget_login(login);
                self.0.tell_all(move || Command::EndLogin(login));
            }
            ClusterEvent::AccessChanged(room) => {
                self.0.access_changes.fetch_add(1, Ordering::AcqRel);
                self.0.tell_all(move || Command::Recheck(room));
            }
            ClusterEvent::RoomRenamed(room, title) => {
                self.0.tell_all(move || Command::Rename { room, title: title.clone() });
            }
        }
    }
}
