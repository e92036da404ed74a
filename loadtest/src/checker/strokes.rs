//! B1: a room adds what is left of a stroke whose author vanished, and never what its author had finished.

use std::collections::HashSet;

use enfilade_proto::{ClientId, ElementId, Op, RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::Moment;

#[derive(Debug, Default)]
pub(super) struct Strokes {
    finished: HashSet<(RoomId, ElementId)>,
}

impl Check for Strokes {
    fn invariant(&self) -> Invariant {
        Invariant::B1
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let Fact::Row(row) = fact else { return };
        for (op, seq) in row.ops.iter().zip(row.first.0..) {
            let Op::AddStroke(stroke) = &op.op else { continue };
            tally.fact();
            let name = (row.room, stroke.element.clone());
            if op.client != ClientId::ROOM {
                self.finished.insert(name);
            } else if self.finished.contains(&name) {
                let detail = || format!("the room replaced the finished {}", stroke.element);
                tally.violated(|| Violation::new(moment, detail()).of(row.room).at(Seq(seq)));
            }
        }
    }
}
