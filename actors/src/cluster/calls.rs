//! Questions to owners on other nodes that are not answered yet.

use std::collections::BTreeMap;

use enfilade_store::Incarnation;
use tokio::sync::oneshot;

use crate::bus::{Refused, Ticket};

type Back<T> = oneshot::Sender<Result<T, Refused>>;

#[derive(Debug)]
pub(super) struct Calls<T> {
    asked: u64,
    waiting: BTreeMap<Ticket, (Incarnation, Back<T>)>,
}

impl<T> Default for Calls<T> {
    fn default() -> Self {
        Self { asked: 0, waiting: BTreeMap::new() }
    }
}

impl<T> Calls<T> {
    pub(super) fn ask(&mut self, node: Incarnation) -> (Ticket, oneshot::Receiver<Result<T, Refused>>) {
        let (back, answer) = oneshot::channel();
        self.asked += 1;
        let ticket = Ticket(self.asked);
        // Whoever does not wait any more needs no place.
        self.waiting.retain(|_, (_, back)| !back.is_closed());
        self.waiting.insert(ticket, (node, back));
        (ticket, answer)
    }

    pub(super) fn answered(&mut self, ticket: Ticket, result: Result<T, Refused>) {
        if let Some((_, back)) = self.waiting.remove(&ticket) {
            let _ = back.send(result);
        }
    }

    /// Nothing will come from there; those who wait find their sender gone.
    pub(super) fn lost(&mut self, node: Incarnation) {
        self.waiting.retain(|_, (asked, _)| *asked != node);
    }

    pub(super) fn all_lost(&mut self) {
        self.waiting.clear();
    }
}
