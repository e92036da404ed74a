//! Leaving without anyone noticing: the shards move to other nodes, then the people do, each at a moment of their own. How it goes is in
//! the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use enfilade_actors::Stopwatch;
use enfilade_actors::cluster::Cluster;
use enfilade_actors::host::Host;
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
    pub(crate) host: Option<Host>,
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
        let watch = Stopwatch::start();
        let (connections, shards) = self.left();
        tracing::info!(connections, shards, "the node begins to leave");
        let shards_in_time = self.move_shards().await;
        let people_in_time = self.move_people().await;
        let (connections, shards) = self.left();
        let seconds = watch.seconds();
        if shards_in_time && people_in_time {
            tracing::info!(seconds, connections, shards, "the node has left");
        } else {
            tracing::warn!(seconds, connections, shards, "the node did not get away in time");
        }
        if let (false, Some(edge)) = (people_in_time, &self.edge) {
            edge.close_all(CloseCode::Drained).await;
        }
    }

    /// Connections and shards that are still here.
    fn left(&self) -> (usize, usize) {
        let connections = self.edge.as_ref().map_or(0, |edge| edge.connections());
        (connections, self.host.as_ref().map_or(0, |host| host.owned().len()))
    }

    /// False if that took too long. Those that nobody can take stay.
    async fn move_shards(&self) -> bool {
        let watch = Stopwatch::start();
        if self.cluster.drain(SHARDS).await {
            return true;
        }
        let in_time = watch.elapsed() < SHARDS;
        if in_time {
            tracing::info!("this node keeps its shards: there is nobody to take them");
        }
        in_time
    }

    /// False if some have not gone in time. Without another edge they have nowhere to go.
    async fn move_people(&self) -> bool {
        let Some(edge) = &self.edge else { return true };
        if !self.cluster.has_other_edges() {
            tracing::info!("people stay until this node ends: there is no other for them");
            return true;
        }
        tokio::time::sleep(NOTICED).await;
        let told = edge.send_away(self.spread).await;
        tracing::info!(connections = told, "people were told to move");
        let gone = async {
            while edge.connections() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(self.spread + STRAGGLERS, gone).await.is_ok()
    }
}
