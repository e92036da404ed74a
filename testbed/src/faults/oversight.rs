//! What operators and their machines see of a fault: which nodes say that they are not ready, whether others own what they owned, and
//! which of the chart's alerts fire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::catalogue::Visible;
use super::report::time;
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
    /// What operators should have seen and did not.
    #[must_use]
    pub fn lacks(&self, visible: &Visible, struck: &BTreeSet<String>) -> Vec<String> {
        let mut lacking = Vec::new();
        // What all depend on strikes nobody in particular.
        if self.unready.is_empty() || !struck.iter().all(|node| self.unready.contains_key(node)) {
            lacking.push("a node that was struck went on saying that it is ready".to_owned());
        }
        if visible.moves && self.moved.is_none() {
            lacking.push("its shards did not move".to_owned());
        }
        if let Some(alerts) = &self.alerts {
            let silent = visible.alerts.iter().filter(|alert| !alerts.contains(**alert));
            lacking.extend(silent.map(|alert| format!("{alert} did not fire")));
        }
        lacking
    }

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

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |passed: &Duration| time(passed.as_secs_f64() * 1e3);
        let unready = self.unready.values().min().map(|first| format!("not ready after {}", after(first)));
        let moved = self.moved.as_ref().map(|moved| format!("shards moved after {}", after(moved)));
        let alerts = match &self.alerts {
            None => Some("no Prometheus to judge alerts".to_owned()),
            Some(alerts) if alerts.is_empty() => None,
            Some(alerts) => Some(alerts.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
        };
        f.write_str(&[unready, moved, alerts].into_iter().flatten().collect::<Vec<_>>().join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_told_and_what_nobody_could_see_is_not() {
        let visible = Visible { moves: true, alerts: &["A", "B"] };
        let struck: BTreeSet<String> = ["node-1".to_owned()].into();
        let unready = BTreeMap::from([("node-1".to_owned(), Duration::from_millis(2_300))]);
        let seen = Seen {
            unready,
            moved: Some(Duration::from_secs(4)),
            alerts: Some(["A", "B", "C"].map(String::from).into()),
        };
        assert_eq!(seen.lacks(&visible, &struck), Vec::<String>::new());
        assert_eq!(seen.to_string(), "not ready after 2.30 s; shards moved after 4.00 s; A, B, C");
        let other = Seen { alerts: Some(["A".to_owned()].into()), ..Seen::default() };
        assert_eq!(
            other.lacks(&visible, &struck),
            [
                "a node that was struck went on saying that it is ready",
                "its shards did not move",
                "B did not fire"
            ]
        );
        assert_eq!(Seen { alerts: None, ..seen }.lacks(&visible, &struck), Vec::<String>::new());
    }
}
