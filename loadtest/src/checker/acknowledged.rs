//! I2: every op that was acknowledged stands in the log at the seq of the acknowledgement. That it stands nowhere else
//! is I4's to say.

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::{Entry, Moment};

#[derive(Debug)]
pub(super) struct Acknowledged;

impl Check for Acknowledged {
    fn invariant(&self) -> Invariant {
        Invariant::I2
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        let Fact::Entry(Entry::Accepted { client, room, op_id, seq, .. }) = fact else { return };
        let Some(log) = record.room(*room) else {
            tally.skipped += 1;
            return;
        };
        tally.fact();
        let there = log.op_at(*seq);
        if there == Some((*client, *op_id)) {
            return;
        }
        tally.violated(|| {
            let stands = match log.find(*client, *op_id) {
                Some(other) => format!("it stands at {other}"),
                None => format!("it is not in the log, which ends at {}", log.head()),
            };
            let instead =
                there.map_or(String::new(), |(other, id)| format!("; at {seq} there is op {id} of {other}"));
            let detail = format!("op {op_id} was acknowledged at {seq}, but {stands}{instead}");
            Violation::new(moment, detail).of(*room).at(*seq).by(*client)
        });
    }
}
