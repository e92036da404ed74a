//! A connection to NATS that never gives up, and tells when it breaks.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use enfilade_store::Incarnation;
use percent_encoding::percent_decode_str;

use crate::trace::Tracer;

/// Three unanswered pings end a connection: a half-open one is noticed after two seconds.
const PING_INTERVAL: Duration = Duration::from_millis(700);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_RECONNECT_DELAY_MS: u64 = 500;
/// Commands that may wait in the client. When the server is slow, messages should wait in our queues, where they are packed
/// and bounded; what waits here is sent however late it is.
const CLIENT_COMMANDS: usize = 16;

/// How to reach NATS.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// `nats://host:port`, or `tls://…`; several separated by commas. With `user:password@` or `token@` if need be.
    pub url: String,
    /// Nodes with the same name make one cluster. Letters, digits, `-` and `_`.
    pub cluster: String,
    /// A file with a JWT and its seed, as `nsc` makes it.
    pub credentials: Option<PathBuf>,
    /// PEM certificates of authorities to trust instead of those of the system.
    pub root_certificates: Option<PathBuf>,
    /// What to show to a server that wants to see a certificate.
    pub identity: Option<Identity>,
    /// Who is told of the way of what is traced.
    pub tracer: Tracer,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Without the URL: there may be a password in it.
impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Why there is no bus. That NATS cannot be reached is none of these: it is tried for ever.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    #[error("not a NATS URL, like nats://host:4222 or tls://host:4222: {0}")]
    Url(String),
    #[error("a cluster's name has 1 to 64 letters, digits, - and _, unlike {0:?}")]
    Cluster(String),
    #[error("cannot read {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("NATS refuses the credentials")]
    Refused(#[source] ConnectError),
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Lost,
    /// It is there again; what was sent meanwhile is lost.
    Restored,
    /// Messages were dropped because nobody took them fast enough.
    Overrun,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Line {
    /// For what is urgent and small.
    Urgent,
    Bulk,
}

impl Line {
    fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Bulk => "bulk",
        }
    }

    /// Frames that may wait for one of our tasks. They are at most 256 KiB, under load mostly that large.
    fn subscription_capacity(self) -> usize {
        match self {
            Self::Urgent => 4096,
            Self::Bulk => 256,
        }
    }
}

impl NatsOptions {
    /// Says what is wrong before anything is tried.
    pub(super) fn check(&self) -> Result<(), NatsError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.cluster.is_empty() || self.cluster.len() > 64 || !self.cluster.chars().all(fits) {
            return Err(NatsError::Cluster(self.cluster.clone()));
        }
        self.servers().map(drop)
    }

    fn servers(&self) -> Result<Vec<ServerAddr>, NatsError> {
        let parse = |url: &str| {
            let address: ServerAddr =
                url.trim().parse().map_err(|error| NatsError::Url(format!("{error}")))?;
            match (address.scheme(), address.host()) {
                (_, "") => Err(NatsError::Url("it has no host".into())),
                ("nats" | "tls", _) => Ok(address),
                (scheme, _) => Err(NatsError::Url(format!("{scheme}:// is not supported"))),
            }
        };
        self.url.split(',').map(parse).collect()
    }

    /// The client sends only one set of credentials; those of the first server that has any count for all.
    fn with_login(servers: &[ServerAddr], options: ConnectOptions) -> Result<ConnectOptions, NatsError> {
        let Some(server) = servers.iter().find(|server| server.has_user_pass()) else { return Ok(options) };
        let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(NatsError::Url(format!("in user or password: {error}"))),
        };
        let user = decode(server.username().unwrap_or_default())?;
        Ok(match server.password() {
            Some(password) => options.user_and_password(user, decode(password)?),
            None => options.token(user),
        })
    }

    fn to_client_options(&self, me: Incarnation, line: Line) -> Result<ConnectOptions, NatsError> {
        let options = ConnectOptions::new()
            .name(format!("enfilade {me} {}", line.name()))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .client_capacity(CLIENT_COMMANDS)
            .subscription_capacity(line.subscription_capacity())
            .no_echo()
            .reconnect_delay_callback(move |attempts| reconnect_delay(me, attempts));
        let options = Self::with_login(&self.servers()?, options)?;
        let options = match &self.root_certificates {
            Some(path) => options.add_root_certificates(readable(path)?),
            None => options,
        };
        let options = match &self.identity {
            Some(Identity { certificate, key }) => {
                options.add_client_certificate(readable(certificate)?, readable(key)?)
            }
            None => options,
        };
        let Some(path) = &self.credentials else { return Ok(options) };
        let file = |source| NatsError::File { path: path.clone(), source };
        let credentials = std::fs::read_to_string(path).map_err(file)?;
        options.credentials(&credentials).map_err(file)
    }
}

fn readable(path: &PathBuf) -> Result<PathBuf, NatsError> {
    let read = std::fs::read(path).map_err(|source| NatsError::File { path: path.clone(), source });
    read.map(|_| path.clone())
}

/// Doubles up to half a second, of which a part differs from node to node and from attempt to attempt, so that nodes do not
/// come all at once.
fn reconnect_delay(me: Incarnation, attempts: usize) -> Duration {
    if attempts <= 1 {
        return Duration::ZERO;
    }
    let full = (10_u64 << attempts.min(10)).min(MAX_RECONNECT_DELAY_MS);
    let mut hasher = DefaultHasher::new();
    (me, attempts).hash(&mut hasher);
    Duration::from_millis(full / 2 + hasher.finish() % (full / 2))
}

/// Connects. If NATS is not there, or not yet, this goes on in the background.
pub(super) async fn connect(
    options: &NatsOptions,
    me: Incarnation,
    line: Line,
    tell: Arc<dyn Fn(Change) + Send + Sync>,
) -> Result<Client, NatsError> {
    let servers = options.servers()?;
    let prepare = |missed| {
        let watch = Watch { line, missed: AtomicBool::new(missed), tell: tell.clone() };
        let watch = Arc::new(watch);
        let inbox = super::Subjects::new(&options.cluster, me).inbox();
        let client_options = options.to_client_options(me, line)?.custom_inbox_prefix(inbox);
        Ok::<_, NatsError>(client_options.event_callback(move |event| {
            watch.see(&event);
            std::future::ready(())
        }))
    };
    let error = match prepare(false)?.connect(&servers).await {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            return Err(NatsError::Refused(error));
        }
        ConnectErrorKind::ServerParse => return Err(NatsError::Url(error.to_string())),
        _ => tracing::warn!(%error, "NATS cannot be reached; trying on"),
    }
    let client = prepare(true)?.retry_on_initial_connect().connect(&servers).await;
    // It does not try before it returns, so this would be a URL that it does not like.
    client.map_err(|error| NatsError::Url(error.to_string()))
}

pub(super) fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

/// Watches one connection.
struct Watch {
    line: Line,
    /// The connection was not there, so when it comes something is missing.
    missed: AtomicBool,
    tell: Arc<dyn Fn(Change) + Send + Sync>,
}

impl Watch {
    fn see(&self, event: &Event) {
        let connected = metrics::gauge!("enfilade_bus_connected", "line" => self.line.name());
        match event {
            Event::Connected => {
                connected.set(1);
                if self.missed.swap(false, Ordering::Relaxed) {
                    metrics::counter!("enfilade_bus_reconnects_total", "line" => self.line.name())
                        .increment(1);
                    (self.tell)(Change::Restored);
                }
            }
            Event::Disconnected => {
                connected.set(0);
                self.missed.store(true, Ordering::Relaxed);
                tracing::warn!(line = self.line.name(), "the connection to NATS was lost");
                (self.tell)(Change::Lost);
            }
            Event::SlowConsumer(_) => {
                metrics::counter!("enfilade_bus_dropped_total", "reason" => "overrun").increment(1);
                (self.tell)(Change::Overrun);
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS complains"),
            Event::ClientError(error) => tracing::debug!(%error, "NATS cannot be reached"),
            Event::LameDuckMode | Event::Draining | Event::Closed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn options(url: &str) -> NatsOptions {
        NatsOptions { url: url.into(), cluster: "test".into(), ..NatsOptions::default() }
    }

    #[test]
    fn several_servers_may_be_named() {
        let servers = options("nats://a:1, tls://u:p@b:2,c").servers().unwrap();
        let named: Vec<_> = servers.iter().map(|server| (server.host(), server.port())).collect();
        assert_eq!(named, [("a", 1), ("b", 2), ("c", 4222)]);
    }

    #[test]
    fn a_wrong_url_or_name_is_refused_without_showing_the_password() {
        for url in
            ["", "nats://", "http://u:secret@a", "nats://u:secret@a:99999", "nats://a,,b", "ws://u:secret@a"]
        {
            let refused = options(url).check().unwrap_err().to_string();
            assert!(refused.starts_with("not a NATS URL") && !refused.contains("secret"), "{url}: {refused}");
        }
        for cluster in ["", "a.b", "a b", "*", ">"] {
            let options = NatsOptions { cluster: cluster.into(), ..options("nats://a") };
            assert!(matches!(options.check(), Err(NatsError::Cluster(_))), "{cluster}");
        }
        assert!(!format!("{:?}", options("nats://u:secret@a")).contains("secret"));
    }

    #[test]
    fn nobody_waits_longer_than_half_a_second_to_try_again() {
        let me = Incarnation(Uuid::from_u128(1));
        assert_eq!(reconnect_delay(me, 1), Duration::ZERO);
        let delays: Vec<_> = (2..1000).map(|attempts| reconnect_delay(me, attempts).as_millis()).collect();
        assert!(delays.iter().all(|delay| (20..500).contains(delay)), "{delays:?}");
        assert!(delays.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
