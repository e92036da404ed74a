//! Carries the bytes of one connection both ways, each chunk when its [`Shape`] says so.

use std::io;
use std::time::Instant;

use rand::Rng as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use super::shape::{Condition, Direction, Fate, Shape};

const CHUNK: usize = 16 << 10;
/// Chunks under way in one direction: with their size the bound of what a delayed connection holds. Beyond it the link
/// does not read, and the sender feels it.
const CHUNKS: usize = 256;

/// Until both sides have said their last. An error means that the connection has to be reset.
pub(super) async fn both_ways(
    client: &TcpStream,
    server: &TcpStream,
    condition: &watch::Receiver<Condition>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::try_join!(
        one_way(client, server, Direction::FromClient, condition.clone()),
        one_way(server, client, Direction::FromServer, condition.clone()),
    )?;
    Ok(())
}

async fn one_way(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    condition: watch::Receiver<Condition>,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::try_join!(take(from, direction, condition, sender), deliver(to, receiver))?;
    Ok(())
}

type Chunk = (Instant, Vec<u8>);

async fn take(
    from: &TcpStream,
    direction: Direction,
    mut condition: watch::Receiver<Condition>,
    under_way: mpsc::Sender<Chunk>,
) -> io::Result<()> {
    let mut shape = Shape::new(direction);
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            readable = from.readable() => readable?,
            changed = condition.changed() => {
                changed.map_err(io::Error::other)?;
                if shape.is_broken(*condition.borrow()) {
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                continue;
            }
        }
        let read = match from.try_read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok(0) => return end(&mut shape, condition, Ok(())).await,
            Err(error) => return end(&mut shape, condition, Err(error)).await,
            Ok(read) => read,
        };
        let now = *condition.borrow();
        let chance = rand::rng().random();
        match shape.fate(now, Instant::now(), read, chance) {
            Fate::Vanish => {}
            Fate::Reset => return Err(io::ErrorKind::ConnectionReset.into()),
            Fate::DeliverAt(due) => {
                // The delivery ended: so does this connection.
                under_way.send((due, buffer[..read].to_vec())).await.map_err(io::Error::other)?;
            }
        }
    }
}

/// The sender's end, orderly or not, is subject to the link like its bytes.
async fn end(
    shape: &mut Shape,
    mut condition: watch::Receiver<Condition>,
    how: io::Result<()>,
) -> io::Result<()> {
    let now = *condition.borrow();
    match shape.fate(now, Instant::now(), 0, 0.0) {
        // Whoever calls drops the channel, and that ends the delivery after what is under way.
        Fate::DeliverAt(_) => how,
        Fate::Reset => Err(io::ErrorKind::ConnectionReset.into()),
        Fate::Vanish => {
            condition.wait_for(|condition| shape.is_broken(*condition)).await.map_err(io::Error::other)?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

async fn deliver(to: &TcpStream, mut under_way: mpsc::Receiver<Chunk>) -> io::Result<()> {
    while let Some((due, bytes)) = under_way.recv().await {
        if due > Instant::now() {
            sleep_until(due.into()).await;
        }
        let mut left = &bytes[..];
        while !left.is_empty() {
            to.writable().await?;
            match to.try_write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    // It may be gone already.
    let _ = socket2::SockRef::from(to).shutdown(std::net::Shutdown::Write);
    Ok(())
}
