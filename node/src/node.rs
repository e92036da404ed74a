//! A node put together: store, host, bus, people, edge, and the two ports. It is handed its sockets, so that a test starts
//! several in one process on ports of their own.

mod edge;
mod neighbours;
mod offline;
mod start_error;
mod store;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enfilade_actors::bus::{Bus, MemoryBus, NatsBus};
use enfilade_actors::cluster::{Cluster, ClusterArgs, Standing};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload};
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::Tracer;
use enfilade_proto::CloseCode;
use enfilade_store::{DatabaseUrl, Incarnation, Store};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) use self::offline::open_offline;
pub use self::start_error::StartError;
use crate::admin::{self, Admin};
use crate::config::Config;
use crate::drain::Drain;
use crate::edge::EdgeNode;
use crate::files;
use crate::people::SystemClock;
use crate::probe::TcpProbe;
use crate::server::{self, Http};
use crate::telemetry::{
    Collector, CollectorSettings, InvalidCollector, Queues, Telemetry, Traces, Vitals, watch_bus,
};
use crate::tls::Tls;

/// How long stopping may take, all in all. The chart's grace period counts on it (`enfilade.leavingSeconds`).
const STOP: Duration = Duration::from_secs(13);

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
        let store = store::open(config).await?;
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
        let most = config.max_connections.saturating_add(files::requests());
        let tls = Tls::open(config.tls_certificate.clone(), config.tls_key.clone(), most)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let me = Incarnation(Uuid::new_v4());
        let traces = start_traces(config, me)?;
        let nats = neighbours::connect(config, me, &traces).await?;
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
            node: neighbours::describe(config, me, admin_address)?,
            ownership: store.ownership.clone(),
            bus,
            probe: Arc::new(TcpProbe),
            host: host.clone(),
        })
        .await?;
        if nats.is_none() {
            neighbours::require_to_be_alone(&cluster)?;
        }
        let ready = Arc::new(AtomicBool::new(true));
        let (stop_public, stop_admin) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks =
            vec![tokio::spawn(store::prune(store.log.clone(), clock.clone(), config.log_retention_days))];
        let (mut edge, mut public_task) = (None, None);
        if let Some(public) = public {
            let (node, router) = edge::start(config, &cluster, &store, &clock, &traces).await?;
            let (http, door) = (Http::new(router, stop_public.clone()), node.clone());
            let take = move |came| door.welcome(came);
            public_task = Some(match tls.clone() {
                None => tokio::spawn(server::serve(public, http, take)),
                Some(tls) => {
                    tasks.push(tokio::spawn(tls.clone().keep_fresh()));
                    tokio::spawn(server::serve(public, http, move |came| tls.welcome(came, take.clone())))
                }
            });
            edge = Some(node);
        }
        let drain = Arc::new(Drain {
            cluster: cluster.clone(),
            host: host.clone(),
            edge: edge.clone(),
            ready: ready.clone(),
            spread: Duration::from_secs(config.drain_seconds),
            begun: AtomicBool::new(false),
            done: OnceCell::new(),
        });
        tasks.push(tokio::spawn(neighbours::stand(cluster.standing(), drain.clone())));
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
    let (endpoint, headers) = (config.otlp_endpoint.as_str(), config.otlp_headers.reveal());
    if endpoint.is_empty() {
        let nothing_to_say = config.otlp_headers.is_none();
        return if nothing_to_say { Ok(Traces::new(None)) } else { Err(InvalidCollector::HeadersForNobody)? };
    }
    let settings = CollectorSettings { endpoint, headers, instance: node_label(config, me) };
    Ok(Traces::new(Some(Collector::start(&settings)?)))
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

/// What `welcome` calls this node.
fn node_label(config: &Config, me: Incarnation) -> String {
    if config.node_name.is_empty() { me.to_string()[..8].to_owned() } else { config.node_name.clone() }
}
