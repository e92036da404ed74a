//! When a room's checkpoint is due, and until when it waits: it is as durable as the ops in it.

use enfilade_proto::Seq;

use super::Room;
use super::exchange::Effect;
use super::form::CheckpointParts;

#[derive(Debug, Default)]
pub(super) struct CheckpointState {
    /// The last one on disk, and about how large it is.
    pub(super) seq: Seq,
    pub(super) bytes: u64,
    /// Bytes of log since then.
    pub(super) log_bytes: u64,
    /// Taken, and waiting for the ops in it to be committed.
    pub(super) taken: Option<(Seq, CheckpointParts)>,
    pub(super) being_written: bool,
    /// After a failure: when it may be tried again.
    pub(super) not_before_ms: u64,
}

impl CheckpointState {
    pub(super) fn under_way(&self) -> bool {
        self.being_written || self.taken.is_some()
    }
}

/// Wait before a failed checkpoint is tried again. Nothing is lost without it, but the log grows.
const CHECKPOINT_RETRY_MS: u64 = 10_000;

impl Room {
    pub(super) fn checkpoint_if_due(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let ops = self.head.0 - self.checkpoint.seq.0;
        let bytes = self.settings.checkpoint_bytes.max(self.checkpoint.bytes);
        if ops >= self.settings.checkpoint_ops || (ops > 0 && self.checkpoint.log_bytes >= bytes) {
            self.take_checkpoint(now_ms);
        }
        // What it holds must be durable before it is: it waits for the commit of its last op.
        if let Some((seq, parts)) = self.checkpoint.taken.take_if(|(seq, _)| *seq <= self.committed) {
            self.checkpoint.being_written = true;
            effects.push(Effect::Checkpoint { seq, parts });
        }
    }

    pub(super) fn take_checkpoint(&mut self, now_ms: u64) {
        if self.checkpoint.under_way() || now_ms < self.checkpoint.not_before_ms {
            return;
        }
        self.checkpoint.log_bytes = 0;
        let parts = CheckpointParts {
            kind: self.kind_name,
            contents: self.state.snapshot(),
            dedup: self.dedup.to_form(),
        };
        self.checkpoint.taken = Some((self.head, parts));
    }

    pub(super) fn checkpoint_written(&mut self, seq: Seq, bytes: u64) {
        self.checkpoint.bytes = bytes;
        self.checkpoint.being_written = false;
        self.checkpoint.seq = seq;
    }

    pub(super) fn checkpoint_failed(&mut self, now_ms: u64) {
        self.checkpoint.being_written = false;
        self.checkpoint.not_before_ms = now_ms + CHECKPOINT_RETRY_MS;
    }
}
