//! The edge of a node, with all that people reach through it.

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Extension, Router};
use enfilade_actors::cluster::{Cluster, Edge};
use enfilade_actors::host::{Clock, Offload};
use enfilade_store::Store;

use super::{StartError, node_label};
use crate::access::Announcer;
use crate::api::{self, Api, Site};
use crate::config::Config;
use crate::content::Content;
use crate::deadline::in_time;
use crate::edge::{self, EdgeNode, EdgeSettings, Sampling};
use crate::page;
use crate::people::{self, People};
use crate::sessions::ClusterSessions;
use crate::telemetry::Traces;

/// How long a mirror outlives its last member on this edge.
const LINGER: Duration = Duration::from_secs(30);

pub(super) async fn start(
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
