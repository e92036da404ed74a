//! How much waits in front of rooms and in them: ops that came and have no answer yet.

use std::ops::Bound;

use enfilade_proto::RoomId;
use tokio::sync::Semaphore;

use super::rooms::ROOM_BYTES;
use super::{Host, NODE_BYTES};

/// Rooms that are looked at without letting others in.
const AT_ONCE: usize = 256;

/// Bytes of ops, with what a message weighs besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub bytes: usize,
    /// Of the room for which most wait.
    pub largest: usize,
}

impl Host {
    #[must_use]
    pub fn waiting(&self) -> Waiting {
        let bytes = taken(&self.0.node_bytes, NODE_BYTES);
        if bytes == 0 {
            return Waiting::default();
        }
        let (mut largest, mut from) = (0, Bound::Unbounded);
        while let (Some(most), last) = self.largest_of_some(from) {
            largest = largest.max(most);
            let Some(last) = last else { break };
            from = Bound::Excluded(last);
        }
        Waiting { bytes, largest }
    }

    /// What waits at most for one of the next rooms, and the last of them if there may be more. Everybody who wants something of a
    /// room waits while they are looked at.
    fn largest_of_some(&self, from: Bound<RoomId>) -> (Option<usize>, Option<RoomId>) {
        let rooms = self.0.lock();
        let some = rooms.cells.range((from, Bound::Unbounded)).take(AT_ONCE);
        let (mut largest, mut looked, mut last) = (None, 0, None);
        for (room, cell) in some {
            largest = largest.max(Some(taken(&cell.bytes, ROOM_BYTES)));
            (looked, last) = (looked + 1, Some(*room));
        }
        (largest, last.filter(|_| looked == AT_ONCE))
    }
}

/// What of a bound is in use.
fn taken(bytes: &Semaphore, most: usize) -> usize {
    most.saturating_sub(bytes.available_permits())
}
