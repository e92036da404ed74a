//! TLS in front of the edge, for those who have nobody else to do it.
//!
//! Hubs write to bare sockets, so what is encrypted ends before them: each connection is decrypted by a task of its own and goes on
//! through a pair of local sockets, one end of which the hub takes for the client's. That costs a task, two more file descriptors and
//! the state of TLS per connection; a load balancer in front is cheaper, and the usual way.

mod certificate;
mod pump;

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;

pub use self::certificate::TlsError;
use self::certificate::{Files, Loaded, Pem};
use crate::server::Accepted;

/// How long a client may take for its part of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(5);
/// How long the last bytes may take when the node stops: no longer than the last requests.
const LAST_BYTES: Duration = Duration::from_secs(5);
/// The first byte of whoever speaks TLS: a record of the handshake.
const RECORD: u8 = 0x16;
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 31\r\nconnection: close\r\n\r\nthis port speaks HTTPS and wss\n";

/// What becomes of a connection before it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
    Late,
    Plain,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Plain => "plain",
        }
    }
}

/// The end of all encrypted connections of a node.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    current: Mutex<Current>,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Current {
    pem: Pem,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// None if neither file is named.
    ///
    /// # Errors
    /// When one is missing, cannot be read, or they do not belong together.
    pub(crate) fn open(certificate: PathBuf, key: PathBuf) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(files) = Files::of(certificate, key)? else { return Ok(None) };
        let pem = files.read()?;
        let config = take_up(Loaded::from(&pem)?);
        let current = Mutex::new(Current { pem, config });
        Ok(Some(Arc::new(Self { files, current, connections: TaskTracker::new() })))
    }

    /// Takes up a certificate that is renewed, for those who connect afterwards. Until then, and while the files make no sense, the
    /// former one counts.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.renew();
        }
    }

    fn renew(&self) {
        let renewed = self.files.read().and_then(|pem| {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if pem == current.pem {
                return Ok(false);
            }
            *current = Current { config: take_up(Loaded::from(&pem)?), pem };
            Ok(true)
        });
        match renewed {
            Ok(false) => {}
            Ok(true) => tracing::info!("a new certificate is used"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the certificate's files make no sense; the former one is used"
            ),
        }
    }

    /// Decrypts connections that were just accepted, and hands each over when its handshake is done.
    pub(crate) fn welcome(&self, came: Vec<Accepted>, take: impl Fn(Vec<Accepted>) + Clone + Send + 'static) {
        let config = self.current.lock().unwrap_or_else(PoisonError::into_inner).config.clone();
        let acceptor = TlsAcceptor::from(config);
        for accepted in came {
            self.connections.spawn(connection(acceptor.clone(), accepted, take.clone()));
        }
    }

    /// Waits until everybody was sent what they have to be told.
    pub(crate) async fn finish(&self) {
        self.connections.close();
        let _ = timeout(LAST_BYTES, self.connections.wait()).await;
    }
}

/// How long the certificate is good is what operators have to know of it.
fn take_up(loaded: Loaded) -> Arc<ServerConfig> {
    metrics::gauge!("enfilade_tls_certificate_expires_seconds").set(loaded.expires_s as f64);
    loaded.config
}

async fn connection(acceptor: TlsAcceptor, mut accepted: Accepted, take: impl Fn(Vec<Accepted>)) {
    let greeted = match pair() {
        Ok((hubs, ours)) => {
            let outer = std::mem::replace(&mut accepted.socket, hubs);
            // Boxed: what a handshake needs is not there as long as its connection.
            Box::pin(handshake(&acceptor, outer)).await.map(|outer| (outer, ours))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection cannot be decrypted");
            Err(Outcome::Failed)
        }
    };
    let outcome = greeted.as_ref().err().copied().unwrap_or(Outcome::Done);
    metrics::counter!("enfilade_tls_handshakes_total", "outcome" => outcome.name()).increment(1);
    let Ok((outer, inner)) = greeted else { return };
    take(vec![accepted]);
    pump::pump(outer, inner).await;
}

/// Two ends of one connection within this process. The first is a Unix socket in a coat: whoever holds it reads, writes and closes, and
/// nothing else.
fn pair() -> io::Result<(TcpStream, tokio::net::UnixStream)> {
    let (hubs, ours) = UnixStream::pair()?;
    hubs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    Ok((OwnedFd::from(hubs).into(), tokio::net::UnixStream::from_std(ours)?))
}

/// Boxed, because it is large, and handed on several times.
type Encrypted = Box<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>;

async fn handshake(acceptor: &TlsAcceptor, socket: TcpStream) -> Result<Encrypted, Outcome> {
    let mut socket = tokio::net::TcpStream::from_std(socket).map_err(|_| Outcome::Failed)?;
    let greet = async {
        let mut first = [0];
        if socket.peek(&mut first).await.map_err(|_| Outcome::Failed)? == 1 && first[0] != RECORD {
            // Somebody forgot the s.
            let _ = socket.write_all(PLAIN).await;
            let _ = socket.shutdown().await;
            // What was sent and not read would make the system break the connection, and the answer with it.
            let _ = socket.take(64 * 1024).read_to_end(&mut Vec::new()).await;
            return Err(Outcome::Plain);
        }
        acceptor.accept(socket).await.map(Box::new).map_err(|error| {
            tracing::debug!(%error, "a TLS handshake failed");
            Outcome::Failed
        })
    };
    timeout(HANDSHAKE, greet).await.unwrap_or(Err(Outcome::Late))
}
