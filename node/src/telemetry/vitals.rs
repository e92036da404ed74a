//! How the node itself is: looked at now and then, or whenever somebody asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enfilade_actors::Stopwatch;
use enfilade_actors::cluster::Cluster;
use enfilade_proto::{RoomId, Seq};
use enfilade_store::{NodeState, RoomLog};
use uuid::Uuid;

/// How long the database may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the database.
const LOOK: Duration = Duration::from_secs(5);
const TURN: Duration = Duration::from_secs(1);

/// What is told of a node besides what it counts.
#[derive(Clone, Debug)]
pub(crate) struct Vitals {
    pub(crate) cluster: Cluster,
    pub(crate) log: Arc<dyn RoomLog>,
    /// Whether new work is welcome.
    pub(crate) ready: Arc<AtomicBool>,
    /// The folder of the database, if it is here.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) max_connections: usize,
}

impl Vitals {
    /// Whether the node may be given people; otherwise why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        if !self.ready.load(Ordering::Relaxed) {
            return Err("stopping".to_owned());
        }
        self.ask_database().await
    }

    async fn ask_database(&self) -> Result<(), String> {
        // Any read will do; there is no such room.
        let read = self.log.read(RoomId(Uuid::nil()), Seq(0), 1);
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the database does not answer".to_owned()),
        }
    }

    /// Looks at the database and at the runtime until the node is gone.
    pub(crate) async fn watch(self) {
        let (delay, answer) = (
            metrics::histogram!("enfilade_runtime_delay_seconds"),
            metrics::histogram!("enfilade_database_seconds"),
        );
        let up = metrics::gauge!("enfilade_database_up");
        loop {
            let watch = Stopwatch::start();
            let answered = self.ask_database().await;
            answer.record(watch.seconds());
            up.set(f64::from(u8::from(answered.is_ok())));
            for _ in 0..LOOK.as_secs() / TURN.as_secs() {
                let watch = Stopwatch::start();
                tokio::time::sleep(TURN).await;
                delay.record(watch.elapsed().saturating_sub(TURN).as_secs_f64());
            }
        }
    }

    /// Sets what can be looked up at any time.
    pub(crate) fn look(&self, draining: bool) {
        let ready = self.ready.load(Ordering::Relaxed);
        metrics_process::Collector::default().collect();
        metrics::gauge!("enfilade_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        metrics::gauge!("enfilade_cpu_seconds").set(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
        metrics::gauge!("enfilade_ready").set(f64::from(u8::from(ready)));
        metrics::gauge!("enfilade_draining").set(f64::from(u8::from(draining)));
        metrics::gauge!("enfilade_connections_limit").set(self.max_connections as f64);
        let (mut alive, mut leaving, mut expired) = (0u32, 0u32, 0u32);
        for (row, _) in self.cluster.nodes() {
            match row.renewal.state {
                _ if row.expired => expired += 1,
                NodeState::Alive => alive += 1,
                NodeState::Draining => leaving += 1,
                NodeState::Dead => {}
            }
        }
        for (state, nodes) in [("alive", alive), ("draining", leaving), ("expired", expired)] {
            metrics::gauge!("enfilade_nodes", "state" => state).set(f64::from(nodes));
        }
        if let Some(limit) = memory_limit() {
            metrics::gauge!("enfilade_memory_limit_bytes").set(limit as f64);
        }
        if let Some(space) = self.disk.as_ref().and_then(|folder| rustix::fs::statvfs(folder).ok()) {
            metrics::gauge!("enfilade_disk_free_bytes").set((space.f_bavail * space.f_frsize) as f64);
            metrics::gauge!("enfilade_disk_bytes").set((space.f_blocks * space.f_frsize) as f64);
        }
    }
}

/// What the process's control group may use: by version 2, or by version 1, in which "no limit" is a very large number.
fn memory_limit() -> Option<u64> {
    const NONE: u64 = 1 << 60;
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .filter(|limit| *limit < NONE)
}
