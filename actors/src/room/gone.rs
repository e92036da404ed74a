//! Writers whose connection was lost. After a while, what they left unfinished is closed for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::bus::Writer;

/// When each of them is given up. A crowd may be lost at once, so nothing here looks at all of them.
#[derive(Debug, Default)]
pub(super) struct Gone {
    at_ms: BTreeMap<Writer, u64>,
    order: BTreeSet<(u64, Writer)>,
}

impl Gone {
    pub(super) fn lost(&mut self, writer: Writer, until_ms: u64) {
        self.back(writer);
        self.at_ms.insert(writer, until_ms);
        self.order.insert((until_ms, writer));
    }

    /// The writer is there (again).
    pub(super) fn back(&mut self, writer: Writer) {
        if let Some(at_ms) = self.at_ms.remove(&writer) {
            self.order.remove(&(at_ms, writer));
        }
    }

    /// Somebody who is to be given up now, if there is anybody.
    pub(super) fn take_over(&mut self, now_ms: u64) -> Option<Writer> {
        let (_, writer) = self.order.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        self.back(writer);
        Some(writer)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.order.first().map(|(at_ms, _)| *at_ms)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at_ms.is_empty()
    }
}
