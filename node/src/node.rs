//! A node put together: store, host, bus, people, edge, and the two ports. It is handed its sockets, so that a test starts
//! several in one process on ports of their own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use enfilade_actors::bus::{Edge, LocalBus};
use enfilade_actors::host::{Clock, Host};
use enfilade_actors::presence::EdgeId;
use enfilade_actors::room::RoomSettings;
use enfilade_proto::CloseCode;
use enfilade_store::{
    DatabaseUrl, Directory, Incarnation, InvalidDatabaseUrl, RoomLog, Sqlite, SqliteOptions, StoreError,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;
use uuid::Uuid;

use crate::access::Announcer;
use crate::admin::{self, Admin};
use crate::api::{self, Api, InvalidNetwork, InvalidOrigin, Site};
use crate::config::{Config, Retention};
use crate::content::Content;
use crate::edge::{self, EdgeNode, EdgeSettings};
use crate::people::{self, LimitSettings, OpenError, People, Rate, SystemClock};
use crate::{page, server};

/// How long a request may take, its body included.
const REQUEST: Duration = Duration::from_secs(30);
/// How long a mirror outlives its last member on this edge.
const LINGER: Duration = Duration::from_secs(30);
/// How often old history is looked for, and how much of it is deleted at a time.
const PRUNE: Duration = Duration::from_secs(600);
const PRUNE_ROWS: u32 = 5_000;

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
    #[error("the data folder {0} cannot be made")]
    DataDir(String, #[source] std::io::Error),
    #[error("{0}")]
    Address(SocketAddr, #[source] std::io::Error),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    pub address: SocketAddr,
    pub admin_address: SocketAddr,
    host: Host,
    edge: Arc<EdgeNode>,
    store: Arc<Sqlite>,
    ready: Arc<AtomicBool>,
    /// Stops the two ports, one before everything else and one after.
    stop_public: CancellationToken,
    stop_admin: CancellationToken,
    public: JoinHandle<()>,
    admin: JoinHandle<()>,
    pruning: JoinHandle<()>,
}

impl Node {
    /// Opens the store, migrates it, and serves.
    ///
    /// # Errors
    /// When a setting makes no sense, an address cannot be had, or the database cannot be used.
    pub async fn start(config: &Config, metrics: Option<PrometheusHandle>) -> Result<Self, StartError> {
        let listen = |address| server::bind(address).map_err(|error| StartError::Address(address, error));
        let (public, admin) = (listen(config.listen)?, listen(config.admin_listen)?);
        let store = Arc::new(open(config).await?);
        Self::assemble(config, public, admin, store, metrics).await
    }

    async fn assemble(
        config: &Config,
        public: TcpListener,
        admin: TcpListener,
        store: Arc<Sqlite>,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Self, StartError> {
        let local = |listener: &TcpListener, wanted| {
            listener.local_addr().map_err(|e| StartError::Address(wanted, e))
        };
        let (address, admin_address) = (local(&public, config.listen)?, local(&admin, config.admin_listen)?);
        let (log, directory): (Arc<dyn RoomLog>, Arc<dyn Directory>) = (store.clone(), store.clone());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let incarnation = Uuid::new_v4();
        let bus = Arc::new(LocalBus::default());
        let rooms = RoomSettings { idle_ms: config.room_idle_seconds * 1_000, ..RoomSettings::default() };
        let host = Host::start(
            log.clone(),
            directory.clone(),
            bus.clone(),
            clock.clone(),
            rooms,
            Incarnation(incarnation),
        )
        .await?;
        let announcer = Announcer { bus: bus.clone(), host: host.clone(), directory: directory.clone() };
        let announcer = Arc::new(announcer);
        let people = People::open(directory, announcer, clock.clone(), &people_settings(config)).await?;
        let people = Arc::new(people);
        let edge = Arc::new(EdgeNode::start(
            EdgeId(incarnation),
            incarnation.simple().to_string()[..8].to_owned(),
            bus.clone(),
            log.clone(),
            people.clone(),
            clock.clone(),
            EdgeSettings {
                hubs: config.hubs,
                linger: LINGER,
                allowed_origins: config.allowed_origins.0.clone(),
                max_connections: config.max_connections,
            },
        ));
        let ends: Arc<dyn Edge> = edge.clone();
        bus.connect(&host, Arc::downgrade(&ends));
        let content = Arc::new(Content { bus, log: log.clone() });
        let api = Api { people, rooms: content, site: Arc::new(site(config)?) };
        let ready = Arc::new(AtomicBool::new(true));
        let admin_state = Admin { host: host.clone(), log: log.clone(), metrics, ready: ready.clone() };
        let (stop_public, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let router = public_router(api, (*edge).clone());
        tracing::info!(%address, %admin_address, node = %incarnation, "the node serves");
        Ok(Self {
            address,
            admin_address,
            public: tokio::spawn(server::serve(public, router, stop_public.clone())),
            admin: tokio::spawn(server::serve(admin, admin::router(admin_state), stop_admin.clone())),
            pruning: tokio::spawn(prune(log, clock, config.log_retention_days)),
            host,
            edge,
            store,
            ready,
            stop_public,
            stop_admin,
        })
    }

    /// The rooms of this node.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Stops without losing anything: no new work, what was begun is finished, everybody is told to come back later.
    pub async fn stop(self) {
        self.ready.store(false, Ordering::Relaxed);
        self.stop_public.cancel();
        self.host.stop().await;
        let told = self.edge.stop(CloseCode::GoingAway).await;
        tracing::info!(connections = told, "the node stops");
        let _ = self.public.await;
        self.stop_admin.cancel();
        let _ = self.admin.await;
        self.pruning.abort();
        let _ = self.pruning.await;
        self.store.close().await;
    }
}

async fn open(config: &Config) -> Result<Sqlite, StartError> {
    let DatabaseUrl::Sqlite(path) = config.database_url.parse()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| StartError::DataDir(folder.display().to_string(), e))?;
    }
    Ok(Sqlite::open(path, SqliteOptions { migrate: true, ..SqliteOptions::default() }).await?)
}

/// The store and the rooms without anybody to talk to, for commands that work on a database while no node does.
pub(crate) async fn open_offline(config: &Config) -> Result<(Arc<Sqlite>, Host), StartError> {
    let store = Arc::new(open(config).await?);
    let incarnation = Incarnation(Uuid::new_v4());
    let (bus, clock) = (Arc::new(LocalBus::default()), Arc::new(SystemClock));
    let host =
        Host::start(store.clone(), store.clone(), bus, clock, RoomSettings::default(), incarnation).await?;
    Ok((store, host))
}

fn people_settings(config: &Config) -> people::Settings {
    let per_hour = config.rooms_per_hour.max(1);
    let rooms_per_person = Rate { burst: per_hour.div_ceil(3), every_ms: 3_600_000 / u64::from(per_hour) };
    let limits = LimitSettings { rooms_per_person, ..LimitSettings::default() };
    people::Settings { limits, ..people::Settings::default() }
}

fn site(config: &Config) -> Result<Site, StartError> {
    let public_url =
        Some(&config.public_url).filter(|url| !url.is_empty()).map(|url| url.parse()).transpose()?;
    let trusted_proxies =
        config.trusted_proxies.0.iter().map(|proxy| proxy.parse()).collect::<Result<_, _>>()?;
    Ok(Site { public_url, trusted_proxies })
}

fn public_router(api: Api, edge: EdgeNode) -> Router {
    Router::new()
        .route("/ws", get(edge::upgrade).with_state(edge))
        .merge(api::router(api))
        .merge(page::router())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST))
}

/// Deletes history that lies behind checkpoints and is older than it has to be kept.
async fn prune(log: Arc<dyn RoomLog>, clock: Arc<dyn Clock>, retention: Retention) {
    let Retention::Days(days) = retention else { return };
    loop {
        let before_ms = clock.now_ms().saturating_sub(u64::from(days) * 86_400_000);
        match log.prune(before_ms, PRUNE_ROWS).await {
            Ok(rows) if rows == u64::from(PRUNE_ROWS) => continue,
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old history was deleted"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "old history cannot be deleted");
            }
        }
        tokio::time::sleep(PRUNE).await;
    }
}
