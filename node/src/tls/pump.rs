//! Carries bytes between an encrypted connection and the socket that stands for it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

/// What clients say is short. This buffer is there as long as the connection.
const FROM_CLIENT: usize = 2 * 1024;
/// What is sent at a time: a record of TLS. This one is there only while something is sent.
const TO_CLIENT: usize = 16 * 1024;
/// A client that takes nothing for so long is given up. The hub gives up sooner; this is for what it had written by then.
const STALLED: Duration = Duration::from_secs(60);
/// How long a client may take to close when we have.
const LINGER: Duration = Duration::from_secs(5);

/// Returns when the connection is over.
pub(super) async fn pump(outer: Box<impl AsyncRead + AsyncWrite + Unpin>, inner: UnixStream) {
    let (from_client, to_client) = split(outer);
    let (from_hub, to_hub) = inner.into_split();
    let mut inwards = std::pin::pin!(inwards(from_client, to_hub));
    let mut outwards = std::pin::pin!(outwards(from_hub, to_client));
    // How it ended is the business of nobody but the hub, who sees the end of its socket.
    tokio::select! {
        _ = &mut inwards => drop(outwards.await),
        _ = &mut outwards => drop(timeout(LINGER, inwards).await),
    }
}

async fn inwards(mut from: impl AsyncRead + Unpin, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; FROM_CLIENT];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

async fn outwards(from: OwnedReadHalf, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut bytes = Vec::with_capacity(TO_CLIENT);
        match from.try_read_buf(&mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        timeout(STALLED, async {
            to.write_all(&bytes).await?;
            to.flush().await
        })
        .await??;
    }
    timeout(LINGER, to.shutdown()).await?
}
