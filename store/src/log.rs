//! The log of rooms, as the owners of rooms see it. One of the two seams of the cluster (the other is the bus).

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::checkpoint::Checkpoint;
use crate::error::StoreError;

/// A node: a process, from its start to its end. A restart is another incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub Uuid);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({})", self.0.simple())
    }
}

/// Consecutive ops of one room, to be written as one row.
#[derive(Clone, Debug)]
pub struct Batch {
    pub room: RoomId,
    /// The epoch in which the writer owns the room's shard.
    pub epoch: Epoch,
    /// The seq of the first op.
    pub first: Seq,
    /// The seq of the last op. `first - 1` makes an empty batch: nothing is written, only the fence is asked.
    pub last: Seq,
    pub at_ms: u64,
    /// The ops in the coding of their room (opaque here).
    pub ops: Bytes,
}

impl Batch {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.last < self.first
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is on disk (or, if it was empty: the writer still owned the shard).
    Committed,
    /// Somebody else owns the shard, or wrote these seqs: nothing of the batch was written.
    Fenced,
}

/// A batch as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    pub first: Seq,
    pub last: Seq,
    pub epoch: Epoch,
    pub at_ms: u64,
    pub ops: Bytes,
}

#[async_trait]
pub trait RoomLog: fmt::Debug + Send + Sync + 'static {
    /// Writes batches in one durable commit, each only if `writer` owns its room's shard in the batch's epoch, and only if it
    /// continues the room's log: its first seq is the one after the last that was written (1 in a new room). Batches of one
    /// room in one call must continue one another in one epoch; from the first that does not, or that is fenced, all later
    /// ones of the room are fenced.
    /// Answers in the order of the batches. When it returns `Committed`, the data is on disk.
    ///
    /// # Errors
    /// `Unavailable` when certainly nothing was written. `UnknownOutcome` when the commit was sent and not answered: none, or
    /// all but the fenced, may be written, now or a little later. It is the same if the caller does not wait for the answer.
    /// Once the shards were claimed anew (by anybody) it is settled, and [`RoomLog::read`] tells. Whoever appends without
    /// knowing risks nothing but to be fenced: an append gets in as a whole or not at all, whatever overtakes it.
    async fn append(&self, writer: Incarnation, batches: &[Batch]) -> Result<Vec<Outcome>, StoreError>;

    /// The rows that have ops after `after`, in order, as long as their ops have at most `max_bytes` together (but at least
    /// one row, if there is one). Ops that were pruned are missing in front.
    ///
    /// # Errors
    /// `Unavailable`, or `Corrupt` when a row makes no sense. Likewise below.
    async fn read(&self, room: RoomId, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError>;

    /// Rooms that have something on record, by id, after `after`; at most `limit` of them.
    async fn rooms(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError>;

    /// The latest checkpoint of a room.
    ///
    /// # Errors
    /// `Corrupt` when its checksum does not hold.
    async fn checkpoint(&self, room: RoomId) -> Result<Option<Checkpoint>, StoreError>;

    /// Stores a checkpoint in place of an older one. Ignored are one that is older than the stored, and one that is ahead of
    /// the room's log: that room was deleted meanwhile.
    async fn put_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Deletes rows that lie wholly behind their room's checkpoint and were written before `before_ms`, the oldest first and
    /// at most `max_rows` of them; also what is left of deleted rooms. A row whose time is earlier than that of one written
    /// before it waits for that one, so a log never gets a hole. Returns how many.
    async fn prune(&self, before_ms: u64, max_rows: u32) -> Result<u64, StoreError>;
}
