//! The edge: the part of a node that terminates WebSockets.
//!
//! A connection is a small reading task and a slot in a hub. The reader finds out what a client wants; what concerns a room goes over
//! the bus to its owner; what comes back goes through the room's mirror to the hubs, which write it to their sockets.
//!
//! ```text
//! socket ─▶ reader ─▶ bus ─▶ owner ─▶ bus ─▶ EdgeRoom (mirror) ─▶ hub ─▶ sockets
//! ```

mod admissions;
mod arrival;
mod devices;
mod entering;
mod farewell;
mod frame;
mod greeting;
mod handshake;
#[cfg(test)]
pub(crate) mod harness;
mod hub;
mod inbox;
mod joined;
mod meter;
mod mirror;
mod next_answer;
mod outgoing;
mod reader;
mod room;
mod sampling;
mod snapshot;
mod turnstile;
mod wheel;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use enfilade_actors::Refusal;
use enfilade_actors::bus::{ClusterEvent, RoomEvent};
use enfilade_actors::cluster::{Cluster, Edge};
use enfilade_actors::host::{Clock, Offload};
use enfilade_proto::{CloseCode, Epoch, Position, RoomId, SignalOut};
use enfilade_store::{RoomLog, Shard};
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::admissions::Admissions;
use self::arrival::Arrival;
use self::devices::Devices;
use self::hub::{Command, HubHandle, HubInbox, SlowConnection, Unsent};
use self::room::EdgeRoom;
use self::snapshot::SharedSnapshot;
use self::turnstile::Turnstile;
use crate::people::People;
use crate::server::Accepted;

pub(crate) use self::arrival::upgrade;
pub(crate) use self::hub::Allowances;
pub use self::hub::bench;
pub(crate) use self::meter::Allowance;
pub use self::sampling::Sampling;

/// How often an edge tells the owners of its rooms how far it has got. What was lost on the way is noticed after so long.
const NOTES: Duration = Duration::from_secs(2);
/// In so many turns at most.
const NOTE_TURNS: usize = 100;

/// What an edge works with, and what its parts find each other by.
#[derive(Debug)]
pub(crate) struct Ends {
    node: String,
    cluster: Cluster,
    log: Arc<dyn RoomLog>,
    people: Arc<People>,
    clock: Arc<dyn Clock>,
    /// Where everything runs that is not a hub's.
    runtime: Handle,
    hubs: Vec<HubHandle>,
    /// Ordered, so that a simulation runs the same way again.
    rooms: Mutex<BTreeMap<RoomId, Arc<EdgeRoom>>>,
    devices: Mutex<Devices>,
    admissions: Arc<Admissions>,
    turnstile: Mutex<Turnstile>,
    next_hub: AtomicUsize,
    /// Counts changes of access, so that nobody enters on the strength of what was true a moment ago.
    access_changes: AtomicU64,
    /// How long a mirror outlives its last member.
    linger: Duration,
    /// Sites besides our own whose pages may connect.
    allowed_origins: Vec<String>,
    /// Connections that may exist at once.
    max_connections: usize,
    pub(crate) allowances: Allowances,
    /// Seconds after which they move on; 0: never.
    connection_age_s: u32,
    connections: AtomicUsize,
    /// Everybody is being sent to other nodes.
    draining: AtomicBool,
    /// Where snapshots are written.
    offload: Offload,
    pub(crate) sampling: Arc<Sampling>,
}

/// What an edge is made from.
#[derive(Debug)]
pub struct EdgeSettings {
    pub hubs: usize,
    pub linger: Duration,
    pub allowed_origins: Vec<String>,
    pub max_connections: usize,
    /// See the setting `connection_age_seconds`.
    pub connection_age_s: u32,
    /// People who may come in, each second.
    pub hellos_per_second: u32,
    /// What each connection may send.
    pub(crate) allowances: Allowances,
    /// Of which ops the way is recorded.
    pub sampling: Arc<Sampling>,
    /// Where snapshots are written.
    pub offload: Offload,
}

/// A connection's place among those that may exist at once.
#[derive(Debug)]
struct Slot(Arc<Ends>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The edge of a node.
#[derive(Clone, Debug)]
pub struct EdgeNode(pub(crate) Arc<Ends>);

impl EdgeNode {
    /// Starts the hubs.
    ///
    /// # Errors
    /// When the system has no threads or polls to give.
    pub fn start(
        node: String,
        cluster: Cluster,
        log: Arc<dyn RoomLog>,
        people: Arc<People>,
        clock: Arc<dyn Clock>,
        settings: EdgeSettings,
    ) -> io::Result<Self> {
        let (edge, inboxes) = Self::without_hubs(node, cluster, log, people, clock, settings);
        for (index, inbox) in inboxes.into_iter().enumerate() {
            hub::start(index, edge.0.clone(), inbox)?;
        }
        Ok(edge)
    }

    /// Looks after connections that were just accepted.
    pub(crate) fn welcome(&self, accepted: Vec<Accepted>) {
        self.0.arrived(accepted.into_iter().map(|accepted| Arrival::Fresh(Box::new(accepted))));
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
            runtime: Handle::current(),
            hubs,
            rooms: Mutex::default(),
            devices: Mutex::default(),
            admissions: Arc::default(),
            turnstile: Mutex::new(Turnstile::new(settings.hellos_per_second)),
            next_hub: AtomicUsize::new(0),
            access_changes: AtomicU64::new(0),
            linger: settings.linger,
            allowed_origins: settings.allowed_origins,
            max_connections: settings.max_connections,
            allowances: settings.allowances,
            connection_age_s: settings.connection_age_s,
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            offload: settings.offload,
            sampling: settings.sampling,
        });
        tokio::spawn(compare_notes(Arc::downgrade(&ends)));
        tokio::spawn(devices::report_all(Arc::downgrade(&ends)));
        (Self(ends), inboxes)
    }

    /// Tells everybody to go to another node, spread over some time. Whoever comes meanwhile is turned away at once. Returns how
    /// many were told.
    pub(crate) async fn send_away(&self, spread: Duration) -> usize {
        self.0.draining.store(true, Ordering::Release);
        self.ask_hubs(|done| Command::SendAway { spread, done }).await.into_iter().sum()
    }

    /// Says goodbye to every connection. Returns how many there were.
    pub(crate) async fn close_all(&self, code: CloseCode) -> usize {
        self.ask_hubs(|done| Command::CloseAll { code, done }).await.into_iter().sum()
    }

    pub(crate) fn sampling(&self) -> &Sampling {
        &self.0.sampling
    }

    /// A recent snapshot of a room.
    ///
    /// # Errors
    /// When the room's owner refuses, or cannot be reached.
    pub(crate) async fn latest_snapshot(&self, id: RoomId) -> Result<Arc<SharedSnapshot>, Refusal> {
        loop {
            let room = self.0.room(id);
            let found = room.latest_snapshot().await;
            // Kept for a while, for the others of a crowd and for the join that follows.
            room.drop_if_empty();
            match found? {
                Some(snapshot) => return Ok(snapshot),
                None => self.0.forget(&room),
            }
        }
    }

    /// The snapshot of a room at exactly this position, if this edge has it.
    pub(crate) fn snapshot_at(&self, id: RoomId, position: Position) -> Option<Arc<SharedSnapshot>> {
        self.0.known_room(id)?.snapshot_at(position)
    }

    /// How many connections there are, those included that have not said hello.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    /// So many of the connections at most, the slowest first.
    pub(crate) async fn slowest(&self, most: usize) -> Vec<SlowConnection> {
        let of_hubs = self.ask_hubs(|done| Command::Slowest { most, done }).await;
        hub::slowest(of_hubs.into_iter().flatten().collect(), most)
    }

    /// How much waits for sockets that are full.
    pub(crate) async fn unsent(&self) -> Unsent {
        let of_hubs = self.ask_hubs(|done| Command::Unsent { done }).await;
        of_hubs.into_iter().fold(Unsent::default(), Unsent::and)
    }

    /// What each hub answers. One that breaks meanwhile says nothing.
    async fn ask_hubs<T>(&self, question: impl Fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let ask = async |hub: &HubHandle| {
            let (done, answer) = oneshot::channel();
            hub.tell(question(done)).await;
            answer.await.ok()
        };
        join_all(self.0.hubs.iter().map(ask)).await.into_iter().flatten().collect()
    }

    /// Says goodbye to every connection and ends the hubs. Returns how many connections there were.
    pub async fn stop(&self, code: CloseCode) -> usize {
        self.ask_hubs(|done| Command::Stop { code, done }).await.into_iter().sum()
    }
}

/// Compares notes with the owners of all rooms, time and again, until the edge is gone. Some rooms at a time: thousands at once would
/// hold up everything else.
async fn compare_notes(ends: Weak<Ends>) {
    loop {
        let Some(rooms) = ends.upgrade().map(|ends| ends.lock().keys().copied().collect::<Vec<_>>()) else {
            return;
        };
        let some = rooms.len().div_ceil(NOTE_TURNS).max(1);
        let mut turns = rooms.chunks(some);
        let count = turns.len().max(1);
        for _ in 0..count {
            tokio::time::sleep(NOTES / count as u32).await;
            let Some(ends) = ends.upgrade() else { return };
            for room in turns.next().into_iter().flatten().filter_map(|id| ends.known_room(*id)) {
                room.compare_notes();
                room.forget_past();
            }
        }
    }
}

impl Ends {
    fn compare_notes(&self) {
        self.all_rooms().iter().for_each(|room| room.compare_notes());
    }

    fn all_rooms(&self) -> Vec<Arc<EdgeRoom>> {
        self.lock().values().cloned().collect()
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

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn access_changes(&self) -> u64 {
        self.access_changes.load(Ordering::Acquire)
    }

    /// A place for one more connection, if there is one.
    fn slot(self: &Arc<Self>) -> Option<Slot> {
        let one_more = |taken: usize| (taken < self.max_connections).then_some(taken + 1);
        self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Slot(self.clone()))
    }

    /// Lets somebody in, or says after how many milliseconds it is their turn.
    fn pass(&self) -> Result<(), u64> {
        // Nothing under this lock can fail half-way.
        self.turnstile.lock().unwrap_or_else(PoisonError::into_inner).pass(self.clock.now_ms())
    }

    /// Hands sockets to the hubs. They go around, so that every core has as many.
    fn arrived(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        let mut shares: Vec<Vec<Arrival>> = self.hubs.iter().map(|_| Vec::new()).collect();
        for arrival in arrivals {
            let hub = self.next_hub.fetch_add(1, Ordering::Relaxed) % shares.len();
            shares[hub].push(arrival);
        }
        for (hub, share) in self.hubs.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            hub.arrived(share);
        }
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
        for room in self.0.all_rooms() {
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
