//! What runs where, for those who come later: written by whoever runs a cluster, read by `status` and `down`.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The process that runs the cluster.
    pub supervisor: u32,
    pub url: String,
    pub statistics: String,
    pub nodes: Vec<Member>,
    pub database_url: Option<String>,
    pub nats_url: Option<String>,
    /// The nodes' program.
    pub binary: PathBuf,
    pub logs: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub url: String,
    pub admin: SocketAddr,
    pub pid: Option<u32>,
}

impl State {
    fn path(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }

    /// # Errors
    /// When there is none, or not one of ours.
    pub fn load(folder: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(Self::path(folder))?)?)
    }

    /// Replaces it as a whole: nobody reads half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let draft = folder.join("state.json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(draft, Self::path(folder))
    }

    /// # Errors
    /// When it is there and cannot be removed.
    pub fn forget(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(Self::path(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// As text for people, with what is known of the nodes' readiness.
    #[must_use]
    pub fn table(&self, ready: &[bool]) -> String {
        let mut text = String::new();
        let mut row = |name: &str, place: &str, note: &str| {
            // Text grows as long as there is memory.
            let _ = writeln!(text, "{}", format!("  {name:<11} {place:<42} {note}").trim_end());
        };
        row("everybody", &self.url, "the load balancer: open this one");
        for (i, node) in self.nodes.iter().enumerate() {
            let pid = node.pid.map_or_else(|| "not running".into(), |pid| format!("process {pid}"));
            let ready = ready.get(i).map_or("", |ready| if *ready { ", ready" } else { ", not ready" });
            row(&node.name, &node.url, &format!("{pid}, operators: http://{}{ready}", node.admin));
        }
        row("statistics", &self.statistics, "what the load balancer thinks of the nodes");
        if let Some(url) = &self.database_url {
            row("PostgreSQL", url, "");
        }
        if let Some(url) = &self.nats_url {
            row("NATS", url, "");
        }
        row("logs", &self.logs.display().to_string(), "");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::loopback;

    #[test]
    fn it_is_read_as_it_was_written_and_says_who_is_ready() {
        let node = |n: u16| Member {
            name: format!("node-{n}"),
            url: format!("http://127.0.0.1:{}", 8080 + n),
            admin: loopback(9090 + n),
            pid: (n == 1).then_some(77),
        };
        let state = State {
            supervisor: 1,
            url: "http://localhost:8080".into(),
            statistics: "http://localhost:8404".into(),
            nodes: vec![node(1), node(2)],
            database_url: Some("postgres://x".into()),
            nats_url: None,
            binary: "enfilade".into(),
            logs: "/logs".into(),
        };
        let folder = tempfile::tempdir().unwrap();
        state.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), state);
        let table = state.table(&[true, false]);
        assert!(table.contains("process 77, operators: http://127.0.0.1:9091, ready\n"), "{table}");
        assert!(table.contains("not running, operators: http://127.0.0.1:9092, not ready\n"), "{table}");
        assert!(table.contains("postgres://x") && !table.contains("NATS"), "{table}");
    }
}
