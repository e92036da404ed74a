//! Checkpoints: a room's state at a seq, with the version of its form and a checksum.

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};

/// A room's state after `seq`, in a form that its kind knows by `format`.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub room: RoomId,
    pub seq: Seq,
    pub epoch: Epoch,
    /// The version of the form of `body`.
    pub format: u32,
    pub body: Bytes,
    pub at_ms: u64,
}

impl Checkpoint {
    /// CRC-32 of the body, stored beside it: a torn or rotten checkpoint is noticed instead of served.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(&self.body)
    }
}
