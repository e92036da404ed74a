//! The little HTTP that the testbed needs: questions to a server's operators' port, each on a connection of its own. Version 1.0, which
//! does not cut answers into chunks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What operators say to nodes that want to hear something.
pub const TOKEN: &str = "a token for nodes of the testbed";
/// How long an answer may take. A paused server accepts and says nothing.
const ANSWER: Duration = Duration::from_secs(2);
/// More than any answer that is asked for.
const BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// # Errors
    /// When the body is not what was expected.
    pub fn json<T: DeserializeOwned>(&self) -> io::Result<T> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// # Errors
/// When nobody answers in time, or not in HTTP.
pub async fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    request(server, "GET", path).await
}

/// # Errors
/// When nobody answers in time, or not in HTTP.
pub async fn post(server: SocketAddr, path: &str) -> io::Result<Answer> {
    request(server, "POST", path).await
}

/// Whether it takes new work.
pub async fn is_ready(server: SocketAddr) -> bool {
    get(server, "/readyz").await.is_ok_and(|answer| answer.status == 200)
}

async fn request(server: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {server}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.take(BYTES_MAX).read_to_end(&mut bytes).await?;
        parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::Error::other("no HTTP came back"))
    };
    timeout(ANSWER, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nstop\n");
        assert_eq!(answer, Some(Answer { status: 503, body: "stop\n".into() }));
        assert_eq!(parse("SSH-2.0-x\r\n"), None);
    }

    #[tokio::test]
    async fn nobody_there_is_not_ready() {
        assert!(!is_ready(crate::ports::loopback(crate::ports::free().unwrap())).await);
    }
}
