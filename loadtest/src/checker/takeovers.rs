//! I5: when an owner took a room over in epoch E and read its log up to m, nobody of an earlier epoch wrote anything
//! after m. This is what the fence is for; a fence that only compares epochs fails here.

use enfilade_proto::{Epoch, RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::Moment;

#[derive(Debug, Default)]
pub(super) struct Takeovers {
    read: Vec<Tail>,
}

#[derive(Debug)]
struct Tail {
    room: RoomId,
    epoch: Epoch,
    seq: Seq,
    moment: Moment,
}

impl Check for Takeovers {
    fn invariant(&self) -> Invariant {
        Invariant::I5
    }

    /// A takeover may be told before or after the rows: they are compared when all are known.
    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        match fact {
            Fact::Takeover(takeover) => {
                let tail = |(room, seq): (&RoomId, &Seq)| Tail {
                    room: *room,
                    epoch: takeover.epoch,
                    seq: *seq,
                    moment: moment.clone(),
                };
                self.read.extend(takeover.tails.iter().map(tail));
            }
            Fact::LogEnds => self.read.drain(..).for_each(|tail| tail.judge(record, tally)),
            _ => {}
        }
    }
}

impl Tail {
    fn judge(&self, record: &Record, tally: &mut Tally) {
        let Some(log) = record.room(self.room) else {
            tally.skipped += 1;
            return;
        };
        tally.fact();
        let late = log.epochs().iter().find(|written| written.epoch < self.epoch && written.last > self.seq);
        if let Some(late) = late {
            tally.violated(|| {
                let detail = format!(
                    "epoch {} took over at {}, and then epoch {} wrote {} to {}",
                    self.epoch,
                    self.seq,
                    late.epoch,
                    late.first.max(self.seq.next()),
                    late.last
                );
                Violation::new(&self.moment, detail).of(self.room).at(late.first.max(self.seq.next()))
            });
        }
    }
}
