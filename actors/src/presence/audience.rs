//! How many watch a room: every edge tells its own number, and their sum is told to all.

use std::collections::BTreeMap;

use enfilade_store::Incarnation;

#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Edges on which nobody watches are not in it.
    on_edges: BTreeMap<Incarnation, u64>,
    told: u64,
}

impl Audience {
    /// So many watch on this edge.
    pub(super) fn set(&mut self, edge: Incarnation, count: u64) {
        if count == 0 {
            self.on_edges.remove(&edge);
        } else {
            self.on_edges.insert(edge, count);
        }
    }

    #[cfg(test)]
    pub(super) fn on_edge(&self, edge: Incarnation) -> u64 {
        self.on_edges.get(&edge).copied().unwrap_or_default()
    }

    pub(super) fn count(&self) -> u64 {
        self.on_edges.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether there are more or fewer than was told.
    pub(super) fn has_news(&self) -> bool {
        self.count() != self.told
    }

    /// The present count has been told.
    pub(super) fn told(&mut self) {
        self.told = self.count();
    }
}
