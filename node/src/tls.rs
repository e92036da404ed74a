//! TLS in front of the edge, for those who have nobody else to do it.
//!
//! Hubs write to bare sockets, so what is encrypted ends before them: each connection is decrypted by a task of its own and goes on
//! through a pair of local sockets, one end of which the hub takes for the client's. That costs a task, two more file descriptors and
//! the state of TLS per connection; a load balancer in front is cheaper, and the usual way. A task may outlive what the hub has to do
//! with its connection, so tasks have a number of their own that they do not go beyond.

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    /// There are as many as there may be.
    Full,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "ok",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Plain => "plain",
            Self::Full => "full",
        }
    }

    fn count(self) {
        metrics::counter!("enfilade_tls_handshakes_total", "outcome" => self.name()).increment(1);
    }
}

/// The end of all encrypted connections of a node.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    current: Mutex<Current>,
    /// One for each connection, from its handshake to its last byte.
    places: Arc<Semaphore>,
    connections: TaskTracker,
}

#[derive(Debug)]
struct Current {
    pem: Pem,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// None if neither file is named. `most`: so many connections at once.
    ///
    /// # Errors
    /// When one is missing, cannot be read, or they do not belong together.
    pub(crate) fn open(
        certificate: PathBuf,
        key: PathBuf,
        most: usize,
    ) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(files) = Files::of(certificate, key)? else { return Ok(None) };
        let pem = files.read()?;
        let config = take_up(Loaded::from(&pem)?);
        let current = Mutex::new(Current { pem, config });
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Ok(Some(Arc::new(Self { files, current, places, connections: TaskTracker::new() })))
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

    /// Decrypts connections that were just accepted, and hands each over when its handshake is done. Those beyond the number are closed:
    /// without a handshake there are no words for them.
    pub(crate) fn welcome(&self, came: Vec<Accepted>, take: impl Fn(Vec<Accepted>) + Clone + Send + 'static) {
        let config = self.current.lock().unwrap_or_else(PoisonError::into_inner).config.clone();
        let acceptor = TlsAcceptor::from(config);
        for accepted in came {
            let Ok(place) = self.places.clone().try_acquire_owned() else {
                Outcome::Full.count();
                continue;
            };
            self.connections.spawn(connection(acceptor.clone(), accepted, take.clone(), place));
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

async fn connection(
    acceptor: TlsAcceptor,
    mut accepted: Accepted,
    take: impl Fn(Vec<Accepted>),
    _place: OwnedSemaphorePermit,
) {
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
    greeted.as_ref().err().copied().unwrap_or(Outcome::Done).count();
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use axum::Router;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::server::{self, Http};

    #[tokio::test]
    async fn there_are_no_more_of_them_than_there_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let connect = async |address: SocketAddr| {
            let socket = tokio::net::TcpStream::connect(address).await?;
            connector.connect(ServerName::try_from("localhost").unwrap(), socket).await
        };

        let tls = Tls::open(certificate, key, 1).unwrap().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (take, mut taken) = mpsc::unbounded_channel();
        let http = Http::new(Router::new(), stop.clone());
        let serving = tokio::spawn(server::serve(listener, http, {
            let tls = tls.clone();
            move |came| {
                let take = take.clone();
                tls.welcome(came, move |came| take.send(came).unwrap());
            }
        }));
        let first = connect(address).await.unwrap();
        let hubs = taken.recv().await.unwrap();
        assert!(connect(address).await.is_err(), "there is one already");
        drop((first, hubs));
        let after_it = async {
            while connect(address).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), after_it).await.unwrap();
        stop.cancel();
        serving.await.unwrap();
    }
}
