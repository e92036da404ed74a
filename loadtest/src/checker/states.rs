//! I8: whatever was shown or stored as a room's state after op n is what the ops 1 to n make, by a replica that shares
//! nothing with the server's.

use enfilade_proto::RoomId;

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::{Entry, Moment, Shown, ShownState};

#[derive(Debug, Default)]
pub(super) struct States {
    checkpoints: Vec<(RoomId, ShownState, Moment)>,
}

impl Check for States {
    fn invariant(&self) -> Invariant {
        Invariant::I8
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally) {
        match fact {
            Fact::Checkpoint(checkpoint) => {
                let state = checkpoint.hash.map(|hash| ShownState { seq: checkpoint.seq, hash });
                self.checkpoints.extend(state.map(|state| (checkpoint.room, state, moment.clone())));
            }
            // Only now all the rows are known.
            Fact::LogEnds => {
                for (room, state, moment) in self.checkpoints.drain(..) {
                    compare(&moment, room, state, "a checkpoint", record, tally);
                }
            }
            Fact::Entry(Entry::State { room, state }) => {
                compare(moment, *room, *state, "the clients' board", record, tally);
            }
            Fact::Entry(
                Entry::Joined { room, shown: Shown { snapshot: Some(state), .. }, .. }
                | Entry::Reset { room, shown: Shown { snapshot: Some(state), .. }, .. },
            ) => compare(moment, *room, *state, "a snapshot", record, tally),
            _ => {}
        }
    }
}

fn compare(moment: &Moment, room: RoomId, state: ShownState, what: &str, record: &Record, tally: &mut Tally) {
    let Some(log) = record.room(room) else {
        tally.skipped += 1;
        return;
    };
    tally.fact();
    let found = |detail: String| Violation::new(moment, detail).of(room).at(state.seq);
    match log.state(state.seq) {
        Some(made) if made == state.hash => {}
        Some(made) => {
            tally.violated(|| {
                found(format!("{what} at {} is {}, but the ops make {made}", state.seq, state.hash))
            });
        }
        None => tally.violated(|| {
            found(format!("{what} at {}, and the log has not all the ops up to there", state.seq))
        }),
    }
}
