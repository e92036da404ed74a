//! Asks another node's process whether it lives: on its operators' port, which says who it is.
//!
//! An address that means another process on another machine (127.0.0.1) is told together with the machine's name, and nobody
//! elsewhere takes it for their own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use enfilade_actors::cluster::{Probe, Verdict};
use enfilade_store::Incarnation;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The header in which a node says who it is.
pub(crate) const INCARNATION: &str = "enfilade-incarnation";
/// A process that lives answers at once; one that is stopped, or a host that is gone, never.
const PATIENCE: Duration = Duration::from_millis(500);
const HEAD_BYTES: u64 = 4 * 1024;

/// What stands between a machine's name and an address that is good on that machine only.
const ON: char = '@';

/// An operators' port as other nodes are told of it. None: nobody could reach it.
pub(crate) fn advertised(address: SocketAddr) -> Option<String> {
    let ip = address.ip();
    if ip.is_unspecified() {
        None
    } else if ip.is_loopback() {
        Some(format!("{address}{ON}{}", machine()))
    } else {
        Some(address.to_string())
    }
}

fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Where to connect to. None: that is on another machine, where it cannot be asked.
fn reachable(address: &str) -> Option<&str> {
    match address.split_once(ON) {
        Some((address, name)) => (name == machine()).then_some(address),
        None => Some(address),
    }
}

/// Whether it is a name or an address, and a port. What a start script or a manifest left unfilled is not, and would be the same for all nodes.
pub(crate) fn is_address(text: &str) -> bool {
    let is_name = |host: &str| {
        !host.is_empty() && host.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '-' | '.' | '_'))
    };
    let named = text.rsplit_once(':').map(|(host, port)| is_name(host) && port.parse::<u16>().is_ok());
    text.parse::<SocketAddr>().is_ok() || named == Some(true)
}

/// Probes over TCP.
#[derive(Debug)]
pub(crate) struct TcpProbe;

#[async_trait]
impl Probe for TcpProbe {
    async fn probe(&self, node: Incarnation, address: &str) -> Verdict {
        let Some(address) = reachable(address) else { return Verdict::Silent };
        match tokio::time::timeout(PATIENCE, ask(address)).await {
            Ok(Ok(head)) => judge(node, &head),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Verdict::Gone,
            Ok(Err(_)) | Err(_) => Verdict::Silent,
        }
    }
}

async fn ask(address: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    socket.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await?;
    let mut head = Vec::new();
    socket.take(HEAD_BYTES).read_to_end(&mut head).await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// If somebody else answers, the process that was asked for has left the address to them.
fn judge(node: Incarnation, head: &str) -> Verdict {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case(INCARNATION).then(|| value.trim().to_owned())
    };
    match head.lines().find_map(value) {
        Some(answered) if answered == node.to_string() => Verdict::Alive,
        Some(_) => Verdict::Gone,
        None => Verdict::Silent,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NODE: Incarnation = Incarnation(Uuid::from_u128(7));

    #[test]
    fn who_answers_under_another_name_is_not_the_one_who_was_asked() {
        let head =
            |who: Incarnation| format!("HTTP/1.0 200 OK\r\nEnfilade-Incarnation: {who}\r\n\r\nalive\n");
        assert_eq!(judge(NODE, &head(NODE)), Verdict::Alive);
        assert_eq!(judge(NODE, &head(Incarnation(Uuid::from_u128(8)))), Verdict::Gone);
        assert_eq!(judge(NODE, "HTTP/1.0 200 OK\r\n\r\nhello"), Verdict::Silent, "some other program");
    }

    #[test]
    fn a_loopback_address_is_good_on_its_own_machine_only() {
        let here = advertised("127.0.0.1:9090".parse().unwrap()).unwrap();
        assert_eq!(reachable(&here), Some("127.0.0.1:9090"));
        assert_eq!(reachable("127.0.0.1:9090@some-other-machine"), None);
        let routed = advertised("10.0.0.7:9090".parse().unwrap()).unwrap();
        assert_eq!(reachable(&routed), Some("10.0.0.7:9090"));
        assert_eq!(advertised("0.0.0.0:9090".parse().unwrap()), None);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["10.0.0.7:9090", "[fd00::7]:9090", "node-1.enfilade_nodes:9090"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "node-1", ":9090", "$(POD_IP):9090", "node-1:admin", "fd00::7:9090", "10.0.0.7:99999"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_proof() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // It accepts (in the kernel) and says nothing, as a process that is stopped.
        assert_eq!(TcpProbe.probe(NODE, &address).await, Verdict::Silent);
        drop(listener);
        assert_eq!(TcpProbe.probe(NODE, &address).await, Verdict::Gone);
    }
}
