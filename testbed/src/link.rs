//! A TCP proxy that is a bad network on demand: it delays, throttles, cuts, and swallows.
//!
//! One link stands between one client and one server, so that each node can lose the database or NATS alone. Whoever holds
//! the [`Link`] changes its [`Condition`] while it runs; existing connections feel it at once.

mod pump;
mod shape;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

pub use self::shape::{Condition, Swallowed};

/// Connections of one link at once; beyond it new ones wait in the kernel.
const CONNECTIONS: usize = 4_096;
const BACKLOG: i32 = 1_024;
/// How long the server may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// A running proxy; it and its connections end when it is dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    condition: watch::Sender<Condition>,
    accepting: AbortHandle,
    /// Holds the port while a cut link refuses connections: bound, but not listening.
    _port: Socket,
}

impl Link {
    /// Listens on an address (port 0: any) and passes everything to the server.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn open(listen: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let port = bound(listen)?;
        let address = port.local_addr()?.as_socket().unwrap_or(listen);
        let (condition, seen) = watch::channel(Condition::Pass);
        let listener = listener(address)?;
        let accepting = tokio::spawn(accept(listener, address, server, seen)).abort_handle();
        Ok(Self { address, condition, accepting, _port: port })
    }

    /// Where the client connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on the link is like this.
    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }

    /// As it should be.
    pub fn heal(&self) {
        self.set(Condition::Pass);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts while the link is not cut. The connections end with this task.
async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut condition: watch::Receiver<Condition>,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut listening = Some(listener);
    loop {
        let cut = *condition.borrow_and_update() == Condition::Cut;
        listening = match listening {
            Some(_) if cut => None,
            // The port is ours, so the listener comes back at the first attempt, or at the next change.
            None if !cut => self::listener(address).ok(),
            same => same,
        };
        tokio::select! {
            changed = condition.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            client = next(listening.as_ref(), &permits) => {
                if let Ok((client, permit)) = client {
                    let condition = condition.clone();
                    connections.spawn(async move {
                        serve(client, server, condition).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

async fn next(
    listener: Option<&TcpListener>,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let Some(listener) = listener else { return std::future::pending().await };
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?.0, permit))
}

/// One connection until either side ends it or the link does.
async fn serve(client: TcpStream, server: SocketAddr, condition: watch::Receiver<Condition>) {
    let mut swallowing = condition.clone();
    let dial = async {
        // The server does not hear of who dials into a link that swallows what clients say.
        let hears = |condition: &Condition| !condition.swallows_from_client();
        swallowing.wait_for(hears).await.map_err(io::Error::other)?;
        timeout(CONNECT, TcpStream::connect(server)).await?
    };
    let upstream = tokio::select! {
        upstream = dial => upstream,
        () = cut(condition.clone()) => return reset(&client),
    };
    let Ok(upstream) = upstream else { return reset(&client) };
    let outcome = tokio::select! {
        outcome = pump::both_ways(&client, &upstream, &condition) => outcome,
        () = cut(condition.clone()) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    if outcome.is_err() {
        reset(&client);
        reset(&upstream);
    }
}

async fn cut(mut condition: watch::Receiver<Condition>) {
    // If the link is gone, the connection goes, too.
    let _ = condition.wait_for(|condition| *condition == Condition::Cut).await;
}

/// Closing it will be a reset, not an orderly end.
fn reset(stream: &TcpStream) {
    // A socket that is already gone needs none.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
