//! I6: epochs never fall along a room's log, a shard's epoch is granted to one owner, and no owner acknowledges an op that
//! the log does not have from its time or before.

use std::collections::HashMap;

use enfilade_proto::{Epoch, RoomId};
use uuid::Uuid;

use super::{Check, Fact, Invariant, Record, Tally, Violation, falls};
use crate::export::{Row, Takeover};
use crate::journal::{Entry, Moment};

#[derive(Debug, Default)]
pub(super) struct Epochs {
    rooms: HashMap<RoomId, Epoch>,
    owners: HashMap<(u16, Epoch), Uuid>,
}

impl Check for Epochs {
    fn invariant(&self) -> Invariant {
        Invariant::I6
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        match fact {
            Fact::Row(row) => self.row(moment, row, tally),
            Fact::Takeover(takeover) => self.takeover(moment, takeover, tally),
            Fact::Entry(Entry::Accepted { client, room, op_id, seq, epoch: Some(epoch) }) => {
                let Some(log) = record.room(*room) else { return };
                tally.fact();
                let written = log.epoch_of(*seq);
                if log.op_at(*seq).is_none() || falls(written, Some(*epoch)) {
                    tally.violated(|| {
                        let written = written.map_or("nobody".into(), |written| format!("epoch {written}"));
                        let detail =
                            format!("epoch {epoch} acknowledged op {op_id} at {seq}, which {written} wrote");
                        Violation::new(moment, detail).of(*room).at(*seq).by(*client)
                    });
                }
            }
            _ => {}
        }
    }
}

impl Epochs {
    fn row(&mut self, moment: &Moment, row: &Row, tally: &mut Tally) {
        let Some(epoch) = row.epoch else { return };
        tally.fact();
        let before = self.rooms.insert(row.room, epoch);
        if falls(before, Some(epoch)) {
            let before = before.unwrap_or_default();
            let detail = || format!("written in epoch {epoch}, after a row of epoch {before}");
            tally.violated(|| Violation::new(moment, detail()).of(row.room).at(row.first));
        }
    }

    /// An owner may tell of its rooms' tails one by one, and whenever it likes.
    fn takeover(&mut self, moment: &Moment, takeover: &Takeover, tally: &mut Tally) {
        tally.fact();
        let Takeover { shard, epoch, incarnation, .. } = takeover;
        let holder = *self.owners.entry((*shard, *epoch)).or_insert(*incarnation);
        if holder != *incarnation {
            let detail = || format!("epoch {epoch} of shard {shard} went to {holder} and to {incarnation}");
            tally.violated(|| Violation::new(moment, detail()));
        }
    }
}
