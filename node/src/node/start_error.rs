//! Why a node does not start: settings that make no sense, and what it cannot have.

use std::net::SocketAddr;

use enfilade_actors::bus::NatsError;
use enfilade_store::{InvalidDatabaseUrl, StoreError};

use crate::api::{InvalidNetwork, InvalidOrigin};
use crate::config::InvalidLimit;
use crate::people::OpenError;
use crate::telemetry::InvalidCollector;
use crate::tls::TlsError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    #[error("people cannot be dealt with")]
    People(#[from] OpenError),
    #[error(transparent)]
    DatabaseUrl(#[from] InvalidDatabaseUrl),
    #[error("public_url")]
    PublicUrl(#[from] InvalidOrigin),
    #[error("trusted_proxies")]
    TrustedProxies(#[from] InvalidNetwork),
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    #[error("the data folder {0} cannot be made")]
    DataDir(String, #[source] std::io::Error),
    #[error("{0}")]
    Address(SocketAddr, #[source] std::io::Error),
    #[error("the hubs cannot be started")]
    Hubs(#[source] std::io::Error),
    #[error("nats_url")]
    Nats(#[from] NatsError),
    #[error("otlp_endpoint")]
    Collector(#[from] InvalidCollector),
    #[error("the rooms of this node cannot be looked after")]
    Host(#[from] ractor::SpawnErr),
    /// A cluster needs a database that several processes can use.
    #[error("nats_url needs a database_url of PostgreSQL: nobody else can share this database")]
    SharedDatabase,
    /// Others have to reach the operators' port, to see whether this node lives.
    #[error("admin_listen is {0}, which others cannot reach: advertise_admin is needed in a cluster")]
    Advertise(SocketAddr),
    #[error("advertise_admin is {0:?}, and has to be host:port")]
    Advertised(String),
    #[error("nats_client_certificate and nats_client_key belong together: one of them is missing")]
    NatsIdentity,
    #[error("the edge cannot speak TLS")]
    Tls(#[from] TlsError),
    /// Other nodes live on this database, and there is no way to talk to them.
    #[error("{0} is alive on this database: nats_url is needed to talk to it")]
    NotAlone(String),
}
