//! Carries bytes between an encrypted connection and the socket that stands for it.
//!
//! Nothing is held for a connection on which nobody says anything: a buffer is made for what came, and as large as that.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest, ReadBuf, split};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

/// What is carried at a time: a record of TLS.
const RECORD: usize = 16 * 1024;
/// A client that takes nothing for so long is given up, and so is one that has not taken all of it so long after the hub let go. The hub
/// gives up sooner; this is for what it had written by then.
const PATIENCE: Duration = Duration::from_secs(30);
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
    loop {
        let bytes = next(&mut from).await?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&bytes).await?;
    }
}

async fn outwards(mut from: OwnedReadHalf, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut hub_is_there = true;
    let mut deadline = Instant::now();
    loop {
        let ready = from.ready(Interest::READABLE).await?;
        let bytes = next(&mut from).await?;
        // Once the hub has let go, all that it left has one deadline.
        if hub_is_there {
            hub_is_there = !ready.is_read_closed();
            deadline = Instant::now() + PATIENCE;
        }
        if bytes.is_empty() {
            return timeout_at(deadline, to.shutdown()).await?;
        }
        timeout_at(deadline, async {
            to.write_all(&bytes).await?;
            to.flush().await
        })
        .await??;
    }
}

/// What comes next; nothing at the end.
async fn next(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    poll_fn(|context| {
        let mut record = [MaybeUninit::uninit(); RECORD];
        let mut record = ReadBuf::uninit(&mut record);
        ready!(Pin::new(&mut *from).poll_read(context, &mut record))?;
        Poll::Ready(Ok(record.filled().to_vec()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::{advance, sleep};

    use super::*;

    /// A client, a hub, and what carries bytes between them. So much of it may be on its way to the client.
    fn pumped(under_way: usize) -> (DuplexStream, UnixStream, JoinHandle<()>) {
        let (client, outer) = duplex(under_way);
        let (hub, inner) = UnixStream::pair().unwrap();
        (client, hub, tokio::spawn(pump(Box::new(outer), inner)))
    }

    /// As much as fits in between.
    fn fill(hub: &UnixStream) -> usize {
        let mut written = 0;
        while let Ok(more) = hub.try_write(&[7; 4 * 1024]) {
            written += more;
        }
        written
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_hub_left_comes_whole_and_then_the_end() {
        let (mut client, mut hub, pump) = pumped(100);
        client.write_all(&[1; 50]).await.unwrap();
        let mut heard = [0; 50];
        hub.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [1; 50]);
        hub.writable().await.unwrap();
        let left = fill(&hub);
        assert!(left > 2 * RECORD, "{left}");
        drop(hub);
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, vec![7; left]);
        drop(client);
        pump.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_slowly_what_the_hub_left_has_one_deadline_for_all_of_it() {
        let (mut client, hub, pump) = pumped(RECORD);
        hub.writable().await.unwrap();
        let left = fill(&hub);
        drop(hub);
        let began = Instant::now();
        // A record each time before it would be given up: all of it would take many times as long.
        let mut taken = 0;
        while !pump.is_finished() {
            sleep(PATIENCE * 2 / 3).await;
            taken += client.read(&mut [0; RECORD]).await.unwrap();
        }
        assert!(taken < left, "{taken} of {left}");
        assert!(began.elapsed() <= 3 * PATIENCE + LINGER, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_close_is_waited_for_a_moment() {
        let (_client, hub, pump) = pumped(RECORD);
        drop(hub);
        let began = Instant::now();
        pump.await.unwrap();
        assert!(began.elapsed() <= 2 * LINGER, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_late_while_the_hub_is_there_loses_nothing() {
        let (mut client, hub, _pump) = pumped(RECORD);
        hub.writable().await.unwrap();
        let mut left = fill(&hub);
        while left > 0 {
            advance(PATIENCE / 2).await;
            let mut record = vec![0; RECORD];
            let len = client.read(&mut record).await.unwrap();
            assert_eq!(record[..len], vec![7; len.max(1)]);
            left -= len;
        }
    }
}
