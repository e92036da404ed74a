//! I9: what a client was shown is in the log, op for op. An op that its owner took and could not commit must never have
//! left it.

use enfilade_proto::{ClientId, RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::digest::RangeDigest;
use crate::journal::{Entry, Moment};

#[derive(Debug)]
pub(super) struct OutputGate;

impl Check for OutputGate {
    fn invariant(&self) -> Invariant {
        Invariant::I9
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        let Fact::Entry(entry) = fact else { return };
        match entry {
            Entry::Ops { client, room, first, last, digest, .. } => {
                Range { room: *room, client: *client, first: *first, last: *last, digest: *digest }
                    .judge(moment, record, tally);
            }
            Entry::Joined { client, room, position, shown, .. }
            | Entry::Reset { client, room, position, shown, .. }
                if shown.ops > 0 =>
            {
                let first = Seq((position.seq.0 + 1).saturating_sub(shown.ops));
                Range { room: *room, client: *client, first, last: position.seq, digest: shown.digest }
                    .judge(moment, record, tally);
            }
            _ => {}
        }
    }
}

struct Range {
    room: RoomId,
    client: ClientId,
    first: Seq,
    last: Seq,
    digest: Option<RangeDigest>,
}

impl Range {
    fn judge(&self, moment: &Moment, record: &Record, tally: &mut Tally) {
        let Some(log) = record.room(self.room) else {
            tally.skipped += 1;
            return;
        };
        tally.fact();
        let (first, last) = (self.first, self.last);
        let found = |detail: String| Violation::new(moment, detail).of(self.room).at(first).by(self.client);
        match (log.digest(first, last), self.digest) {
            (None, _) => tally.violated(|| {
                let head = log.head();
                found(format!("was shown {first} to {last}, of which the log, up to {head}, has not all"))
            }),
            (Some(there), Some(shown)) if there != shown => tally
                .violated(|| found(format!("was shown other ops from {first} to {last} than the log has"))),
            _ => {}
        }
    }
}
