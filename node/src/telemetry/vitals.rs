//! How the node itself is: looked at now and then, or whenever somebody asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enfilade_actors::Stopwatch;
use enfilade_actors::cluster::{Cluster, LEASE};
use enfilade_actors::committer::Trouble;
use enfilade_actors::host::Host;
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
    /// None: no rooms run here.
    pub(crate) host: Option<Host>,
    pub(crate) log: Arc<dyn RoomLog>,
    /// Whether new work is welcome.
    pub(crate) ready: Arc<AtomicBool>,
    /// Whether the database answered when it was last looked at.
    pub(crate) answers: Arc<AtomicBool>,
    /// The folder of the database, if it is here.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) max_connections: usize,
}

impl Vitals {
    /// Whether the node may be given people; otherwise why not.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        self.able()?;
        self.ask_database().await
    }

    /// Whether it may, as far as that is known without asking the database. A disk that is full or stands still answers questions, and
    /// yet nothing can be drawn: what tells of it are the writes, of ops and of the lease.
    fn able(&self) -> Result<(), &'static str> {
        if !self.ready.load(Ordering::Relaxed) {
            return Err("stopping");
        }
        match self.host.as_ref().and_then(|host| host.committers().trouble()) {
            Some(Trouble::Stuck) => return Err("the database does not come to an end of writing"),
            Some(Trouble::Failing) => return Err("the database does not write"),
            None => {}
        }
        if self.cluster.renewed_ago().is_some_and(|ago| ago > LEASE) {
            return Err("the lease in the database cannot be renewed");
        }
        Ok(())
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
            self.answers.store(answered.is_ok(), Ordering::Relaxed);
            for _ in 0..LOOK.as_secs() / TURN.as_secs() {
                let watch = Stopwatch::start();
                tokio::time::sleep(TURN).await;
                delay.record(watch.elapsed().saturating_sub(TURN).as_secs_f64());
            }
        }
    }

    /// Sets what can be looked up at any time.
    pub(crate) fn look(&self, draining: bool) {
        let ready = self.able().is_ok() && self.answers.load(Ordering::Relaxed);
        metrics_process::Collector::default().collect();
        metrics::gauge!("enfilade_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        metrics::gauge!("enfilade_cpu_seconds").set(used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
        metrics::gauge!("enfilade_ready").set(f64::from(u8::from(ready)));
        metrics::gauge!("enfilade_draining").set(f64::from(u8::from(draining)));
        let writing = self.host.as_ref().map(|host| host.committers().under_way());
        metrics::gauge!("enfilade_commit_under_way_seconds").set(writing.unwrap_or_default().as_secs_f64());
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
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: PathBuf| std::fs::read_to_string(file).ok()?.trim().parse().ok();
    limit_files(&groups).into_iter().find_map(limit).filter(|limit| *limit < NONE)
}

/// Where the limit of a process may stand that is in these groups: in a container, its own group is the root of what it sees.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let group = |controller: &str| {
        let of = |line: &str| {
            line.split_once(':')?.1.split_once(':').map(|(name, path)| (name.to_owned(), path.to_owned()))
        };
        let found = groups.lines().filter_map(of).find(|(name, _)| name == controller);
        found.map(|(_, path)| path).unwrap_or_default()
    };
    let places = [
        ("/sys/fs/cgroup", group(""), "memory.max"),
        ("/sys/fs/cgroup/memory", group("memory"), "memory.limit_in_bytes"),
    ];
    let own = places.iter().map(|(root, group, file)| format!("{root}/{}/{file}", group.trim_matches('/')));
    let roots = places.iter().map(|(root, _, file)| format!("{root}/{file}"));
    own.chain(roots).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_own_group_comes_before_that_of_the_machine() {
        let files =
            |groups| limit_files(groups).iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            files("7:blkio:/\n4:memory:/board/node-1\n0::/board\n"),
            [
                "/sys/fs/cgroup/board/memory.max",
                "/sys/fs/cgroup/memory/board/node-1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }
}
