//! What operators and their machines see of a fault: which nodes say that they are not ready, whether others own what they owned, and
//! which of the chart's alerts fire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{admin, prometheus};

const LOOK: Duration = Duration::from_millis(100);
const SHARDS: u64 = 4_096;

/// What was seen from the injection until everything was mended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The nodes that were not ready, or not there, and after which time.
    pub unready: BTreeMap<String, Duration>,
    /// After which time the other nodes owned everything.
    pub moved: Option<Duration>,
    /// The alerts that fired. None: nobody was there to judge.
    pub alerts: Option<BTreeSet<String>>,
}

/// Somebody who looks again and again.
#[derive(Debug)]
pub struct Overseer {
    watch: JoinHandle<Seen>,
    enough: oneshot::Sender<()>,
}

/// Who is looked at.
#[derive(Clone, Debug)]
pub struct Subjects {
    /// Every node's name and operators' port.
    pub nodes: Vec<(String, SocketAddr)>,
    /// Those that are struck.
    pub struck: BTreeSet<String>,
    /// None: no Prometheus judges.
    pub prometheus: Option<SocketAddr>,
}

impl Overseer {
    #[must_use]
    pub fn begin(subjects: Subjects) -> Self {
        let (enough, mut told) = oneshot::channel();
        let watch = tokio::spawn(async move {
            let begun = Instant::now();
            let mut seen = Seen { alerts: subjects.prometheus.map(|_| BTreeSet::new()), ..Seen::default() };
            while told.try_recv().is_err() {
                seen.look(&subjects, begun).await;
                tokio::time::sleep(LOOK).await;
            }
            seen
        });
        Self { watch, enough }
    }

    /// What was seen until now.
    pub async fn end(self) -> Seen {
        // It looks until it is told.
        let _ = self.enough.send(());
        self.watch.await.unwrap_or_default()
    }
}

impl Seen {
    async fn look(&mut self, subjects: &Subjects, begun: Instant) {
        for (name, node) in &subjects.nodes {
            if !self.unready.contains_key(name) && !admin::is_ready(*node).await {
                self.unready.insert(name.clone(), begun.elapsed());
            }
        }
        if self.moved.is_none() && others_own_all(subjects).await {
            self.moved = Some(begun.elapsed());
        }
        if let (Some(prometheus), Some(alerts)) = (subjects.prometheus, &mut self.alerts) {
            // It may be busy; what fires does so for long.
            alerts.extend(prometheus::firing(prometheus).await.unwrap_or_default());
        }
    }
}

/// Whether nodes that are not struck own everything, as the first of them sees it.
async fn others_own_all(subjects: &Subjects) -> bool {
    let bystander = subjects.nodes.iter().find(|(name, _)| !subjects.struck.contains(name));
    let Some((_, node)) = bystander.filter(|_| !subjects.struck.is_empty()) else { return false };
    let Ok(answer) = admin::get(*node, "/admin/cluster").await else { return false };
    let Ok(cluster) = answer.json::<serde_json::Value>() else { return false };
    let nodes = cluster["nodes"].as_array().into_iter().flatten();
    let others =
        nodes.filter(|node| !node["name"].as_str().is_some_and(|name| subjects.struck.contains(name)));
    others.filter_map(|node| node["shards"].as_u64()).sum::<u64>() == SHARDS
}
