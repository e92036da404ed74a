//! What the servers use whose process ids are known, looked at every second.

use crate::result::ServerUsage;
use crate::usage::{self, Usage};

#[derive(Clone, Debug, Default)]
pub(super) struct Servers {
    servers: Vec<Server>,
}

#[derive(Clone, Debug)]
struct Server {
    pid: u32,
    /// None until it was seen.
    first: Option<Usage>,
    latest: Usage,
    memory_peak: u64,
    runs: bool,
}

impl Servers {
    pub(super) fn new(pids: &[u32]) -> Self {
        let server = |pid: &u32| Server {
            pid: *pid,
            first: None,
            latest: Usage::default(),
            memory_peak: 0,
            runs: false,
        };
        Self { servers: pids.iter().map(server).collect() }
    }

    /// Of one that has ended stays what was last seen.
    pub(super) fn look(&mut self) {
        for server in &mut self.servers {
            let used = usage::glance(server.pid);
            server.runs = used.is_some();
            if let Some(used) = used {
                server.take(used);
            }
        }
    }

    /// Of all of them since they were first seen.
    pub(super) fn cpu_seconds(&self) -> f64 {
        self.servers.iter().map(Server::cpu_seconds).sum()
    }

    /// Of those that run.
    pub(super) fn memory(&self) -> u64 {
        self.servers.iter().filter(|server| server.runs).map(|server| server.latest.memory).sum()
    }

    /// Whether all of them ran to the end, so that what they used is all that was used.
    pub(super) fn all_run(&self) -> bool {
        self.servers.iter().all(|server| server.runs)
    }

    /// Of those that were there.
    pub(super) fn usage(&self) -> Vec<ServerUsage> {
        self.servers.iter().filter_map(Server::usage).collect()
    }
}

impl Server {
    fn take(&mut self, used: Usage) {
        self.first.get_or_insert(used);
        self.latest = used;
        self.memory_peak = self.memory_peak.max(used.memory);
    }

    fn cpu_seconds(&self) -> f64 {
        self.first.map_or(0.0, |first| self.latest.cpu_seconds_since(first))
    }

    fn usage(&self) -> Option<ServerUsage> {
        Some(ServerUsage {
            name: format!("server {}", self.pid),
            cpu_seconds: self.cpu_seconds(),
            memory_before: self.first?.memory,
            memory_peak: self.memory_peak,
            memory_after: self.latest.memory,
            bytes_sent: None,
            bytes_received: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn servers_are_measured_from_when_they_were_first_seen() {
        let mut servers = Servers::new(&[std::process::id(), u32::MAX]);
        assert!(servers.usage().is_empty());
        servers.look();
        let [this] = servers.usage().try_into().unwrap();
        assert!(this.memory_before > 0 && this.memory_peak >= this.memory_before, "{this:?}");
        assert_eq!(this.cpu_seconds, 0.0);
        let server = &mut servers.servers[0];
        let latest = server.latest;
        server.take(Usage { cpu: latest.cpu + 3 * SECOND / 2, memory: 1 });
        assert!((servers.cpu_seconds() - 1.5).abs() < 1e-9);
        assert_eq!((servers.memory(), servers.usage()[0].memory_after), (1, 1));
    }
}
