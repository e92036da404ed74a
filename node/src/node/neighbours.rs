//! A node among others: how they talk, what it tells of itself, that there is nobody where it cannot talk, and what it does when it is cut
//! off from them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use enfilade_actors::bus::{NatsBus, NatsIdentity, NatsOptions};
use enfilade_actors::cluster::{Cluster, Standing};
use enfilade_proto::CloseCode;
use enfilade_store::{DatabaseUrl, Incarnation, NewNode, NodeState};
use tokio::sync::watch;

use super::StartError;
use crate::config::Config;
use crate::drain::Drain;
use crate::probe::{advertised, is_address};
use crate::telemetry::Traces;

pub(super) async fn connect(
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

pub(super) fn require_to_be_alone(cluster: &Cluster) -> Result<(), StartError> {
    let nodes = cluster.nodes();
    let mut others = nodes.iter().map(|(row, _)| row).filter(|row| row.node.incarnation != cluster.me());
    match others.find(|row| !row.expired && row.renewal.state == NodeState::Alive) {
        Some(other) => Err(StartError::NotAlone(other.node.name.clone())),
        None => Ok(()),
    }
}

pub(super) fn describe(
    config: &Config,
    me: Incarnation,
    admin_address: SocketAddr,
) -> Result<NewNode, StartError> {
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

/// While this node is cut off from the others, it is not ready, and people are better served elsewhere. One that leaves does not become
/// ready again.
pub(super) async fn stand(mut standing: watch::Receiver<Standing>, drain: Arc<Drain>) {
    let mut cut_off = false;
    while standing.changed().await.is_ok() {
        let now = *standing.borrow_and_update() == Standing::CutOff;
        if now != cut_off {
            cut_off = now;
            drain.ready.store(!cut_off && !drain.has_begun(), Ordering::Relaxed);
            if cut_off {
                let told = match &drain.edge {
                    Some(edge) => edge.close_all(CloseCode::GoingAway).await,
                    None => 0,
                };
                tracing::warn!(connections = told, "this node is cut off from the others");
            }
        }
    }
}
