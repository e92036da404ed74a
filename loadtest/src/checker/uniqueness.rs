//! I4: `(author, client, op id)` stands at most once in a room's log, whatever was retried.

use std::collections::HashMap;

use enfilade_proto::{ClientId, RoomId, UserId};

use super::runs::Runs;
use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::Moment;

#[derive(Debug, Default)]
pub(super) struct Uniqueness {
    seen: HashMap<(RoomId, UserId, ClientId), Runs>,
}

impl Check for Uniqueness {
    fn invariant(&self) -> Invariant {
        Invariant::I4
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        let Fact::Row(row) = fact else { return };
        for (op, seq) in row.ops.iter().zip(row.first.0..) {
            // The room's own ops have no name.
            if op.client == ClientId::ROOM {
                continue;
            }
            tally.fact();
            let seen = self.seen.entry((row.room, op.author, op.client)).or_default();
            if !seen.insert(op.op_id.0) {
                tally.violated(|| {
                    let first = record.room(row.room).and_then(|log| log.find(op.client, op.op_id));
                    let first = first.map_or("before".into(), |first| format!("at {first}"));
                    let detail = format!("op {} stands {first} and again at {seq}", op.op_id);
                    Violation::new(moment, detail).of(row.room).at(enfilade_proto::Seq(seq)).by(op.client)
                });
            }
        }
    }
}
