//! How much waits in front of rooms and in them: ops that came and have no answer yet.

use tokio::sync::Semaphore;

use super::rooms::ROOM_BYTES;
use super::{Host, NODE_BYTES};

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
        let rooms = self.0.lock();
        let largest = rooms.cells.values().map(|cell| taken(&cell.bytes, ROOM_BYTES)).max();
        Waiting { bytes, largest: largest.unwrap_or_default() }
    }
}

/// What of a bound is in use.
fn taken(bytes: &Semaphore, most: usize) -> usize {
    most.saturating_sub(bytes.available_permits())
}
