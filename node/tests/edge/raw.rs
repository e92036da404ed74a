//! A socket without a library on top of it: what is written and read is bytes, in pieces of the test's choice.

use std::time::Duration;

use enfilade_proto::{Codec, ServerMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::TestNode;

/// A guest's.
pub(crate) const HELLO: &str = r#"{"id":1,"type":"hello","data":{"client":"0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f","guest":{"name":"Raw"}}}"#;
/// A whole message of text, as the first byte of its frame says it.
pub(crate) const TEXT: u8 = 0x81;
const PATIENCE: Duration = Duration::from_secs(20);

/// The request for a WebSocket, without a subprotocol.
pub(crate) fn handshake(node: &TestNode) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        node.address()
    )
}

/// A client's frame of less than 64 KiB, masked with zeros.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | 126];
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

pub(crate) struct RawSocket {
    pub(crate) socket: TcpStream,
    /// Read, and not looked at yet.
    came: Vec<u8>,
}

impl RawSocket {
    pub(crate) async fn connect(node: &TestNode) -> Self {
        let socket = TcpStream::connect(node.address()).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, came: Vec::new() }
    }

    /// Writes all of it, unless the server has hung up: that is noticed while reading.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes).await;
    }

    /// Writes one byte at a time.
    pub(crate) async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Status, head and body of the next response.
    pub(crate) async fn response(&mut self) -> (u16, String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read().await;
        };
        let head = String::from_utf8(self.take(end).await).unwrap().to_ascii_lowercase();
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let body = self.take(len.map_or(0, |len| len.parse().unwrap())).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, body)
    }

    /// What the next frame of text says.
    pub(crate) async fn message(&mut self) -> ServerMessage {
        let head = self.take(2).await;
        assert_eq!(head[0], TEXT);
        let len = match head[1] {
            126 => u16::from_be_bytes(self.take(2).await.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8).await.try_into().unwrap()) as usize,
            len => len.into(),
        };
        let frame = self.take(len).await;
        let mut messages = Codec::Json.decode_server(&frame).unwrap();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0).message
    }

    /// Everything until the server hangs up.
    pub(crate) async fn read_to_the_end(mut self) -> Vec<u8> {
        let end = self.socket.read_to_end(&mut self.came);
        timeout(PATIENCE, end).await.expect("it is never closed").unwrap();
        self.came
    }

    async fn take(&mut self, len: usize) -> Vec<u8> {
        while self.came.len() < len {
            self.read().await;
        }
        let rest = self.came.split_off(len);
        std::mem::replace(&mut self.came, rest)
    }

    async fn read(&mut self) {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.came)).await;
        let came = String::from_utf8_lossy(&self.came);
        let len = read.unwrap_or_else(|_| panic!("nothing more comes after {came:?}")).unwrap();
        assert!(len > 0, "the server hung up after {came:?}");
    }
}
