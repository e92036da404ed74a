//! Which batches of an append are worth sending to the database.

use std::collections::{HashMap, HashSet};

use enfilade_proto::{RoomId, Seq};

use crate::log::Batch;

/// A batch that is worth sending to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insert {
    /// Its place among the batches.
    pub(crate) index: usize,
    /// The room's log must end here before the statement.
    pub(crate) after: Seq,
}

/// Leaves out empty batches, and those of a room from the first that does not continue the one before it.
///
/// The statement sees the log as it was before, so all batches of a room ask for the same end of the log: that in front of
/// the first of them. They are written all or none.
pub(crate) fn continuing(batches: &[Batch], broken: &HashSet<RoomId>) -> Vec<Insert> {
    let mut latest: HashMap<RoomId, Option<(Seq, &Batch)>> =
        broken.iter().map(|room| (*room, None)).collect();
    let mut rows = Vec::with_capacity(batches.len());
    for (index, batch) in batches.iter().enumerate().filter(|(_, batch)| !batch.is_empty()) {
        let after = match latest.get(&batch.room) {
            None => batch.first.0.checked_sub(1).map(Seq),
            Some(Some((after, before)))
                if before.last.next() == batch.first && before.epoch == batch.epoch =>
            {
                Some(*after)
            }
            Some(_) => None,
        };
        latest.insert(batch.room, after.map(|after| (after, batch)));
        rows.extend(after.map(|after| Insert { index, after }));
    }
    rows
}
