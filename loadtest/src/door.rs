//! Servers that speak TLS: each gets a door on this machine, and what comes in there goes on encrypted.
//!
//! So everything else knows plain sockets only, those that are measured above all. What encrypting costs is this process's, and one thread
//! does it: it is for asking whether a server works, and not for how fast.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::target::{InvalidTarget, Target};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After a connection that could not be taken.
const AGAIN: Duration = Duration::from_millis(50);

/// The address of a server as somebody types it: in `http`, `ws`, `https` or `wss`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    target: Target,
    encrypted: bool,
}

/// Whom to believe that they are the server.
#[derive(Clone)]
pub struct Trust {
    connector: TlsConnector,
    /// Instead of the host of the URL.
    name: Option<ServerName<'static>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{0}: {1}")]
    File(PathBuf, pem::Error),
    #[error("{0}: there is no certificate in it")]
    Empty(PathBuf),
    #[error("{0}: {1}")]
    Certificate(PathBuf, rustls::Error),
    #[error("{0:?} is no name of a server: {1}")]
    Name(String, InvalidDnsNameError),
}

#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("nobody is trusted: name the file with the authority")]
    NobodyTrusted,
    #[error("{0:?} is no name that a certificate could have")]
    Name(String),
    #[error("cannot reach https://{0}: {1}")]
    Unreachable(String, io::Error),
    #[error("there is no door to be had: {0}")]
    Io(#[from] io::Error),
}

impl FromStr for Address {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidTarget::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let encrypted = matches!(uri.scheme_str(), Some("https" | "wss"));
        let target = if encrypted { Target::of(&uri, 443).ok_or_else(invalid)? } else { text.parse()? };
        Ok(Self { target, encrypted })
    }
}

impl Trust {
    /// Trusts the certificates of a file, which have to be for `name`, or else for the host of the URL.
    ///
    /// # Errors
    /// When the file has no certificates, or the name is none.
    pub fn read(file: &Path, name: Option<&str>) -> Result<Self, TrustError> {
        let bad_file = |error| TrustError::File(file.to_owned(), error);
        let bad_certificate = |error| TrustError::Certificate(file.to_owned(), error);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(bad_file)? {
            roots.add(certificate.map_err(bad_file)?).map_err(bad_certificate)?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty(file.to_owned()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(bad_certificate)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = name.map(|name| {
            ServerName::try_from(name.to_owned()).map_err(|error| TrustError::Name(name.to_owned(), error))
        });
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name: name.transpose()? })
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Address {
    /// The server, with a door if it speaks TLS. That is there as long as the runtime.
    ///
    /// # Errors
    /// When it speaks TLS and cannot be reached, or is not trusted.
    pub async fn open(self, trust: Option<&Trust>) -> Result<Target, DoorError> {
        let Self { target, encrypted } = self;
        if !encrypted {
            return Ok(target);
        }
        let trust = trust.ok_or(DoorError::NobodyTrusted)?;
        let name = match &trust.name {
            Some(name) => name.clone(),
            None => {
                let host = target.host().to_owned();
                ServerName::try_from(host.clone()).map_err(|_| DoorError::Name(host))?
            }
        };
        let way = Way { to: target.address(), connector: trust.connector.clone(), name };
        // Better said now, and once, than by every connection.
        let tried = way.connect().await;
        tried.map_err(|error| DoorError::Unreachable(target.authority(), error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let door = listener.local_addr()?;
        tokio::spawn(keep_open(listener, Arc::new(way)));
        Ok(target.behind(door))
    }
}

/// From a door to a server.
struct Way {
    to: (String, u16),
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Way {
    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let connect = async {
            let socket = TcpStream::connect(&self.to).await?;
            socket.set_nodelay(true)?;
            self.connector.connect(self.name.clone(), socket).await
        };
        timeout(CONNECT_TIMEOUT, connect).await?
    }

    async fn carry(&self, mut inner: TcpStream) -> io::Result<()> {
        inner.set_nodelay(true)?;
        let mut outer = self.connect().await?;
        copy_bidirectional(&mut inner, &mut outer).await?;
        Ok(())
    }
}

async fn keep_open(door: TcpListener, way: Arc<Way>) {
    loop {
        match door.accept().await {
            Ok((inner, _)) => {
                let way = way.clone();
                tokio::spawn(async move {
                    // Whoever came in sees the end of their socket, and says what that means.
                    if let Err(error) = way.carry(inner).await {
                        tracing::debug!(%error, "an encrypted connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be encrypted");
                sleep(AGAIN).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whether_it_is_encrypted() {
        let of = |text: &str| text.parse::<Address>().unwrap();
        assert!(!of("ws://localhost:8080/ws").encrypted);
        let encrypted = of("wss://draw.example.org/ws");
        assert!(encrypted.encrypted);
        assert_eq!(encrypted, of("https://draw.example.org"));
        assert_eq!(encrypted.target.authority(), "draw.example.org:443");
        for text in ["ftp://x", "https://", "", "localhost"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn nobody_is_trusted_unasked() {
        let address: Address = "https://127.0.0.1:1".parse().unwrap();
        assert!(matches!(address.open(None).await, Err(DoorError::NobodyTrusted)));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        std::fs::write(&file, "nothing").unwrap();
        assert!(matches!(Trust::read(&file, None), Err(TrustError::Empty(_))));
        assert!(matches!(Trust::read(&folder.path().join("absent"), None), Err(TrustError::File(..))));
    }
}
