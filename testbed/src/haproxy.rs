//! HAProxy in front of the nodes: its configuration as text, and the process that runs it.
//!
//! A node whose `/readyz` fails once gets no new connections within half a second; those that it has stay, so that a node
//! can tell its clients to move. `deploy/haproxy.cfg` is the same for containers; a test keeps the two alike.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::process::{Launch, Process, ProcessError};

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(5);

/// A node as the load balancer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub name: String,
    pub address: String,
    /// Where its `/readyz` is.
    pub admin_port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum HaproxyError {
    #[error(
        "HAProxy is missing: install the package `haproxy` (version 2.4 or later), or name the program in $HAPROXY"
    )]
    Missing,
    #[error("the configuration {path} cannot be written: {source}")]
    Write { path: String, source: io::Error },
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    process: Process,
    pub address: SocketAddr,
}

impl Haproxy {
    /// Writes the configuration into the folder and starts it; returns when it takes connections.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub async fn start(
        folder: &Path,
        logs: &Path,
        address: SocketAddr,
        statistics: SocketAddr,
        backends: &[Backend],
    ) -> Result<Self, HaproxyError> {
        let program = program().ok_or(HaproxyError::Missing)?;
        let path = folder.join("haproxy.cfg");
        std::fs::write(&path, configuration(&address.to_string(), &statistics.to_string(), backends))
            .map_err(|source| HaproxyError::Write { path: path.display().to_string(), source })?;
        let launch = Launch::new("haproxy", program).args(["-db".as_ref(), "-f".as_ref(), path.as_os_str()]);
        let mut process = launch.start(logs)?;
        process.wait_until("listening", START, async || TcpStream::connect(address).await.is_ok()).await?;
        Ok(Self { process, address })
    }

    pub async fn stop(&mut self) {
        // An orderly end waits for every connection. Nobody needs that here: the nodes have told everybody to go.
        self.process.stop(STOP).await;
    }

    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// `$HAPROXY`, or the one on the path or where Debian puts it.
pub(crate) fn program() -> Option<PathBuf> {
    crate::program::find("HAPROXY", "haproxy", &["/usr/sbin"])
}

/// What HAProxy is told.
#[must_use]
pub fn configuration(address: &str, statistics: &str, backends: &[Backend]) -> String {
    let mut text = format!(
        "\
global
    # As many connections as the system lets it have, within reason.
    fd-hard-limit 50000
    log stdout format raw local0 info

defaults
    mode http
    log global
    timeout connect 1s
    timeout client 60s
    timeout server 35s
    timeout http-request 10s
    timeout http-keep-alive 10s
    # WebSockets: far longer than the 25 s between two pings.
    timeout tunnel 1h
    timeout client-fin 10s
    timeout check 1s
    # A node that does not accept: the same request goes to another.
    option redispatch 1
    retries 3

frontend enfilade
    bind {address}
    option httplog
    option dontlognull
    # Nobody gets to say where they come from.
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    default_backend nodes

backend nodes
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    # Not ready once: no new connections. Those that are there stay until the node moves or closes them.
    default-server check inter 500ms fastinter 250ms downinter 500ms fall 1 rise 1
"
    );
    for Backend { name, address, admin_port } in backends {
        // Text grows as long as there is memory.
        let _ = writeln!(text, "    server {name} {address} port {admin_port}");
    }
    let _ = write!(
        text,
        "
frontend statistics
    bind {statistics}
    no log
    stats enable
    stats uri /
    stats refresh 2s
"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends() -> Vec<Backend> {
        (1..=3)
            .map(|n| Backend {
                name: format!("node-{n}"),
                address: format!("node-{n}:8080"),
                admin_port: 9090,
            })
            .collect()
    }

    #[test]
    fn the_file_for_containers_is_this_configuration() {
        let text = configuration(":8080", ":8404", &backends());
        // Names are looked up when a container comes back with another address.
        let text = text.replace("fall 1 rise 1\n", "fall 1 rise 1 resolvers docker init-addr none\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy.cfg");
        let file = std::fs::read_to_string(&path).unwrap();
        let (comment, rest) = file.split_once("\n\n").unwrap();
        assert!(comment.starts_with('#'));
        let resolvers = "resolvers docker\n    nameserver engine 127.0.0.11:53\n    hold valid 1s\n\n";
        assert_eq!(rest, text.replace("frontend enfilade", &format!("{resolvers}frontend enfilade")));
    }
}
