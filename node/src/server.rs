//! The HTTP server: our own accept loop around hyper, because sockets must be told not to delay, and headers not to dawdle.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::api::PeerAddr;
use crate::files;

/// Connections that may wait to be accepted: a whole audience that comes back at once.
const BACKLOG: u32 = 4_096;
/// Connections that are accepted before they are looked at.
const BATCH: usize = 64;
/// How long a client may take to send the head of a request.
pub(crate) const HEAD: Duration = Duration::from_secs(10);
/// The head of a request is no longer, and no more of a body waits in memory.
pub(crate) const HEAD_BYTES: usize = 64 * 1024;
/// How long requests that were begun may take when the node stops.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// # Errors
/// When the address cannot be had.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restarted node takes its port back at once, although old connections still linger in the kernel.
    socket.set_reuseaddr(true)?;
    // Every connection inherits it.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection that nobody has spoken on yet.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) http: Arc<Http>,
    slot: OwnedSemaphorePermit,
}

impl Accepted {
    /// Serves requests on the connection, of which `early` was read already.
    pub(crate) fn serve(self, early: Vec<u8>) {
        let Self { socket, peer, http, slot } = self;
        http.clone().serve(socket, early, peer, slot);
    }
}

/// Serves requests, whoever accepted the connections that they come on.
#[derive(Debug)]
pub(crate) struct Http {
    router: Router,
    stop: CancellationToken,
    requests: TaskTracker,
    /// Where requests are served.
    runtime: Handle,
}

impl Http {
    pub(crate) fn new(router: Router, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { router, stop, requests: TaskTracker::new(), runtime: Handle::current() })
    }

    fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        early: Vec<u8>,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) {
        let http = self.clone();
        let serve = async move {
            match Rewound::new(early, socket) {
                Ok(socket) => http.connection(socket, peer).await,
                Err(error) => tracing::warn!(%error, "a connection cannot be served"),
            }
            drop(slot);
        };
        self.requests.spawn_on(serve, &self.runtime);
    }

    async fn connection(&self, socket: Rewound, peer: SocketAddr) {
        let router = self.router.clone();
        let service = router.map_request(move |mut request: axum::http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            request.map(axum::body::Body::new)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(socket), TowerToHyperService::new(service))
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "a connection ended badly");
        }
    }
}

/// Accepts connections until the server stops, then lets begun requests finish. `take` is handed each, a few at a time.
pub(crate) async fn serve(listener: TcpListener, http: Arc<Http>, take: impl Fn(Vec<Accepted>)) {
    let slots = Arc::new(Semaphore::new(files::requests()));
    loop {
        let accepted = tokio::select! {
            () = http.stop.cancelled() => break,
            accepted = accept(&listener, &slots, &http) => accepted,
        };
        match accepted {
            Ok(accepted) => take(accepted),
            // Out of file descriptors, or the client has gone already: neither is a reason to stop, nor to spin.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    http.requests.close();
    let _ = tokio::time::timeout(LAST_REQUESTS, http.requests.wait()).await;
}

/// The next connections, once there is room for some.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    http: &Arc<Http>,
) -> io::Result<Vec<Accepted>> {
    let mut slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let mut next = listener.accept().await?;
    let mut accepted = Vec::new();
    loop {
        let (socket, peer) = next;
        // Whoever looks after it polls it elsewhere.
        accepted.push(Accepted { socket: socket.into_std()?, peer, http: http.clone(), slot });
        if accepted.len() == BATCH {
            return Ok(accepted);
        }
        let Ok(another) = slots.clone().try_acquire_owned() else { return Ok(accepted) };
        slot = another;
        // An error is one of the next connection, and will be said again.
        match std::future::poll_fn(|context| Poll::Ready(listener.poll_accept(context))).await {
            Poll::Ready(Ok(one_more)) => next = one_more,
            Poll::Ready(Err(_)) | Poll::Pending => return Ok(accepted),
        }
    }
}

/// A socket of which something was read already: that comes first.
#[derive(Debug)]
pub(crate) struct Rewound {
    early: Vec<u8>,
    socket: tokio::net::TcpStream,
}

impl Rewound {
    fn new(early: Vec<u8>, socket: TcpStream) -> io::Result<Self> {
        Ok(Self { early, socket: tokio::net::TcpStream::from_std(socket)? })
    }

    /// What nobody has read again, and the socket.
    pub(crate) fn into_parts(self) -> io::Result<(Vec<u8>, TcpStream)> {
        Ok((self.early, self.socket.into_std()?))
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, into);
        }
        let len = self.early.len().min(into.remaining());
        into.put_slice(&self.early[..len]);
        self.early.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
