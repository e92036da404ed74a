//! I1: per room, the rows of the log follow each other from seq 1 on. A checkpoint beyond the last row is a gap, too:
//! what it was made of is gone.

use std::collections::HashMap;

use enfilade_proto::{RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::export::Row;
use crate::journal::Moment;

#[derive(Debug, Default)]
pub(super) struct Contiguity {
    heads: HashMap<RoomId, Seq>,
    checkpoints: Vec<(RoomId, Seq, Moment)>,
}

impl Check for Contiguity {
    fn invariant(&self) -> Invariant {
        Invariant::I1
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        match fact {
            Fact::Row(row) => {
                tally.fact();
                self.row(moment, row, tally);
            }
            Fact::Checkpoint(checkpoint) => {
                self.checkpoints.push((checkpoint.room, checkpoint.seq, moment.clone()));
            }
            Fact::LogEnds => self.compare_checkpoints(tally),
            _ => {}
        }
    }
}

impl Contiguity {
    fn row(&mut self, moment: &Moment, row: &Row, tally: &mut Tally) {
        let head = self.heads.entry(row.room).or_default();
        let ops = row.ops.len() as u64;
        let found = |detail: String| Violation::new(moment, detail).of(row.room).at(row.first);
        if ops == 0 || row.last.0.checked_sub(row.first.0).is_none_or(|more| more + 1 != ops) {
            tally.violated(|| found(format!("the row says {} to {} and has {ops} ops", row.first, row.last)));
        }
        if row.first > head.next() {
            tally.violated(|| found(format!("{} to {} are missing", head.next(), row.first.0 - 1)));
        } else if row.first <= *head {
            tally.violated(|| found(format!("{} stands again after {head}", row.first)));
        }
        *head = (*head).max(Seq(row.first.0.saturating_add(ops.saturating_sub(1))));
    }

    fn compare_checkpoints(&mut self, tally: &mut Tally) {
        for (room, seq, moment) in std::mem::take(&mut self.checkpoints) {
            tally.fact();
            let head = self.heads.get(&room).copied().unwrap_or_default();
            if seq > head {
                let detail = || format!("a checkpoint at {seq}, and the log ends at {head}");
                tally.violated(|| Violation::new(&moment, detail()).of(room).at(head.next()));
            }
        }
    }
}
