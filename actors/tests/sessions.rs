//! Sessions across two nodes whose bus loses messages: one owns every shard, people are connected to the other.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and is nobody's simulation"
)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use enfilade_actors::bus::{
    Bus, ClusterEvent, Connected, DeviceReport, Endpoint, MemoryBus, MemoryNetwork, Message, RoomEvent,
    UserPresence,
};
use enfilade_actors::cluster::{Cluster, ClusterArgs, Edge, Probe, Verdict};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload};
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::Tracer;
use enfilade_proto::{Epoch, LoginId, RoomId, SignalOut, UserId};
use enfilade_store::{
    Incarnation, Lease, NewNode, NodeRow, NodeState, Ownership, Renewal, Renewed, Shard, Sqlite,
    SqliteOptions, StoreError, View,
};
use tempfile::TempDir;
use uuid::Uuid;

const OWNER: Incarnation = Incarnation(Uuid::from_u128(1));
const FAR: Incarnation = Incarnation(Uuid::from_u128(2));
const ADA: UserId = UserId(Uuid::from_u128(3));
const PHONE: LoginId = LoginId(Uuid::from_u128(4));
const DESK: LoginId = LoginId(Uuid::from_u128(5));

fn node(incarnation: Incarnation) -> NewNode {
    NewNode {
        incarnation,
        name: incarnation.to_string(),
        address: "nowhere:1".into(),
        version: "1".into(),
        host: incarnation == OWNER,
        edge: true,
    }
}

/// A cluster in which nothing ever changes, but that the far node may be gone.
#[derive(Debug, Default)]
struct Fixed {
    far_gone: AtomicBool,
    version: AtomicUsize,
    /// From now on nothing is answered.
    silent: AtomicBool,
}

#[async_trait]
impl Ownership for Fixed {
    async fn enter(&self, _: &NewNode, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn renew(&self, _: Incarnation, _: Renewal, _: Duration) -> Result<Option<Renewed>, StoreError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let version = self.version.load(Ordering::SeqCst) as u64;
        Ok(Some(Renewed { version, leases: Vec::new() }))
    }

    async fn view(&self) -> Result<View, StoreError> {
        let nodes =
            [OWNER, FAR].into_iter().filter(|it| *it == OWNER || !self.far_gone.load(Ordering::SeqCst));
        let row = |incarnation| NodeRow {
            node: node(incarnation),
            renewal: Renewal { state: NodeState::Alive, on_bus: true },
            expired: false,
        };
        Ok(View {
            version: self.version.load(Ordering::SeqCst) as u64,
            nodes: nodes.map(row).collect(),
            owners: Shard::all().map(|shard| (shard, OWNER, Epoch(1))).collect(),
        })
    }

    async fn bury(&self, _: &[Incarnation]) -> Result<Vec<Incarnation>, StoreError> {
        Ok(Vec::new())
    }

    async fn expire(&self, _: &[Lease], _: Duration) -> Result<Vec<Incarnation>, StoreError> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: Incarnation, shards: &[Shard]) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        Ok(shards.iter().map(|shard| (*shard, Epoch(1))).collect())
    }

    async fn hand_over(
        &self,
        _: Incarnation,
        _: Incarnation,
        _: &[Shard],
    ) -> Result<Vec<(Shard, Epoch)>, StoreError> {
        Ok(Vec::new())
    }
}

#[derive(Debug)]
struct AlwaysThere;

#[async_trait]
impl Probe for AlwaysThere {
    async fn probe(&self, _: Incarnation, _: &str) -> Verdict {
        Verdict::Alive
    }
}

#[derive(Debug)]
struct RealTime(Instant);

impl Clock for RealTime {
    fn now_ms(&self) -> u64 {
        1_000_000 + self.0.elapsed().as_millis() as u64
    }
}

/// What is not to arrive, and how often not.
type Loss = (fn(&Message) -> bool, usize);

/// A bus that loses what a test says.
#[derive(Debug)]
struct LossyBus {
    bus: MemoryBus,
    losses: Arc<Mutex<Vec<Loss>>>,
}

impl LossyBus {
    fn loses(&self, message: &Message) -> bool {
        let mut losses = self.losses.lock().unwrap();
        let loss = losses.iter_mut().find(|(which, left)| *left > 0 && which(message));
        loss.map(|(_, left)| *left -= 1).is_some()
    }
}

impl Bus for LossyBus {
    fn open(&self, endpoint: Weak<dyn Endpoint>) {
        self.bus.open(endpoint);
    }

    fn send(&self, to: Incarnation, message: Message) {
        if !self.loses(&message) {
            self.bus.send(to, message);
        }
    }

    fn broadcast(&self, message: Message) {
        if !self.loses(&message) {
            self.bus.broadcast(message);
        }
    }

    fn multicast(&self, room: RoomId, message: Message) {
        self.bus.multicast(room, message);
    }

    fn listen(&self, room: RoomId, on: bool) {
        self.bus.listen(room, on);
    }

    fn is_connected(&self) -> bool {
        true
    }
}

/// An edge that remembers whom it was told to sign out.
#[derive(Debug, Default)]
struct Sockets(Mutex<Vec<LoginId>>);

impl Edge for Sockets {
    fn room_event(&self, _: RoomId, _: Epoch, _: RoomEvent) -> bool {
        false
    }

    fn signals(&self, _: RoomId, _: Vec<SignalOut>) {}

    fn cluster_event(&self, event: ClusterEvent) {
        if let ClusterEvent::LoginEnded(login) = event {
            self.0.lock().unwrap().push(login);
        }
    }

    fn moved(&self, _: &[(Shard, Epoch)]) {}

    fn compare_notes(&self) {}
}

struct Two {
    owner: Cluster,
    far: Cluster,
    sockets: Arc<Sockets>,
    losses: Arc<Mutex<Vec<Loss>>>,
    ownership: Arc<Fixed>,
    _folder: TempDir,
}

impl Two {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        let store = Arc::new(Sqlite::open(folder.path().join("test.db"), options).await.unwrap());
        let host = Host::start(HostArgs {
            me: OWNER,
            log: store.clone(),
            directory: store,
            clock: Arc::new(RealTime(Instant::now())),
            settings: RoomSettings::default(),
            committers: 1,
            offload: Offload::Thread,
            tracer: Tracer::default(),
        })
        .await
        .unwrap();
        let (network, losses) = (MemoryNetwork::default(), Arc::<Mutex<Vec<Loss>>>::default());
        let ownership = Arc::new(Fixed::default());
        let start = async |me, host| {
            let bus = LossyBus { bus: network.connect(me), losses: losses.clone() };
            let args = ClusterArgs {
                node: node(me),
                ownership: ownership.clone(),
                bus: Arc::new(bus),
                probe: Arc::new(AlwaysThere),
                host,
            };
            Cluster::start(args).await.unwrap()
        };
        let owner = start(OWNER, Some(host)).await;
        let far = start(FAR, None).await;
        let sockets = Arc::new(Sockets::default());
        let edge: Arc<dyn Edge> = sockets.clone();
        far.connect(Arc::downgrade(&edge));
        Self { owner, far, sockets, losses, ownership, _folder: folder }
    }

    fn connect(&self, login: LoginId) {
        let connected = Some(Connected { since_ms: 1, active: true });
        self.far.report(vec![DeviceReport { user: ADA, login, connected }]);
    }

    fn lose(&self, which: fn(&Message) -> bool, times: usize) {
        self.losses.lock().unwrap().push((which, times));
    }

    /// Waits until as many of the person's devices are known to be connected, whoever asks.
    async fn connected(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for node in [&self.owner, &self.far] {
            loop {
                let devices = node.session(ADA).await.unwrap().devices;
                if devices.len() == count {
                    break;
                }
                assert!(Instant::now() < deadline, "never {count}: {devices:?}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_where_their_devices_are_whichever_node_is_asked() {
    let two = Two::start().await;
    assert_eq!(two.far.session(ADA).await.unwrap().presence, UserPresence::Offline);
    two.connect(PHONE);
    two.connected(1).await;
    let session = two.owner.session(ADA).await.unwrap();
    assert_eq!((session.presence, session.devices[0].node), (UserPresence::Online, FAR));
    two.far.report(vec![DeviceReport { user: ADA, login: PHONE, connected: None }]);
    two.connected(0).await;
    assert_eq!(two.far.session(ADA).await.unwrap().presence, UserPresence::Online, "a reload is no farewell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_ended_is_signed_out_within_a_second_whatever_the_bus_loses() {
    let is_ask = |message: &Message| matches!(message, Message::Ask { .. });
    let is_order = |message: &Message| matches!(message, Message::SignedOut { .. });
    let is_confirmation = |message: &Message| matches!(message, Message::Devices(_));
    // Each is lost once; the announcement to all is never made.
    for lost in [is_ask as fn(&Message) -> bool, is_order, is_confirmation] {
        let two = Two::start().await;
        two.connect(PHONE);
        two.connect(DESK);
        two.connected(2).await;
        two.lose(lost, 1);
        let began = Instant::now();
        two.far.end_login(ADA, PHONE).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(two.losses.lock().unwrap().iter().all(|(_, left)| *left == 0), "it was lost");
        let mut told = two.sockets.0.lock().unwrap().clone();
        told.dedup();
        assert_eq!(told, [PHONE]);
        two.connected(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_being_made_while_its_login_ended_is_closed_as_well() {
    let two = Two::start().await;
    two.owner.end_login(ADA, PHONE).await;
    two.connect(PHONE);
    let deadline = Instant::now() + Duration::from_secs(20);
    while two.sockets.0.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nobody told the edge");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    two.connected(0).await;
    assert_eq!(two.owner.session(ADA).await.unwrap().presence, UserPresence::Offline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_takes_its_devices_with_it() {
    let two = Two::start().await;
    two.connect(PHONE);
    two.connected(1).await;
    two.ownership.far_gone.store(true, Ordering::SeqCst);
    two.ownership.version.fetch_add(1, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !two.owner.session(ADA).await.unwrap().devices.is_empty() {
        assert!(Instant::now() < deadline, "a ghost");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_database_says_nothing_stops_trying_to_leave_in_time() {
    let two = Two::start().await;
    two.ownership.silent.store(true, Ordering::SeqCst);
    let leaving = two.owner.drain(Duration::from_millis(100));
    let left = tokio::time::timeout(Duration::from_secs(20), leaving).await.unwrap();
    assert!(!left, "nobody took them");
}
