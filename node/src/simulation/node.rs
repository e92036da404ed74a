//! A node of a simulation: the real cluster, host and edge, in a runtime of its own.
//!
//! Because the runtime is its own, a crash is to drop it (whatever ran in it is gone at once), and a pause is not to run it while
//! time goes on for the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use enfilade_actors::bus::Bus;
use enfilade_actors::cluster::{Cluster, ClusterArgs, Probe, Standing, Verdict};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload};
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::Tracer;
use enfilade_proto::{DisplayName, LoginId, RoomId, UserId};
use enfilade_store::{Incarnation, NewNode};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::network::SimBus;
use super::processes::Answer;
use super::store::SimLog;
use super::world::World;
use crate::edge::harness::BareEdge;
use crate::people::{self, AccessChanges, Hashing, People};

/// How long a mirror outlives its last member.
const LINGER: Duration = Duration::from_secs(3);
const COMMITTERS: usize = 2;

#[derive(Debug)]
pub(super) struct SimNode {
    pub(super) incarnation: Incarnation,
    runtime: Option<Runtime>,
    /// When it was started, on its own clock and on that of the world.
    start: Instant,
    born_ms: u64,
    shared: Arc<Shared>,
    pub(super) paused_until_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    parts: Mutex<Option<Parts>>,
    /// Its process is about to exit.
    ended: AtomicBool,
    /// It does not want to have clients.
    unready: AtomicBool,
}

/// What a node is made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) cluster: Cluster,
    pub(super) host: Host,
    pub(super) edge: BareEdge,
}

impl SimNode {
    pub(super) fn start(world: &World, incarnation: Incarnation, index: usize) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let start = {
            let _inside = runtime.enter();
            Instant::now()
        };
        let born_ms = world.lock().now_ms;
        let shared = Arc::new(Shared::default());
        let clock = Arc::new(NodeClock { start, born_ms });
        runtime.spawn(run(world.clone(), incarnation, index, clock, shared.clone()));
        Self { incarnation, runtime: Some(runtime), start, born_ms, shared, paused_until_ms: None }
    }

    /// Lets the node run until that moment.
    pub(super) fn run_until(&mut self, now_ms: u64) {
        let Some(runtime) = &self.runtime else { return };
        let target = self.start + Duration::from_millis(now_ms - self.born_ms);
        runtime.block_on(async { tokio::time::sleep_until(target).await });
    }

    /// It was stopped all the while: the time has gone on at once.
    pub(super) fn awake(&mut self, now_ms: u64) {
        self.paused_until_ms = None;
        let Some(runtime) = &self.runtime else { return };
        let target = self.start + Duration::from_millis(now_ms - self.born_ms);
        runtime.block_on(async {
            tokio::time::advance(target - Instant::now()).await;
        });
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(task);
        }
    }

    /// What it is made of, once it is up.
    pub(super) fn parts(&self) -> Option<Parts> {
        self.runtime.as_ref()?;
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn is_running(&self) -> bool {
        self.runtime.is_some()
    }

    /// It exits by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.parts().is_some() && !self.shared.unready.load(Ordering::Relaxed) && !self.has_ended()
    }

    /// Begins to leave: gives its shards away, then its clients are sent away, then it stops.
    pub(super) fn drain(&self) {
        let Some(parts) = self.parts() else { return };
        let shared = self.shared.clone();
        self.spawn(async move {
            parts.cluster.drain(Duration::from_secs(10)).await;
            shared.unready.store(true, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            parts.cluster.stop().await;
            shared.ended.store(true, Ordering::Relaxed);
        });
    }

    /// Everything of it is gone at once.
    pub(super) fn crash(&mut self, world: &World) {
        {
            let mut state = world.lock();
            state.network.remove(self.incarnation);
            state.processes.gone(self.incarnation);
        }
        let parts = self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.runtime.take());
        if let Some(parts) = parts {
            parts.edge.take_apart();
        }
        self.paused_until_ms = None;
    }
}

async fn run(world: World, me: Incarnation, index: usize, clock: Arc<NodeClock>, shared: Arc<Shared>) {
    let Some(parts) = put_together(&world, me, index, clock).await else {
        shared.ended.store(true, Ordering::Relaxed);
        return;
    };
    let mut standing = parts.cluster.standing();
    *shared.parts.lock().unwrap_or_else(PoisonError::into_inner) = Some(parts.clone());
    loop {
        let now = *standing.borrow_and_update();
        shared.unready.store(now != Standing::Member, Ordering::Relaxed);
        if now == Standing::Buried {
            parts.cluster.stop().await;
            shared.ended.store(true, Ordering::Relaxed);
            return;
        }
        if standing.changed().await.is_err() {
            return;
        }
    }
}

/// As [`crate::node`] does it.
async fn put_together(world: &World, me: Incarnation, index: usize, clock: Arc<NodeClock>) -> Option<Parts> {
    let log = Arc::new(SimLog { me, world: world.clone() });
    let settings = RoomSettings { idle_ms: 8_000, checkpoint_ops: 25, ..RoomSettings::default() };
    let host = Host::start(HostArgs {
        me,
        log: log.clone(),
        directory: log.clone(),
        clock: clock.clone(),
        settings,
        committers: COMMITTERS,
        offload: Offload::Inline,
        tracer: Tracer::default(),
    })
    .await
    .ok()?;
    let bus: Arc<dyn Bus> = Arc::new(SimBus { me, world: world.clone() });
    let node = NewNode {
        incarnation: me,
        name: format!("node-{index}"),
        address: format!("node-{index}:9090"),
        version: String::new(),
        host: true,
        edge: true,
    };
    let cluster = Cluster::start(ClusterArgs {
        node,
        ownership: log.clone(),
        bus,
        probe: Arc::new(SimProbe { me, world: world.clone() }),
        host: Some(host.clone()),
    })
    .await
    .ok()?;
    let hashing = Hashing { memory_kib: 8, passes: 1, lanes: 1, workers: 1, waiting: 1 };
    let settings = people::Settings { hashing, ..people::Settings::default() };
    let people = People::open(log.clone(), Arc::new(NoChanges), clock.clone(), &settings).await.ok()?;
    let clients = world.lock().settings.clients;
    let edge = BareEdge::start(cluster.clone(), log, Arc::new(people), clock, clients, LINGER);
    Some(Parts { cluster, host, edge })
}

/// The time of the world, as the node's runtime has it.
#[derive(Debug)]
struct NodeClock {
    start: Instant,
    born_ms: u64,
}

impl Clock for NodeClock {
    fn now_ms(&self) -> u64 {
        self.born_ms + self.start.elapsed().as_millis() as u64
    }
}

/// Finds out what is true, if it can be found out.
#[derive(Debug)]
struct SimProbe {
    me: Incarnation,
    world: World,
}

#[async_trait]
impl Probe for SimProbe {
    async fn probe(&self, node: Incarnation, address: &str) -> Verdict {
        let _ = address;
        let wait_ms = self.world.lock().chance.between(1, 8);
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let answer = {
            let state = self.world.lock();
            if state.network.is_cut(self.me, node) { Answer::None } else { state.processes.answer(node) }
        };
        match answer {
            Answer::Alive => Verdict::Alive,
            Answer::Refused => Verdict::Gone,
            Answer::None => {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Verdict::Silent
            }
        }
    }
}

#[derive(Debug)]
struct NoChanges;

#[async_trait]
impl AccessChanges for NoChanges {
    async fn login_ended(&self, _: UserId, _: LoginId) {}
    async fn access_changed(&self, _: RoomId) {}
    async fn room_renamed(&self, _: RoomId, _: DisplayName) {}
}
