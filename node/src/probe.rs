//! Asks another node's process whether it lives: on its operators' port, which says who it is.

use std::io;
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

/// Probes over TCP.
#[derive(Debug)]
pub(crate) struct TcpProbe;

#[async_trait]
impl Probe for TcpProbe {
    async fn probe(&self, node: Incarnation, address: &str) -> Verdict {
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
