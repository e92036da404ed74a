//! The edge: the part of a node that terminates WebSockets.
//!
//! A connection is a small reading task and a slot in a hub. The reader finds out what a client wants; what concerns a room goes over
//! the bus to its owner; what comes back goes through the room's mirror to the hubs, which write it to their sockets.
//!
//! ```text
//! socket ─▶ reader ─▶ bus ─▶ owner ─▶ bus ─▶ EdgeRoom (mirror) ─▶ hub ─▶ sockets
//! ```

mod devices;
mod frame;
mod greeting;
#[cfg(test)]
pub(crate) mod harness;
mod hub;
mod joined;
mod meter;
mod mirror;
mod outgoing;
mod reader;
mod room;
mod upgrade;
mod wheel;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use enfilade_actors::bus::{ClusterEvent, RoomEvent, TraceParent};
use enfilade_actors::cluster::{Cluster, Edge};
use enfilade_actors::host::{Clock, Offload};
use enfilade_proto::{CloseCode, Epoch, RoomId, SignalOut};
use enfilade_store::{RoomLog, Shard};
use tokio::sync::oneshot;

use self::devices::Devices;
use self::hub::{Command, HubHandle, HubInbox};
use self::room::EdgeRoom;
use crate::people::People;

pub(crate) use self::upgrade::upgrade;

/// How often an edge tells the owners of its rooms how far it has got. What was lost on the way is noticed after so long.
const NOTES: Duration = Duration::from_secs(2);

/// What an edge works with, and what its parts find each other by.
#[derive(Debug)]
pub(crate) struct Ends {
    node: String,
    cluster: Cluster,
    log: Arc<dyn RoomLog>,
    people: Arc<People>,
    clock: Arc<dyn Clock>,
    hubs: Vec<HubHandle>,
    /// Ordered, so that a simulation runs the same way again.
    rooms: Mutex<BTreeMap<RoomId, Arc<EdgeRoom>>>,
    devices: Mutex<Devices>,
    next_hub: AtomicUsize,
    /// Counts changes of access, so that nobody enters on the strength of what was true a moment ago.
    access_changes: AtomicU64,
    /// How long a mirror outlives its last member.
    linger: Duration,
    /// Sites besides our own whose pages may connect.
    allowed_origins: Vec<String>,
    /// Connections that may exist at once.
    max_connections: usize,
    slots: Arc<tokio::sync::Semaphore>,
    /// Everybody is being sent to other nodes.
    draining: AtomicBool,
    /// Where snapshots are written.
    offload: Offload,
    /// Of so many ops the way of one is recorded; 0: of none.
    trace_one_in: u32,
    ops: AtomicU32,
}

/// What an edge is made from.
#[derive(Debug)]
pub struct EdgeSettings {
    pub hubs: usize,
    pub linger: Duration,
    pub allowed_origins: Vec<String>,
    pub max_connections: usize,
    /// See the setting of that name.
    pub trace_one_in: u32,
    /// Where snapshots are written.
    pub offload: Offload,
}

/// The edge of a node.
#[derive(Clone, Debug)]
pub struct EdgeNode(pub(crate) Arc<Ends>);

impl EdgeNode {
    /// Starts the hubs.
    #[must_use]
    pub fn start(
        node: String,
        cluster: Cluster,
        log: Arc<dyn RoomLog>,
        people: Arc<People>,
        clock: Arc<dyn Clock>,
        settings: EdgeSettings,
    ) -> Self {
        let (edge, inboxes) = Self::without_hubs(node, cluster, log, people, clock, settings);
        for (index, inbox) in inboxes.into_iter().enumerate() {
            tokio::spawn(hub::run(index, edge.0.clone(), inbox));
        }
        edge
    }

    /// Everything but the hubs: their inboxes are returned.
    pub(crate) fn without_hubs(
        node: String,
        cluster: Cluster,
        log: Arc<dyn RoomLog>,
        people: Arc<People>,
        clock: Arc<dyn Clock>,
        settings: EdgeSettings,
    ) -> (Self, Vec<HubInbox>) {
        let (hubs, inboxes): (Vec<HubHandle>, Vec<HubInbox>) =
            (0..settings.hubs.max(1)).map(|_| HubHandle::new()).unzip();
        let ends = Arc::new(Ends {
            node,
            cluster,
            log,
            people,
            clock,
            hubs,
            rooms: Mutex::default(),
            devices: Mutex::default(),
            next_hub: AtomicUsize::new(0),
            access_changes: AtomicU64::new(0),
            linger: settings.linger,
            allowed_origins: settings.allowed_origins,
            max_connections: settings.max_connections,
            slots: Arc::new(tokio::sync::Semaphore::new(settings.max_connections)),
            draining: AtomicBool::new(false),
            trace_one_in: settings.trace_one_in,
            offload: settings.offload,
            ops: AtomicU32::new(0),
        });
        tokio::spawn(compare_notes(Arc::downgrade(&ends)));
        tokio::spawn(devices::report_all(Arc::downgrade(&ends)));
        (Self(ends), inboxes)
    }

    /// Tells everybody to go to another node, spread over some time. Whoever comes meanwhile is turned away at once. Returns how
    /// many were told.
    pub(crate) async fn send_away(&self, spread: Duration) -> usize {
        self.0.draining.store(true, Ordering::Release);
        self.ask_hubs(|done| Command::SendAway { spread, done }).await
    }

    /// Says goodbye to every connection. Returns how many there were.
    pub(crate) async fn close_all(&self, code: CloseCode) -> usize {
        self.ask_hubs(|done| Command::CloseAll { code, done }).await
    }

    /// How many connections there are, those included that have not said hello.
    pub(crate) fn connections(&self) -> usize {
        self.0.max_connections - self.0.slots.available_permits()
    }

    async fn ask_hubs(&self, question: impl Fn(oneshot::Sender<usize>) -> Command) -> usize {
        let mut sum = 0;
        for hub in &self.0.hubs {
            let (done, answer) = oneshot::channel();
            hub.tell(question(done)).await;
            sum += answer.await.unwrap_or(0);
        }
        sum
    }

    /// Says goodbye to every connection and ends the hubs. Returns how many connections there were.
    pub async fn stop(&self, code: CloseCode) -> usize {
        self.ask_hubs(|done| Command::Stop { code, done }).await
    }
}

/// Compares notes with the owners of all rooms, time and again, until the edge is gone.
async fn compare_notes(ends: Weak<Ends>) {
    loop {
        tokio::time::sleep(NOTES).await;
        let Some(ends) = ends.upgrade() else { return };
        ends.compare_notes();
    }
}

impl Ends {
    fn compare_notes(&self) {
        let rooms: Vec<Arc<EdgeRoom>> = self.lock().values().cloned().collect();
        rooms.iter().for_each(|room| room.compare_notes());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RoomId, Arc<EdgeRoom>>> {
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

    /// A new trace, for one in so many ops.
    fn sample(&self) -> Option<TraceParent> {
        if self.trace_one_in == 0
            || !self.ops.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.trace_one_in)
        {
            return None;
        }
        Some(TraceParent::sampled(rand::random(), rand::random()))
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
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
    fn room_event(&self, room: RoomId, epoch: Epoch, event: RoomEvent) -> bool {
        self.0.known_room(room).is_some_and(|room| room.take(epoch, event))
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
            // Its members were looked at again when access to it ended.
            ClusterEvent::RoomDeleted(_) => {}
        }
    }

    fn moved(&self, shards: &[(Shard, Epoch)]) {
        let epochs: HashMap<Shard, Epoch> = shards.iter().copied().collect();
        let rooms: Vec<Arc<EdgeRoom>> = self.0.lock().values().cloned().collect();
        for room in rooms {
            if let Some(epoch) = epochs.get(&Shard::of(room.id)) {
                room.moved(*epoch);
            }
        }
        self.0.report_devices(|user| epochs.contains_key(&Shard::of_user(user)));
    }

    fn compare_notes(&self) {
        self.0.compare_notes();
        self.0.report_devices(|_| true);
    }
}
