//! A database on which no node runs, for commands.

use std::sync::Arc;

use enfilade_actors::bus::MemoryBus;
use enfilade_actors::cluster::{Cluster, ClusterArgs};
use enfilade_actors::host::Clock;
use enfilade_actors::trace::Tracer;
use enfilade_store::{Incarnation, NewNode, Store};
use uuid::Uuid;

use super::neighbours::{describe, require_to_be_alone};
use super::store::open;
use super::{StartError, start_host};
use crate::config::Config;
use crate::people::SystemClock;
use crate::probe::TcpProbe;

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
        probe: Arc::new(TcpProbe),
        host: Some(host),
    };
    let cluster = Cluster::start(args).await?;
    require_to_be_alone(&cluster)?;
    Ok((store, cluster))
}
