//! What waits on a node, looked at when somebody asks: ops for rooms, bytes for sockets, messages for NATS, callers for the database.
//! Nobody counts for this while there is work to do.

use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::bus::NatsBus;
use enfilade_actors::host::Host;
use enfilade_store::Store;

use crate::edge::EdgeNode;

/// How long hubs may take to say what waits for their sockets. One that stands still must not hold up those who want to see that.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two round trips to NATS.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct Queues {
    /// None: no rooms run here.
    pub(crate) host: Option<Host>,
    /// None: nobody connects here.
    pub(crate) edge: Option<Arc<EdgeNode>>,
    /// None: the node is alone.
    pub(crate) nats: Option<Arc<NatsBus>>,
    pub(crate) store: Store,
}

impl Queues {
    pub(crate) async fn look(&self) {
        let rooms = self.host.as_ref().map(Host::waiting).unwrap_or_default();
        metrics::gauge!("enfilade_rooms_waiting_bytes").set(rooms.bytes as f64);
        metrics::gauge!("enfilade_rooms_waiting_largest_bytes").set(rooms.largest as f64);
        for (pool, waiting) in self.store.waiting() {
            metrics::gauge!("enfilade_database_waiting", "pool" => pool).set(waiting as f64);
        }
        if let Some(nats) = &self.nats {
            let (messages, bytes) = nats.waiting();
            metrics::gauge!("enfilade_bus_waiting_messages").set(messages as f64);
            metrics::gauge!("enfilade_bus_waiting_bytes").set(bytes as f64);
        }
        let Some(edge) = &self.edge else { return };
        // If they do not answer, what they said last stands.
        if let Ok(unsent) = tokio::time::timeout(PATIENCE, edge.unsent()).await {
            metrics::gauge!("enfilade_sockets_waiting_bytes").set(unsent.bytes as f64);
            metrics::gauge!("enfilade_sockets_waiting_largest_bytes").set(unsent.largest as f64);
            metrics::gauge!("enfilade_sockets_blocked").set(unsent.blocked as f64);
        }
    }
}

/// Measures the way to NATS and back, until the node is gone.
pub(crate) async fn watch_bus(nats: Arc<NatsBus>) {
    let seconds = metrics::histogram!("enfilade_bus_round_trip_seconds");
    loop {
        if let Some(took) = nats.round_trip().await {
            seconds.record(took.as_secs_f64());
        }
        tokio::time::sleep(LOOK).await;
    }
}
