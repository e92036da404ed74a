//! Leaving without anyone noticing: the shards move to other nodes, then the people do, each at a moment of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enfilade_actors::cluster::Cluster;
use enfilade_proto::CloseCode;
use tokio::sync::OnceCell;

use crate::edge::EdgeNode;

/// How long all shards together may take to move.
const SHARDS: Duration = Duration::from_secs(30);
/// A load balancer needs a moment to see that this node is not ready, before people are told to connect anew.
const NOTICED: Duration = Duration::from_secs(2);
/// How long after the last person was told to move those are waited for who did not.
const STRAGGLERS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// What a node has to do before it stops, done once however often it is asked for.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) cluster: Cluster,
    pub(crate) edge: Option<Arc<EdgeNode>>,
    pub(crate) ready: Arc<AtomicBool>,
    /// Over how long people are told to move.
    pub(crate) spread: Duration,
    pub(crate) begun: AtomicBool,
    pub(crate) done: OnceCell<()>,
}

impl Drain {
    /// Returns when nothing is left here, or nothing more can be done about it.
    pub(crate) async fn run(&self) {
        self.done.get_or_init(|| self.leave()).await;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    async fn leave(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.ready.store(false, Ordering::Relaxed);
        let clean = self.cluster.drain(SHARDS).await;
        if !clean {
            tracing::info!("this node keeps its shards: there is nobody to take them");
        }
        let Some(edge) = self.edge.as_ref().filter(|_| self.cluster.has_other_edges()) else { return };
        tokio::time::sleep(NOTICED).await;
        let told = edge.send_away(self.spread).await;
        tracing::info!(connections = told, "people were told to move");
        let gone = async {
            while edge.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(self.spread + STRAGGLERS, gone).await.is_err() {
            let stragglers = edge.close_all(CloseCode::Drained).await;
            tracing::info!(connections = stragglers, "stragglers were closed");
        }
    }
}
