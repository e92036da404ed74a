//! A node put together: store, host, bus, people, edge, and the two ports. It is handed its sockets, so that a test starts
//! several in one process on ports of their own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Extension, Router};
use enfilade_actors::bus::{Bus, MemoryBus, NatsBus, NatsError, NatsIdentity, NatsOptions};
use enfilade_actors::cluster::{Cluster, ClusterArgs, Edge, Standing};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload};
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::Tracer;
use enfilade_proto::CloseCode;
use enfilade_store::{
    DatabaseUrl, Incarnation, InvalidDatabaseUrl, NewNode, NodeState, OpenOptions, RoomLog, Store, StoreError,
};
use tokio::net::TcpListener;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::access::Announcer;
use crate::admin::{self, Admin};
use crate::api::{self, Api, InvalidNetwork, InvalidOrigin, Site};
use crate::config::{Config, InvalidLimit, Retention};
use crate::content::Content;
use crate::deadline::in_time;
use crate::drain::Drain;
use crate::edge::{self, EdgeNode, EdgeSettings, Sampling};
use crate::page;
use crate::people::{self, OpenError, People, SystemClock};
use crate::probe::{TcpProbe, advertised, is_address};
use crate::server::{self, Http};
use crate::sessions::ClusterSessions;
use crate::telemetry::{
    Collector, CollectorSettings, InvalidCollector, Queues, Telemetry, Traces, Vitals, watch_bus,
};
use crate::tls::{Tls, TlsError};

/// How long stopping may take, all in all. The chart's grace period counts on it (`enfilade.leavingSeconds`).
const STOP: Duration = Duration::from_secs(13);
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

/// A running node.
#[derive(Debug)]
pub struct Node {
    /// Where people come in, if this node is an edge.
    pub address: Option<SocketAddr>,
    pub admin_address: SocketAddr,
    cluster: Cluster,
    host: Option<Host>,
    edge: Option<Arc<EdgeNode>>,
    store: Store,
    nats: Option<Arc<NatsBus>>,
    traces: Arc<Traces>,
    ready: Arc<AtomicBool>,
    drain: Arc<Drain>,
    /// Stops the two ports, one before everything else and one after.
    stop_public: CancellationToken,
    stop_admin: CancellationToken,
    public: Option<JoinHandle<()>>,
    tls: Option<Arc<Tls>>,
    admin: JoinHandle<()>,
    /// What goes on in the background.
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// Opens the store, migrates it, takes part in the cluster, and serves.
    ///
    /// # Errors
    /// When a setting makes no sense, an address cannot be had, or the database cannot be used.
    pub async fn start(config: &Config, telemetry: Option<Telemetry>) -> Result<Self, StartError> {
        let listen = |address| server::bind(address).map_err(|error| StartError::Address(address, error));
        let admin = listen(config.admin_listen)?;
        let public = config.roles.edge.then(|| listen(config.listen)).transpose()?;
        let store = open(config).await?;
        Self::assemble(config, public, admin, store, telemetry).await
    }

    async fn assemble(
        config: &Config,
        public: Option<TcpListener>,
        admin: TcpListener,
        store: Store,
        telemetry: Option<Telemetry>,
    ) -> Result<Self, StartError> {
        let local = |listener: &TcpListener, wanted| {
            listener.local_addr().map_err(|e| StartError::Address(wanted, e))
        };
        let address = public.as_ref().map(|public| local(public, config.listen)).transpose()?;
        let admin_address = local(&admin, config.admin_listen)?;
        let tls = Tls::open(config.tls_certificate.clone(), config.tls_key.clone())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let me = Incarnation(Uuid::new_v4());
        let traces = start_traces(config, me)?;
        let nats = connect(config, me, &traces).await?;
        let bus: Arc<dyn Bus> = match &nats {
            Some(nats) => nats.clone(),
            None => Arc::new(MemoryBus::alone(me)),
        };
        let host = if config.roles.host {
            Some(start_host(config, me, &store, &clock, traces.tracer()).await?)
        } else {
            None
        };
        let cluster = Cluster::start(ClusterArgs {
            node: describe(config, me, admin_address)?,
            ownership: store.ownership.clone(),
            bus,
            clock: clock.clone(),
            probe: Arc::new(TcpProbe),
            host: host.clone(),
        })
        .await?;
        if nats.is_none() {
            require_to_be_alone(&cluster)?;
        }
        let ready = Arc::new(AtomicBool::new(true));
        let (stop_public, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks =
            vec![tokio::spawn(prune(store.log.clone(), clock.clone(), config.log_retention_days))];
        let (mut edge, mut public_task) = (None, None);
        if let Some(public) = public {
            let (node, router) = start_edge(config, &cluster, &store, &clock, &traces).await?;
            let (http, door) = (Http::new(router, stop_public.clone()), node.clone());
            let take = move |came| door.welcome(came);
            public_task = Some(match tls.clone() {
                None => tokio::spawn(server::serve(public, http, take)),
                Some(tls) => {
                    tasks.push(tokio::spawn(tls.clone().keep_fresh()));
                    tokio::spawn(server::serve(public, http, move |came| tls.welcome(came, take.clone())))
                }
            });
            tasks.push(tokio::spawn(stand(cluster.standing(), node.clone(), ready.clone())));
            edge = Some(node);
        }
        let drain = Arc::new(Drain {
            cluster: cluster.clone(),
            edge: edge.clone(),
            ready: ready.clone(),
            spread: Duration::from_secs(config.drain_seconds),
            begun: AtomicBool::new(false),
            done: OnceCell::new(),
        });
        let vitals = Vitals {
            cluster: cluster.clone(),
            host: host.clone(),
            answers: Arc::new(AtomicBool::new(true)),
            log: store.log.clone(),
            ready: ready.clone(),
            disk: match config.database_url.parse()? {
                DatabaseUrl::Sqlite(path) => path.parent().map(Path::to_path_buf),
                DatabaseUrl::Postgres(_) => None,
            },
            max_connections: config.max_connections,
        };
        tasks.push(tokio::spawn(vitals.clone().watch()));
        tasks.extend(nats.clone().map(|nats| tokio::spawn(watch_bus(nats))));
        let queues =
            Queues { host: host.clone(), edge: edge.clone(), nats: nats.clone(), store: store.clone() };
        let admin_state = Admin {
            cluster: cluster.clone(),
            host: host.clone(),
            vitals,
            queues,
            telemetry,
            traces: traces.clone(),
            edge: edge.clone(),
            drain: drain.clone(),
            token: config.admin_token.clone(),
        };
        let admin_http = Http::new(admin::router(admin_state), stop_admin.clone());
        tracing::info!(?address, %admin_address, node = %me, roles = %config.roles, "the node serves");
        Ok(Self {
            address,
            admin_address,
            admin: tokio::spawn(server::serve(admin, admin_http, |came| {
                came.into_iter().for_each(|accepted| accepted.serve(Vec::new()));
            })),
            public: public_task,
            tls,
            cluster,
            host,
            edge,
            store,
            nats,
            traces,
            ready,
            drain,
            stop_public,
            stop_admin,
            tasks,
        })
    }

    /// The rooms of this node, if it runs any.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The cluster as this node sees it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Waits until this node is declared dead. It has to stop then, and may start again.
    pub async fn buried(&self) {
        let mut standing = self.cluster.standing();
        if standing.wait_for(|standing| *standing == Standing::Buried).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Moves everything that is here to other nodes, if there are others.
    pub async fn drain(&self) {
        self.drain.run().await;
    }

    /// Stops without losing anything: no new work, what was begun is finished, everybody is told to come back later.
    pub async fn stop(self) {
        if tokio::time::timeout(STOP, self.wind_up()).await.is_err() {
            tracing::warn!("not everything ended in {} s; what was acknowledged is on disk", STOP.as_secs());
        }
    }

    async fn wind_up(self) {
        self.ready.store(false, Ordering::Relaxed);
        self.stop_public.cancel();
        self.cluster.stop().await;
        if let Some(edge) = &self.edge {
            let told = edge.stop(CloseCode::GoingAway).await;
            tracing::info!(connections = told, "the node stops");
        }
        if let Some(nats) = &self.nats {
            nats.close().await;
        }
        let public = async {
            if let Some(public) = self.public {
                let _ = public.await;
            }
        };
        let encrypted = async {
            if let Some(tls) = &self.tls {
                tls.finish().await;
            }
        };
        tokio::join!(public, encrypted);
        self.stop_admin.cancel();
        let _ = self.admin.await;
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        tokio::join!(self.store.close(), self.traces.close());
    }
}

/// Where the way of traced ops is told.
fn start_traces(config: &Config, me: Incarnation) -> Result<Arc<Traces>, StartError> {
    if config.otlp_endpoint.is_empty() {
        return Ok(Traces::new(None));
    }
    let (endpoint, headers) = (config.otlp_endpoint.as_str(), config.otlp_headers.reveal());
    let settings = CollectorSettings { endpoint, headers, instance: node_label(config, me) };
    Ok(Traces::new(Some(Collector::start(&settings)?)))
}

async fn connect(
    config: &Config,
    me: Incarnation,
    traces: &Arc<Traces>,
) -> Result<Option<Arc<NatsBus>>, StartError> {
    if config.nats_url.is_empty() {
        return Ok(None);
    }
    if matches!(config.database_url.parse()?, DatabaseUrl::Sqlite(_)) {
        return Err(StartError::SharedDatabase);
    }
    let named = |file: &Path| Some(file.to_owned()).filter(|file| !file.as_os_str().is_empty());
    let identity = match (named(&config.nats_client_certificate), named(&config.nats_client_key)) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some(NatsIdentity { certificate, key }),
        _ => return Err(StartError::NatsIdentity),
    };
    let options = NatsOptions {
        url: config.nats_url.clone(),
        cluster: config.cluster_name.clone(),
        credentials: named(&config.nats_credentials),
        root_certificates: named(&config.nats_root_certificates),
        identity,
        tracer: traces.tracer(),
    };
    Ok(Some(Arc::new(NatsBus::connect(me, &options).await?)))
}

fn require_to_be_alone(cluster: &Cluster) -> Result<(), StartError> {
    let nodes = cluster.nodes();
    let mut others = nodes.iter().map(|(row, _)| row).filter(|row| row.node.incarnation != cluster.me());
    match others.find(|row| !row.expired && row.renewal.state == NodeState::Alive) {
        Some(other) => Err(StartError::NotAlone(other.node.name.clone())),
        None => Ok(()),
    }
}

fn describe(config: &Config, me: Incarnation, admin_address: SocketAddr) -> Result<NewNode, StartError> {
    let name = if config.node_name.is_empty() { admin_address.to_string() } else { config.node_name.clone() };
    let address = match (config.advertise_admin.as_str(), advertised(admin_address)) {
        ("", Some(address)) => address,
        // A node on its own is reached by nobody.
        ("", None) if config.nats_url.is_empty() => admin_address.to_string(),
        ("", None) => return Err(StartError::Advertise(admin_address)),
        (given, _) if is_address(given) => given.to_owned(),
        (given, _) => return Err(StartError::Advertised(given.to_owned())),
    };
    Ok(NewNode {
        incarnation: me,
        name,
        address,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: config.roles.host,
        edge: config.roles.edge,
    })
}

async fn start_host(
    config: &Config,
    me: Incarnation,
    store: &Store,
    clock: &Arc<dyn Clock>,
    tracer: Tracer,
) -> Result<Host, StartError> {
    let settings = RoomSettings { idle_ms: config.room_idle_seconds * 1_000, ..RoomSettings::default() };
    Ok(Host::start(HostArgs {
        me,
        log: store.log.clone(),
        directory: store.directory.clone(),
        clock: clock.clone(),
        settings,
        committers: store.committers(),
        offload: Offload::Thread,
        tracer,
    })
    .await?)
}

async fn start_edge(
    config: &Config,
    cluster: &Cluster,
    store: &Store,
    clock: &Arc<dyn Clock>,
    traces: &Arc<Traces>,
) -> Result<(Arc<EdgeNode>, Router), StartError> {
    let announcer = Announcer { cluster: cluster.clone(), directory: store.directory.clone() };
    let people =
        People::open(store.directory.clone(), Arc::new(announcer), clock.clone(), &people_settings(config))
            .await?;
    let people = Arc::new(people);
    // In the log anybody's wishes would be in everybody's way.
    let asked = if config.otlp_endpoint.is_empty() { 0 } else { config.client_traces_per_second };
    let sampling = Sampling::new(traces.tracer(), config.trace_one_in, asked);
    let sampling = Arc::new(sampling);
    let edge = EdgeNode::start(
        node_label(config, cluster.me()),
        cluster.clone(),
        store.log.clone(),
        people.clone(),
        clock.clone(),
        EdgeSettings {
            hubs: config.hubs,
            linger: LINGER,
            allowed_origins: config.allowed_origins.0.clone(),
            max_connections: config.max_connections,
            connection_age_s: config.connection_age_seconds,
            hellos_per_second: config.hellos_per_second,
            allowances: config.limits.allowances()?,
            offload: Offload::Thread,
            sampling: sampling.clone(),
        },
    );
    let edge = Arc::new(edge.map_err(StartError::Hubs)?);
    let ends: Arc<dyn Edge> = edge.clone();
    cluster.connect(Arc::downgrade(&ends));
    let content = Arc::new(Content {
        cluster: cluster.clone(),
        log: store.log.clone(),
        edge: edge.clone(),
        offload: Offload::Thread,
    });
    let sessions = Arc::new(ClusterSessions(cluster.clone()));
    let api = Api { people, rooms: content, sessions, site: Arc::new(site(config)?) };
    let router = public_router(api, (*edge).clone()).layer(Extension(sampling));
    Ok((edge, router))
}

/// What `welcome` calls this node.
fn node_label(config: &Config, me: Incarnation) -> String {
    if config.node_name.is_empty() { me.to_string()[..8].to_owned() } else { config.node_name.clone() }
}

/// While this node is cut off from the others, people are better served elsewhere.
async fn stand(mut standing: watch::Receiver<Standing>, edge: Arc<EdgeNode>, ready: Arc<AtomicBool>) {
    let mut cut_off = false;
    while standing.changed().await.is_ok() {
        let now = *standing.borrow_and_update() == Standing::CutOff;
        if now != cut_off {
            cut_off = now;
            ready.store(!cut_off, Ordering::Relaxed);
            if cut_off {
                let told = edge.close_all(CloseCode::GoingAway).await;
                tracing::warn!(connections = told, "this node is cut off from the others");
            }
        }
    }
}

async fn open(config: &Config) -> Result<Store, StartError> {
    let url: DatabaseUrl = config.database_url.parse()?;
    if let DatabaseUrl::Sqlite(path) = &url
        && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(|e| StartError::DataDir(folder.display().to_string(), e))?;
    }
    Ok(Store::open(&url, &OpenOptions { migrate: true, ..OpenOptions::default() }).await?)
}

/// The store and the rooms without anybody to talk to, for commands that work on a database while no node does.
pub(crate) async fn open_offline(config: &Config) -> Result<(Store, Cluster), StartError> {
    let store = open(config).await?;
    let me = Incarnation(Uuid::new_v4());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let host = start_host(config, me, &store, &clock, Tracer::default()).await?;
    let args = ClusterArgs {
        node: NewNode {
            name: "command".to_owned(),
            address: String::new(),
            ..describe(config, me, config.admin_listen)?
        },
        ownership: store.ownership.clone(),
        bus: Arc::new(MemoryBus::alone(me)),
        clock,
        probe: Arc::new(TcpProbe),
        host: Some(host),
    };
    let cluster = Cluster::start(args).await?;
    require_to_be_alone(&cluster)?;
    Ok((store, cluster))
}

fn people_settings(config: &Config) -> people::Settings {
    people::Settings { limits: config.limits.of_people(config.rooms_per_hour), ..people::Settings::default() }
}

fn site(config: &Config) -> Result<Site, StartError> {
    let public_url =
        Some(&config.public_url).filter(|url| !url.is_empty()).map(|url| url.parse()).transpose()?;
    let trusted_proxies =
        config.trusted_proxies.0.iter().map(|proxy| proxy.parse()).collect::<Result<_, _>>()?;
    Ok(Site { public_url, trusted_proxies, encrypted: !config.tls_certificate.as_os_str().is_empty() })
}

fn public_router(api: Api, edge: EdgeNode) -> Router {
    Router::new()
        .route("/ws", get(edge::upgrade).with_state(edge))
        .merge(api::router(api))
        .merge(page::router())
        .layer(from_fn(in_time))
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
