//! Which processes there are, as whoever knocks at their door finds out.

use std::collections::BTreeMap;

use enfilade_store::Incarnation;

/// What a knock at a process's door brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Alive,
    Refused,
    /// The process is stopped.
    None,
}

#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<Incarnation, Answer>);

impl Processes {
    pub(super) fn started(&mut self, node: Incarnation) {
        self.0.insert(node, Answer::Alive);
    }

    pub(super) fn paused(&mut self, node: Incarnation) {
        self.0.insert(node, Answer::None);
    }

    pub(super) fn gone(&mut self, node: Incarnation) {
        self.0.insert(node, Answer::Refused);
    }

    pub(super) fn answer(&self, node: Incarnation) -> Answer {
        self.0.get(&node).copied().unwrap_or(Answer::Refused)
    }
}
