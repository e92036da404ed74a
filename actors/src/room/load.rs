//! A room as it comes out of the database.

use std::collections::{BTreeMap, VecDeque};

use enfilade_proto::{Epoch, ErrorCode, RoomId, RoomKind, Seq};
use enfilade_store::{Checkpoint, LogRow};

use super::checkpoint::CheckpointState;
use super::commit::Waiting;
use super::dedup::Dedup;
use super::form::{read_checkpoint, read_row};
use super::gone::Gone;
use super::{Room, RoomSettings};
use crate::bus::Writer;
use crate::kind;
use crate::presence::Presence;
use crate::refusal::Refusal;

impl Room {
    /// A room as the database has it: its last checkpoint, and the rows of the log after that.
    ///
    /// # Errors
    /// When stored data cannot be read, or there is a gap in it.
    pub fn load(
        id: RoomId,
        kind_name: RoomKind,
        epoch: Epoch,
        settings: RoomSettings,
        checkpoint: Option<&Checkpoint>,
        rows: &[LogRow],
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let (state, dedup) = match checkpoint {
            Some(checkpoint) => read_checkpoint(checkpoint.format, &checkpoint.body, kind_name)?,
            None => (kind::create(kind_name)?, Dedup::default()),
        };
        let seq = checkpoint.map_or(Seq(0), |checkpoint| checkpoint.seq);
        let bytes = checkpoint.map_or(0, |checkpoint| checkpoint.body.len() as u64);
        let mut room = Self {
            id,
            kind_name,
            epoch,
            settings,
            state,
            dedup,
            presence: Presence::default(),
            edges: BTreeMap::new(),
            head: seq,
            committed: seq,
            in_flight: None,
            pending: Vec::new(),
            submitters: VecDeque::new(),
            waiting: Waiting::default(),
            riding: Waiting::default(),
            retry: None,
            gone: Gone::default(),
            checkpoint: CheckpointState { seq, bytes, ..CheckpointState::default() },
            woken_ms: now_ms,
            last_use_ms: now_ms,
        };
        rows.iter().try_for_each(|row| room.replay(row))?;
        Ok(room)
    }

    fn replay(&mut self, row: &LogRow) -> Result<(), Refusal> {
        if row.first > self.head.next() {
            let message = format!("the log lacks ops {} to {}", self.head.next(), Seq(row.first.0 - 1));
            return Err(Refusal::new(ErrorCode::Internal, message));
        }
        let mut seq = row.first;
        for logged in read_row(&row.ops)? {
            if seq > self.head {
                self.state.replay(seq, logged.author, &logged.op);
                let writer = Writer { author: logged.author, client: logged.client };
                self.dedup.applied(writer, logged.op_id, seq);
                self.head = seq;
            }
            seq = seq.next();
        }
        self.committed = self.head;
        self.checkpoint.log_bytes += row.ops.len() as u64;
        Ok(())
    }
}
